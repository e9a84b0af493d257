//! Covers chosen again, on copies of both files in which each operand is replaced by a label of what
//! it refers to.
//!
//! In the new file the label is the target's address. In the old one it is the address in the new file
//! that the target most likely has: first covers put sites beside sites, and each such pair is a vote.

use std::ops::Range;

use super::RegionCover;
use super::address_map::AddressMap;
use super::area_index::{AreaIndex, Source};
use super::plan::Plan;
use super::predictor::PIECE_BYTES;
use super::site::{Form, Kind, Site};
use super::structure::{AreaKind, Structure};
use super::window::Window;
use crate::byte_match::{ByteCover, match_stand_ins};
use crate::effort::Effort;
use crate::read_at::ReadAt;

/// Two executables.
pub(super) struct References<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) old_structure: &'a Structure,
    pub(super) new_structure: &'a Structure,
}

/// A site that refers to an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) target: u64,
    pub(super) at: u32,
    form: Form,
    kind: Kind,
}

/// What stands for a target of which nothing is known.
pub(super) const UNKNOWN: u64 = 0x7ead_beef;

/// Bytes after a target by which the cover that says where it went is judged.
const JUDGED_BYTES: usize = 24;

/// Covers for the same files.
pub(super) fn rematch(files: &References<'_>, first: &Plan, effort: Effort) -> Option<Plan> {
    let (old, new) = mask(files, first)?;
    let covers = match_stand_ins(&old, &new, files.new, effort)?;
    Some(Plan { covers, ..first.clone() })
}

fn mask(files: &References<'_>, first: &Plan) -> Option<(Vec<u8>, Vec<u8>)> {
    let region_covers: Vec<_> = first.covers.iter().filter_map(RegionCover::of).collect();
    let segments = &files.old_structure.segments;
    let mut map = AddressMap::new(segments, &first.parameters, region_covers, 0).ok()?;
    let old_labels = labels(&files.old, files.old_structure, &(0..files.old.len() as u64))?;
    let new_labels = labels(&files.new, files.new_structure, &(0..files.new.len() as u64))?;
    let is_site = site_bytes(files.old.len(), &old_labels);
    let judge = Judge { files, map: &map, is_site: &is_site };
    let elected = elect(&first.covers, &old_labels, &new_labels, &judge);
    elected.iter().for_each(|&(old, new, _)| map.place_zeroed(old, new));
    let judge = Judge { files, map: &map, is_site: &is_site };

    let mut new = files.new.to_vec();
    new_labels.iter().for_each(|label| put(&mut new, label.at as usize, label, label.target));
    drop(new_labels);
    let mut old = files.old.to_vec();
    for label in &old_labels {
        let found = elected.binary_search_by_key(&label.target, |elected| elected.0);
        let voted = found.ok().map(|i| (elected[i].1, elected[i].2));
        put(&mut old, label.at as usize, label, judge.label(label.target, voted));
    }
    Some((old, new))
}

/// All sites in a range of a file that refer to an address, in order.
pub(super) fn labels(
    file: &dyn ReadAt,
    structure: &Structure,
    range: &Range<u64>,
) -> Option<Vec<Label>> {
    let whole = 0..file.size();
    let source = Source { structure, origin: file, old: &whole };
    let mut index = AreaIndex::of(file, &whole, structure).ok()?;
    let (mut labels, mut sites, mut window) = (Vec::new(), Vec::new(), Window::default());
    for area in &structure.areas {
        if area.kind > AreaKind::SectionHeaders {
            let end = area.range.end.min(range.end);
            let mut at = area.range.start.max(range.start);
            while at < end {
                let range = at..(at + PIECE_BYTES).min(end);
                sites.clear();
                window.read(file, &whole, &range).ok()?;
                let area = (area, &mut index);
                source.find(area, &window, &range, end, &mut sites).ok()?;
                at = sites.last().map_or(range.end, |site| range.end.max(site.end()));
                labels.extend(sites.iter().filter_map(Label::of));
            }
        }
    }
    Some(labels)
}

impl Label {
    fn of(site: &Site) -> Option<Self> {
        let target = site.meaning.target()?;
        let at = u32::try_from(site.at).ok()?;
        Some(Self { target, at, form: site.form, kind: site.kind })
    }

    fn end(&self) -> usize {
        self.at as usize + usize::from(self.form.width())
    }

    /// How much a pair of such sites says about their targets.
    fn weight(&self) -> u32 {
        match self.kind {
            Kind::Call | Kind::Jump | Kind::CodeData | Kind::Object => 10,
            Kind::Word => 3,
            _ => 1,
        }
    }
}

