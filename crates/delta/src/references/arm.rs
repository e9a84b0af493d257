//! References in 32-bit ARM code: Thumb-2, found by patterns at every halfword.

use std::ops::Range;

use super::site::{Form, Kind, Meaning, Site, sign_extend};
use super::structure::{Area, Structure};
use super::window::Window;

/// Finds the sites of instructions that start in `range`, in order. None goes past `end`.
pub(super) fn find(
    structure: &Structure,
    area: &Area,
    window: &Window,
    range: &Range<u64>,
    end: u64,
    sites: &mut Vec<Site>,
) {
    let mut at = range.start + (area.address_of(range.start) & 1);
    while at < range.end && at + 4 <= end {
        let Some(word) = window.u32(at) else { break };
        let site = branch(word, at, area.address_of(at)).filter(|site| match site.meaning {
            Meaning::Relative { target, .. } => structure.segments.is_code(target),
            _ => false,
        });
        at += if site.is_some() { 4 } else { 2 };
        sites.extend(site);
    }
}

/// The branch that two halfwords are, the first of them low in `word`.
fn branch(word: u32, at: u64, address: u64) -> Option<Site> {
    // BL; BLX, to ARM code, from the word that the instruction is in; B.W; B<c>.W.
    let (form, kind, bias) = match word & 0xd000_f800 {
        0xd000_f000 => (Form::ThumbBranch24, Kind::Call, 4),
        0xc000_f000 if word & 0x1_0000 == 0 => {
            (Form::ThumbBranch24, Kind::Call, 4u64.wrapping_sub(address & 2))
        }
        0x9000_f000 => (Form::ThumbBranch24, Kind::Jump, 4),
        0x8000_f000 if word >> 6 & 15 < 14 => (Form::ThumbBranch20, Kind::Jump, 4),
        _ => return None,
    };
    let target = address.wrapping_add(bias).wrapping_add(form.operand(word.into()));
    Some(Site { at, form, kind, meaning: Meaning::Relative { target, bias } })
}

/// The fields of an operand, lowest first: shift and bits of each in the word.
fn fields(form: Form) -> &'static [(u32, u32)] {
    match form {
        // imm11, imm6, J1, J2, S.
        Form::ThumbBranch20 => &[(16, 11), (0, 6), (29, 1), (27, 1), (10, 1)],
        // imm11, imm10, J2, J1, S.
        _ => &[(16, 11), (0, 10), (27, 1), (29, 1), (10, 1)],
    }
}

/// The bits that are in no field, lowest first, in the same way.
fn others(form: Form) -> &'static [(u32, u32)] {
    match form {
        Form::ThumbBranch20 => &[(6, 4), (11, 5), (28, 1), (30, 2)],
        _ => &[(11, 5), (28, 1), (30, 2)],
    }
}

fn operand_bits(form: Form) -> u32 {
    fields(form).iter().map(|field| field.1).sum()
}

/// The operand's bits in the lowest places, and the other bits above them in their order. J1 and J2 of
/// the longer form are turned into the bits that they stand for.
pub(super) fn unfold(form: Form, word: u64) -> u64 {
    let (mut bits, mut place) = (0, 0);
    for (shift, length) in fields(form).iter().chain(others(form)) {
        bits |= (word >> shift & ((1 << length) - 1)) << place;
        place += length;
    }
    turn(form, bits)
}

/// Undoes [`unfold`].
pub(super) fn fold(form: Form, bits: u64) -> u64 {
    let bits = turn(form, bits);
    let (mut word, mut place) = (0, 0);
    for (shift, length) in fields(form).iter().chain(others(form)) {
        word |= (bits >> place & ((1 << length) - 1)) << shift;
        place += length;
    }
    word
}

/// Where the sign is 0, J1 and J2 stand for their opposites.
fn turn(form: Form, bits: u64) -> u64 {
    let is_negative = bits >> (operand_bits(form) - 1) & 1 == 1;
    match form {
        Form::ThumbBranch24 if !is_negative => bits ^ 3 << 21,
        _ => bits,
    }
}

/// How far a branch goes.
pub(super) fn operand(form: Form, word: u64) -> u64 {
    sign_extend(unfold(form, word), operand_bits(form)) << 1
}

/// A word with another operand; bits that do not fit are lost.
pub(super) fn with_operand(form: Form, word: u64, operand: u64) -> u64 {
    let mask = (1 << operand_bits(form)) - 1;
    fold(form, unfold(form, word) & !mask | operand >> 1 & mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMS: [Form; 2] = [Form::ThumbBranch24, Form::ThumbBranch20];

    proptest! {
        #[test]
        fn words_are_folded_back(word: u32, form in proptest::sample::select(&FORMS[..])) {
            let unfolded = unfold(form, word.into());
            prop_assert!(unfolded <= u32::MAX.into());
            prop_assert_eq!(fold(form, unfolded), u64::from(word));
            let operand = operand(form, word.into());
            prop_assert_eq!(with_operand(form, word.into(), operand), u64::from(word));
        }
    }

    #[test]
    fn branches_go_where_the_manual_says() {
        // Halfwords as an assembler lists them: bl .+0x100; bl .-4; b.w .+0x1000; beq.w .+0x100.
        let cases: [(u32, u32, u64); 4] = [
            (0xf000, 0xf87e, 0x1100),
            (0xf7ff, 0xfffc, 0x0ffc),
            (0xf000, 0xbffe, 0x2000),
            (0xf000, 0x807e, 0x1100),
        ];
        for (first, second, expected) in cases {
            let site = branch(second << 16 | first, 0, 0x1000).unwrap();
            let Meaning::Relative { target, .. } = site.meaning else { panic!("{site:?}") };
            assert_eq!(target, expected, "{first:x} {second:x}");
        }
    }
}
