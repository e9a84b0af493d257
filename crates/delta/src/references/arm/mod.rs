//! References in 32-bit ARM code, of both instruction sets: A32, a word each, and Thumb-2, halfwords.
//!
//! Which of them a place is in is not written in the file: A32 is known by the words around.

mod a32;
mod fields;
mod pools;
mod thumb;

use std::ops::Range;

pub(super) use fields::Spelling;
pub(super) use pools::Pools;

use super::area_index::Source;
use super::site::{Form, Kind, Meaning, Site};
use super::structure::{Area, Structure};
use super::window::Window;
use crate::read_at::ReadError;

/// Finds the sites that start in `range`, in order. None goes past `end`.
pub(super) fn find(
    source: &Source<'_>,
    (area, pools): (&Area, &mut Pools),
    window: &Window,
    range: &Range<u64>,
    end: u64,
    sites: &mut Vec<Site>,
) -> Result<(), ReadError> {
    let structure = source.structure;
    let end_of_memory = structure.segments.end();
    let mut at = range.start + (area.address_of(range.start) & 1);
    let bytes = window.from(at);
    let (first, first_address) = (at, area.address_of(at));
    while at < range.end && at + 4 <= end {
        let from = usize::try_from(at - first).unwrap_or(usize::MAX);
        let Some(word) = bytes.get(from..).and_then(<[u8]>::first_chunk) else { break };
        let (word, address) = (u32::from_le_bytes(*word), first_address.wrapping_add(at - first));
        let may_be_in_pool = address & 3 == 0 && is_near(word, structure.is_fixed, end_of_memory);
        let mut site = None;
        if may_be_in_pool || may_refer(word, address) {
            let place = Place { structure, window, at, address, word };
            if may_be_in_pool {
                site = pools.base_of(source, area, at)?.and_then(|base| place.in_pool(base));
            }
            site = site.or_else(|| place.instruction());
        }
        at += if site.is_some() { 4 } else { 2 };
        sites.extend(site);
    }
    Ok(())
}

/// How a branch of A32 says where it goes, and whether it is a call.
pub(super) fn a32_branch(word: u32) -> Option<(Form, Kind)> {
    a32::branch(word).map(|(spelling, kind)| (Form::Arm(spelling), kind))
}

/// Whether a word looks like A32: most of its instructions are done in any case, which their highest bits say.
pub(super) fn looks_like_a32(word: u32) -> bool {
    word >> 28 == 14
}

/// The same of a branch of Thumb-2 of two halfwords, the first of them low in the word.
pub(super) fn thumb_branch(word: u32) -> Option<(Form, Kind)> {
    thumb::branch_of(word).map(|(spelling, kind)| (Form::Arm(spelling), kind))
}

/// Whether a word can say where something is. Most instructions cannot, so that pools need not be looked for where
/// they are.
fn is_near(word: u32, is_fixed: bool, end_of_memory: u64) -> bool {
    let distance = if is_fixed { word } else { word.cast_signed().unsigned_abs() };
    u64::from(distance) < end_of_memory
}

/// Whether an instruction may have a reference, by the bits that those have in common that do.
fn may_refer(word: u32, address: u64) -> bool {
    thumb::may_refer(word) || address & 3 == 0 && a32::may_refer(word)
}

/// A place in the old code, and the four bytes there.
struct Place<'a> {
    structure: &'a Structure,
    window: &'a Window,
    at: u64,
    address: u64,
    word: u32,
}

/// How far around an instruction of a pair the other one may be.
const PAIR_BYTES: u64 = 60;

/// Of so many words on one side of a place …
const NEIGHBOURS: u64 = 6;
/// … so many look like A32 where it is.
const LIKELY_NEIGHBOURS: usize = 4;

