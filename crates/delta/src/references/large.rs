//! Executables that are too large to be planned at once: they are worked on window by window, and the
//! device is told of most covers where they come, not of all at the start.
//!
//! The steps are those of [`plan`](super::plan()): first covers, votes on where targets went, covers by
//! labels; of these only those that pay are taken. What is kept between windows is covers and votes alone.

use std::ops::Range;

use super::address_map::AddressMap;
use super::rematch::{self, Label, labels, vote};
use super::site::Prediction;
use super::structure::Structure;
use super::trial::CoverCost;
use super::{Machine, Predictor, RegionCover, Residuals};
use crate::byte_match::{ByteCover, match_stand_ins, match_to_vote};
use crate::effort::Effort;
use crate::read_at::{Part, ReadAt, ReadError};

/// Ranges of both files that are matched with each other.
#[derive(Debug, Clone)]
pub struct WindowPair {
    /// Of the old file.
    pub old: Range<u64>,
    /// Of the new one.
    pub new: Range<u64>,
}

/// Two executables of one machine.
pub struct LargePair<'a> {
    old: Part<'a>,
    new: Part<'a>,
    old_structure: Structure,
    new_structure: Structure,
    machine: Machine,
    parameters: Vec<u8>,
}

/// How a large executable is to be made out of an old one.
#[derive(Debug)]
pub struct LargePlan {
    /// Whose code both are.
    pub machine: Machine,
    /// What the decoder must know of the new one.
    pub parameters: Vec<u8>,
    /// Covers that say where targets went.
    pub mapped: Vec<RegionCover>,
    /// Those that do not.
    pub unmapped: Vec<RegionCover>,
}

/// Weight of an old target and a new one: how often they stand beside each other.
pub type Vote = (u32, u32, u32);

/// Where old targets went.
pub struct Labels {
    map: AddressMap,
    /// By old target.
    elected: Vec<(u32, u32)>,
}

/// What a byte outside of covers comes to when it is compressed, in 256ths: measured on browsers.
const LITERAL_COST: u64 = 105;
/// What a cover comes to that begins a new diagonal, and another one.
const COVER_COST: usize = 6 * 256;
const SAME_DIAGONAL_COST: usize = 2 * 256;

impl<'a> LargePair<'a> {
    /// `None` where these are not executables of one machine, or cannot be read.
    pub fn read(old: Part<'a>, new: Part<'a>) -> Option<Self> {
        let read = |part: &Part<'_>| Structure::read(part, &(0..part.size())).ok();
        let (old_structure, new_structure) = (read(&old)?, read(&new)?);
        let machine =
            old_structure.machine.filter(|_| old_structure.machine == new_structure.machine)?;
        let parameters = new_structure.segments.to_parameters(&old_structure.segments);
        let is_addressable = |part: &Part<'_>| u32::try_from(part.size()).is_ok();
        (is_addressable(&old) && is_addressable(&new)).then_some(Self {
            old,
            new,
            old_structure,
            new_structure,
            machine,
            parameters,
        })
    }

    /// Covers by the bytes alone: those that say best where what went.
    pub fn first_covers(&self, windows: &WindowPair, effort: Effort) -> Option<Vec<RegionCover>> {
        let (old, new) = (bytes(&self.old, &windows.old)?, bytes(&self.new, &windows.new)?);
        in_file(&match_to_vote(&old, &new, effort)?, windows)
    }

    /// What the covers of a window say of where targets went.
    pub fn votes(&self, windows: &WindowPair, covers: &[RegionCover]) -> Option<Vec<Vote>> {
        let old = labels(&self.old, &self.old_structure, &windows.old)?;
        let new = labels(&self.new, &self.new_structure, &windows.new)?;
        let covers: Vec<_> = covers.iter().copied().map(RegionCover::to_bytes).collect();
        let narrow = |(old, new, weight): (u64, u64, u32)| {
            Some((u32::try_from(old).ok()?, u32::try_from(new).ok()?, weight))
        };
        Some(sum(vote(&covers, &old, &new).into_iter().filter_map(narrow).collect()))
    }

