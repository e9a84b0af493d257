//! The encoder's side: whether references are worth predicting, and with which covers.

use super::rematch::{References, rematch};
use super::structure::Structure;
use super::trial::{CoverCost, Trial};
use super::{Machine, Predictor, RegionCover};
use crate::byte_match::{ByteCover, cost, match_bytes, match_to_vote};
use crate::effort::Effort;

/// How an executable is to be made out of an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whose code both are.
    pub machine: Machine,
    /// What the decoder must know of the new one.
    pub parameters: Vec<u8>,
    /// In the order of the new one, none overlapping another.
    pub covers: Vec<ByteCover>,
}

/// A region gains so many bytes at least: it has covers and parameters of its own.
const MIN_GAIN_BYTES: usize = 32;

/// A plan that gains less than one byte in so many must also be better than the best that plain matching does.
const NARROW: usize = 8;

/// Files that need fewer bytes by plain matching are not matched again: there is little to be gained.
const MIN_BYTES_TO_REMATCH: usize = 256;

impl RegionCover {
    pub(super) fn to_bytes(self) -> ByteCover {
        let Self { target, old, length } = self;
        ByteCover { new: target as usize, old: old as usize, length: length as usize }
    }

    pub(crate) fn of(cover: &ByteCover) -> Option<Self> {
        Self::new(cover.new as u64, cover.old as u64, cover.length as u64)
    }
}

/// Peak memory of [`plan`], both files and the first covers included.
pub fn memory_bytes(old_bytes: u64, new_bytes: u64) -> u64 {
    let matching = crate::byte_match::memory_bytes(old_bytes, new_bytes);
    matching.saturating_add(old_bytes).saturating_add(new_bytes).saturating_add(4 << 20)
}

/// Plans how `new` is made out of `old`; `None` where they are not executables of one machine, or nothing is
/// gained.
///
/// Covers that pay the least are dropped until
/// [`Predictor::memory_bytes`](super::Predictor::memory_bytes) is within `limit`.
pub fn plan(old: &[u8], new: &[u8], limit: u64, effort: Effort) -> Option<Plan> {
    let read = |bytes: &[u8]| Structure::read(&bytes, &(0..bytes.len() as u64)).ok();
    let (old_structure, new_structure) = (read(old)?, read(new)?);
    let machine =
        old_structure.machine.filter(|_| old_structure.machine == new_structure.machine)?;
    let parameters = new_structure.segments.to_parameters(&old_structure.segments);
    let rest = limit.checked_sub(parameters.len() as u64)?;
    let most_covers = Predictor::most_covers(new.len() as u64, rest)?;
    let references =
        References { old, new, old_structure: &old_structure, new_structure: &new_structure };
    let first = Plan { machine, parameters, covers: match_to_vote(old, new, effort)? };
    match effort {
        Effort::Fast => at_first(old, new, &first, most_covers),
        _ => search(&references, &first, most_covers, effort),
    }
}

/// The plan with the first covers, if they gain by a rough count of what is unequal.
fn at_first(old: &[u8], new: &[u8], first: &Plan, most_covers: usize) -> Option<Plan> {
    let trial = Trial::roughly_of(old, new, first)?;
    let pruned = prune(first, &trial, most_covers);
    let predicted: usize = trial.covers.iter().map(CoverCost::cost).sum();
    let different = |cover: &ByteCover| {
        let old = &old[cover.old..cover.old + cover.length];
        let new = &new[cover.new..cover.new + cover.length];
        old.iter().zip(new).filter(|(a, b)| a != b).count()
    };
    let differences = first.covers.iter().map(different).sum();
    let plain = CoverCost { differences, residuals: 0 }.cost();
    (predicted + MIN_GAIN_BYTES * 256 < plain).then_some(pruned)
}

/// The plan that comes out smallest, of several sets of covers.
fn search(
    files: &References<'_>,
    first: &Plan,
    most_covers: usize,
    effort: Effort,
) -> Option<Plan> {
    let (old, new) = (files.old, files.new);
    let plain_bytes = cost::estimate_bytes(old, new, &first.covers);
    let best_bytes = plain_bytes.saturating_sub(MIN_GAIN_BYTES);
    let mut search = Search { old, new, most_covers, best: None, best_bytes };
    let is_best = effort == Effort::Best;
    if plain_bytes > MIN_BYTES_TO_REMATCH {
        search.rematch(files, first, effort);
    }
    if is_best || search.best.is_none() {
        search.consider(first.clone());
    }
    if let Some(again) = search.best.clone().filter(|_| is_best) {
        search.rematch(files, &again, effort);
    }
    let is_narrow = search.best_bytes > plain_bytes - plain_bytes / NARROW;
    let is_better = |covers: Vec<ByteCover>| {
        search.best_bytes + MIN_GAIN_BYTES <= cost::estimate_bytes(old, new, &covers)
    };
    // Plain matching was done with little effort so far.
    if is_narrow && !match_bytes(old, new, effort).is_some_and(is_better) {
        return None;
    }
    search.best
}

/// Looks for the smallest.
struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    most_covers: usize,
    best: Option<Plan>,
    /// What a plan must be smaller than.
    best_bytes: usize,
}

impl Search<'_> {
    /// Considers covers chosen again, where `plan` says what went where.
    fn rematch(&mut self, files: &References<'_>, plan: &Plan, effort: Effort) {
        if let Some(again) = rematch(files, plan, effort) {
            self.consider(again);
        }
    }

    /// Takes the plan if it is smaller, without the covers that there is no room for.
    fn consider(&mut self, mut plan: Plan) {
        let Some(mut trial) = Trial::of(self.old, self.new, &plan) else { return };
        if plan.covers.len() > self.most_covers {
            plan = prune(&plan, &trial, self.most_covers);
            let Some(pruned) = Trial::of(self.old, self.new, &plan) else { return };
            trial = pruned;
        }
        if trial.bytes < self.best_bytes {
            self.best_bytes = trial.bytes;
            self.best = Some(plan);
        }
    }
}

/// Leaves out covers that cost more than their bytes would as literals, and of the others those that gain
/// the least until there are no more than `most`.
fn prune(plan: &Plan, trial: &Trial, most: usize) -> Plan {
    let gains: Vec<i64> = (0..plan.covers.len()).map(|i| gain(plan, trial, i)).collect();
    let mut paying: Vec<usize> = (0..gains.len()).filter(|&i| gains[i] >= 0).collect();
    if paying.len() > most {
        paying.sort_by_key(|&i| std::cmp::Reverse(gains[i]));
        paying.truncate(most);
        paying.sort_unstable();
    }
    let covers = paying.into_iter().map(|i| plan.covers[i]).collect();
    Plan { covers, parameters: plan.parameters.clone(), machine: plan.machine }
}

/// What a cover gains, in 256ths of a byte: what its bytes would come to as literals, which are coded
/// better by a quarter in the end than in the trial, less what it costs.
fn gain(plan: &Plan, trial: &Trial, number: usize) -> i64 {
    let diagonal = |cover: &ByteCover| cover.old.wrapping_sub(cover.new);
    let (cover, cost) = (&plan.covers[number], &trial.covers[number]);
    let before = number.checked_sub(1).map(|before| diagonal(&plan.covers[before]));
    let is_new_diagonal = before != Some(diagonal(cover));
    let control = if is_new_diagonal { 5 * 256 } else { 2 * 256 };
    let costs = control + cost.cost();
    let literals = cover.length * trial.literal_cost / 4 * 3;
    let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(literals) - signed(costs)
}
