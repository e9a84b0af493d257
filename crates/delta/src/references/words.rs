//! Operands of instructions that are words or halfwords, of AArch64 and 32-bit ARM, wherever they stand.

use super::arm::{a32_branch, looks_like_a32, thumb_branch};
use super::site::{Form, Kind};
use super::{Machine, aarch64};

/// How instructions are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// Of AArch64: words.
    A64,
    /// Of 32-bit ARM: words.
    A32,
    /// Of 32-bit ARM: one halfword or two.
    Thumb,
}

/// What an operand says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// How far away a function is.
    Call,
    /// How far a jump goes.
    Jump,
    /// How many pages away something is.
    Page,
}

/// An operand of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordOperand {
    form: Form,
    /// What it says.
    pub says: Says,
}

impl InstructionSet {
    /// Of so many words before a place of 32-bit ARM …
    const WORDS_BEFORE: usize = 7;
    /// … at least so many are done in any case if they are A32 …
    const A32_WORDS: usize = 4;
    /// … and at most so many look like that if they are not.
    const THUMB_WORDS: usize = 1;

    /// The one of a machine's code at `at` after `before`, where in doubt the `last` one; `None` if it has other units or
    /// none.
    pub fn of(machine: Machine, before: &[u8], at: u64, last: Option<Self>) -> Option<Self> {
        match machine {
            Machine::Aarch64 => Some(Self::A64),
            Machine::Arm => match words_of_a32(before, at) {
                Self::A32_WORDS.. => Some(Self::A32),
                0..=Self::THUMB_WORDS => Some(Self::Thumb),
                _ => last.or(Some(Self::Thumb)),
            },
            Machine::X86_64 | Machine::Python => None,
        }
    }

    /// The operand of an instruction of four bytes, which are little-endian.
    pub fn operand(self, word: u32) -> Option<WordOperand> {
        let (form, says) = match self {
            Self::A64 if aarch64::is_page(word) => (Form::A64Page, Says::Page),
            Self::A64 => of_branch(aarch64::branch(word)?),
            Self::A32 => of_branch(a32_branch(word)?),
            Self::Thumb => of_branch(thumb_branch(word)?),
        };
        Some(WordOperand { form, says })
    }
}

fn of_branch((form, kind): (Form, Kind)) -> (Form, Says) {
    (form, if kind == Kind::Call { Says::Call } else { Says::Jump })
}

/// How many of the words before a place look like A32.
fn words_of_a32(before: &[u8], at: u64) -> usize {
    let misaligned = usize::try_from(at & 3).unwrap_or(0);
    let aligned = &before[..before.len().saturating_sub(misaligned)];
    let words = aligned.as_rchunks::<4>().1.iter().rev().take(InstructionSet::WORDS_BEFORE);
    words.filter(|word| looks_like_a32(u32::from_le_bytes(**word))).count()
}

impl WordOperand {
    /// Base-2 logarithm of the bytes of a page, as code of AArch64 counts them.
    pub const PAGE_LOG: u32 = 12;

    /// The operand in a word: bytes, or pages.
    pub fn of(self, word: u32) -> u32 {
        // A distance's lowest bits are the same of 32 and of 64.
        low_word(self.form.operand(word.into()) >> self.unit_log())
    }

    /// A word with another operand; bits that do not fit are lost.
    pub fn put(self, word: u32, operand: u32) -> u32 {
        let operand = u64::from(operand) << self.unit_log();
        low_word(self.form.with_operand(word.into(), operand))
    }

    fn unit_log(self) -> u32 {
        if self.says == Says::Page { Self::PAGE_LOG } else { 0 }
    }
}

/// The lowest 32 bits.
pub(crate) fn low_word(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETS: [InstructionSet; 3] =
        [InstructionSet::A64, InstructionSet::A32, InstructionSet::Thumb];

    proptest! {
        #[test]
        fn a_word_comes_back_from_what_is_left_of_it(word: u32, set in proptest::sample::select(&SETS[..])) {
            for word in [word, word & 0x83ff_ffff | 0x1400_0000, word & 0xf0ff_ffff | 0x0b00_0000, word & !0xf800 | 0xf000] {
                let Some(operand) = set.operand(word) else { continue };
                let rest = operand.put(word, 0);
                prop_assert_eq!(set.operand(rest), Some(operand));
                prop_assert_eq!(operand.of(rest), 0);
                prop_assert_eq!(operand.put(rest, operand.of(word)), word, "{:x} of {:?}", word, set);
            }
        }
    }

    #[test]
    fn operands_are_what_a_disassembler_says() {
        let cases = [
            (InstructionSet::A64, 0x97ff_fff6, Says::Call, -40), // bl .-40
            (InstructionSet::A64, 0x5400_0041, Says::Jump, 8),   // b.ne .+8
            (InstructionSet::A64, 0xb4ff_ffe3, Says::Jump, -4),  // cbz x3, .-4
            (InstructionSet::A64, 0x3608_0045, Says::Jump, 8),   // tbz w5, #1, .+8
            (InstructionSet::A64, 0xf0ff_ffe0, Says::Page, -1),  // adrp x0, the page before
            (InstructionSet::A32, 0xebff_fff6, Says::Call, -40), // bl .-32
            (InstructionSet::A32, 0x0a00_0001, Says::Jump, 4),   // beq .+12
            (InstructionSet::Thumb, 0xffda_f7ff, Says::Call, -76), // bl .-72
            (InstructionSet::Thumb, 0x807e_f000, Says::Jump, 0xfc), // beq.w .+0x100
        ];
        for (set, word, says, expected) in cases {
            let operand = set.operand(word).unwrap();
            assert_eq!(
                (operand.says, operand.of(word).cast_signed()),
                (says, expected),
                "{word:x}"
            );
        }
        for (set, word) in [
            (InstructionSet::A64, 0xf940_0000),   // ldr x0, [x0]
            (InstructionSet::A32, 0xfaff_fff6),   // blx, to Thumb
            (InstructionSet::A32, 0xe59f_e004),   // ldr lr, [pc, #4]
            (InstructionSet::Thumb, 0x33c8_f242), // movw r3, #0x23c8
        ] {
            assert_eq!(set.operand(word), None, "{word:x}");
        }
    }

    #[test]
    fn words_that_are_done_in_any_case_are_a32() {
        const A32: Option<InstructionSet> = Some(InstructionSet::A32);
        const THUMB: Option<InstructionSet> = Some(InstructionSet::Thumb);
        let of = |done: [u8; 8], odd: &[u8], at, last| {
            let words = done.map(|done| [0, 0, 0, if done == 1 { 0xe3 } else { 0xf7 }]);
            let before = [words.as_flattened(), odd].concat();
            InstructionSet::of(Machine::Arm, &before, at, last)
        };
        let four = [0, 1, 0, 1, 0, 1, 0, 1];
        assert_eq!(of(four, &[], 0x100, THUMB), A32);
        assert_eq!(of(four, &[1, 2], 0x102, THUMB), A32);
        // The first of eight is too far away.
        let three = [1, 1, 0, 1, 0, 0, 0, 1];
        assert_eq!([A32, THUMB, None].map(|last| of(three, &[], 0x100, last)), [A32, THUMB, THUMB]);
        assert_eq!(of([1, 0, 0, 0, 0, 0, 0, 1], &[], 0x100, A32), THUMB);
        assert_eq!(InstructionSet::of(Machine::X86_64, &[], 0, A32), None);
        let a64 = Some(InstructionSet::A64);
        assert_eq!(InstructionSet::of(Machine::Aarch64, &[], 0, None), a64);
    }
}
