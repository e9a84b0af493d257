//! The encoder's side: whether references are worth predicting, and with which covers.

use super::elf::Elf;
use super::rematch::{References, rematch};
use super::trial::Trial;
use super::{Machine, RegionCover};
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
/// `None` where they are not executables of one machine, or nothing is gained by it.
pub fn plan(old: &[u8], new: &[u8], covers: &[ByteCover]) -> Option<Plan> {
    let read = |bytes: &[u8]| Elf::read(&bytes, &(0..bytes.len() as u64)).ok();
    let (old_elf, new_elf) = (read(old)?, read(new)?);
    let machine = old_elf.machine.filter(|_| old_elf.machine == new_elf.machine)?;
    let parameters = new_elf.segments.to_parameters(&old_elf.segments);
    let first = Plan { machine, parameters, covers: covers.to_vec() };

    let plain_bytes = cost::estimate_bytes(old, new, covers);
    let trial = Trial::of(old, new, &first)?;
    let mut best = (plain_bytes.saturating_sub(MIN_GAIN_BYTES), None);
    let mut candidates = Vec::new();
    if plain_bytes > MIN_BYTES_TO_REMATCH {
        let references = References { old, new, old_elf: &old_elf, new_elf: &new_elf };
        candidates = rematch(&references, &first);
    }
    keep_smaller(&mut best, old, new, first.clone(), Some(trial));
    for covers in candidates {
        keep_smaller(&mut best, old, new, Plan { covers, ..first.clone() }, None);
    }
    best.1
}

/// Takes the plan, or what is left of it when covers are dropped that do not pay, if it is better.
fn keep_smaller(
    best: &mut (usize, Option<Plan>),
    old: &[u8],
    new: &[u8],
    plan: Plan,
    trial: Option<Trial>,
) {
    let Some(trial) = trial.or_else(|| Trial::of(old, new, &plan)) else { return };
    let pruned = prune(&plan, &trial);
    let is_pruned = pruned.covers.len() < plan.covers.len();
    if trial.bytes < best.0 {
        *best = (trial.bytes, Some(plan));
    }
    if !is_pruned {
        return;
    }
    let Some(trial) = Trial::of(old, new, &pruned) else { return };
    if trial.bytes < best.0 {
        *best = (trial.bytes, Some(pruned));
    }
}

/// Covers that cost less than their bytes would as literals. In 256ths of a byte.
fn prune(plan: &Plan, trial: &Trial) -> Plan {
    let diagonal = |cover: &ByteCover| cover.old.wrapping_sub(cover.new);
    let covers = &plan.covers;
    let pays = |i: usize| {
        let (cover, cost) = (&covers[i], &trial.covers[i]);
        let before = i.checked_sub(1).map(|i| diagonal(&covers[i]));
        let is_new_diagonal = before != Some(diagonal(cover));
        let control = if is_new_diagonal { 4 * 256 } else { 2 * 256 };
        let costs = control + cost.differences * 358 + cost.residuals * 563;
        // What codes literals in the end is better by a fifth than what tried it.
        cover.length * trial.literal_cost / 5 * 4 >= costs
    };
    let kept = (0..covers.len()).filter(|&i| pays(i)).map(|i| covers[i]).collect();
    Plan { covers: kept, parameters: plan.parameters.clone(), machine: plan.machine }
}
