//! Planning a load: what is there, what is to be made, out of what, and whether it will fit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use delta::OriginId;
use delta::native::{DecodeError, Needs};
use store::FreeSpace;
use tarball::{DiffId, Digest, ImageConfig, Name, Platform};

use super::bases::BaseStores;
use super::check;
use super::delete_base::bases_of;
use super::destination::Destination;
use super::known::{Base, Known};
use super::plan::{Action, How, ImagePlan, LayerPlan, LoadPlan};
use super::room::room_for;
use super::source::Candidate;
use super::{Candidates, From, LoadError, LoadOptions, choose, pool, rules};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::place::PlaceRef;
use crate::progress::{Progress, Step};

pub(super) fn plan(
    candidates: &Candidates<'_>,
    place: PlaceRef<'_>,
    options: &LoadOptions,
    from: From,
    progress: &dyn Progress,
) -> Result<LoadPlan, LoadError> {
    let destination = Destination::open(place)?;
    let bases = BaseStores::open(&options.base_roots)?;
    let base_snapshots = bases.snapshots()?;
    let known = Known::new(&destination, &bases, &base_snapshots);
    let space = destination.space()?;
    let mut planner =
        Planner { known, bases: &bases, options, space, pools: HashMap::new(), progress };
    progress.begin(&Step::CheckingInput, None);
    let deltas = candidates.iter().map(Candidate::delta);
    let deltas = deltas.collect::<Result<Vec<_>, _>>()?;
    let targets = candidates.iter().zip(&deltas);
    let targets = targets.map(|(c, delta)| delta.as_ref().map_or(c.config.id, |d| d.target.id));
    let images = targets.collect::<HashSet<_>>().len();
    if options.tag.is_some() && images > 1 {
        return Err(LoadError::TagForSeveral { images });
    }
    let policy = rules::judge_all(candidates, &deltas, &destination, options, &from)?;
    let chosen = choose::choose(candidates, &deltas, options.repair, &mut planner.known)?;
    let choose::Chosen { taken, order, left_out } = chosen;
    let mut images: Vec<Option<ImagePlan>> = taken.iter().map(|_| None).collect();
    for place in &order {
        let number = taken[*place];
        let mut image = planner.image(&candidates[number], deltas[number].as_ref())?;
        image.left_out = left_out[*place].len();
        for other in &left_out[*place] {
            // Whichever way is taken, the image has the names that the input gives it.
            for name in names_of(options, &candidates[*other], deltas[*other].as_ref()) {
                if !image.names.contains(&name) {
                    image.names.push(name);
                }
            }
        }
        images[*place] = Some(image);
    }
    let images: Vec<ImagePlan> = images.into_iter().flatten().collect();
    progress.end();
    let room = room_for(&destination, &images)?;
    if room.needed_bytes > room.free_bytes
        || room.free_inodes.is_some_and(|free| room.needed_inodes > free)
    {
        return Err(LoadError::NoRoom { room: Box::new(room) });
    }
    let deletes = match destination.snapshot() {
        Some(snapshot) if options.delete_base => {
            let taken: Vec<_> = taken.iter().filter_map(|n| deltas[*n].as_ref()).collect();
            bases_of(snapshot, &taken, &images)
        }
        _ => Vec::new(),
    };
    let shared = planner.pools.into_keys().collect();
    let max_memory_bytes = options.max_memory_bytes;
    let From { signer, spooled_bytes } = from;
    Ok(LoadPlan {
        images,
        room,
        spooled_bytes,
        signer,
        policy,
        deletes,
        max_memory_bytes,
        order,
        taken,
        shared,
        bases,
    })
}

pub(super) struct Planner<'a> {
    pub(super) known: Known<'a>,
    bases: &'a BaseStores,
    pub(super) options: &'a LoadOptions,
    /// Where the layers will lie.
    space: FreeSpace,
    /// What deltas share, once it was checked: with the memory that it takes.
    pools: HashMap<DiffId, Needs>,
    pub(super) progress: &'a dyn Progress,
}

