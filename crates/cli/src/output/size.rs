//! Sizes as Docker prints them: decimal units, some significant digits.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Four digits, as in what Docker says of one image: `294.3MB`.
pub(crate) fn exact_size(bytes: u64) -> String {
    with_digits(bytes, 4)
}

/// Three digits, as in Docker's lists: `294MB`.
pub(crate) fn short_size(bytes: u64) -> String {
    with_digits(bytes, 3)
}

/// Rounds to `digits` significant ones and leaves out zeros at the end, as C's `%g` does.
fn with_digits(bytes: u64, digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let whole_digits = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole_digits));
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_docker() {
        for (bytes, exact, short) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (294_349_824, "294.3MB", "294MB"),
            (42_151_000, "42.15MB", "42.2MB"),
            (1_500_000_000, "1.5GB", "1.5GB"),
            (999_960, "1000kB", "1000kB"),
            (u64::MAX, "18.45EB", "18.4EB"),
        ] {
            assert_eq!((&*exact_size(bytes), &*short_size(bytes)), (exact, short), "{bytes}");
        }
    }
}