/// Puts what stands for `target` in the place of what stands at `at`.
pub(super) fn put(bytes: &mut [u8], at: usize, label: &Label, target: u64) {
    let width = usize::from(label.form.width());
    let Some(place) = bytes.get_mut(at..at + width) else { return };
    let mut old = [0; 8];
    old[..width].copy_from_slice(place);
    let masked = label.form.with_operand(u64::from_le_bytes(old), target);
    place.copy_from_slice(&masked.to_le_bytes()[..width]);
}

/// A bit for each byte: whether it is part of a site.
fn site_bytes(length: usize, labels: &[Label]) -> Vec<u8> {
    let mut bits = vec![0u8; length.div_ceil(8)];
    for label in labels {
        (label.at as usize..label.end()).for_each(|at| bits[at / 8] |= 1 << (at % 8));
    }
    bits
}

/// Judges where targets went.
struct Judge<'a> {
    files: &'a References<'a>,
    map: &'a AddressMap,
    is_site: &'a [u8],
}

/// The weight of a cover that agrees with all bytes at the target.
pub(super) const COVER_WEIGHT: u32 = 30;
/// Votes of one pair of targets count up to this.
pub(super) const MAX_VOTES: u32 = 80;

impl Judge<'_> {
    /// Where the covers put a target, and how much that is to be trusted.
    fn by_covers(&self, target: u64) -> Option<(u64, u32)> {
        let (address, offsets) = self.map.trace(target)?;
        let Some((old, new)) = offsets else { return Some((address, 1)) };
        let old = usize::try_from(old).ok()?;
        let new = usize::try_from(new).ok()?;
        let (mut judged, mut agreeing) = (0, 0);
        for i in 0..JUDGED_BYTES {
            let (Some(a), Some(b)) = (self.files.old.get(old + i), self.files.new.get(new + i))
            else {
                break;
            };
            if self.is_site[(old + i) / 8] >> ((old + i) % 8) & 1 == 0 {
                judged += 1;
                agreeing += u32::from(a == b);
            }
        }
        let weight = (COVER_WEIGHT * agreeing).checked_div(judged).unwrap_or(COVER_WEIGHT / 2);
        Some((address, weight))
    }

    /// The label of an old target, an election's winner and its weight being known.
    fn label(&self, target: u64, voted: Option<(u64, u32)>) -> u64 {
        match (self.by_covers(target), voted) {
            (Some((mapped, weight)), Some((_, votes))) if weight > votes => mapped,
            (_, Some((elected, _))) => elected,
            (Some((mapped, _)), None) => mapped,
            (None, None) => UNKNOWN,
        }
    }
}

/// For each old target the new one with the most votes, and its weight; by old target.
fn elect(
    covers: &[ByteCover],
    old: &[Label],
    new: &[Label],
    judge: &Judge<'_>,
) -> Vec<(u64, u64, u32)> {
    let mut votes = vote(covers, old, new);
    votes.sort_unstable();
    let mut elected: Vec<(u64, u64, u32)> = Vec::new();
    for pair in votes.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (old, new, _) = pair[0];
        let mut weight = pair.iter().map(|vote| vote.2).sum::<u32>().min(MAX_VOTES);
        if let Some((_, more)) = judge.by_covers(old).filter(|(mapped, _)| *mapped == new) {
            weight += more;
        }
        match elected.last_mut() {
            Some(best) if best.0 == old => {
                if weight > best.2 {
                    *best = (old, new, weight);
                }
            }
            _ => elected.push((old, new, weight)),
        }
    }
    elected
}

/// The targets of sites that covers put beside each other, and how much each pair counts.
pub(super) fn vote(covers: &[ByteCover], old: &[Label], new: &[Label]) -> Vec<(u64, u64, u32)> {
    let mut votes = Vec::new();
    for cover in covers {
        let old_end = cover.old + cover.length;
        let old_first = old.partition_point(|label| (label.at as usize) < cover.old);
        let mut new_at = new.partition_point(|label| (label.at as usize) < cover.new);
        for label in old[old_first..].iter().take_while(|label| label.end() <= old_end) {
            let place = cover.new + (label.at as usize - cover.old);
            while new.get(new_at).is_some_and(|other| (other.at as usize) < place) {
                new_at += 1;
            }
            let beside = new.get(new_at).filter(|other| other.at as usize == place);
            if let Some(other) = beside.filter(|other| other.kind == label.kind) {
                votes.push((label.target, other.target, label.weight()));
            }
        }
    }
    votes
}
