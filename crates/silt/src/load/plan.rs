//! Planning a load: what is there, what is to be made, out of what, and whether it will fit.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use delta::OriginId;
use delta::native::{DecodeError, Needs};

use serde::{Serialize, Serializer};
use store::FreeSpace;
use tarball::{DiffId, Digest, ImageConfig, ImageId, Name, Platform};

use super::bases::BaseStores;
use super::check;
use super::delete_base::bases_of;
use super::destination::Destination;
use super::known::{Base, Known};
use super::repair::Repair;
use super::source::Candidate;
use super::{Candidates, From, LoadError, LoadOptions, choose, pool, rules};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::place::PlaceRef;
use crate::policy::Verdict;
use crate::progress::{Progress, Step};
use crate::trust::Signer;

/// What a load will do.
#[derive(Debug, Clone, Serialize)]
pub struct LoadPlan {
    /// The images, in the order of the input.
    pub images: Vec<ImagePlan>,
    /// What it takes, and what there is.
    pub room: Room,
    /// Of the input, bytes that had to be copied because it was a pipe.
    pub spooled_bytes: u64,
    /// Who signed the input, where it is signed.
    pub signer: Option<Signer>,
    /// What the rules of the policy say.
    pub policy: Vec<Verdict>,
    /// Bases that are removed in the end.
    pub deletes: Vec<ImageId>,
    /// The limit that was planned with holds when the input is read again.
    #[serde(skip)]
    pub(super) max_memory_bytes: u64,
    #[serde(skip)]
    pub(super) bases: BaseStores,
    /// The candidates that are taken, one for each image.
    #[serde(skip)]
    pub(super) taken: Vec<usize>,
    /// Bytes that deltas read and the input has: no layers, and nowhere but there.
    #[serde(skip)]
    pub(super) shared: HashSet<DiffId>,
    /// The numbers of the images in the order in which they are made: each after its base.
    #[serde(skip)]
    pub(super) order: Vec<usize>,
}

/// What is needed of the file system, and what it has.
#[derive(Debug, Clone, Serialize)]
pub struct Room {
    /// Where the store's file system is mounted.
    #[serde(serialize_with = "display_path")]
    pub mount_point: PathBuf,
    /// Bytes that the new files take, in whole blocks, beyond what an interrupted load has left of them.
    pub needed_bytes: u64,
    /// Of these, bytes that an engine stages while it loads, and frees again.
    pub staged_bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Files that will be made.
    pub needed_inodes: u64,
    /// Files that can be made; `None` where there is no bound.
    pub free_inodes: Option<u64>,
    /// Bytes of damaged blocks that are written in the places of the old ones.
    pub mended_bytes: u64,
}

/// What will be done for one image.
#[derive(Debug, Clone, Serialize)]
pub struct ImagePlan {
    /// The image that will be there.
    pub id: ImageId,
    /// The names that it will have, beside those that it has.
    pub names: Vec<Name>,
    /// Where it comes from.
    pub how: How,
    /// What it is for, as `OS/ARCH[/VARIANT]`.
    #[serde(serialize_with = "display")]
    pub platform: Platform,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerPlan>,
    /// What a user should know before.
    pub warnings: Vec<String>,
    /// Other ways to the same image that the input has, and that were not taken.
    pub left_out: usize,
    #[serde(skip)]
    pub(super) config: Vec<u8>,
    #[serde(skip)]
    pub(super) manifest: Option<Vec<u8>>,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum How {
    /// It is there already.
    Present,
    /// The input holds it.
    Full,
    /// The input holds a delta.
    Delta {
        /// Of which format.
        format: DeltaFormat,
        /// The image that it was made against, where it says.
        base: Option<ImageId>,
    },
}

/// What will be done for one layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerPlan {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of its uncompressed tar; `None` where it is there and was not looked at.
    pub size_bytes: Option<u64>,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// What is done for a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "action")]
pub enum Action {
    /// Nothing: it is there, or an earlier part of this load makes it.
    Present,
    /// It is copied from another store.
    Copy {
        /// The root of that store.
        #[serde(serialize_with = "display_path")]
        from: PathBuf,
    },
    /// It is here and damaged.
    Repair(Repair),
    /// It is written as the input holds it.
    Write {
        /// Bytes in the input.
        stored_bytes: u64,
    },
    /// It is made out of a delta and other layers.
    Rebuild {
        /// How the delta is encoded.
        format: DeltaFormat,
        /// Bytes of the delta layer in the input.
        stored_bytes: u64,
        /// The layers that are read: in order, those that the delta addresses.
        #[serde(serialize_with = "as_list")]
        origins: Arc<[DiffId]>,
    },
}

impl LoadPlan {
    /// Fails where a rule of the policy is not kept, which a plan for looking alone tells.
    pub fn enforce_policy(&self) -> Result<(), crate::policy::PolicyError> {
        crate::policy::enforce(&self.policy)
    }
}

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
        let names = self.names(candidate, delta);
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

