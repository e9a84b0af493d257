//! The symbols of deflate (RFC 1951, section 3.2.5) and the fixed codes.

/// Symbols of literals, the end of the block, and lengths.
pub(super) const LITERAL_SYMBOLS: usize = 286;
/// Symbols of distances.
pub(super) const DISTANCE_SYMBOLS: usize = 30;
/// Symbols that lengths of codes are sent by.
pub(super) const LENGTH_CODE_SYMBOLS: usize = 19;
/// The symbol that ends a block; those of lengths follow it.
pub(super) const END_OF_BLOCK: usize = 256;
/// The order in which lengths of the code for lengths are sent.
pub(super) const LENGTH_CODE_ORDER: [usize; LENGTH_CODE_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Extra bits of the symbols 16, 17 and 18 of the code for lengths.
pub(super) const RUN_EXTRA_BITS: [u32; 3] = [2, 3, 7];

pub(super) const MIN_MATCH: usize = 3;
pub(super) const MAX_MATCH: usize = 258;
pub(super) const WINDOW_BYTES: usize = 32 << 10;

/// A literal, or a repetition of earlier bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// Bytes of plain text; 1 for a literal.
    pub(super) length: u16,
    /// How far back they are; 0 for a literal.
    pub(super) distance: u16,
}

impl Token {
    pub(super) const LITERAL: Self = Self { length: 1, distance: 0 };

    pub(super) fn is_literal(self) -> bool {
        self.distance == 0
    }

    pub(super) fn bytes(self) -> usize {
        self.length.into()
    }
}

/// A symbol with its extra bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) symbol: usize,
    pub(super) extra: u32,
    pub(super) extra_bits: u32,
}

/// The symbol of a match's length, counted from the first that stands for one.
pub(super) fn length_symbol(length: u16) -> Symbol {
    let over = u32::from(length).saturating_sub(3);
    match over {
        0..8 => Symbol { symbol: over as usize, extra: 0, extra_bits: 0 },
        255.. => Symbol { symbol: 28, extra: 0, extra_bits: 0 },
        _ => {
            let extra_bits = over.ilog2() - 2;
            let symbol = (4 * (extra_bits + 1) + ((over >> extra_bits) & 3)) as usize;
            Symbol { symbol, extra: over & ((1 << extra_bits) - 1), extra_bits }
        }
    }
}

/// The symbol of a match's distance, which is not 0.
pub(super) fn distance_symbol(distance: u16) -> Symbol {
    let over = u32::from(distance).saturating_sub(1);
    match over {
        0..4 => Symbol { symbol: over as usize, extra: 0, extra_bits: 0 },
        _ => {
            let extra_bits = over.ilog2() - 1;
            let symbol = (2 * (extra_bits + 1) + ((over >> extra_bits) & 1)) as usize;
            Symbol { symbol, extra: over & ((1 << extra_bits) - 1), extra_bits }
        }
    }
}

/// The shortest length of a symbol of lengths, and its extra bits.
pub(super) fn length_of(symbol: usize) -> (usize, u32) {
    match symbol {
        0..8 => (3 + symbol, 0),
        28.. => (258, 0),
        _ => {
            let extra_bits = symbol / 4 - 1;
            (3 + ((4 + symbol % 4) << extra_bits), small(extra_bits))
        }
    }
}

/// The shortest distance of a symbol of distances, and its extra bits.
pub(super) fn distance_of(symbol: usize) -> (usize, u32) {
    match symbol {
        0..2 => (1 + symbol, 0),
        _ => {
            let extra_bits = (symbol / 2 - 1).min(13);
            (1 + ((2 + symbol % 2) << extra_bits), small(extra_bits))
        }
    }
}

fn small(bits: usize) -> u32 {
    u32::try_from(bits).unwrap_or(0)
}

/// Lengths of the fixed code for literals and lengths: of all its symbols, two of which are not used.
pub(super) fn fixed_literal_lengths() -> [u8; 288] {
    std::array::from_fn(|symbol| match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    })
}

/// Lengths of the fixed code for distances.
pub(super) const FIXED_DISTANCE_LENGTHS: [u8; DISTANCE_SYMBOLS] = [5; DISTANCE_SYMBOLS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_values_agree() {
        for length in 3..=258 {
            let symbol = length_symbol(length);
            let (base, extra_bits) = length_of(symbol.symbol);
            assert_eq!(extra_bits, symbol.extra_bits, "{length}");
            assert_eq!(base + symbol.extra as usize, usize::from(length));
        }
        for distance in 1..=32768u16 {
            let symbol = distance_symbol(distance);
            let (base, extra_bits) = distance_of(symbol.symbol);
            assert_eq!(extra_bits, symbol.extra_bits, "{distance}");
            assert_eq!(base + symbol.extra as usize, usize::from(distance));
        }
        assert_eq!((length_symbol(258).symbol, distance_symbol(32768).symbol), (28, 29));
    }
}
