//! Which runs become copies, where not all may.
//!
//! stock balenaEngine opens a file and wakes two processes for every COPY, so a delta of many small ones takes it longer
//! to apply than the bytes they save are worth. A delta may have so many; they go to the runs that save most.

/// What a COPY command and the literal command after it cost, compressed.
const COMMAND_BYTES: u64 = 6;
/// Savings from here on are not told apart.
const MOST_SAVED_BYTES: usize = 768;

/// How many bytes a copy must save to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Threshold(u64);

impl Threshold {
    /// Takes every run.
    pub(super) const NONE: Self = Self(0);

    /// Whether a run becomes a copy that would cost so much as a literal.
    pub(super) fn admits(self, literal_bytes: u64) -> bool {
        saved(literal_bytes) >= self.0
    }
}

fn saved(literal_bytes: u64) -> u64 {
    literal_bytes.saturating_sub(COMMAND_BYTES)
}

/// How many runs would save how much.
pub(super) struct Savings {
    runs: Vec<u64>,
}

impl Savings {
    pub(super) fn new() -> Self {
        Self { runs: vec![0; MOST_SAVED_BYTES + 1] }
    }

    pub(super) fn add(&mut self, literal_bytes: u64) {
        let saved = usize::try_from(saved(literal_bytes)).unwrap_or(usize::MAX);
        self.runs[saved.min(MOST_SAVED_BYTES)] += 1;
    }

    /// The lowest threshold that admits no more than so many runs.
    pub(super) fn threshold(&self, max_copies: u64) -> Threshold {
        let mut admitted = 0;
        for (saved, runs) in self.runs.iter().enumerate().rev() {
            admitted += runs;
            if admitted > max_copies {
                return Threshold((saved + 1) as u64);
            }
        }
        Threshold::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_than_allowed_and_no_fewer_than_needed(
            costs in proptest::collection::vec(0u64..2000, 0..200),
            max_copies in 0u64..200,
        ) {
            let mut savings = Savings::new();
            costs.iter().for_each(|cost| savings.add(*cost));
            let threshold = savings.threshold(max_copies);
            let admitted = |threshold: Threshold| {
                costs.iter().filter(|cost| threshold.admits(**cost)).count() as u64
            };
            let most = (MOST_SAVED_BYTES + 1) as u64;
            if threshold.0 < most {
                prop_assert!(admitted(threshold) <= max_copies);
            }
            if threshold != Threshold::NONE {
                prop_assert!(admitted(Threshold(threshold.0 - 1)) > max_copies);
            }
        }
    }
}
