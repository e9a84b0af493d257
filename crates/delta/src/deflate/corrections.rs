//! The corrections of a stream: settings, and for each block what is not as predicted.
//!
//! Each block has a byte of flags and what they announce; blocks at the end that are as predicted
//! have nothing. Numbers are LEB128.

use std::io::Write;

use super::bits::BitWriter;
use super::blocks::{BlockEnd, predict_run_lengths, predict_trees, trees_of};
use super::huffman::{Run, codes};
use super::parse::{Block, BlockKind, Parsed, Trees};
use super::predict::{Predictor, Settings};
use super::symbols::*;
use super::{Expected, MAX_BLOCK_TOKENS, RecreateError};
use crate::varint;

/// The number of tokens follows.
const TOKEN_COUNT: u8 = 1;
/// How the block is written, where it is not as predicted.
const KIND: u8 = 6;
const STORED: u8 = 2;
const FIXED: u8 = 4;
const DYNAMIC: u8 = 6;
/// Lengths of codes follow …
const LENGTHS: u8 = 8;
/// … the runs by which they are sent …
const RUNS: u8 = 16;
/// … and the lengths of the code for those.
const RUN_LENGTHS: u8 = 32;
/// Tokens that are not as predicted follow.
const TOKENS: u8 = 64;
/// The block is the last one and plain text is left, or the other way round.
const LAST: u8 = 128;

/// A block counts as so many places that are looked at: its codes are predicted and sent, however little it holds.
const BLOCK_STEPS: u64 = 512;

/// The corrections of a stream if it was made with `settings`; `None` where they get longer than
/// `max_bytes`.
pub(super) fn correct(parsed: &Parsed, settings: Settings, max_bytes: usize) -> Option<Vec<u8>> {
    let mut out = settings.to_bytes().to_vec();
    let mut used = out.len();
    let mut predictor = Predictor::new(&parsed.plain, settings);
    let mut tokens = parsed.tokens.as_slice();
    for block in &parsed.blocks {
        let (of_block, after) = tokens.split_at(block.tokens);
        tokens = after;
        let flags_at = out.len();
        out.push(0);
        let mut flags = correct_block(parsed, block, of_block, &mut predictor, &mut out);
        if block.is_last != (predictor.left() == 0) {
            flags |= LAST;
        }
        out[flags_at] = flags;
        if flags != 0 {
            used = out.len();
        }
        if used > max_bytes {
            return None;
        }
    }
    out.truncate(used);
    Some(out)
}

fn correct_block(
    parsed: &Parsed,
    block: &Block,
    tokens: &[Token],
    predictor: &mut Predictor<'_>,
    out: &mut Vec<u8>,
) -> u8 {
    let start = predictor.position();
    let actual = match &block.kind {
        BlockKind::Stored => {
            varint::put(out, block.plain_bytes as u64);
            predictor.skip(block.plain_bytes);
            return STORED;
        }
        BlockKind::Fixed => None,
        BlockKind::Dynamic(trees) => Some(trees),
    };
    let wrong = correct_tokens(tokens, predictor);
    let mut flags = 0;
    if wrong.end != Some(tokens.len()) {
        flags |= TOKEN_COUNT;
        varint::put(out, tokens.len() as u64);
    }
    if wrong.count != 0 {
        flags |= TOKENS;
        varint::put(out, wrong.count);
        out.extend(&wrong.bytes);
    }
    let (predicted, is_fixed) = predict_trees(tokens, &parsed.plain[start..predictor.position()]);
    match actual {
        None if is_fixed => flags,
        None => flags | FIXED,
        Some(trees) => {
            let kind = if is_fixed { DYNAMIC } else { 0 };
            flags | kind | correct_trees(trees, predicted, out)
        }
    }
}

/// Tokens of a block that are not as predicted.
struct WrongTokens {
    count: u64,
    bytes: Vec<u8>,
    /// After how many tokens the block was predicted to end, if not later than it did.
    end: Option<usize>,
}

fn correct_tokens(tokens: &[Token], predictor: &mut Predictor<'_>) -> WrongTokens {
    let mut wrong = WrongTokens { count: 0, bytes: Vec::new(), end: None };
    let mut block_end = BlockEnd::new(predictor.settings(), predictor.position());
    let mut gap = 0u64;
    for (number, token) in (1..).zip(tokens) {
        if predictor.predict() == *token {
            gap += 1;
        } else {
            varint::put(&mut wrong.bytes, std::mem::take(&mut gap));
            put_token(*token, &mut wrong.bytes);
            wrong.count += 1;
        }
        let ends = block_end.is_after(*token, predictor.position());
        predictor.advance(*token);
        if ends {
            wrong.end = wrong.end.or(Some(number));
        }
    }
    if predictor.left() == 0 {
        wrong.end = wrong.end.or(Some(tokens.len()));
    }
    wrong
}

