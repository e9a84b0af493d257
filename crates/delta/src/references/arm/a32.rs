//! A32: one instruction in each aligned word.

use super::pools::Load;
use super::{Kind, Place, Site, Spelling};

/// The program counter, as an instruction reads it, is so far after it.
pub(super) const AHEAD: u64 = 8;

/// How far after a load the program counter may be added to what was loaded: 15 words.
pub(super) const USE_REACH_BYTES: u64 = 15 * 4;

/// Whether it may be a branch, a load from a pool, or half of a pair.
pub(super) fn may_refer(word: u32) -> bool {
    // B and BL; LDR (literal); MOVW and MOVT.
    word & 0x0e00_0000 == 0x0a00_0000
        || word & 0x0f7f_0000 == 0x051f_0000
        || word & 0x0fb0_0000 == 0x0300_0000
}

/// The reference of an instruction.
pub(super) fn find(place: &Place<'_>) -> Option<Site> {
    let word = place.word;
    let is_load = word >> 28 != 15 && word & 0x0f7f_0000 == 0x051f_0000;
    let load = || is_load.then_some((Spelling::Literal12, Kind::CodeData));
    let Some((spelling, kind)) = branch(word).or_else(load) else { return half_of_pair(place) };
    place.relative(spelling, kind, AHEAD).filter(|_| place.is_in_a32())
}

/// B or BL, on any condition.
pub(super) fn branch(word: u32) -> Option<(Spelling, Kind)> {
    match word & 0x0f00_0000 {
        0x0b00_0000 if word >> 28 != 15 => Some((Spelling::Branch24, Kind::Call)),
        0x0a00_0000 if word >> 28 != 15 => Some((Spelling::Branch24, Kind::Jump)),
        _ => None,
    }
}

/// MOVW or MOVT, of which a register gets both.
fn half_of_pair(place: &Place<'_>) -> Option<Site> {
    let spelling = half(place.word)?;
    let register = place.word >> 12 & 15;
    let is_other = |word: u32, other: Spelling| {
        word >> 12 & 15 == register && other.is_high() != spelling.is_high()
    };
    place.half(spelling, 4, |word| {
        half(word).filter(|other| is_other(word, *other)).map(|other| other.operand(word.into()))
    })
}

fn half(word: u32) -> Option<Spelling> {
    match word & 0x0ff0_0000 {
        0x0300_0000 if word >> 28 != 15 => Some(Spelling::Half { is_high: false }),
        0x0340_0000 if word >> 28 != 15 => Some(Spelling::Half { is_high: true }),
        _ => None,
    }
}

/// LDR (literal), forwards.
pub(super) fn load(word: u32) -> Option<Load> {
    (word & 0xffff_0000 == 0xe59f_0000)
        .then(|| Load { distance: AHEAD + u64::from(word & 0xfff), register: word >> 12 & 15 })
}

/// The registers that an instruction adds the program counter to.
pub(super) fn adds_pc_to(word: u32) -> impl Iterator<Item = usize> {
    // ADD of PC and the register, in either order; loads and stores at [PC, register].
    let last = word & 0x0fff_0ff0 == 0x008f_0000 || word & 0x0f2f_0ff0 == 0x070f_0000;
    let first = word & 0x0ff0_0fff == 0x0080_000f;
    let registers = [last.then_some(word & 15), first.then_some(word >> 16 & 15)];
    registers.into_iter().flatten().map(|register| register as usize)
}

/// LDR of PC from a table after it, on any condition.
pub(super) fn jumps_by_table(word: u32) -> bool {
    word & 0x0fff_fff0 == 0x079f_f100
}
