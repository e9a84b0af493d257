//! Matching two byte strings that are in memory: which ranges of the new one are *like* ranges of
//! the old one, differences within them allowed.
//!
//! The method is Colin Percival's ([*Naive differences of executable code*](https://www.daemonology.net/papers/bsdiff.pdf),
//! 2003): exact matches are found in a suffix array, kept where they beat the alignment that is in
//! force, and extended both ways for as long as at least half of the bytes agree.

pub(crate) mod cost;
mod grams;
mod scan;
mod suffix;

pub use scan::{match_bytes, match_exact_runs};
pub(crate) use scan::{match_labelled, match_to_vote};

/// A range of the new bytes that is like a range of the old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCover {
    /// Offset in the new bytes.
    pub new: usize,
    /// Offset in the old bytes.
    pub old: usize,
    /// Length in both.
    pub length: usize,
}

/// The largest old string that can be matched: suffix arrays have 32-bit entries.
pub const MAX_OLD_BYTES: u64 = i32::MAX as u64;

/// Peak memory of [`match_bytes`], both strings included.
pub fn memory_bytes(old_bytes: u64, new_bytes: u64) -> u64 {
    // The old string, entries of the suffix array, a key for each 64th; the new string.
    let index = old_bytes.saturating_mul(5).saturating_add(old_bytes / 8);
    let index = index.saturating_add(grams::GramFilter::memory_bytes(old_bytes));
    // When the index is gone, the new string's parts for a trial.
    let trial = old_bytes.saturating_add(new_bytes.saturating_mul(3));
    trial.max(index.saturating_add(new_bytes)).saturating_add(1 << 20)
}
