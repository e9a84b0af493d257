//! The model: what the bits of a byte are likely to be.

use super::arithmetic::BitCoder;
use super::logistic::{LIMIT, LOGISTIC, Logistic};
use super::repeats::Repeats;
use super::slots::{BucketId, Slots};
use super::{CONTEXTS, Context, low_16, low_u16};

/// Predictions that are mixed: of the contexts and of the repeat; the rest is 0, for the width of vectors.
const INPUTS: usize = 16;
/// The repeat's.
const REPEAT: usize = CONTEXTS;

/// Weights are of 8192. A third each to begin with.
const FIRST_WEIGHT: i16 = 2730;
const FIRST_REPEAT_WEIGHT: i16 = 4096;
/// How fast weights learn.
const LEARNING: i32 = 6;

/// Steps between the cells of a refinement, in the logistic domain.
const CELL: i32 = 128;
const CELLS: usize = 33;

/// Kinds of repeat that have weights of their own: none, and three lengths.
const REPEAT_KINDS: usize = 4;

/// Where in a byte a bit is.
struct Place<'a> {
    buckets: &'a [BucketId; CONTEXTS],
    /// The bit's node in the tree of its half of the byte.
    node: usize,
    /// The bits before it, below a 1.
    bits: usize,
    repeat: Option<Repeat>,
}

/// What a repeat says of a bit.
#[derive(Clone, Copy)]
struct Repeat {
    bit: u32,
    length: usize,
}

impl Repeat {
    fn kind(repeat: Option<Self>) -> usize {
        repeat.map_or(0, |Self { length, .. }| {
            1 + usize::from(length >= 8) + usize::from(length >= 16)
        })
    }
}

/// Predicts bytes, and learns from each.
pub(super) struct Model {
    logistic: &'static Logistic,
    slots: Slots,
    repeats: Repeats,
    /// How likely a repeat of each length goes on, of 65,536.
    trust: [u16; 64],
    /// Weights by the bits of the byte so far, and the repeat's kind.
    by_bits: Box<[[i16; INPUTS]]>,
    /// Weights by the context's selector.
    by_selector: Box<[[i16; INPUTS]]>,
    /// What predictions turned out to be worth, of 65,536: by the refinement's high bits, and the bits of the byte so far.
    refined: Box<[u16]>,
}

impl Model {
    /// One whose table has `2^log` bytes.
    pub(super) fn new(log: u8) -> Self {
        let mut weights = [0; INPUTS];
        weights[..CONTEXTS].fill(FIRST_WEIGHT);
        weights[REPEAT] = FIRST_REPEAT_WEIGHT;
        let logistic: &Logistic = &LOGISTIC;
        let mut refined = Vec::with_capacity(16 * 256 * CELLS);
        for _ in 0..16 * 256 {
            refined.extend(
                (-16..=16).map(|cell| low_u16(logistic.squash(cell * CELL).unsigned_abs() * 16)),
            );
        }
        Self {
            logistic,
            slots: Slots::new(log),
            repeats: Repeats::new(log),
            trust: [49_152; 64],
            by_bits: vec![weights; 256 * REPEAT_KINDS].into_boxed_slice(),
            by_selector: vec![weights; 256].into_boxed_slice(),
            refined: refined.into_boxed_slice(),
        }
    }

    /// Codes a byte: reading gives it; writing takes `byte` and gives it back.
    pub(super) fn code(&mut self, coder: &mut impl BitCoder, context: &Context, byte: u8) -> u8 {
        let mut buckets = [BucketId::default(); CONTEXTS];
        let mut expected = self.repeats.expected();
        // The bits so far, below a 1.
        let mut bits = 1;
        for i in 0..8u32 {
            if i % 4 == 0 {
                let half = if i == 0 { 0 } else { bits };
                for (bucket, key) in buckets.iter_mut().zip(context.keys) {
                    *bucket = self.slots.find(key, half);
                }
            }
            let of_half = 1 << (i % 4);
            let node = (bits & (of_half - 1) | of_half) as usize;
            let bit_of = |byte: u8| u32::from(byte >> (7 - i) & 1);
            let repeat = expected.map(|(byte, length)| Repeat { bit: bit_of(byte), length });
            let place = Place { buckets: &buckets, node, bits: bits as usize, repeat };
            let bit = self.bit(coder, &place, context, bit_of(byte));
            if repeat.is_some_and(|repeat| repeat.bit != bit) {
                expected = None;
            }
            bits = bits << 1 | bit;
        }
        let byte = bits.to_le_bytes()[0];
        self.repeats.push(byte);
        byte
    }