    /// Where old targets went, by all votes and covers.
    pub fn elect(&self, covers: Vec<RegionCover>, votes: Vec<Vote>) -> Option<Labels> {
        let segments = &self.old_structure.segments;
        let map = AddressMap::new(segments, &self.parameters, covers, 0).ok()?;
        let votes = sum(votes);
        let mut elected = Vec::new();
        for of_target in votes.chunk_by(|a, b| a.0 == b.0) {
            let old = of_target[0].0;
            let (mapped, trust) = by_covers(&map, old.into()).unzip();
            let agreeing = |vote: &&Vote| mapped == Some(u64::from(vote.1));
            let weight = |vote: &Vote| {
                let own = vote.2.min(rematch::MAX_VOTES);
                own + if agreeing(&vote) { trust.unwrap_or(0) } else { 0 }
            };
            let Some(best) = of_target.iter().rev().max_by_key(|vote| weight(vote)) else {
                continue;
            };
            if weight(best) >= trust.unwrap_or(0) {
                elected.push((old, best.1));
            }
        }
        Some(Labels { map, elected })
    }

    /// Covers of windows in which each reference is a label of what it refers to.
    pub fn labelled_covers(
        &self,
        windows: &WindowPair,
        elected: &Labels,
    ) -> Option<Vec<RegionCover>> {
        let plain = bytes(&self.new, &windows.new)?;
        let mut new = plain.clone();
        for label in labels(&self.new, &self.new_structure, &windows.new)? {
            put(&mut new, &windows.new, &label, label.target);
        }
        let mut old = bytes(&self.old, &windows.old)?;
        for label in labels(&self.old, &self.old_structure, &windows.old)? {
            put(&mut old, &windows.old, &label, elected.of(label.target));
        }
        in_file(&match_stand_ins(&old, &new, &plain, Effort::Default)?, windows)
    }

    /// The covers that pay, of which the longest are on the map; `None` where that cannot be within `limit`.
    pub fn plan(&self, covers: Vec<RegionCover>, limit: u64) -> Option<LargePlan> {
        let rest = limit.checked_sub(self.parameters.len() as u64)?;
        let most = Predictor::most_covers(self.new.size(), rest)?;
        let (mapped, unmapped) = split_longest(covers, most);
        let paying = self.paying(mapped, unmapped)?;
        let (mapped, unmapped) = split_longest(paying, most);
        let (machine, parameters) = (self.machine, self.parameters.clone());
        Some(LargePlan { machine, parameters, mapped, unmapped })
    }

    /// Those covers, of both sorts, that cost less than their bytes would as literals.
    fn paying(
        &self,
        mapped: Vec<RegionCover>,
        unmapped: Vec<RegionCover>,
    ) -> Option<Vec<RegionCover>> {
        let mut trial = Trial::new(self, mapped)?;
        let mut unmapped = unmapped.into_iter().peekable();
        let mut paying = Vec::new();
        loop {
            let next = trial.predictor.position();
            let is_before =
                |cover: &RegionCover| next.is_none_or(|next| u64::from(cover.target) < next);
            if let Some(cover) = unmapped.next_if(is_before) {
                trial.predictor.begin_unmapped(cover).ok()?;
            }
            let Some(cover) = trial.predictor.current() else { return Some(paying) };
            if trial.cost(&cover)? as u64 <= u64::from(cover.length) * LITERAL_COST {
                paying.push(cover);
            }
        }
    }
}

/// The decoder's work, done for what covers cost.
struct Trial<'a> {
    new: &'a Part<'a>,
    old: &'a Part<'a>,
    predictor: Predictor,
    piece: Vec<u8>,
    new_bytes: Vec<u8>,
}

impl<'a> Trial<'a> {
    fn new(files: &'a LargePair<'_>, mapped: Vec<RegionCover>) -> Option<Self> {
        let LargePair { old, new, parameters, machine, .. } = files;
        let range = 0..old.size();
        let predictor = Predictor::new(*machine, old, range, parameters, mapped, new.size());
        let (piece, new_bytes) = (Vec::new(), Vec::new());
        Some(Self { new, old, predictor: predictor.ok()?, piece, new_bytes })
    }

