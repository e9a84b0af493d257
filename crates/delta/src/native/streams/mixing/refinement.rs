//! What predictions turned out to be worth.

use super::logistic::{LIMIT, LOGISTIC};
use super::{low_u16, nudged};

/// Steps between the cells of a refinement, in the logistic domain.
const CELL: u32 = 128;
const CELLS: usize = 33;

/// Probabilities of 65,536, by a context and by what was predicted.
pub(super) struct Refinements(Box<[[u16; CELLS]]>);

impl Refinements {
    /// For so many contexts.
    pub(super) fn new(contexts: usize) -> Self {
        let mut cells = [0; CELLS];
        for (cell, x) in cells.iter_mut().zip((-2048..).step_by(CELL as usize)) {
            *cell = low_u16(LOGISTIC.squash(x).unsigned_abs() * 16);
        }
        Self(vec![cells; contexts].into_boxed_slice())
    }

    /// What a prediction is worth that is `predicted` in the logistic domain.
    pub(super) fn of(&mut self, context: usize, predicted: i32) -> Refinement<'_> {
        let x = (predicted.clamp(-LIMIT, LIMIT) + 2048).unsigned_abs();
        let low = (x / CELL) as usize;
        let [below, above, ..] = &mut self.0[context][low..] else {
            unreachable!("the limit is below the last cell")
        };
        Refinement { below, above, within: x % CELL }
    }
}

/// Two cells, and how far a prediction is from the first one to the second.
pub(super) struct Refinement<'a> {
    below: &'a mut u16,
    above: &'a mut u16,
    within: u32,
}

impl Refinement<'_> {
    /// How likely a 1 is, of 4096.
    pub(super) fn probability(&self) -> i32 {
        let sum =
            u32::from(*self.below) * (CELL - self.within) + u32::from(*self.above) * self.within;
        (sum >> 11).cast_signed()
    }

    /// Learns the bit that came.
    pub(super) fn learn(self, bit: u32) {
        let nearer = if self.within > CELL / 2 { self.above } else { self.below };
        *nearer = nudged(*nearer, bit == 1);
    }
}
