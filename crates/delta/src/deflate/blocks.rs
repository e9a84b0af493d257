//! Where a compressor of zlib's family ends a block, and how it writes it.

use super::huffman::{optimal_lengths, put_runs};
use super::parse::Trees;
use super::predict::Settings;
use super::symbols::*;

/// Where the block at hand is predicted to end.
pub(super) struct BlockEnd {
    settings: Settings,
    start: usize,
    tokens: usize,
    matches: usize,
    distance_bits: u64,
}

impl BlockEnd {
    /// A block that starts at `start`.
    pub(super) fn new(settings: Settings, start: usize) -> Self {
        Self { settings, start, tokens: 0, matches: 0, distance_bits: 0 }
    }

    /// Takes the next token, which starts at `position`; whether the block ends with it.
    pub(super) fn is_after(&mut self, token: Token, position: usize) -> bool {
        self.tokens += 1;
        if !token.is_literal() {
            self.matches += 1;
            self.distance_bits += 5 + u64::from(distance_symbol(token.distance).extra_bits);
        }
        self.tokens >= self.settings.block_tokens() || self.is_small_enough(position)
    }

    /// GNU gzip looks, now and then, whether what it has is so small that new codes would pay.
    fn is_small_enough(&self, position: usize) -> bool {
        if self.settings.memory != 0 || self.settings.level < 3 || !self.tokens.is_multiple_of(4096)
        {
            return false;
        }
        let looked_at = position + usize::from(!self.settings.is_fast());
        let read = (looked_at - self.start) as u64;
        let written = (self.tokens as u64 * 8 + self.distance_bits) / 8;
        self.matches < self.tokens / 2 && written < read / 2
    }
}

/// How often each symbol of a block occurs.
struct Counts {
    literals: [u32; LITERAL_SYMBOLS],
    distances: [u32; DISTANCE_SYMBOLS],
    extra_bits: u64,
}

impl Counts {
    /// Of the tokens that `plain` is made of, and the end of the block.
    fn of(tokens: &[Token], plain: &[u8]) -> Self {
        let (literals, distances) = ([0; LITERAL_SYMBOLS], [0; DISTANCE_SYMBOLS]);
        let mut counts = Self { literals, distances, extra_bits: 0 };
        counts.literals[END_OF_BLOCK] = 1;
        let mut at = 0;
        for token in tokens {
            if token.is_literal() {
                counts.literals[usize::from(plain[at])] += 1;
            } else {
                let length = length_symbol(token.length);
                let distance = distance_symbol(token.distance);
                counts.literals[END_OF_BLOCK + 1 + length.symbol] += 1;
                counts.distances[distance.symbol] += 1;
                counts.extra_bits += u64::from(length.extra_bits + distance.extra_bits);
            }
            at += token.bytes();
        }
        counts
    }

    fn bits(&self, literals: &[u8], distances: &[u8]) -> u64 {
        weighted(&self.literals, literals) + weighted(&self.distances, distances) + self.extra_bits
    }
}

fn weighted(counts: &[u32], lengths: &[u8]) -> u64 {
    counts.iter().zip(lengths).map(|(count, bits)| u64::from(*count) * u64::from(*bits)).sum()
}

/// The codes that are predicted for a block of `tokens` that make `plain`, and whether the fixed
/// ones are predicted in their place.
pub(super) fn predict_trees(tokens: &[Token], plain: &[u8]) -> (Trees, bool) {
    let counts = Counts::of(tokens, plain);
    let literals = optimal_lengths(&counts.literals, 15);
    let distances = optimal_lengths(&counts.distances, 15);
    let (trees, header_bits) = trees_of(literals, distances);
    let own = header_bits + counts.bits(&trees.literals, &trees.distances);
    let fixed = counts.bits(&fixed_literal_lengths(), &FIXED_DISTANCE_LENGTHS);
    let bytes = |bits: u64| (bits + 3).div_ceil(8);
    (trees, bytes(fixed) <= bytes(own))
}

/// How zlib sends codes of these lengths, and how many bits that takes.
pub(super) fn trees_of(literals: Vec<u8>, distances: Vec<u8>) -> (Trees, u64) {
    let mut runs = Vec::new();
    put_runs(&literals, &mut runs);
    put_runs(&distances, &mut runs);
    let run_lengths = predict_run_lengths(&runs);
    let mut bits = 14 + 3 * run_lengths.len() as u64;
    for run in &runs {
        let place = LENGTH_CODE_ORDER.iter().position(|symbol| *symbol == usize::from(run.symbol));
        let code = place.and_then(|place| run_lengths.get(place)).copied().unwrap_or(0);
        let extra = usize::from(run.symbol).checked_sub(16).map_or(0, |run| RUN_EXTRA_BITS[run]);
        bits += u64::from(code) + u64::from(extra);
    }
    (Trees { literals, distances, runs, run_lengths }, bits)
}

/// Lengths of the code for `runs`, in the order in which they are sent.
pub(super) fn predict_run_lengths(runs: &[super::huffman::Run]) -> Vec<u8> {
    let mut counts = [0; LENGTH_CODE_SYMBOLS];
    runs.iter().for_each(|run| counts[usize::from(run.symbol)] += 1);
    let mut by_symbol = optimal_lengths(&counts, 7);
    by_symbol.resize(LENGTH_CODE_SYMBOLS, 0);
    let mut lengths: Vec<u8> = LENGTH_CODE_ORDER.iter().map(|symbol| by_symbol[*symbol]).collect();
    while lengths.len() > 4 && lengths.last() == Some(&0) {
        lengths.pop();
    }
    lengths
}
