//! Probabilities in the logistic domain, in whole numbers: the same on every machine.

use std::sync::LazyLock;

/// Bound of what [`Logistic::stretch`] gives, which [`Logistic::squash`] takes.
pub(super) const LIMIT: i32 = 2047;

/// `4096 / (1 + e^-x)` for x = -8, -7.5, … 8, rounded.
const KNOTS: [i32; 33] = [
    1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349,
    3608, 3785, 3902, 3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095,
];

/// Both directions, as tables.
pub(super) struct Logistic {
    squash: [i16; 4096],
    stretch: [i16; 4096],
}

/// There is one.
pub(super) static LOGISTIC: LazyLock<Box<Logistic>> = LazyLock::new(Logistic::new);

impl Logistic {
    fn new() -> Box<Self> {
        let mut tables = Box::new(Self { squash: [0; 4096], stretch: [0; 4096] });
        let mut next = 0;
        for (x, squashed) in (-2048i16..).zip(&mut tables.squash) {
            let at = usize::from((x + 2048).unsigned_abs());
            // 2,048 is a multiple of the distance of knots.
            let (knot, within) = (at >> 7, i32::from(x) & 127);
            let probability = (KNOTS[knot] * (128 - within) + KNOTS[knot + 1] * within + 64) >> 7;
            *squashed = super::low_16(probability);
            // The first number that is squashed to so much, or to more.
            while next <= probability {
                tables.stretch[usize::try_from(next).unwrap_or(0)] = x.max(-2047);
                next += 1;
            }
        }
        let rest = usize::try_from(next).unwrap_or(0);
        tables.stretch[rest..].fill(2047);
        tables
    }

    /// The probability, of 4096, for a number in the logistic domain, of 256.
    pub(super) fn squash(&self, x: i32) -> i32 {
        let at = (x.clamp(-LIMIT, LIMIT) + 2048).unsigned_abs();
        i32::from(self.squash[at as usize & 4095])
    }

    /// The other way round.
    pub(super) fn stretch(&self, probability: u16) -> i16 {
        self.stretch[usize::from(probability) & 4095]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_undoes_squashing_as_far_as_there_are_steps() {
        for probability in 1..4095u16 {
            let x = i32::from(LOGISTIC.stretch(probability));
            assert!(LOGISTIC.squash(x) >= i32::from(probability), "{probability}");
            assert!(
                x == -LIMIT || LOGISTIC.squash(x - 1) < i32::from(probability),
                "{probability}"
            );
        }
    }

    #[test]
    fn squashing_is_the_logistic_function() {
        for x in -2047..=2047 {
            let exact = 4096.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            let found = f64::from(LOGISTIC.squash(x));
            // The knots are half a unit apart: what lies between is on straight lines.
            assert!((found - exact).abs() < 16.0, "{x}: {found} for {exact}");
        }
    }
}
