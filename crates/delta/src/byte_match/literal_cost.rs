//! What a byte comes to that no cover has.

/// Bits of information come out so much shorter when they are coded, of 256: contexts know more of a byte than the one before it.
const CODED: u32 = 155;

/// How much the byte alone counts beside what came after the one before it.
const PRIOR: u64 = 16;

/// Costs of a byte after another, in 256ths of a byte.
pub(super) struct LiteralCosts<'a> {
    bytes: &'a [u8],
    /// By the byte before, high, and the byte; 0 where they do not come.
    costs: Box<[u16]>,
}

impl<'a> LiteralCosts<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let mut pairs = vec![0u32; 1 << 16];
        let mut before = 0;
        for byte in bytes {
            pairs[pair_of(before, *byte)] += 1;
            before = *byte;
        }
        let sum = |counts: &[u32]| counts.iter().copied().map(u64::from).sum::<u64>();
        let after: Vec<u64> = pairs.chunks_exact(256).map(sum).collect();
        let mut single = [0; 256];
        bytes.iter().for_each(|byte| single[usize::from(*byte)] += 1);
        let all = bytes.len() as u64 + 255;

        let mut costs = vec![0; 1 << 16].into_boxed_slice();
        for (pair, count) in pairs.iter().enumerate().filter(|(_, count)| **count > 0) {
            // Each is predicted by the others: in short files they say less.
            let alone = (PRIOR << 16) * single[pair & 0xff] / all;
            let likely = (u64::from(*count - 1) << 16) + alone;
            let bits = log2((after[pair >> 8] - 1 + PRIOR) << 16) - log2(likely);
            costs[pair] = u16::try_from(bits * CODED / (8 * 256)).unwrap_or(u16::MAX);
        }
        Self { bytes, costs }
    }

    /// What the byte at `at` costs, in 256ths of a byte.
    pub(super) fn at(&self, at: usize) -> u64 {
        let before = at.checked_sub(1).map_or(0, |before| self.bytes[before]);
        self.costs[pair_of(before, self.bytes[at])].into()
    }
}

fn pair_of(before: u8, byte: u8) -> usize {
    usize::from(before) << 8 | usize::from(byte)
}

/// The binary logarithm, times 256, to a tenth of a bit: in whole numbers, so that every machine finds the
/// same covers.
fn log2(x: u64) -> u32 {
    let whole = x.max(1).ilog2();
    let fraction = (x.max(1) << (63 - whole)) >> 55 & 0xff;
    // Between two powers the line is below the curve, by at most 22 of 256.
    let below = (fraction * (256 - fraction) * 22) >> 14;
    whole * 256 + u32::try_from(fraction + below).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_to_a_tenth_of_a_bit() {
        for x in (1u64..2000).chain((1..1 << 40).step_by(1 << 30)) {
            let exact = (x as f64).log2() * 256.0;
            assert!((f64::from(log2(x)) - exact).abs() < 6.0, "{x}: {} {exact}", log2(x));
        }
    }

    #[test]
    fn what_always_follows_costs_next_to_nothing_and_noise_costs_most() {
        let text = b"abababababababababababababababababababababababababababababababababab\x07\x99";
        let text = text.repeat(20);
        let costs = LiteralCosts::of(&text);
        assert!(costs.at(1) < 16, "{}", costs.at(1));
        assert!(costs.at(68) > 64, "{}", costs.at(68));
    }
}
