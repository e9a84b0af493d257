//! The model: what the bits of a byte are likely to be.

use super::arithmetic::BitCoder;
use super::lanes::{self, Lanes};
use super::logistic::{LIMIT, LOGISTIC, Logistic};
use super::refinement::Refinements;
use super::repeats::Repeats;
use super::slots::{HalfByte, Node, Predictions, Slots};
use super::{CONTEXTS, Context, PARTS, low_16, nudged};

/// The repeat's input; before it are those of the contexts.
const REPEAT: usize = CONTEXTS;

/// Weights are of 8192.
const FIRST_WEIGHTS: Lanes = {
    let mut weights = [2300; lanes::LANES];
    weights[REPEAT] = 4096;
    weights
};
/// How fast weights learn.
const LEARNING: i32 = 6;

/// Kinds of repeat that have weights of their own: none, and three lengths.
const REPEAT_KINDS: usize = 4;

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

/// What a bit is predicted from.
struct Place<'a> {
    context: &'a Context,
    half: &'a HalfByte,
    node: Node,
    repeat: Option<Repeat>,
}

/// Predicts bytes, and learns from each.
pub(super) struct Model {
    logistic: &'static Logistic,
    slots: Slots,
    repeats: Repeats,
    /// How likely a repeat of each length goes on, of 65,536.
    trust: [u16; 64],
    /// Weights by the context's part, and the bits of the byte so far.
    by_part: Box<[Lanes]>,
    /// Weights by the context's selector, and the repeat's kind.
    by_selector: Box<[Lanes]>,
    /// By what the context says, and the bits of the byte so far.
    refinements: Refinements,
}

impl Model {
    /// One whose table has `2^log` bytes.
    pub(super) fn new(log: u8) -> Self {
        Self {
            logistic: &LOGISTIC,
            slots: Slots::new(log),
            repeats: Repeats::new(log),
            trust: [49_152; 64],
            by_part: vec![FIRST_WEIGHTS; PARTS * 256].into_boxed_slice(),
            by_selector: vec![FIRST_WEIGHTS; 256 * REPEAT_KINDS].into_boxed_slice(),
            refinements: Refinements::new(8 * 256),
        }
    }

    /// Codes a byte: reading gives it; writing takes `byte` and gives it back.
    pub(super) fn code(&mut self, coder: &mut impl BitCoder, context: &Context, byte: u8) -> u8 {
        let mut expected = self.repeats.expected();
        // The bits so far, below a 1.
        let mut bits = 1;
        for first in [7, 3] {
            let half = self.slots.find(context, if first == 7 { 0 } else { bits });
            let mut of_half = 1;
            for shift in (first - 3..=first).rev() {
                let bit_of = |byte: u8| u32::from(byte >> shift & 1);
                let repeat = expected.map(|(byte, length)| Repeat { bit: bit_of(byte), length });
                let node = Node { of_byte: bits as usize, of_half: of_half as usize };
                let place = Place { context, half: &half, node, repeat };
                let bit = self.bit(coder, &place, bit_of(byte));
                if repeat.is_some_and(|repeat| repeat.bit != bit) {
                    expected = None;
                }
                (bits, of_half) = (bits << 1 | bit, of_half << 1 | bit);
            }
        }
        let byte = bits.to_le_bytes()[0];
        self.repeats.push(byte);
        byte
    }

    /// Codes a bit, and learns it.
    fn bit(&mut self, coder: &mut impl BitCoder, place: &Place<'_>, bit: u32) -> u32 {
        let Place { context, half, node, repeat } = *place;
        let [part, selector, refinement] =
            [context.part, context.selector, context.refinement].map(usize::from);
        let mut predictions = self.slots.at(half, node);
        let inputs = self.inputs(&predictions, repeat);
        let weights = [
            &mut self.by_part[part * 256 + node.of_byte],
            &mut self.by_selector[selector * REPEAT_KINDS + Repeat::kind(repeat)],
        ];
        let sums = lanes::sums(&inputs, weights.each_ref().map(|weights| &**weights));
        let mixed = sums.map(|sum| (sum >> 13).clamp(-LIMIT, LIMIT));

        let mean = (mixed[0] + mixed[1]) >> 1;
        let refinement = self.refinements.of(refinement * 256 + node.of_byte, mean);
        let probability = (self.logistic.squash(mean) + 3 * refinement.probability()) >> 2;
        let bit = coder.code(probability.clamp(1, 4095).unsigned_abs(), bit);

        refinement.learn(bit);
        let aim = if bit == 1 { 4096 } else { 0 };
        for (weights, mixed) in weights.into_iter().zip(mixed) {
            let error = aim - self.logistic.squash(mixed);
            lanes::learn(&inputs, weights, low_16(error * LEARNING));
        }
        if let Some(repeat) = repeat {
            let trust = &mut self.trust[repeat.length & 63];
            *trust = nudged(*trust, repeat.bit == bit);
        }
        predictions.learn(bit);
        self.slots.put(half, node, &predictions);
        bit
    }

    /// What each context says of the next bit, and the repeat.
    fn inputs(&self, predictions: &Predictions, repeat: Option<Repeat>) -> Lanes {
        let mut inputs = [0; lanes::LANES];
        for (input, probability) in inputs.iter_mut().zip(predictions.probabilities()) {
            *input = self.logistic.stretch(probability);
        }
        if let Some(repeat) = repeat {
            let trust = self.logistic.stretch(self.trust[repeat.length & 63] >> 4);
            inputs[REPEAT] = if repeat.bit == 1 { trust } else { -trust };
        }
        inputs
    }
}
