//! How operands are spelled in instructions of 32-bit ARM.

use crate::references::site::sign_extend;

/// An operand of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::references) enum Spelling {
    /// A32: B, BL; 24 bits of words.
    Branch24,
    /// A32: LDR (literal); 12 bits of bytes, and one that says which way.
    Literal12,
    /// A32: 16 bits of a number, the low ones (MOVW) or the high ones (MOVT).
    Half { is_high: bool },
    /// Thumb-2: BL, BLX, B.W; 24 bits of halfwords.
    ThumbBranch24,
    /// Thumb-2: B<c>.W; 20 bits of halfwords.
    ThumbBranch20,
    /// Thumb-2: MOVW, MOVT.
    ThumbHalf { is_high: bool },
}

/// A run of bits: where it starts in the word, and how many there are.
type Bits = (u32, u32);

/// Whether a load is from after the program counter.
const FORWARDS: u64 = 1 << 23;

impl Spelling {
    /// Whether it is the higher half of a number.
    pub(super) fn is_high(self) -> bool {
        matches!(self, Self::Half { is_high: true } | Self::ThumbHalf { is_high: true })
    }

    /// The fields of an operand, lowest first.
    fn fields(self) -> &'static [Bits] {
        match self {
            Self::Branch24 => &[(0, 24)],
            Self::Literal12 => &[(0, 12)],
            // imm12, imm4.
            Self::Half { .. } => &[(0, 12), (16, 4)],
            // imm11, imm6, J1, J2, S.
            Self::ThumbBranch20 => &[(16, 11), (0, 6), (29, 1), (27, 1), (10, 1)],
            // imm8, imm3, i, imm4.
            Self::ThumbHalf { .. } => &[(16, 8), (28, 3), (10, 1), (0, 4)],
            // imm11, imm10, J2, J1, S.
            _ => &[(16, 11), (0, 10), (27, 1), (29, 1), (10, 1)],
        }
    }

    /// The bits that are in no field, lowest first.
    fn others(self) -> &'static [Bits] {
        match self {
            Self::Branch24 => &[(24, 8)],
            Self::Literal12 => &[(12, 20)],
            Self::Half { .. } => &[(12, 4), (20, 12)],
            Self::ThumbBranch20 => &[(6, 4), (11, 5), (28, 1), (30, 2)],
            Self::ThumbHalf { .. } => &[(4, 6), (11, 5), (24, 4), (31, 1)],
            _ => &[(11, 5), (28, 1), (30, 2)],
        }
    }

    fn operand_bits(self) -> u32 {
        self.fields().iter().map(|field| field.1).sum()
    }

    /// The operand's bits in the lowest places, and the other bits above them in their order. J1 and J2 of
    /// the longer branch are turned into the bits that they stand for.
    pub(in crate::references) fn unfold(self, word: u64) -> u64 {
        let (mut bits, mut place) = (0, 0);
        for (shift, length) in self.fields().iter().chain(self.others()) {
            bits |= (word >> shift & ((1 << length) - 1)) << place;
            place += length;
        }
        self.turn(bits)
    }

    /// Undoes [`unfold`](Self::unfold).
    pub(in crate::references) fn fold(self, bits: u64) -> u64 {
        let bits = self.turn(bits);
        let (mut word, mut place) = (0, 0);
        for (shift, length) in self.fields().iter().chain(self.others()) {
            word |= (bits >> place & ((1 << length) - 1)) << shift;
            place += length;
        }
        word
    }

    /// Where the sign is 0, J1 and J2 stand for their opposites.
    fn turn(self, bits: u64) -> u64 {
        let is_negative = bits >> (self.operand_bits() - 1) & 1 == 1;
        match self {
            Self::ThumbBranch24 if !is_negative => bits ^ 3 << 21,
            _ => bits,
        }
    }

    /// What the operand of a word stands for.
    pub(in crate::references) fn operand(self, word: u64) -> u64 {
        let bits = self.operand_bits();
        let number = self.unfold(word) & ((1 << bits) - 1);
        match self {
            Self::Branch24 => sign_extend(number, bits) << 2,
            Self::Literal12 if word & FORWARDS == 0 => number.wrapping_neg(),
            Self::Half { is_high } | Self::ThumbHalf { is_high } => number << half_shift(is_high),
            Self::Literal12 => number,
            _ => sign_extend(number, bits) << 1,
        }
    }

    /// A word with another operand; bits that do not fit are lost.
    pub(in crate::references) fn with_operand(self, word: u64, operand: u64) -> u64 {
        let (word, number) = match self {
            Self::Branch24 => (word, operand >> 2),
            Self::Literal12 if operand.cast_signed() < 0 => {
                (word & !FORWARDS, operand.wrapping_neg())
            }
            Self::Literal12 => (word | FORWARDS, operand),
            Self::Half { is_high } | Self::ThumbHalf { is_high } => {
                (word, operand >> half_shift(is_high))
            }
            _ => (word, operand >> 1),
        };
        let mask = (1 << self.operand_bits()) - 1;
        self.fold(self.unfold(word) & !mask | number & mask)
    }
}

fn half_shift(is_high: bool) -> u32 {
    if is_high { 16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Spelling; 8] = [
        Spelling::Branch24,
        Spelling::Literal12,
        Spelling::Half { is_high: false },
        Spelling::Half { is_high: true },
        Spelling::ThumbBranch24,
        Spelling::ThumbBranch20,
        Spelling::ThumbHalf { is_high: false },
        Spelling::ThumbHalf { is_high: true },
    ];

    proptest! {
        #[test]
        fn words_are_folded_back(word: u32, spelling in proptest::sample::select(&ALL[..])) {
            let unfolded = spelling.unfold(word.into());
            prop_assert!(unfolded <= u32::MAX.into());
            prop_assert_eq!(spelling.fold(unfolded), u64::from(word));
            let operand = spelling.operand(word.into());
            let again = spelling.with_operand(word.into(), operand);
            prop_assert_eq!(spelling.operand(again), operand);
            // A load of the word ahead can be spelled as from before it.
            let is_same = again == u64::from(word) || spelling == Spelling::Literal12 && operand == 0;
            prop_assert!(is_same, "{:x}", again);
        }
    }

    #[test]
    fn operands_are_what_the_manual_says() {
        // As objdump lists them; of Thumb-2 the first halfword is the low one.
        let cases: [(Spelling, u64, i64); 9] = [
            (Spelling::Branch24, 0xebff_fff6, -40),     // bl .-32
            (Spelling::Literal12, 0xe59f_e004, 4),      // ldr lr, [pc, #4]
            (Spelling::Literal12, 0xe51f_1234, -0x234), // ldr r1, [pc, #-564]
            (Spelling::Half { is_high: false }, 0xe30f_1abc, 0xfabc), // movw r1, #0xfabc
            (Spelling::Half { is_high: true }, 0xe344_1001, 0x4001_0000), // movt r1, #0x4001
            (Spelling::ThumbBranch24, 0xffda_f7ff, -76), // bl .-72
            (Spelling::ThumbBranch20, 0x807e_f000, 0xfc), // beq.w .+0x100
            (Spelling::ThumbHalf { is_high: false }, 0x33c8_f242, 0x23c8), // movw r3, #0x23c8
            (Spelling::ThumbHalf { is_high: true }, 0x0301_f6cf, 0xf801_0000), // movt r3, #0xf801
        ];
        for (spelling, word, expected) in cases {
            assert_eq!(spelling.operand(word).cast_signed(), expected, "{spelling:?} {word:x}");
        }
    }
}
