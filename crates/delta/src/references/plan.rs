//! The encoder's side: whether references are worth predicting, and with which covers.

use super::elf::Elf;
use super::rematch::{References, rematch};
use super::trial::Trial;
use super::{Machine, Predictor, RegionCover};
use crate::byte_match::{ByteCover, cost};

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

/// Files that need fewer bytes by plain matching are not matched again: there is little to be gained.
const MIN_BYTES_TO_REMATCH: usize = 256;

impl RegionCover {
    pub(super) fn of(cover: &ByteCover) -> Option<Self> {
        Some(Self {
            target: u32::try_from(cover.new).ok()?,
            old: u32::try_from(cover.old).ok()?,
            length: u32::try_from(cover.length).ok()?,
        })
    }
}

/// Peak memory of [`plan`], both files and the first covers included.
pub fn memory_bytes(old_bytes: u64, new_bytes: u64) -> u64 {
    let matching = crate::byte_match::memory_bytes(old_bytes, new_bytes);
    matching.saturating_add(old_bytes).saturating_add(new_bytes).saturating_add(4 << 20)
}

/// Plans how `new` is made out of `old`, for which `covers` were found by plain matching.
///
/// `None` where they are not executables of one machine, or nothing is gained by it. Covers that pay the
/// least are dropped until [`Predictor::memory_bytes`](super::Predictor::memory_bytes) is within `limit`.
pub fn plan(old: &[u8], new: &[u8], covers: &[ByteCover], limit: u64) -> Option<Plan> {
    let read = |bytes: &[u8]| Elf::read(&bytes, &(0..bytes.len() as u64)).ok();
    let (old_elf, new_elf) = (read(old)?, read(new)?);
    let machine = old_elf.machine.filter(|_| old_elf.machine == new_elf.machine)?;
    let parameters = new_elf.segments.to_parameters(&old_elf.segments);
    let limit = limit.checked_sub(parameters.len() as u64)?;
    let first = Plan { machine, parameters, covers: covers.to_vec() };
    let most_covers = Predictor::most_covers(new.len() as u64, limit)?;
    let mut search = Search { old, new, most_covers, best: None, best_bytes: 0 };
    let plain_bytes = cost::estimate_bytes(old, new, covers);
    search.best_bytes = plain_bytes.saturating_sub(MIN_GAIN_BYTES);
    search.consider(first.clone());
    if plain_bytes > MIN_BYTES_TO_REMATCH {
        let references = References { old, new, old_elf: &old_elf, new_elf: &new_elf };
        for covers in rematch(&references, &first) {
            search.consider(Plan { covers, ..first.clone() });
        }
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
    /// Takes the plan, or what is left of it when covers are dropped that do not pay, if it is better.
    fn consider(&mut self, plan: Plan) {
        let Some(trial) = Trial::of(self.old, self.new, &plan) else { return };
        let pruned = prune(&plan, &trial, self.most_covers);
        let count = plan.covers.len();
        self.keep_smaller(plan, &trial);
        if pruned.covers.len() < count
            && let Some(trial) = Trial::of(self.old, self.new, &pruned)
        {
            self.keep_smaller(pruned, &trial);
        }
    }

    fn keep_smaller(&mut self, plan: Plan, trial: &Trial) {
        if trial.bytes < self.best_bytes && plan.covers.len() <= self.most_covers {
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
/// better by a fifth in the end than in the trial, less what it costs.
fn gain(plan: &Plan, trial: &Trial, number: usize) -> i64 {
    let diagonal = |cover: &ByteCover| cover.old.wrapping_sub(cover.new);
    let (cover, cost) = (&plan.covers[number], &trial.covers[number]);
    let before = number.checked_sub(1).map(|before| diagonal(&plan.covers[before]));
    let is_new_diagonal = before != Some(diagonal(cover));
    let control = if is_new_diagonal { 4 * 256 } else { 2 * 256 };
    let costs = control + cost.differences * 358 + cost.residuals * 563;
    let literals = cover.length * trial.literal_cost / 5 * 4;
    let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(literals) - signed(costs)
}
