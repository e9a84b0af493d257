//! Which of several ways to an image is taken: a file may hold deltas from several bases to it, and
//! the image itself.

use std::collections::{HashMap, HashSet};

use delta::native::{Limits, Needs, read_needs};
use tarball::{DiffId, Digest, ImageId};

use super::known::{Known, Place};
use super::source::Candidate;
use super::{Candidates, LoadError, order};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::delta_layer::skip_to_member;

/// The candidates that are taken, one for each image, in the order of the input, and the order in
/// which they are made.
pub(super) struct Chosen {
    /// Numbers of candidates.
    pub(super) taken: Vec<usize>,
    /// Numbers in `taken`.
    pub(super) order: Vec<usize>,
    /// For each of `taken`, the candidates that are other ways to the same image.
    pub(super) left_out: Vec<Vec<usize>>,
}

/// Chooses for each image the way that reads least of the input. An image waits for another one of
/// the input if that makes its way shorter.
pub(super) fn choose(
    candidates: &Candidates<'_>,
    deltas: &[Option<DeltaImage>],
    prefer_full: bool,
    known: &mut Known<'_>,
) -> Result<Chosen, LoadError> {
    let groups = groups(candidates, deltas);
    if groups.len() == candidates.len() {
        let order = order::of(candidates, deltas, known)?;
        let left_out = vec![Vec::new(); candidates.len()];
        return Ok(Chosen { taken: (0..candidates.len()).collect(), order, left_out });
    }
    let mut chooser = Chooser { candidates, deltas, known, heads: HashMap::new() };
    let all: HashSet<DiffId> = groups.iter().flat_map(|group| chooser.made_by(group[0])).collect();
    let mut waiting: Vec<&Vec<usize>> = groups.iter().collect();
    let (mut made, mut picked) = (HashSet::new(), Vec::new());
    while !waiting.is_empty() {
        let mut best: Option<(bool, u64, usize, usize)> = None;
        for (place, group) in waiting.iter().enumerate() {
            let now = chooser.cheapest(group, &made, prefer_full)?;
            let hoped = chooser.cheapest(group, &all, prefer_full)?;
            let Some((cost, candidate)) = now else { continue };
            let may_gain = hoped.is_some_and(|(hoped, _)| hoped < cost);
            let key = (may_gain, if may_gain { cost } else { 0 }, place, candidate);
            best = Some(best.map_or(key, |best| best.min(key)));
        }
        // Where nothing can be made, the first one's first way will say what is missing.
        let (place, candidate) = best.map_or((0, waiting[0][0]), |(_, _, place, way)| (place, way));
        made.extend(chooser.made_by(candidate));
        waiting.remove(place);
        picked.push(candidate);
    }
    let mut taken = picked.clone();
    taken.sort_unstable();
    let place = |candidate: &usize| taken.partition_point(|other| other < candidate);
    let order = picked.iter().map(place).collect();
    let others = |taken: &usize| {
        let group = groups.iter().find(|group| group.contains(taken));
        group.into_iter().flatten().copied().filter(|other| other != taken).collect()
    };
    let left_out = taken.iter().map(others).collect();
    Ok(Chosen { taken, order, left_out })
}

/// The candidates that make the same image.
fn groups(candidates: &Candidates<'_>, deltas: &[Option<DeltaImage>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<ImageId, usize> = HashMap::new();
    for (number, (candidate, delta)) in candidates.iter().zip(deltas).enumerate() {
        let target = delta.as_ref().map_or(candidate.config.id, |delta| delta.target.id);
        match known.get(&target) {
            Some(group) => groups[*group].push(number),
            None => {
                known.insert(target, groups.len());
                groups.push(vec![number]);
            }
        }
    }
    groups
}

struct Chooser<'a, 'k> {
    candidates: &'a Candidates<'a>,
    deltas: &'a [Option<DeltaImage>],
    known: &'a mut Known<'k>,
    /// The headers of native delta layers.
    heads: HashMap<(usize, usize), Needs>,
}

impl Chooser<'_, '_> {
    fn made_by(&self, number: usize) -> Vec<DiffId> {
        let config = &self.candidates[number].config;
        let target = self.deltas[number].as_ref().map_or(config, |delta| &delta.target);
        target.diff_ids.clone()
    }

