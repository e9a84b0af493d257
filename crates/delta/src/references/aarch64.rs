//! References in AArch64 code: one instruction in each aligned word.

use super::segments::Segments;
use super::site::{Form, Kind, Meaning, Site, sign_extend};
use super::window::Window;

/// Words after an ADRP that are searched for the use of its page, and before a use for its ADRP.
const MAX_DISTANCE: u64 = 12;

const PAGE: u64 = 0xfff;

/// The word at an offset of the old file, and where it is loaded.
pub(super) struct Instruction<'a> {
    pub(super) window: &'a Window,
    pub(super) at: u64,
    pub(super) address: u64,
    pub(super) word: u32,
}

/// Finds the reference of an instruction.
pub(super) fn find(instruction: &Instruction<'_>, segments: &Segments) -> Option<Site> {
    let word = instruction.word;
    if let Some((form, kind)) = branch(word) {
        return instruction.relative(form, kind, |target| segments.is_code(target));
    }
    match word {
        // LDR (literal), ADR.
        _ if word & 0x3b00_0000 == 0x1800_0000 => {
            let is_mapped = |target| segments.is_mapped(target);
            instruction.relative(Form::A64Branch19, Kind::CodeData, is_mapped)
        }
        _ if word & 0x9f00_0000 == 0x1000_0000 => {
            let is_mapped = |target| segments.is_mapped(target);
            instruction.relative(Form::A64Address, Kind::CodeData, is_mapped)
        }
        _ if is_page(word) => instruction.page(segments),
        _ => instruction.page_offset(segments),
    }
}

/// How a branch says where it goes, and whether it is a call.
pub(super) fn branch(word: u32) -> Option<(Form, Kind)> {
    match word {
        _ if word & 0xfc00_0000 == 0x9400_0000 => Some((Form::A64Branch26, Kind::Call)),
        _ if word & 0xfc00_0000 == 0x1400_0000 => Some((Form::A64Branch26, Kind::Jump)),
        // B.cond; CBZ, CBNZ; TBZ, TBNZ.
        _ if word & 0xff00_0010 == 0x5400_0000 => Some((Form::A64Branch19, Kind::Jump)),
        _ if word & 0x7e00_0000 == 0x3400_0000 => Some((Form::A64Branch19, Kind::Jump)),
        _ if word & 0x7e00_0000 == 0x3600_0000 => Some((Form::A64Branch14, Kind::Jump)),
        _ => None,
    }
}

/// Whether it is an ADRP.
pub(super) fn is_page(word: u32) -> bool {
    word & 0x9f00_0000 == 0x9000_0000
}

/// The form of an instruction that adds a number to a page: ADD, or a load or store.
fn page_offset_form(word: u32) -> Option<Form> {
    // ADD (immediate), 64 bits, not shifted.
    if word & 0xffc0_0000 == 0x9100_0000 {
        return Some(Form::A64PageOffset { scale: 0 });
    }
    // Loads and stores, unsigned offset; vectors of 128 bits say so in another place.
    if word & 0x3b00_0000 == 0x3900_0000 {
        let is_vector = word & 0x0480_0000 == 0x0480_0000;
        let size = u8::try_from(word >> 30).ok()?;
        let scale = if is_vector && size == 0 { 4 } else { size };
        return Some(Form::A64PageOffset { scale });
    }
    None
}

fn base_register(word: u32) -> u32 {
    word >> 5 & 31
}

impl Instruction<'_> {
    fn site(&self, form: Form, kind: Kind, meaning: Meaning) -> Site {
        Site { at: self.at, form, kind, meaning }
    }

    fn relative(&self, form: Form, kind: Kind, is_there: impl Fn(u64) -> bool) -> Option<Site> {
        let target = self.address.wrapping_add(form.operand(self.word.into()));
        let meaning = Meaning::Relative { target, bias: 0 };
        is_there(target).then(|| self.site(form, kind, meaning))
    }

    /// An ADRP whose page is used soon after it.
    fn page(&self, segments: &Segments) -> Option<Site> {
        let register = self.word & 31;
        let users = (1..=MAX_DISTANCE).map_while(|i| self.window.u32(self.at + 4 * i));
        let mut users = users.filter(|user| base_register(*user) == register);
        let (user, form) = users.find_map(|user| Some((user, page_offset_form(user)?)))?;
        let offset = form.operand(user.into());
        let target = page_address(self.word, self.address).wrapping_add(offset);
        let meaning = Meaning::Page { target };
        segments.is_mapped(target).then(|| self.site(Form::A64Page, Kind::CodeData, meaning))
    }

    /// The use of a page that an ADRP shortly before it made.
    fn page_offset(&self, segments: &Segments) -> Option<Site> {
        let form = page_offset_form(self.word)?;
        let register = base_register(self.word);
        let before = |i: u64| {
            let at = self.at.checked_sub(4 * i)?;
            Some((self.window.u32(at)?, self.address.wrapping_sub(4 * i)))
        };
        let mut before = (1..=MAX_DISTANCE).map_while(before);
        let makes_page = |(word, _): &(u32, u64)| is_page(*word) && word & 31 == register;
        let (word, address) = before.find(makes_page)?;
        let target = page_address(word, address).wrapping_add(form.operand(self.word.into()));
        let meaning = Meaning::PageOffset { target };
        segments.is_mapped(target).then(|| self.site(form, Kind::CodeData, meaning))
    }
}

