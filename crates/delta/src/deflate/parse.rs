//! A deflate stream taken apart into blocks and tokens.

use super::bits::BitReader;
use super::huffman::{DecodeTable, Run};
use super::symbols::*;
use super::{AnalyseLimits, MAX_BLOCK_TOKENS};

/// A stream in memory.
pub(super) struct Parsed {
    pub(super) plain: Vec<u8>,
    pub(super) tokens: Vec<Token>,
    pub(super) blocks: Vec<Block>,
    pub(super) compressed_bytes: usize,
}

/// A block of it.
pub(super) struct Block {
    pub(super) is_last: bool,
    pub(super) kind: BlockKind,
    /// Its tokens are so many; for a stored block 0.
    pub(super) tokens: usize,
    /// What it holds is so long.
    pub(super) plain_bytes: usize,
}

/// How the tokens of a block are written.
pub(super) enum BlockKind {
    Stored,
    Fixed,
    Dynamic(Trees),
}

/// The codes of a block as they are sent before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trees {
    /// Lengths of the codes for literals and lengths; 257 to 286.
    pub(super) literals: Vec<u8>,
    /// Lengths of the codes for distances; 1 to 30.
    pub(super) distances: Vec<u8>,
    /// How both are sent.
    pub(super) runs: Vec<Run>,
    /// Lengths of the codes for that, in the order in which they are sent; 4 to 19.
    pub(super) run_lengths: Vec<u8>,
}

/// Parses the stream that `compressed` starts with; `None` where it is none, or not one that is
/// written in the usual way (padded with zeros, each length by its own symbol).
pub(super) fn parse(compressed: &[u8], limits: &AnalyseLimits) -> Option<Parsed> {
    let mut bits = BitReader::new(compressed);
    let (plain, tokens, blocks) = (Vec::new(), Vec::new(), Vec::new());
    let mut parsed = Parsed { plain, tokens, blocks, compressed_bytes: 0 };
    let mut is_last = false;
    while !is_last {
        is_last = bits.take(1) == 1;
        let before = (parsed.plain.len(), parsed.tokens.len());
        let kind = match bits.take(2) {
            0 => {
                stored(&mut bits, &mut parsed, limits)?;
                BlockKind::Stored
            }
            1 => {
                let literals = DecodeTable::new(&fixed_literal_lengths())?;
                let distances = DecodeTable::new(&FIXED_DISTANCE_LENGTHS)?;
                parsed.read_tokens(&mut bits, &literals, &distances, limits)?;
                BlockKind::Fixed
            }
            2 => {
                let trees = read_trees(&mut bits)?;
                let literals = DecodeTable::new(&trees.literals)?;
                let distances = DecodeTable::new(&trees.distances)?;
                parsed.read_tokens(&mut bits, &literals, &distances, limits)?;
                BlockKind::Dynamic(trees)
            }
            _ => return None,
        };
        if bits.is_past_end() {
            return None;
        }
        let (plain_bytes, tokens) = (parsed.plain.len() - before.0, parsed.tokens.len() - before.1);
        parsed.blocks.push(Block { is_last, kind, tokens, plain_bytes });
    }
    parsed.compressed_bytes = bits.bytes_taken();
    (bits.take_padding() == 0).then_some(parsed)
}

fn stored(bits: &mut BitReader<'_>, parsed: &mut Parsed, limits: &AnalyseLimits) -> Option<()> {
    if bits.take_padding() != 0 {
        return None;
    }
    let (length, complement) = (bits.take(16), bits.take(16));
    let length = usize::try_from(length).ok().filter(|_| length ^ complement == 0xffff)?;
    if length > limits.plain_bytes.saturating_sub(parsed.plain.len()) {
        return None;
    }
    parsed.plain.extend_from_slice(bits.take_bytes(length)?);
    Some(())
}

impl Parsed {
    fn read_tokens(
        &mut self,
        bits: &mut BitReader<'_>,
        literals: &DecodeTable,
        distances: &DecodeTable,
        limits: &AnalyseLimits,
    ) -> Option<()> {
        let first = self.tokens.len();
        loop {
            let symbol = literals.symbol(bits)?;
            if symbol == END_OF_BLOCK {
                return Some(());
            }
            let token = match u8::try_from(symbol) {
                Ok(byte) => {
                    self.plain.push(byte);
                    Token::LITERAL
                }
                Err(_) => {
                    let token = read_match(symbol - END_OF_BLOCK - 1, distances, bits)?;
                    self.repeat(token)?;
                    token
                }
            };
            self.tokens.push(token);
            let is_too_much = self.plain.len() > limits.plain_bytes
                || self.tokens.len() - first > MAX_BLOCK_TOKENS
                || bits.is_past_end();
            if is_too_much {
                return None;
            }
        }
    }

    fn repeat(&mut self, token: Token) -> Option<()> {
        let start = self.plain.len().checked_sub(token.distance.into())?;
        let end = start + token.bytes();
        if end <= self.plain.len() {
            self.plain.extend_from_within(start..end);
        } else {
            for at in start..end {
                self.plain.push(self.plain[at]);
            }
        }
        Some(())
    }
}

fn read_match(symbol: usize, distances: &DecodeTable, bits: &mut BitReader<'_>) -> Option<Token> {
    if symbol > 28 {
        return None;
    }
    let (length, extra_bits) = length_of(symbol);
    let length = length + bits.take(extra_bits) as usize;
    // 258 has a symbol of its own, and could be said by another.
    if length == MAX_MATCH && symbol != 28 {
        return None;
    }
    let symbol = distances.symbol(bits)?;
    let (distance, extra_bits) = distance_of(symbol);
    let distance = distance + bits.take(extra_bits) as usize;
    Some(Token { length: u16::try_from(length).ok()?, distance: u16::try_from(distance).ok()? })
}

fn read_trees(bits: &mut BitReader<'_>) -> Option<Trees> {
    let literal_count = 257 + bits.take(5) as usize;
    let distance_count = 1 + bits.take(5) as usize;
    if literal_count > LITERAL_SYMBOLS || distance_count > DISTANCE_SYMBOLS {
        return None;
    }
    let run_count = 4 + bits.take(4) as usize;
    let run_lengths: Vec<u8> = (0..run_count).map(|_| bits.take(3).to_le_bytes()[0]).collect();
    let mut by_symbol = [0; LENGTH_CODE_SYMBOLS];
    LENGTH_CODE_ORDER
        .iter()
        .zip(&run_lengths)
        .for_each(|(symbol, bits)| by_symbol[*symbol] = *bits);
    let table = DecodeTable::new(&by_symbol)?;
    let (mut runs, mut lengths) = (Vec::new(), Vec::new());
    while lengths.len() < literal_count + distance_count {
        let symbol = table.symbol(bits)?;
        let extra_bits = symbol.checked_sub(16).map_or(0, |run| RUN_EXTRA_BITS[run]);
        let extra = bits.take(extra_bits).to_le_bytes()[0];
        let run = Run { symbol: u8::try_from(symbol).ok()?, extra };
        let length = match run.symbol {
            length @ 0..16 => length,
            16 => *lengths.last()?,
            _ => 0,
        };
        lengths.extend(std::iter::repeat_n(length, run.count()));
        runs.push(run);
        if bits.is_past_end() {
            return None;
        }
    }
    if lengths.len() != literal_count + distance_count || lengths[END_OF_BLOCK] == 0 {
        return None;
    }
    let distances = lengths.split_off(literal_count);
    Some(Trees { literals: lengths, distances, runs, run_lengths })
}
