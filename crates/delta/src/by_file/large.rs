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
use crate::references::{LargePair, LargePlan, RegionCover, WindowPair, split_longest};
use crate::region::{References, Region, Transform};

/// Of what a region may take on the device, this much is left to the windows of the streams: a larger one of
/// literals is worth more than more covers on the map.
const LEFT_OF_REGION: u64 = 4;

/// Where less than one byte in so many has a like, it is not the old one: others are looked for.
const MIN_SHARE: u64 = 8;

/// Of the budget, what covers and votes of a whole file are left.
const KEPT_OF_BUDGET: u64 = 8;

/// One first cover for so many bytes of the budget: of a fourth of it each takes 12 in the list of its window, 12 in
/// that of all and 24 on the map of where targets went, if all were there at once.
const BYTES_PER_FIRST_COVER: u64 = 4 * 48;
/// One of those by labels for so many: it takes 12, of another fourth, as windows do not take all that they might.
const BYTES_PER_COVER: u64 = 4 * 12;

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
    let window_bytes = window_bytes(budget.total())?;
    let windows = windows(&(0..length(new)), &(0..length(&old_range)), window_bytes);
    let covers = covers(&pair, &windows, &budget, options)?;
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
    options: &MatchOptions,
) -> Option<Vec<RegionCover>> {
    // A window may have twice its share, as long as all together have no more than theirs.
    let most = |bytes_per_cover| {
        let covers = usize::try_from(options.memory_bytes / bytes_per_cover).unwrap_or(usize::MAX);
        ((covers / windows.len().max(1)).saturating_mul(2), covers)
    };
    let (in_window, in_all) = most(BYTES_PER_FIRST_COVER);
    let first =
        |window: &WindowPair| Some(longest(pair.first_covers(window, options.effort)?, in_window));
    let first = in_each(windows, budget, |_, window| first(window))?;
    if options.effort == Effort::Fast {
        return Some(longest(joined(first), in_all));
    }
    let votes = in_each(windows, budget, |i, window| pair.votes(window, &first[i]))?;
    let first = longest(joined(first), in_all);
    let labels = pair.elect(first, joined(votes))?;
    let (in_window, in_all) = most(BYTES_PER_COVER);
    let labelled =
        |window: &WindowPair| Some(longest(pair.labelled_covers(window, &labels)?, in_window));
    let labelled = in_each(windows, budget, |_, window| labelled(window))?;
    Some(longest(joined(labelled), in_all))
}

/// All lists as one. Each is freed once it is copied.
fn joined<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut all = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    lists.into_iter().for_each(|list| all.extend(list));
    all
}

/// The longest covers, at most so many, in order.
fn longest(covers: Vec<RegionCover>, most: usize) -> Vec<RegionCover> {
    let (mut covers, _) = split_longest(covers, most);
    covers.shrink_to_fit();
    covers
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