fn put_token(token: Token, out: &mut Vec<u8>) {
    if token.is_literal() {
        return out.push(0);
    }
    varint::put(out, u64::from(token.length) - 2);
    varint::put(out, token.distance.into());
}

fn correct_trees(actual: &Trees, predicted: Trees, out: &mut Vec<u8>) -> u8 {
    let mut flags = 0;
    let mut expected = predicted;
    if (&expected.literals, &expected.distances) != (&actual.literals, &actual.distances) {
        flags |= LENGTHS;
        put_lengths(&expected, actual, out);
        expected = trees_of(actual.literals.clone(), actual.distances.clone()).0;
    }
    if expected.runs != actual.runs {
        flags |= RUNS;
        varint::put(out, actual.runs.len() as u64);
        for run in &actual.runs {
            out.push(run.symbol);
            out.extend((run.symbol >= 16).then_some(run.extra));
        }
        expected.run_lengths = predict_run_lengths(&actual.runs);
    }
    if expected.run_lengths != actual.run_lengths {
        flags |= RUN_LENGTHS;
        varint::put(out, actual.run_lengths.len() as u64);
        out.extend(&actual.run_lengths);
    }
    flags
}

/// How many lengths there are, then in turn how many are as predicted and one that is not.
fn put_lengths(predicted: &Trees, actual: &Trees, out: &mut Vec<u8>) {
    varint::put(out, actual.literals.len() as u64);
    varint::put(out, actual.distances.len() as u64);
    let mut equal = 0u64;
    let padded = |lengths: &[u8], i: usize| lengths.get(i).copied().unwrap_or(0);
    let literals =
        (0..actual.literals.len()).map(|i| (padded(&predicted.literals, i), actual.literals[i]));
    let distances =
        (0..actual.distances.len()).map(|i| (padded(&predicted.distances, i), actual.distances[i]));
    for (predicted, actual) in literals.chain(distances) {
        if predicted == actual {
            equal += 1;
        } else {
            varint::put(out, std::mem::take(&mut equal));
            out.push(actual);
        }
    }
    varint::put(out, equal);
}

/// Writes the stream that holds `plain`, corrected; the steps that took.
pub(super) fn apply(
    plain: &[u8],
    corrections: &[u8],
    expected: &Expected,
    out: &mut dyn Write,
) -> Result<u64, RecreateError> {
    let mut rest = corrections;
    let settings = take_settings(&mut rest).ok_or(wrong("they have no settings"))?;
    let mut recreation = Recreation {
        plain,
        rest,
        settings,
        predictor: Predictor::new(plain, settings),
        max_steps: expected.max_steps,
        block_steps: 0,
        tokens: Vec::with_capacity(plain.len().min(MAX_BLOCK_TOKENS)),
        out: BitWriter::new(out, expected.compressed_bytes),
    };
    while !recreation.block()? {}
    let is_whole = recreation.predictor.left() == 0 && recreation.rest.is_empty();
    if !is_whole {
        return Err(wrong("they end the stream before its content ends"));
    }
    let steps = recreation.steps();
    recreation.out.finish()?;
    Ok(steps)
}

fn take_settings(rest: &mut &[u8]) -> Option<Settings> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Settings::from_bytes(*bytes)
}

fn wrong(what: &'static str) -> RecreateError {
    RecreateError::Corrections { what }
}

struct Recreation<'a> {
    plain: &'a [u8],
    rest: &'a [u8],
    settings: Settings,
    predictor: Predictor<'a>,
    max_steps: u64,
    /// What the blocks come to besides their tokens.
    block_steps: u64,
    tokens: Vec<Token>,
    out: BitWriter<'a>,
}

