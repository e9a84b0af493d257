//! Thumb-2: instructions of one halfword or two.

use super::pools::Load;
use super::{Kind, Place, Site, Spelling};

/// The program counter, as an instruction reads it, is so far after it.
pub(super) const AHEAD: u64 = 4;

/// How far after a load the program counter may be added to what was loaded: 30 halfwords.
pub(super) const USE_REACH_BYTES: u64 = 30 * 2;

/// Whether it may be a branch of two halfwords, or half of a pair.
pub(super) fn may_refer(word: u32) -> bool {
    word & 0xf800 == 0xf000
}

/// The reference of an instruction of two halfwords, the first of them low in the word.
pub(super) fn find(place: &Place<'_>) -> Option<Site> {
    let site = branch(place).or_else(|| half_of_pair(place))?;
    (!place.is_in_a32()).then_some(site)
}

fn branch(place: &Place<'_>) -> Option<Site> {
    let (spelling, kind) = branch_of(place.word)?;
    // BLX counts from the word that the instruction is in.
    let back = if place.word & 0xd000_f800 == 0xc000_f000 { place.address & 2 } else { 0 };
    place.relative(spelling, kind, AHEAD.wrapping_sub(back))
}

/// A branch of two halfwords.
pub(super) fn branch_of(word: u32) -> Option<(Spelling, Kind)> {
    // BL; BLX, to ARM code; B.W; B<c>.W.
    match word & 0xd000_f800 {
        0xd000_f000 => Some((Spelling::ThumbBranch24, Kind::Call)),
        0xc000_f000 if word & 0x1_0000 == 0 => Some((Spelling::ThumbBranch24, Kind::Call)),
        0x9000_f000 => Some((Spelling::ThumbBranch24, Kind::Jump)),
        0x8000_f000 if word >> 6 & 15 < 14 => Some((Spelling::ThumbBranch20, Kind::Jump)),
        _ => None,
    }
}

/// MOVW or MOVT, of which a register gets both.
fn half_of_pair(place: &Place<'_>) -> Option<Site> {
    let spelling = half(place.word)?;
    let register = place.word >> 24 & 15;
    let is_other = |word: u32, other: Spelling| {
        word >> 24 & 15 == register && other.is_high() != spelling.is_high()
    };
    place.half(spelling, 2, |word| {
        half(word).filter(|other| is_other(word, *other)).map(|other| other.operand(word.into()))
    })
}

fn half(word: u32) -> Option<Spelling> {
    match word & 0x8000_fbf0 {
        0xf240 => Some(Spelling::ThumbHalf { is_high: false }),
        0xf2c0 => Some(Spelling::ThumbHalf { is_high: true }),
        _ => None,
    }
}

/// LDR (literal), of one halfword or two, forwards.
pub(super) fn load(word: u32, address: u64) -> Option<Load> {
    let ahead = AHEAD - (address & 2);
    match word {
        _ if word & 0xf800 == 0x4800 => {
            Some(Load { distance: ahead + u64::from(word & 0xff) * 4, register: word >> 8 & 7 })
        }
        _ if word & 0xffff == 0xf8df => {
            Some(Load { distance: ahead + u64::from(word >> 16 & 0xfff), register: word >> 28 })
        }
        _ => None,
    }
}

/// The register that an instruction adds the program counter to.
pub(super) fn adds_pc_to(half: u16) -> Option<usize> {
    // ADD register, PC.
    (half & 0xff78 == 0x4478).then(|| usize::from(half & 7 | half >> 4 & 8))
}