    /// The way of a group that reads least, and how much; `None` where none of them can be gone.
    fn cheapest(
        &mut self,
        group: &[usize],
        made: &HashSet<DiffId>,
        prefer_full: bool,
    ) -> Result<Option<(u64, usize)>, LoadError> {
        let mut best: Option<(u64, usize)> = None;
        for number in group {
            let is_plain = self.deltas[*number].is_none();
            if let Some(cost) = self.cost(*number, made)? {
                // A repair wants the layers themselves.
                let cost = if prefer_full && is_plain { 0 } else { cost };
                best = Some(best.map_or((cost, *number), |best| best.min((cost, *number))));
            }
        }
        Ok(best)
    }

    /// Bytes of the input that a way reads, with these layers at hand; `None` where it lacks some.
    fn cost(&mut self, number: usize, made: &HashSet<DiffId>) -> Result<Option<u64>, LoadError> {
        let candidate = &self.candidates[number];
        let delta = self.deltas[number].as_ref();
        let target = delta.map_or(&candidate.config, |delta| &delta.target);
        let mut at_hand = made.clone();
        let (mut cost, mut pools) = (0u64, HashSet::new());
        for (index, diff_id) in target.diff_ids.iter().enumerate() {
            let is_here = at_hand.contains(diff_id) || self.is_here(*diff_id)?;
            if !is_here {
                let stored = candidate.stored_bytes(index);
                let is_empty = delta.is_some() && candidate.diff_id(index) == DiffId::EMPTY_LAYER;
                let origins = match (delta, stored) {
                    // What the input leaves out may be in another store.
                    _ if is_empty || stored.is_none() => match self.is_anywhere(*diff_id)? {
                        true => continue,
                        false => return Ok(None),
                    },
                    (Some(delta), _) => self.origins(number, delta, index)?,
                    (None, _) => Some(Vec::new()),
                };
                let Some(origins) = origins else { return Ok(None) };
                for origin in origins {
                    let shared = delta.and_then(|delta| delta.shared_layer(origin));
                    match shared {
                        Some(place) => {
                            pools.insert(place);
                        }
                        None if at_hand.contains(&origin) || self.is_anywhere(origin)? => {}
                        None => return Ok(None),
                    }
                }
                cost = cost.saturating_add(stored.unwrap_or(0));
            }
            at_hand.insert(*diff_id);
        }
        let pools = pools.into_iter().filter_map(|index| candidate.stored_bytes(index));
        Ok(Some(pools.fold(cost, u64::saturating_add)))
    }

    /// What a layer of a delta reads; `None` where its base is not here.
    fn origins(
        &mut self,
        number: usize,
        delta: &DeltaImage,
        index: usize,
    ) -> Result<Option<Vec<DiffId>>, LoadError> {
        if delta.format == DeltaFormat::Balena {
            let base = self.known.base_of(delta)?;
            return Ok(base
                .filter(|base| base.missing.is_empty())
                .map(|base| base.layers.to_vec()));
        }
        if !self.heads.contains_key(&(number, index)) {
            let head = read_head(&self.candidates[number], index)?;
            self.heads.insert((number, index), head);
        }
        let origins = self.heads.get(&(number, index)).map(|needs| needs.origins.iter());
        let diff_ids = origins.into_iter().flatten().filter(|origin| !origin.is_itself());
        Ok(Some(diff_ids.map(|o| DiffId(Digest::from_bytes(*o.diff_id()))).collect()))
    }

    fn is_here(&mut self, layer: DiffId) -> Result<bool, LoadError> {
        self.known.is_here(layer)
    }

    fn is_anywhere(&mut self, layer: DiffId) -> Result<bool, LoadError> {
        Ok(self.known.place(layer)? != Place::Absent)
    }
}

/// The header of a native delta layer: what it needs.
fn read_head(candidate: &Candidate<'_>, index: usize) -> Result<Needs, LoadError> {
    let layer = candidate.diff_id(index);
    let mut tar = candidate.open_layer(index)?;
    skip_to_member(layer, &mut tar)?;
    let limits = Limits { memory_bytes: u64::MAX, output_bytes: u64::MAX };
    let error = |source| LoadError::Decode { layer, origins: Vec::new(), source };
    read_needs(&mut tar, &limits).map_err(error)
}