impl Recreation<'_> {
    fn steps(&self) -> u64 {
        self.predictor.steps() + self.block_steps
    }

    fn check_steps(&self) -> Result<(), RecreateError> {
        match self.steps() <= self.max_steps {
            true => Ok(()),
            false => Err(RecreateError::Steps { allowed: self.max_steps }),
        }
    }

    fn byte(&mut self) -> Result<u8, RecreateError> {
        let (first, after) = self.rest.split_first().ok_or(wrong("they end early"))?;
        self.rest = after;
        Ok(*first)
    }

    fn number(&mut self) -> Result<usize, RecreateError> {
        let number = varint::take(&mut self.rest).and_then(|n| usize::try_from(n).ok());
        number.ok_or(wrong("a number is cut or too large"))
    }

    /// Writes the next block; whether it was the last one.
    fn block(&mut self) -> Result<bool, RecreateError> {
        self.block_steps += BLOCK_STEPS;
        self.check_steps()?;
        let flags = if self.rest.is_empty() { 0 } else { self.byte()? };
        if flags & KIND == STORED {
            return self.stored(flags);
        }
        let start = self.predictor.position();
        self.make_tokens(flags)?;
        let plain = &self.plain[start..self.predictor.position()];
        let (predicted, is_fixed) = predict_trees(&self.tokens, plain);
        let is_last = self.put_head(flags)?;
        match flags & KIND {
            FIXED => self.put_fixed(plain)?,
            0 if is_fixed => self.put_fixed(plain)?,
            _ => {
                let trees = self.take_trees(flags, predicted)?;
                self.out.put(2, 2)?;
                self.put_trees(&trees)?;
                self.put_tokens(plain, &trees.literals, &trees.distances)?;
            }
        }
        Ok(is_last)
    }

    fn put_head(&mut self, flags: u8) -> Result<bool, RecreateError> {
        let is_last = (self.predictor.left() == 0) != (flags & LAST != 0);
        self.out.put(is_last.into(), 1)?;
        Ok(is_last)
    }

    fn stored(&mut self, flags: u8) -> Result<bool, RecreateError> {
        let length = self.number()?.min(self.predictor.left());
        let length_field = u16::try_from(length).map_err(|_| wrong("a block is too long"))?;
        let start = self.predictor.position();
        self.predictor.skip(length);
        let is_last = self.put_head(flags)?;
        self.out.put(0, 2)?;
        self.out.pad()?;
        self.out.put(length_field.into(), 16)?;
        self.out.put((!length_field).into(), 16)?;
        self.out.put_bytes(&self.plain[start..start + length])?;
        Ok(is_last)
    }

    fn make_tokens(&mut self, flags: u8) -> Result<(), RecreateError> {
        let count = if flags & TOKEN_COUNT != 0 { Some(self.number()?) } else { None };
        let mut wrong_left = if flags & TOKENS != 0 { self.number()? } else { 0 };
        let mut gap = if wrong_left > 0 { self.number()? } else { 0 };
        let mut block_end = BlockEnd::new(self.settings, self.predictor.position());
        self.tokens.clear();
        while count != Some(self.tokens.len()) && self.predictor.left() > 0 {
            if self.tokens.len() >= MAX_BLOCK_TOKENS {
                return Err(wrong("a block has too many tokens"));
            }
            let mut token = self.predictor.predict();
            self.check_steps()?;
            if wrong_left > 0 && gap == 0 {
                token = self.token()?;
                wrong_left -= 1;
                gap = if wrong_left > 0 { self.number()? } else { 0 };
            } else {
                gap = gap.saturating_sub(1);
            }
            let ends = block_end.is_after(token, self.predictor.position());
            self.predictor.advance(token);
            self.tokens.push(token);
            if ends && count.is_none() {
                break;
            }
        }
        let is_as_said = wrong_left == 0 && count.is_none_or(|count| count == self.tokens.len());
        if is_as_said { Ok(()) } else { Err(wrong("a block has fewer tokens than they say")) }
    }

    /// A token that was not predicted.
    fn token(&mut self) -> Result<Token, RecreateError> {
        let length = self.number()?;
        if length == 0 {
            return Ok(Token::LITERAL);
        }
        let length = length.saturating_add(2);
        let distance = self.number()?;
        let is_possible = length <= MAX_MATCH.min(self.predictor.left())
            && (1..=WINDOW_BYTES.min(self.predictor.position())).contains(&distance);
        let token = |length, distance| Token { length, distance };
        match (u16::try_from(length), u16::try_from(distance)) {
            (Ok(length), Ok(distance)) if is_possible => Ok(token(length, distance)),
            _ => Err(wrong("a match is not possible")),
        }
    }

    fn take_trees(&mut self, flags: u8, predicted: Trees) -> Result<Trees, RecreateError> {
        let mut trees = predicted;
        if flags & LENGTHS != 0 {
            trees = self.take_lengths(&trees)?;
        }
        if flags & RUNS != 0 {
            self.take_runs(&mut trees)?;
        }
        if flags & RUN_LENGTHS != 0 {
            let count = self.number()?;
            if !(4..=LENGTH_CODE_SYMBOLS).contains(&count) {
                return Err(wrong("a code for lengths has not 4 to 19 lengths"));
            }
            trees.run_lengths = (0..count).map(|_| self.byte()).collect::<Result<_, _>>()?;
        }
        Ok(trees)
    }

    fn take_lengths(&mut self, predicted: &Trees) -> Result<Trees, RecreateError> {
        let (literal_count, distance_count) = (self.number()?, self.number()?);
        let is_possible = (257..=LITERAL_SYMBOLS).contains(&literal_count)
            && (1..=DISTANCE_SYMBOLS).contains(&distance_count);
        if !is_possible {
            return Err(wrong("a block has codes for too few or too many symbols"));
        }
        let mut lengths = predicted.literals.clone();
        lengths.resize(literal_count, 0);
        lengths.extend(&predicted.distances[..predicted.distances.len().min(distance_count)]);
        lengths.resize(literal_count + distance_count, 0);
        let mut at = self.number()?;
        while at < lengths.len() {
            lengths[at] = self.byte()?;
            if lengths[at] > 15 {
                return Err(wrong("a code is too long"));
            }
            at = (at + 1).saturating_add(self.number()?);
        }
        let distances = lengths.split_off(literal_count);
        Ok(trees_of(lengths, distances).0)
    }

    fn take_runs(&mut self, trees: &mut Trees) -> Result<(), RecreateError> {
        let wanted = trees.literals.len() + trees.distances.len();
        let count = self.number()?;
        trees.runs.clear();
        let mut lengths = 0;
        for _ in 0..count {
            let symbol = self.byte()?;
            let extra = if symbol >= 16 { self.byte()? } else { 0 };
            let run = Run { symbol, extra };
            lengths += run.count();
            if usize::from(symbol) >= LENGTH_CODE_SYMBOLS || lengths > wanted {
                return Err(wrong("lengths of codes are sent in no possible way"));
            }
            trees.runs.push(run);
        }
        trees.run_lengths = predict_run_lengths(&trees.runs);
        Ok(())
    }

    fn put_trees(&mut self, trees: &Trees) -> Result<(), RecreateError> {
        // 257 to 286, 1 to 30 and 4 to 19, all checked.
        let field = |count: usize, least| u32::try_from(count - least).unwrap_or(0);
        self.out.put(field(trees.literals.len(), 257), 5)?;
        self.out.put(field(trees.distances.len(), 1), 5)?;
        self.out.put(field(trees.run_lengths.len(), 4), 4)?;
        trees.run_lengths.iter().try_for_each(|bits| self.out.put((*bits).into(), 3))?;
        let mut by_symbol = [0; LENGTH_CODE_SYMBOLS];
        let order = LENGTH_CODE_ORDER.iter().zip(&trees.run_lengths);
        order.for_each(|(symbol, bits)| by_symbol[*symbol] = *bits & 7);
        let codes = codes(&by_symbol);
        for run in &trees.runs {
            let symbol = usize::from(run.symbol);
            let (code, bits) = codes[symbol];
            self.out.put(code.into(), bits.into())?;
            if let Some(repeat) = symbol.checked_sub(16) {
                self.out.put(run.extra.into(), RUN_EXTRA_BITS[repeat])?;
            }
        }
        Ok(())
    }

    fn put_fixed(&mut self, plain: &[u8]) -> Result<(), RecreateError> {
        self.out.put(1, 2)?;
        self.put_tokens(plain, &fixed_literal_lengths(), &FIXED_DISTANCE_LENGTHS)
    }

    fn put_tokens(
        &mut self,
        plain: &[u8],
        literals: &[u8],
        distances: &[u8],
    ) -> Result<(), RecreateError> {
        let (literals, distances) = (codes(literals), codes(distances));
        let code =
            |codes: &[(u16, u8)], symbol: usize| codes.get(symbol).copied().unwrap_or((0, 0));
        let mut at = 0;
        for token in &self.tokens {
            let symbol = match token.is_literal() {
                true => usize::from(plain[at]),
                false => END_OF_BLOCK + 1 + length_symbol(token.length).symbol,
            };
            let (bits, count) = code(&literals, symbol);
            self.out.put(bits.into(), count.into())?;
            if !token.is_literal() {
                let length = length_symbol(token.length);
                self.out.put(length.extra, length.extra_bits)?;
                let distance = distance_symbol(token.distance);
                let (bits, count) = code(&distances, distance.symbol);
                self.out.put(bits.into(), count.into())?;
                self.out.put(distance.extra, distance.extra_bits)?;
            }
            at += token.bytes();
        }
        let (bits, count) = code(&literals, END_OF_BLOCK);
        self.out.put(bits.into(), count.into())
    }
}