/// The page that an ADRP makes.
fn page_address(word: u32, address: u64) -> u64 {
    (address & !PAGE).wrapping_add(Form::A64Page.operand(word.into()))
}

/// The bits of an operand in an instruction word: where they are, lowest first.
struct Field {
    shift: u32,
    bits: u32,
}

fn field(form: Form) -> Field {
    let (shift, bits) = match form {
        Form::A64Branch26 => (0, 26),
        Form::A64Branch19 => (5, 19),
        Form::A64Branch14 => (5, 14),
        Form::A64PageOffset { .. } => (10, 12),
        // The two lowest bits stand apart: at 29.
        Form::A64Page | Form::A64Address => (5, 21),
        // Not of this machine.
        _ => (0, 32),
    };
    Field { shift, bits }
}

fn has_split_field(form: Form) -> bool {
    matches!(form, Form::A64Page | Form::A64Address)
}

/// The field in the lowest bits, and the other bits above it in their order.
pub(super) fn unfold(form: Form, word: u64) -> u64 {
    let Field { shift, bits } = field(form);
    if has_split_field(form) {
        let number = (word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3;
        return number | (word & 31) << 21 | (word >> 24 & 31) << 26 | word & 0x8000_0000;
    }
    let below = word & ((1 << shift) - 1);
    let number = word >> shift & ((1 << bits) - 1);
    let above = word >> (shift + bits);
    number | below << bits | above << (shift + bits)
}

/// Undoes [`unfold`].
pub(super) fn fold(form: Form, bits_in_order: u64) -> u64 {
    let Field { shift, bits } = field(form);
    let word = bits_in_order;
    if has_split_field(form) {
        let number = (word >> 2 & 0x7_ffff) << 5 | (word & 3) << 29;
        return number | word >> 21 & 31 | (word >> 26 & 31) << 24 | word & 0x8000_0000;
    }
    let number = word & ((1 << bits) - 1);
    let below = word >> bits & ((1 << shift) - 1);
    let above = word >> (shift + bits);
    below | number << shift | above << (shift + bits)
}

/// What the field of a word stands for.
pub(super) fn operand(form: Form, word: u64) -> u64 {
    let Field { bits, .. } = field(form);
    let number = unfold(form, word) & ((1 << bits) - 1);
    match form {
        Form::A64PageOffset { scale } => number << scale & PAGE,
        Form::A64Page => sign_extend(number, bits) << 12,
        Form::A64Address => sign_extend(number, bits),
        _ => sign_extend(number, bits) << 2,
    }
}

/// A word with another operand; bits that do not fit are lost.
pub(super) fn with_operand(form: Form, word: u64, operand: u64) -> u64 {
    let Field { bits, .. } = field(form);
    let number = match form {
        Form::A64PageOffset { scale } => (operand & PAGE) >> scale,
        Form::A64Page => operand >> 12,
        Form::A64Address => operand,
        _ => operand >> 2,
    };
    let mask = (1 << bits) - 1;
    fold(form, unfold(form, word) & !mask | number & mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMS: [Form; 6] = [
        Form::A64Branch26,
        Form::A64Branch19,
        Form::A64Branch14,
        Form::A64Page,
        Form::A64Address,
        Form::A64PageOffset { scale: 3 },
    ];

    proptest! {
        #[test]
        fn words_are_folded_back(word: u32, form in proptest::sample::select(&FORMS[..])) {
            let unfolded = unfold(form, word.into());
            prop_assert!(unfolded <= u32::MAX.into());
            prop_assert_eq!(fold(form, unfolded), u64::from(word));
            if !matches!(form, Form::A64PageOffset { .. }) {
                prop_assert_eq!(with_operand(form, word.into(), operand(form, word.into())), u64::from(word));
            }
        }
    }

    #[test]
    fn fields_are_where_the_manual_says() {
        // bl #-4; b.eq #8; tbz w0, #0, #16; adrp x0, #0x3000; ldr x1, [x2, #0x28]
        let cases: [(Form, u64, u64); 5] = [
            (Form::A64Branch26, 0x97ff_ffff, 4u64.wrapping_neg()),
            (Form::A64Branch19, 0x5400_0040, 8),
            (Form::A64Branch14, 0x3600_0080, 16),
            (Form::A64Page, 0xf000_0000, 0x3000),
            (Form::A64PageOffset { scale: 3 }, 0xf940_1441, 0x28),
        ];
        for (form, word, expected) in cases {
            assert_eq!(operand(form, word), expected, "{form:?}");
        }
        assert_eq!(page_offset_form(0xf940_1441), Some(Form::A64PageOffset { scale: 3 }));
        assert_eq!(page_offset_form(0x3dc0_0441), Some(Form::A64PageOffset { scale: 4 }));
        assert_eq!(page_offset_form(0x9100_4000), Some(Form::A64PageOffset { scale: 0 }));
    }
}
