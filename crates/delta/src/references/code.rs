//! References in code, whatever the machine.

use std::ops::Range;

use super::Machine;
use super::area_index::Source;
use super::arm::Pools;
use super::site::Site;
use super::structure::{Area, Structure};
use super::window::Window;
use super::{aarch64, arm, x86_64};
use crate::read_at::ReadError;

/// Finds the sites of instructions that start in `range`, in order. None goes past `end`.
pub(super) fn find(
    source: &Source<'_>,
    (area, pools): (&Area, &mut Pools),
    window: &Window,
    range: &Range<u64>,
    end: u64,
    sites: &mut Vec<Site>,
) -> Result<(), ReadError> {
    let structure = source.structure;
    match structure.machine {
        Some(Machine::X86_64) => find_x86_64(structure, area, window, range, end, sites),
        Some(Machine::Aarch64) => find_aarch64(structure, area, window, range, end, sites),
        Some(Machine::Arm) => arm::find(source, (area, pools), window, range, end, sites)?,
        Some(Machine::Python) | None => {}
    }
    Ok(())
}

fn find_aarch64(
    structure: &Structure,
    area: &Area,
    window: &Window,
    range: &Range<u64>,
    end: u64,
    sites: &mut Vec<Site>,
) {
    let misaligned = area.address_of(range.start).wrapping_neg() & 3;
    let mut at = range.start + misaligned;
    while at < range.end && at + 4 <= end {
        let Some(word) = window.u32(at) else { break };
        let instruction = aarch64::Instruction { window, at, address: area.address_of(at), word };
        sites.extend(aarch64::find(&instruction, &structure.segments));
        at += 4;
    }
}

fn find_x86_64(
    structure: &Structure,
    area: &Area,
    window: &Window,
    range: &Range<u64>,
    end: u64,
    sites: &mut Vec<Site>,
) {
    let before_bytes = (range.start - area.range.start).min(3);
    let all = window.from(range.start - before_bytes);
    let within = |length: u64| usize::try_from(length).unwrap_or(usize::MAX).min(all.len());
    let all = &all[..within(end - range.start + before_bytes)];
    let last = within(range.end - range.start + before_bytes);
    let start = within(before_bytes);
    let mut at = start;
    // An instruction with a reference has more than one byte.
    let pairs_end = (last + 1).min(all.len());
    while let Some(skipped) = next_reference(&all[at.min(pairs_end)..pairs_end], structure.is_fixed)
    {
        at += skipped;
        let offset = range.start + (at - start) as u64;
        let code = x86_64::Code {
            bytes: &all[at..],
            before: &all[..at],
            at: offset,
            address: area.address_of(offset),
        };
        let found = x86_64::find(&code, &structure.segments, structure.is_fixed);
        let Some(site) = found.iter().flatten().next_back() else {
            at += 1;
            continue;
        };
        at += usize::try_from(site.end() - offset).unwrap_or(usize::MAX);
        sites.extend(found.into_iter().flatten());
    }
}

/// Where in `code` an instruction may be that has one.
fn next_reference(code: &[u8], is_fixed: bool) -> Option<usize> {
    code.windows(2).position(|pair| x86_64::may_refer(pair[0], pair[1], is_fixed))
}