    /// A native delta records the target's names; a `balena` delta's own names become the target's.
    fn names(&self, candidate: &Candidate<'_>, delta: Option<&DeltaImage>) -> Vec<Name> {
        names_of(self.options, candidate, delta)
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

impl LayerPlan {
    /// Whether the layer can be counted on once this was done.
    pub(super) fn will_be_whole(&self) -> bool {
        !matches!(self.action, Action::Repair(Repair::Impossible { .. }))
    }

    /// Whether the layer is written as a file of its own.
    fn is_new_file(&self) -> bool {
        match &self.action {
            Action::Present => false,
            Action::Repair(repair) => repair.is_new_file(),
            Action::Copy { .. } | Action::Write { .. } | Action::Rebuild { .. } => true,
        }
    }

    /// The layers that a delta of this one reads, without what it reads of itself. The base of a
    /// `balena` delta may have the very layer, on others.
    pub(super) fn read_layers(&self) -> Vec<DiffId> {
        let (format, origins) = match &self.action {
            Action::Rebuild { format, origins, .. } => (Some(*format), origins),
            Action::Repair(Repair::Blocks { from, .. } | Repair::Whole { from }) => {
                (from.format, &from.origins)
            }
            _ => return Vec::new(),
        };
        let may_be_itself = format == Some(DeltaFormat::Silt);
        let is_other = |origin: &DiffId| !may_be_itself || *origin != self.diff_id;
        origins.iter().copied().filter(is_other).collect()
    }

    /// Whether it is read again while it is made.
    pub(super) fn reads_itself(&self) -> bool {
        match &self.action {
            Action::Rebuild { format: DeltaFormat::Silt, origins, .. } => {
                origins.contains(&self.diff_id)
            }
            Action::Repair(Repair::Whole { from }) => from.reads(self.diff_id),
            _ => false,
        }
    }

    /// The layers that must be whole for this one to come out right, itself among them if it is kept.
    pub(super) fn kept_layers(&self) -> Vec<DiffId> {
        match &self.action {
            Action::Present | Action::Copy { .. } => vec![self.diff_id],
            Action::Rebuild { .. } => self.read_layers(),
            Action::Write { .. } | Action::Repair(_) => Vec::new(),
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

/// Bytes that the store's own manifest has at most, for each layer and beside them.
const MANIFEST_BYTES: (u64, u64) = (256, 4096);
/// Bytes that one more image adds to the index, for each name and beside them.
const INDEX_BYTES: (u64, u64) = (512, 512);

/// The new index lies beside the old one for a moment, and everything in whole blocks.
fn room_for(destination: &Destination<'_>, images: &[ImagePlan]) -> Result<Room, LoadError> {
    let free = destination.space()?;
    let block_bytes = free.block_size_bytes.max(1);
    let mut needed = Needed { block_bytes, bytes: 0, inodes: 0 };
    let (mut index_bytes, mut mended_bytes, mut staged_bytes) = (0, 0u64, 0u64);
    for image in images {
        if image.how != How::Present {
            index_bytes += INDEX_BYTES.0 * image.names.len() as u64 + INDEX_BYTES.1;
            needed.add(image.config.len() as u64, 0);
            needed.add(MANIFEST_BYTES.0 * image.layers.len() as u64 + MANIFEST_BYTES.1, 0);
            if let Some(manifest) = &image.manifest {
                needed.add(manifest.len() as u64, 0);
            }
        }
        for layer in &image.layers {
            if let Action::Repair(repair) = &layer.action {
                mended_bytes = mended_bytes.saturating_add(repair.mended_bytes());
            }
            if !layer.is_new_file() {
                continue;
            }
            let size_bytes = layer.size_bytes.unwrap_or(0);
            needed.add(size_bytes, destination.left_bytes(layer.diff_id)?);
            match (destination.stages(), store::blocks_file_size_bytes(size_bytes)) {
                (true, _) => staged_bytes = staged_bytes.saturating_add(size_bytes),
                (false, 0) => {}
                (false, blocks_bytes) => needed.add(blocks_bytes, 0),
            }
        }
    }
    if index_bytes > 0
        && let Some(store) = destination.store()
    {
        needed.add(store.index_size_bytes() + index_bytes, 0);
    }
    Ok(Room {
        mount_point: free.mount_point,
        needed_bytes: needed.bytes.saturating_add(staged_bytes),
        staged_bytes,
        free_bytes: free.free_bytes,
        needed_inodes: needed.inodes,
        free_inodes: free.free_inodes,
        mended_bytes,
    })
}

/// What files take.
struct Needed {
    block_bytes: u64,
    bytes: u64,
    inodes: u64,
}

impl Needed {
    /// One file more, of which there is a part already.
    fn add(&mut self, size_bytes: u64, left_bytes: u64) {
        let bytes = size_bytes.div_ceil(self.block_bytes).saturating_mul(self.block_bytes);
        self.bytes = self.bytes.saturating_add(bytes.saturating_sub(left_bytes));
        self.inodes += u64::from(left_bytes == 0);
    }
}

fn display<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn display_path<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(super) fn as_list<S: Serializer>(
    layers: &Arc<[DiffId]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    layers.as_ref().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base of a `balena` delta may have the very layer that is made, on others than in the target.
    #[test]
    fn a_layer_is_its_own_origin_in_the_native_format_alone() {
        let [layer, other] = [1, 2].map(|byte| DiffId(Digest::from_bytes([byte; 32])));
        let plan = |format| {
            let origins = Arc::from([other, layer]);
            let action = Action::Rebuild { format, stored_bytes: 0, origins };
            LayerPlan { diff_id: layer, size_bytes: None, action }
        };
        let (native, balena) = (plan(DeltaFormat::Silt), plan(DeltaFormat::Balena));
        assert!(native.reads_itself() && !balena.reads_itself());
        assert_eq!(native.kept_layers(), [other]);
        assert_eq!(balena.kept_layers(), [other, layer]);
    }
}