impl Planner<'_> {
    fn image(
        &mut self,
        candidate: &Candidate<'_>,
        delta: Option<&DeltaImage>,
    ) -> Result<ImagePlan, LoadError> {
        let target = delta.map_or(&candidate.config, |delta| &delta.target);
        let names = names_of(self.options, candidate, delta);
        let is_present = self.known.has_image(target.id) && self.known.has_all(&target.diff_ids)?;
        let how = match delta {
            _ if is_present => How::Present,
            None => How::Full,
            Some(delta) if delta.is_full() => How::Full,
            Some(delta) => How::Delta { format: delta.format, base: delta.base },
        };
        let base = match delta {
            Some(delta) => self.known.base_of(delta)?,
            None => None,
        };
        let mut layers = Vec::new();
        for index in 0..target.diff_ids.len() {
            let of = Of { candidate, delta, target, base: base.as_ref(), index };
            let layer = match self.options.repair {
                true => self.layer_or_repair(&of)?,
                false => self.layer(&of)?,
            };
            // Before the way back is removed, everything that is kept is known to be whole.
            let is_last_chance = self.options.delete_base && delta.is_some();
            if is_last_chance || (self.options.verify_base && how != How::Present) {
                let mut kept = layer.kept_layers();
                kept.retain(|layer| !self.pools.contains_key(layer));
                self.known.expect_sound(&kept, self.progress)?;
            }
            if let Some(size_bytes) = layer.size_bytes.filter(|_| layer.will_be_whole()) {
                self.known.add_layer(layer.diff_id, size_bytes);
            }
            layers.push(layer);
        }
        self.known.add_image(target.id, &target.diff_ids);
        Ok(ImagePlan {
            id: target.id,
            names,
            how,
            platform: target.platform.clone(),
            layers,
            warnings: warnings(target),
            left_out: 0,
            config: target.raw.clone(),
            // The manifest of a delta is the delta's, not the target's.
            manifest: candidate.manifest.clone().filter(|_| delta.is_none()),
        })
    }

    /// What is done for a layer, damaged or not.
    fn layer(&mut self, of: &Of<'_>) -> Result<LayerPlan, LoadError> {
        let diff_id = of.diff_id();
        match self.known.present(&of.target.diff_ids[..=of.index])? {
            Some(size_bytes) => Ok(LayerPlan { diff_id, size_bytes, action: Action::Present }),
            None => self.made_layer(of),
        }
    }

    /// How a layer is made that is not here.
    pub(super) fn made_layer(&mut self, of: &Of<'_>) -> Result<LayerPlan, LoadError> {
        if !of.is_in_input()
            && let Some(size_bytes) = self.known.size_on_other_stack(of.diff_id())?
        {
            let action = Action::Copy { from: self.known.root() };
            return Ok(LayerPlan { diff_id: of.diff_id(), size_bytes: Some(size_bytes), action });
        }
        if !of.is_in_input()
            && let Some((store, size_bytes)) = self.bases.find(of.diff_id())?
        {
            let action = Action::Copy { from: store.root().to_owned() };
            return Ok(LayerPlan { diff_id: of.diff_id(), size_bytes: Some(size_bytes), action });
        }
        match of.delta {
            None => self.full_layer(of.candidate, of.index),
            Some(delta) => self.delta_layer(of.candidate, delta, of.base, of.index),
        }
    }

    fn full_layer(
        &mut self,
        candidate: &Candidate<'_>,
        index: usize,
    ) -> Result<LayerPlan, LoadError> {
        let diff_id = candidate.diff_id(index);
        let stored_bytes = candidate.stored_bytes(index);
        let missing = LoadError::MissingLayer { image: candidate.config.id, layer: diff_id };
        let stored_bytes = stored_bytes.ok_or(missing)?;
        if let Some(files) = candidate.damage_of(index) {
            return Err(LoadError::BaseDamaged { layer: diff_id, files });
        }
        let size_bytes = check::full_layer(candidate, index, &self.space, self.progress)?;
        let action = Action::Write { stored_bytes };
        Ok(LayerPlan { diff_id, size_bytes: Some(size_bytes), action })
    }

    fn delta_layer(
        &mut self,
        candidate: &Candidate<'_>,
        delta: &DeltaImage,
        base: Option<&Base>,
        index: usize,
    ) -> Result<LayerPlan, LoadError> {
        let (id, diff_id) = (candidate.config.id, delta.target.diff_ids[index]);
        let base_missing =
            |missing| LoadError::BaseMissing { delta: id, base: delta.base, missing };
        // The empty layer stands for one that base and target share, and that one is not here.
        if candidate.diff_id(index) == DiffId::EMPTY_LAYER {
            return Err(match base {
                Some(base) if !base.layers.contains(&diff_id) => {
                    LoadError::NotShared { delta: id, layer: diff_id }
                }
                _ => base_missing(vec![diff_id]),
            });
        }
        let missing = LoadError::MissingLayer { image: id, layer: diff_id };
        let stored_bytes = candidate.stored_bytes(index).ok_or(missing)?;
        let (size_bytes, origins) = match (delta.format, base) {
            (DeltaFormat::Silt, _) => self.native_layer(candidate, delta, index)?,
            (DeltaFormat::Balena, Some(base)) if base.missing.is_empty() => {
                for layer in base.layers.iter() {
                    self.known.origin_size(*layer)?;
                }
                let (space, progress) = (&self.space, self.progress);
                let size = check::balena_layer(candidate, index, diff_id, base, space, progress)?;
                (size, base.layers.clone())
            }
            (DeltaFormat::Balena, base) => {
                return Err(base_missing(
                    base.map(|base| base.missing.clone()).unwrap_or_default(),
                ));
            }
        };
        let format = delta.format;
        let action = Action::Rebuild { format, stored_bytes, origins };
        Ok(LayerPlan { diff_id, size_bytes: Some(size_bytes), action })
    }

    /// Checks what a delta shares with others, once; together with the delta itself it must not take
    /// more memory than there is.
    fn shared_bytes(
        &mut self,
        candidate: &Candidate<'_>,
        index: usize,
        bytes: DiffId,
        size_bytes: u64,
        delta_memory_bytes: u64,
    ) -> Result<(), LoadError> {
        let allowed = self.options.max_memory_bytes;
        if !self.pools.contains_key(&bytes) {
            let (space, progress) = (&self.space, self.progress);
            let needs = check::native_layer(candidate, index, bytes, allowed, space, progress)?;
            self.pools.insert(bytes, needs);
        }
        let layer = candidate.diff_id(index);
        let needs = self.pools.get(&bytes);
        let found = needs.filter(|needs| needs.origins.is_empty());
        let found = found.filter(|needs| needs.output_bytes == size_bytes);
        let found = found.ok_or(LoadError::SharedLayer { layer })?;
        let needed = delta_memory_bytes.saturating_add(found.memory_bytes);
        let needed = needed.saturating_add(pool::BUFFER_BYTES);
        if needed > allowed {
            let source = DecodeError::Limit { what: "memory", needed, allowed };
            return Err(LoadError::Decode { layer: bytes, origins: Vec::new(), source });
        }
        Ok(())
    }

    /// Checks a native delta, and its origins: each must be here, and as large as it says.
    fn native_layer(
        &mut self,
        candidate: &Candidate<'_>,
        delta: &DeltaImage,
        index: usize,
    ) -> Result<(u64, Arc<[DiffId]>), LoadError> {
        let layer = delta.target.diff_ids[index];
        let memory_bytes = self.options.max_memory_bytes;
        let (space, progress) = (&self.space, self.progress);
        let needs = check::native_layer(candidate, index, layer, memory_bytes, space, progress)?;
        let mut origins = Vec::with_capacity(needs.origins.len());
        let mut missing = Vec::new();
        for (number, origin) in (0u32..).zip(&needs.origins) {
            let diff_id = DiffId(Digest::from_bytes(*origin.diff_id()));
            if origin.is_itself() {
                origins.push(layer);
                continue;
            }
            if diff_id == layer {
                return Err(LoadError::OriginTooEarly { layer, origin: diff_id });
            }
            if let Some(place) = candidate.shared_layer(diff_id) {
                self.shared_bytes(candidate, place, diff_id, origin.size(), needs.memory_bytes)?;
                origins.push(diff_id);
                continue;
            }
            match self.known.origin_size(diff_id)? {
                None if makes_later(candidate, delta, index, diff_id) => {
                    return Err(LoadError::OriginTooEarly { layer, origin: diff_id });
                }
                None => missing.push(diff_id),
                Some(found) if found != origin.size() => {
                    let (origin, expected) = (OriginId(number), origin.size());
                    let source = DecodeError::OriginSize { origin, expected, found };
                    let is_whole = self.known.is_layer_whole(diff_id)?;
                    let origins = if is_whole { Vec::new() } else { vec![diff_id] };
                    return Err(LoadError::Decode { layer, origins, source });
                }
                Some(_) => {}
            }
            origins.push(diff_id);
        }
        match missing.is_empty() {
            true => Ok((needs.output_bytes, origins.into())),
            false => {
                let (delta, base) = (candidate.config.id, delta.base);
                Err(LoadError::BaseMissing { delta, base, missing })
            }
        }
    }
}

