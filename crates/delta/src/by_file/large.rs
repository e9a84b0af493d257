//! Executables that are too large to be planned within the memory budget: window by window.

use std::ops::Range;

use rayon::prelude::*;

use super::budget::Budget;
use super::index::FileRef;
use super::pairs::{PairMatch, length};
use super::windows::{window_bytes, windows};
use super::{MatchOptions, Sides};
use crate::byte_match;
use crate::cover::OriginId;
use crate::effort::Effort;
use crate::read_at::Part;
use crate::references::{LargePair, LargePlan, RegionCover, WindowPair};
use crate::region::{References, Region, Transform};

/// Of what a region may take on the device, this much is left to the windows of the streams: a larger one of
/// literals is worth more than more covers on the map.
const LEFT_OF_REGION: u64 = 4;

/// Where less than one byte in so many has a like, it is not the old one: others are looked for.
const MIN_SHARE: u64 = 8;

/// Of the budget, what covers and votes of a whole file are left.
const KEPT_OF_BUDGET: u64 = 8;

/// Makes a large new executable out of an old one; `None` where they are none that can be.
pub(super) fn match_large_executables(
    sides: &Sides<'_, '_>,
    new: &Range<u64>,
    old: FileRef,
    options: &MatchOptions,
) -> Option<PairMatch> {
    let old_range = sides.member(old).data.clone();
    let pair = LargePair::read(
        Part::new(sides.origin(old.origin), old_range.clone()),
        Part::new(sides.target, new.clone()),
    )?;
    let budget = Budget::new(options.memory_bytes - options.memory_bytes / KEPT_OF_BUDGET);
    let windows =
        windows(&(0..length(new)), &(0..length(&old_range)), window_bytes(budget.total()))?;
    let covers = covers(&pair, &windows, &budget, options.effort)?;
    let limit = options.region_bytes - options.region_bytes / LEFT_OF_REGION;
    let plan = pair.plan(covers, limit)?;
    let LargePlan { machine, parameters, mapped, unmapped } = plan;
    let covers = mapped.iter().chain(&unmapped);
    let covered: u64 = covers.map(|cover| u64::from(cover.length)).sum();
    if covered < (new.end - new.start) / MIN_SHARE {
        return None;
    }
    let origin = OriginId(old.origin);
    let references =
        References { machine, origin, old: old_range, parameters, covers: mapped, unmapped };
    let region = Region { target: new.clone(), transform: Transform::References(references) };
    Some(PairMatch { covers: Vec::new(), regions: vec![region] })
}

fn covers(
    pair: &LargePair<'_>,
    windows: &[WindowPair],
    budget: &Budget,
    effort: Effort,
) -> Option<Vec<RegionCover>> {
    let first = in_each(windows, budget, |_, window| pair.first_covers(window))?;
    if effort == Effort::Fast {
        return Some(first.concat());
    }
    let votes = in_each(windows, budget, |i, window| pair.votes(window, &first[i]))?;
    let (first, votes) = (first.into_iter().flatten(), votes.into_iter().flatten());
    let labels = pair.elect(first.collect(), votes.collect())?;
    Some(in_each(windows, budget, |_, window| pair.labelled_covers(window, &labels))?.concat())
}

/// What `work` makes of each window, in order; windows are worked on at once as the budget allows.
fn in_each<T: Send>(
    windows: &[WindowPair],
    budget: &Budget,
    work: impl Fn(usize, &WindowPair) -> Option<T> + Sync,
) -> Option<Vec<T>> {
    let run = |(i, window): (usize, &WindowPair)| {
        let matching = byte_match::memory_bytes(length(&window.old), length(&window.new));
        // With labels the new bytes are there twice.
        let needed = matching.saturating_add(length(&window.new));
        budget.with(needed, || work(i, window))
    };
    windows.par_iter().enumerate().map(run).collect()
}