impl Place<'_> {
    fn is_aligned(&self) -> bool {
        self.address & 3 == 0
    }

    fn site(&self, form: Form, kind: Kind, meaning: Meaning) -> Site {
        Site { at: self.at, form, kind, meaning }
    }

    fn instruction(&self) -> Option<Site> {
        let a32 = if self.is_aligned() { a32::find(self) } else { None };
        a32.or_else(|| thumb::find(self))
    }

    /// A branch, or a load from a pool: what it refers to is code.
    fn relative(&self, spelling: Spelling, kind: Kind, bias: u64) -> Option<Site> {
        let form = Form::Arm(spelling);
        let target = self.address.wrapping_add(bias).wrapping_add(form.operand(self.word.into()));
        let is_code = self.structure.segments.is_code(target);
        is_code.then(|| self.site(form, kind, Meaning::Relative { target, bias }))
    }

    /// Something's address, or half of it, where files are linked to a fixed address.
    fn absolute(&self, form: Form, meaning: Meaning) -> Option<Site> {
        let is_there = |target| self.structure.is_fixed && self.structure.is_pointer(target);
        meaning.target().is_some_and(is_there).then(|| self.site(form, Kind::CodeData, meaning))
    }

    /// A word of a literal pool, which `base` is added to.
    fn in_pool(&self, base: u64) -> Option<Site> {
        if self.structure.is_fixed {
            return self.absolute(Form::Unsigned32, Meaning::Absolute { target: self.word.into() });
        }
        let target = base.wrapping_add(Form::Signed32.operand(self.word.into())) & 0xffff_ffff;
        let meaning = Meaning::Based { target, base };
        let is_there = self.structure.segments.is_mapped(target);
        is_there.then(|| self.site(Form::Signed32, Kind::CodeData, meaning))
    }

    /// One of a pair that puts a number into a register, half by half: `other_half` of the words or
    /// halfwords around, each `step` bytes from the next, is the other one.
    fn half(
        &self,
        spelling: Spelling,
        step: u64,
        other_half: impl Fn(u32) -> Option<u64>,
    ) -> Option<Site> {
        let beside = |distance: u64| match spelling.is_high() {
            true => self.at.checked_sub(distance),
            false => Some(self.at + distance),
        };
        let distances = (1..=PAIR_BYTES / step).map(|i| i * step);
        let mut others = distances.filter_map(beside).filter_map(|at| self.window.u32(at));
        let other = others.find_map(other_half)?;
        let target = other | spelling.operand(self.word.into());
        let is_high = spelling.is_high();
        self.absolute(Form::Arm(spelling), Meaning::Half { target, is_high })
    }

    /// Whether the words before look like A32, or those after.
    fn is_in_a32(&self) -> bool {
        let at = self.at - (self.address & 2).min(self.at);
        let is_likely = |at: u64| self.window.u32(at).is_some_and(looks_like_a32);
        let before = |i| at.checked_sub(4 * i).is_some_and(is_likely);
        let after = |i| is_likely(at + 4 * i);
        let are_likely = |side: &dyn Fn(u64) -> bool| {
            (1..=NEIGHBOURS).filter(|i| side(*i)).count() >= LIKELY_NEIGHBOURS
        };
        are_likely(&before) || are_likely(&after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::references::structure::AreaKind;

    /// The sites of all code in a real file, found in stretches of `step` bytes.
    fn sites_of(name: &str, step: u64) -> Vec<Site> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/executables/");
        let file = std::fs::read(format!("{folder}{name}")).unwrap();
        let (origin, old) = (&file, 0..file.len() as u64);
        let structure = Structure::read(origin, &old).unwrap();
        let source = Source { structure: &structure, origin, old: &old };
        let (mut all, mut window, mut pools) = (Vec::new(), Window::default(), Pools::default());
        for area in structure.areas.iter().filter(|area| area.kind == AreaKind::Code) {
            let mut at = area.range.start;
            while at < area.range.end {
                let range = at..(at + step).min(area.range.end);
                let mut sites = Vec::new();
                window.read(origin, &old, &range).unwrap();
                let end = area.range.end;
                find(&source, (area, &mut pools), &window, &range, end, &mut sites).unwrap();
                at = sites.last().map_or(range.end, |site| range.end.max(site.end()));
                all.extend(sites);
            }
        }
        all
    }

    #[test]
    fn sites_do_not_depend_on_where_stretches_end() {
        for name in ["armv6", "armv7-thumb", "armv6-fixed", "armv7-fixed", "armv7-thumb-fixed"] {
            let whole = sites_of(&format!("{name}.old"), 1 << 14);
            for step in [4, 64, 1000] {
                assert!(sites_of(&format!("{name}.old"), step) == whole, "{name}, {step}");
            }
        }
    }

    #[test]
    fn sites_are_those_that_a_disassembler_lists() {
        // Calls, other branches of a word, loads of A32, words of pools that the program counter is added to,
        // as objdump 2.40 lists them; addresses in pools and tables, halves of addresses.
        let files = [
            ("armv6", [35, 362, 261, 228, 0, 0]),
            ("armv7-thumb", [35, 53, 0, 228, 0, 0]),
            ("armv6-fixed", [35, 106, 163, 0, 383, 0]),
            ("armv7-fixed", [35, 106, 2, 0, 258, 258]),
            ("armv7-thumb-fixed", [35, 54, 0, 0, 2, 258]),
        ];
        for (name, listed) in files {
            let sites = sites_of(&format!("{name}.old"), 1 << 14);
            let count = |is_counted: &dyn Fn(&Site) -> bool| {
                sites.iter().filter(|site| is_counted(site)).count()
            };
            let found = [
                count(&|site| site.kind == Kind::Call),
                count(&|site| site.kind == Kind::Jump),
                count(&|site| site.form == Form::Arm(Spelling::Literal12)),
                count(&|site| matches!(site.meaning, Meaning::Based { .. })),
                count(&|site| matches!(site.meaning, Meaning::Absolute { .. })),
                count(&|site| matches!(site.meaning, Meaning::Half { .. })),
            ];
            // In Thumb-2 some that begin in the middle of an instruction are found too.
            let more: usize = found.iter().zip(listed).map(|(found, listed)| found - listed).sum();
            let most = if name.contains("thumb") { 7 } else { 0 };
            assert!(more <= most, "{name}: {found:?}");
        }
    }
}