/// A native delta records the target's names; a `balena` delta's own names become the target's.
pub(super) fn names_of(
    options: &LoadOptions,
    candidate: &Candidate<'_>,
    delta: Option<&DeltaImage>,
) -> Vec<Name> {
    match (&options.tag, delta) {
        (Some(tag), _) => vec![tag.clone()],
        (None, Some(delta)) if delta.format == DeltaFormat::Silt => delta.names.clone(),
        _ => candidate.names.clone(),
    }
}

/// One layer of an image that is to be loaded.
pub(super) struct Of<'a> {
    pub(super) candidate: &'a Candidate<'a>,
    pub(super) delta: Option<&'a DeltaImage>,
    pub(super) target: &'a ImageConfig,
    pub(super) base: Option<&'a Base>,
    pub(super) index: usize,
}

impl Of<'_> {
    pub(super) fn diff_id(&self) -> DiffId {
        self.target.diff_ids[self.index]
    }

    /// Whether the input has something for the layer: a delta has the empty layer for one that base
    /// and target share, and an archive may leave a layer out.
    fn is_in_input(&self) -> bool {
        match self.delta {
            Some(_) => self.candidate.diff_id(self.index) != DiffId::EMPTY_LAYER,
            None => self.candidate.stored_bytes(self.index).is_some(),
        }
    }
}

/// Whether a delta has something for a layer that only comes at `index` or after it. What it leaves
/// out there, or what its base has, is merely not here.
fn makes_later(candidate: &Candidate<'_>, delta: &DeltaImage, index: usize, layer: DiffId) -> bool {
    let is_of_base = delta.base_layers.as_ref().is_some_and(|layers| layers.contains(&layer));
    let mut later = (index..).zip(&delta.target.diff_ids[index..]);
    !is_of_base && later.any(|(i, id)| *id == layer && candidate.diff_id(i) != DiffId::EMPTY_LAYER)
}

fn warnings(target: &ImageConfig) -> Vec<String> {
    let host = Platform::host();
    match host.runs(&target.platform) {
        true => Vec::new(),
        false => vec![format!("the image is for {}, and this machine is {host}", target.platform)],
    }
}