    /// Codes a bit, and learns it.
    fn bit(
        &mut self,
        coder: &mut impl BitCoder,
        place: &Place<'_>,
        context: &Context,
        bit: u32,
    ) -> u32 {
        let inputs = self.inputs(place);
        let bits = place.bits;
        let first = &mut self.by_bits[Repeat::kind(place.repeat) * 256 + bits];
        let second = &mut self.by_selector[usize::from(context.selector)];
        let (x, y) = (mix(&inputs, first), mix(&inputs, second));
        let mixed = (x + y) >> 1;

        let cell = (usize::from(context.refinement >> 4) * 256 + bits) * CELLS;
        let cell = &mut self.refined[cell..cell + CELLS];
        let (low, within) = ((mixed + 2048) / CELL, (mixed + 2048) % CELL);
        let low = low.unsigned_abs() as usize;
        let refined =
            (i32::from(cell[low]) * (CELL - within) + i32::from(cell[low + 1]) * within) >> 11;
        let probability = (self.logistic.squash(mixed) + 3 * refined) >> 2;
        let bit = coder.code(probability.clamp(1, 4095).unsigned_abs(), bit);

        let nearer = &mut cell[low + usize::from(within > CELL / 2)];
        *nearer = approach(*nearer, bit == 1);
        let aim = if bit == 1 { 4096 } else { 0 };
        learn(&inputs, first, aim - self.logistic.squash(x));
        learn(&inputs, second, aim - self.logistic.squash(y));
        if let Some(repeat) = place.repeat {
            let trust = &mut self.trust[repeat.length];
            *trust = approach(*trust, repeat.bit == bit);
        }
        place.buckets.iter().for_each(|bucket| self.slots.adapt(*bucket, place.node, bit));
        bit
    }

    /// What each context says of the next bit, and the repeat.
    fn inputs(&self, place: &Place<'_>) -> [i16; INPUTS] {
        let mut inputs = [0; INPUTS];
        for (input, bucket) in inputs.iter_mut().zip(place.buckets) {
            let probability = self.slots.probability(*bucket, place.node);
            *input = probability.map_or(0, |p| self.logistic.stretch(p));
        }
        if let Some(repeat) = place.repeat {
            let trust = self.logistic.stretch(self.trust[repeat.length] >> 4);
            inputs[REPEAT] = if repeat.bit == 1 { trust } else { -trust };
        }
        inputs
    }
}

/// The weighted sum of predictions.
fn mix(inputs: &[i16; INPUTS], weights: &[i16; INPUTS]) -> i32 {
    let products = inputs.iter().zip(weights).map(|(x, weight)| i32::from(*x) * i32::from(*weight));
    (products.sum::<i32>() >> 13).clamp(-LIMIT, LIMIT)
}

/// Moves weights towards those that would have been less wrong.
fn learn(inputs: &[i16; INPUTS], weights: &mut [i16; INPUTS], error: i32) {
    let rate = error * LEARNING;
    for (weight, x) in weights.iter_mut().zip(inputs) {
        let step = low_16((i32::from(*x) * rate + 0x8000) >> 16);
        *weight = weight.saturating_add(step);
    }
}

/// Moves a probability of 65,536 a 64th of the way.
fn approach(probability: u16, is_towards_one: bool) -> u16 {
    match is_towards_one {
        true => probability + ((u16::MAX - probability) >> 6),
        false => probability - (probability >> 6),
    }
}
