//! Arithmetic on all inputs at once, in 16 bits each, which compilers make vectors of.
//!
//! None of it is inlined: where it is, what has been computed number by number is gone on with number by number.

use super::low_16;

/// As many as the smallest vectors have.
pub(super) const LANES: usize = 8;

/// A number for each input.
pub(super) type Lanes = [i16; LANES];

/// The sums of products with two sets of weights.
#[inline(never)]
pub(super) fn sums(inputs: &Lanes, weights: [&Lanes; 2]) -> [i32; 2] {
    weights.map(|weights| {
        let mut products = [0; LANES];
        for ((product, x), weight) in products.iter_mut().zip(inputs).zip(weights) {
            *product = i32::from(*x) * i32::from(*weight);
        }
        products.iter().sum()
    })
}

/// Adds to each weight 65,536ths of its input, so many, rounded.
#[inline(never)]
pub(super) fn learn(inputs: &Lanes, weights: &mut Lanes, rate: i16) {
    for (weight, x) in weights.iter_mut().zip(inputs) {
        let high = low_16((i32::from(*x) * i32::from(rate)) >> 16);
        // -1 where the rest is half or more.
        let rounding = x.wrapping_mul(rate) >> 15;
        *weight = weight.saturating_add(high - rounding);
    }
}

/// Moves each value towards `aim` by 16,384ths of what is missing, so many. Values are below 8,192.
#[inline(never)]
pub(super) fn approach(values: &mut Lanes, rates: &Lanes, aim: i16) {
    for (value, rate) in values.iter_mut().zip(rates) {
        let missing = (aim - *value) << 2;
        *value += low_16((i32::from(missing) * i32::from(*rate)) >> 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: i16 = 8191;

    fn lanes(range: std::ops::RangeInclusive<i16>) -> impl Strategy<Value = Lanes> {
        proptest::array::uniform(range)
    }

    proptest! {
        #[test]
        fn weights_grow_by_the_nearest_number(
            inputs in lanes(-2047..=2047),
            before in lanes(i16::MIN..=i16::MAX),
            rate in -24_576i16..=24_576,
        ) {
            let mut weights = before;
            learn(&inputs, &mut weights, rate);
            for i in 0..LANES {
                let step = (f64::from(inputs[i]) * f64::from(rate) / 65_536.0 + 0.5).floor();
                let exact = (f64::from(before[i]) + step).clamp(i16::MIN.into(), i16::MAX.into());
                prop_assert_eq!(f64::from(weights[i]), exact);
            }
        }

        #[test]
        fn values_come_nearer_by_their_rates(
            before in lanes(0..=MOST),
            rates in lanes(1..=16_383),
            is_up: bool,
        ) {
            let mut values = before;
            approach(&mut values, &rates, if is_up { MOST } else { 0 });
            for i in 0..LANES {
                let missing = if is_up { MOST - before[i] } else { -before[i] };
                let step = (f64::from(missing) * f64::from(rates[i]) / 16_384.0).floor();
                prop_assert_eq!(f64::from(values[i]), f64::from(before[i]) + step);
                prop_assert!((0..=MOST).contains(&values[i]));
            }
        }
    }
}