    /// Makes the cover at hand; what it costs, in 256ths of a byte.
    fn cost(&mut self, cover: &RegionCover) -> Option<usize> {
        let is_same = self.predictor.diagonal(cover.target.into()) == cover.old.into();
        let mut cost = CoverCost::default();
        let mut at = u64::from(cover.target);
        while at < cover.target_end().into() {
            self.new_bytes.resize(usize::try_from(self.predictor.next_piece_bytes()).ok()?, 0);
            self.new.read_exact_at(&mut self.new_bytes, at).ok()?;
            let mut truth = Truth { new: &self.new_bytes, start: at, misses: 0 };
            self.predictor.next_piece(self.old, &mut truth, &mut self.piece).ok()??;
            cost.residuals += truth.misses;
            let pairs = self.piece.iter().zip(&self.new_bytes);
            cost.differences += pairs.filter(|(old, new)| old != new).count();
            at += self.piece.len() as u64;
        }
        Some(cost.cost() + if is_same { SAME_DIAGONAL_COST } else { COVER_COST })
    }
}

impl Labels {
    fn of(&self, target: u64) -> u64 {
        let narrow = u32::try_from(target).unwrap_or(u32::MAX);
        match self.elected.binary_search_by_key(&narrow, |elected| elected.0) {
            Ok(i) => self.elected[i].1.into(),
            Err(_) => by_covers(&self.map, target).map_or(rematch::UNKNOWN, |(address, _)| address),
        }
    }
}

/// Where covers put a target, and how much that is to be trusted.
fn by_covers(map: &AddressMap, target: u64) -> Option<(u64, u32)> {
    let (address, offsets) = map.trace(target)?;
    Some((address, if offsets.is_some() { rematch::COVER_WEIGHT / 2 } else { 1 }))
}

/// The same votes, each pair of targets once; in order.
fn sum(mut votes: Vec<Vote>) -> Vec<Vote> {
    votes.sort_unstable();
    votes.dedup_by(|again, first| {
        let is_same = (again.0, again.1) == (first.0, first.1);
        if is_same {
            first.2 = first.2.saturating_add(again.2);
        }
        is_same
    });
    votes.shrink_to_fit();
    votes
}

/// The longest covers, `most` at most, and the others; both in order.
pub(crate) fn split_longest(
    covers: Vec<RegionCover>,
    most: usize,
) -> (Vec<RegionCover>, Vec<RegionCover>) {
    if covers.len() <= most {
        return (covers, Vec::new());
    }
    let mut lengths: Vec<u32> = covers.iter().map(|cover| cover.length).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    // Those that are longer than the first that has no place.
    let limit = lengths[most];
    drop(lengths);
    covers.into_iter().partition(|cover| cover.length > limit)
}

fn bytes(part: &Part<'_>, range: &Range<u64>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
    part.read_exact_at(&mut bytes, range.start).ok()?;
    Some(bytes)
}

fn put(bytes: &mut [u8], range: &Range<u64>, label: &Label, target: u64) {
    let start = u64::from(label.at).checked_sub(range.start);
    if let Some(start) = start.and_then(|start| usize::try_from(start).ok()) {
        rematch::put(bytes, start, label, target);
    }
}

/// Covers of windows as those of their files.
fn in_file(covers: &[ByteCover], windows: &WindowPair) -> Option<Vec<RegionCover>> {
    let cover = |cover: &ByteCover| {
        let (new, old) =
            (windows.new.start + cover.new as u64, windows.old.start + cover.old as u64);
        RegionCover::new(new, old, cover.length as u64)
    };
    covers.iter().map(cover).collect()
}

/// The new bytes of a piece.
struct Truth<'a> {
    new: &'a [u8],
    start: u64,
    misses: usize,
}

impl Residuals for Truth<'_> {
    type Error = ReadError;

    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        let actual = prediction.found_in(self.new, self.start)?;
        self.misses += usize::from(actual != prediction.predicted);
        Ok(actual)
    }
}
