//! Making a delta between images of the store.
//!
//! Each layer's delta is written into one nameless file, applied again to prove it, and then either
//! kept in the store as a layer of the delta image, or written straight into an archive.

mod base;
mod error;
mod kinds;
mod layer;
mod layer_list;
mod levels;
mod merge;
mod pack;
mod pool;
mod several;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use delta::by_file::FileIndex;
use delta::read_at::ReadAt;
use serde::Serialize;
use store::{NewImage, Store, Subject};
use tarball::{ChainId, DiffId, ImageConfig, ImageId, Name};

use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::place::{EngineTransaction, LayerPool, PlaceRef, SourceImage};
use crate::progress::{Progress, Step};
use crate::scratch::scratch_file;
use crate::sink::{ImageTransaction, SinkError};

pub use error::CreateError;
pub(crate) use error::changed;
pub use kinds::KindReport;
pub use layer_list::{LayerListError, read_layer_list};
pub use merge::{MergeCounts, MergeError, MergedDelta, merge_deltas};
pub use several::{From, create_deltas};

use base::{Base, bytes_of};
use pack::Parts;
use pool::Pool;

/// How much work goes into a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Little: for deltas that are used once.
    Fast,
    /// What most deltas are made with.
    #[default]
    Default,
    /// All: for deltas that go to many devices.
    Best,
}

/// How a delta is made.
#[derive(Debug, Clone)]
pub struct DeltaOptions {
    /// The encoding.
    pub format: DeltaFormat,
    /// How much work goes into it.
    pub level: Level,
    /// Memory that making it may take, in bytes.
    pub memory_bytes: u64,
    /// Memory that the device is promised to need at most, in bytes.
    pub apply_memory_bytes: u64,
    /// Threads; all cores where there is no number. The delta is the same.
    pub jobs: Option<usize>,
}

impl Default for DeltaOptions {
    /// A native delta with 512 MiB here and 16 MiB on the device.
    fn default() -> Self {
        Self {
            format: DeltaFormat::Silt,
            level: Level::Default,
            memory_bytes: 512 << 20,
            apply_memory_bytes: 16 << 20,
            jobs: None,
        }
    }
}

/// A delta that is made and proved, and not yet anywhere.
pub struct CreatedDelta {
    config: ImageConfig,
    layers: Vec<DeltaLayer>,
    format: DeltaFormat,
    subject: Option<Subject>,
    report: CreateReport,
}

/// A layer of a delta image: the whole tar, a part of a file without a name.
#[derive(Debug, Clone)]
pub(crate) struct DeltaLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) size_bytes: u64,
    /// Where it begins in the file, which holds all layers of the delta.
    pub(crate) start: u64,
    pub(crate) file: Arc<File>,
}

/// What a delta consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreateReport {
    /// The image ID of the delta.
    pub delta: ImageId,
    /// The image that it makes.
    pub target: ImageId,
    /// The images that it needs, all of them.
    pub base: Vec<ImageId>,
    /// Whether it needs nothing at all.
    pub is_full: bool,
    /// Its encoding.
    pub format: DeltaFormat,
    /// Bytes of all layers of the target.
    pub normal_bytes: u64,
    /// Bytes of all layers of the delta, before the archive compresses them.
    pub delta_bytes: u64,
    /// Bytes of further layers, which the deltas that were made with it have as well.
    pub shared_bytes: u64,
    /// The target's layers, the lowest first.
    pub layers: Vec<LayerReport>,
    /// The same by sorts of files, over all layers that are not shared.
    pub kinds: Vec<KindReport>,
    /// Bytes of temporary files that making it took.
    pub scratch_bytes: u64,
}

/// Of what one layer of the target is made. The parts of one that is not shared sum to its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerReport {
    /// The layer of the target.
    pub diff_id: DiffId,
    /// Its size.
    pub size_bytes: u64,
    /// Whether the base has it, or a lower layer is the same: then the delta has nothing for it.
    pub is_shared: bool,
    /// Bytes of its delta.
    pub delta_bytes: u64,
    /// Bytes of it that are copied from other layers.
    pub copied_bytes: u64,
    /// Bytes of it that are other layers' with differences.
    pub added_bytes: u64,
    /// Bytes of it that are tar headers, said by their fields.
    pub header_bytes: u64,
    /// Bytes of it that are compressed members, made out of what they hold.
    pub recompressed_bytes: u64,
    /// Bytes of it that fill up a tar's blocks with zeros.
    pub padding_bytes: u64,
    /// Bytes of it that the delta carries itself.
    pub literal_bytes: u64,
    /// The same by sorts of files; the report of the whole delta has the sums.
    #[serde(skip)]
    kinds: Vec<KindReport>,
}

/// Makes the delta from all images of `base` together to `target`, which are in `store`.
pub fn create_delta(
    store: &Store,
    base: &[&str],
    target: &str,
    options: &DeltaOptions,
    progress: &dyn Progress,
) -> Result<CreatedDelta, CreateError> {
    let pool = LayerPool::new(store);
    let open = |reference: &&str| SourceImage::of_pool(store, &pool, reference);
    let base = base.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let target = open(&target)?;
    create_delta_between(base, &target, store, options, progress)
}

/// The same between images of any places. Temporary files are in `scratch`, or where the system has them
/// if that is no store.
pub fn create_delta_between(
    base: Vec<SourceImage>,
    target: &SourceImage,
    scratch: &Store,
    options: &DeltaOptions,
    progress: &dyn Progress,
) -> Result<CreatedDelta, CreateError> {
    let pool = thread_pool(options)?;
    for image in base.iter().chain([target]) {
        if let Ok(Some(_)) = DeltaImage::of(&image.config) {
            return Err(CreateError::IsADelta { image: image.config.id });
        }
    }
    let base = Base::of(base, options.format)?;
    let file = scratch_file(scratch)?;
    pool.install(|| Creation { base: &base, target, options, progress }.run(file))
}

fn thread_pool(options: &DeltaOptions) -> Result<rayon::ThreadPool, CreateError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.jobs.unwrap_or(0)).build();
    pool.map_err(|source| CreateError::Threads { source })
}

impl CreatedDelta {
    /// What it consists of.
    pub fn report(&self) -> &CreateReport {
        &self.report
    }

    /// The layers that other deltas have as well, with their sizes.
    pub fn shared_layers(&self) -> Vec<(DiffId, u64)> {
        let shared = self.layers.iter().skip(self.report.layers.len());
        shared.map(|layer| (layer.diff_id, layer.size_bytes)).collect()
    }

    /// Puts the delta into a place as an image, under `names`.
    pub fn keep<'a>(
        self,
        place: impl Into<PlaceRef<'a>>,
        names: &[Name],
        progress: &dyn Progress,
    ) -> Result<ImageId, CreateError> {
        match place.into() {
            PlaceRef::Store(store) => self.keep_by(store.begin()?, names, progress),
            PlaceRef::Engine(place) => {
                let sink = EngineTransaction::begin(place).map_err(SinkError::from)?;
                self.keep_by(sink, names, progress)
            }
        }
    }

    fn keep_by<T: ImageTransaction>(
        self,
        mut sink: T,
        names: &[Name],
        progress: &dyn Progress,
    ) -> Result<ImageId, CreateError> {
        progress.begin(&Step::Publishing, Some(self.report.delta_bytes));
        let mut kept = HashSet::new();
        for layer in self.layers.iter().filter(|layer| kept.insert(layer.diff_id)) {
            let mut writer = sink.layer(layer.diff_id, Some(layer.size_bytes))?;
            layer::copy_part(&layer.file, layer.start, layer.size_bytes, &mut writer, progress)?;
            sink.finish_layer(writer)?;
        }
        let image = NewImage {
            config: self.config.raw.clone(),
            names: names.to_vec(),
            artifact_type: Some(self.format.artifact_type().into()),
            subject: self.subject.clone(),
            ..NewImage::default()
        };
        sink.commit(vec![image])?;
        progress.end();
        Ok(self.config.id)
    }

    pub(crate) fn config(&self) -> &ImageConfig {
        &self.config
    }

    pub(crate) fn layers(&self) -> &[DeltaLayer] {
        &self.layers
    }

    pub(crate) fn format(&self) -> DeltaFormat {
        self.format
    }

    pub(crate) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }
}

/// A delta being made.
struct Creation<'a> {
    base: &'a Base,
    target: &'a SourceImage,
    options: &'a DeltaOptions,
    progress: &'a dyn Progress,
}

impl Creation<'_> {
    fn run(&self, scratch: File) -> Result<CreatedDelta, CreateError> {
        let is_shared = self.shared_layers();
        let new_layers = self.target.layers.iter().zip(&is_shared).filter(|(_, shared)| !**shared);
        let targets: Vec<&dyn ReadAt> = new_layers.map(|(layer, _)| bytes_of(layer)).collect();
        self.progress.begin(&Step::Fingerprinting, None);
        let mut index = self.checked_index(&targets)?;
        self.progress.end();

        let mut maker = layer::Maker::new(self.base, self.options, scratch);
        let mut made: HashMap<DiffId, (DeltaLayer, LayerReport)> = HashMap::new();
        let mut layers = Vec::new();
        let mut reports = Vec::new();
        let count = self.target.layers.len();
        for ((i, target), is_shared) in self.target.layers.iter().enumerate().zip(is_shared) {
            let (layer, report) = if is_shared {
                maker.empty(target.diff_id, target.size())?
            } else if let Some(again) = made.get(&target.diff_id) {
                again.clone()
            } else {
                let (number, diff_id) = (i + 1, &target.diff_id);
                let action = "Computing delta";
                let step = Step::Layer { number, count, diff_id, action };
                self.progress.begin(&step, Some(target.size()));
                let new = maker.delta(target, &index)?;
                if self.options.format == DeltaFormat::Silt {
                    maker.add_origin(i, target);
                    index.add(target)?;
                }
                self.progress.end();
                made.insert(target.diff_id, new.clone());
                new
            };
            layers.push(layer);
            reports.push(report);
        }
        let scratch_bytes = maker.scratch_bytes();
        drop(maker);
        self.pack(layers, reports, &[], scratch_bytes)
    }

    /// The files of the base, whose layers are hashed meanwhile, if anything is to be made of them.
    fn checked_index<'t>(&self, targets: &[&'t dyn ReadAt]) -> Result<FileIndex<'t>, CreateError>
    where
        Self: 't,
    {
        let check = || if targets.is_empty() { Ok(()) } else { self.base.check() };
        let origins = self.base.origin_bytes();
        let (checked, index) = rayon::join(check, || FileIndex::build(&origins, targets));
        checked?;
        Ok(index?)
    }

    /// A `balena` layer is shared where the stacks below and with it are the same; a native one
    /// wherever the base, or a lower layer of the target, has its bytes.
    fn shared_layers(&self) -> Vec<bool> {
        let target: Vec<DiffId> = self.target.layers.iter().map(|layer| layer.diff_id).collect();
        match self.options.format {
            DeltaFormat::Silt => {
                let in_base = |layer: &DiffId| self.base.has_layer(*layer);
                let is_repeated = |i: usize| target[..i].contains(&target[i]);
                (0..target.len()).map(|i| in_base(&target[i]) || is_repeated(i)).collect()
            }
            DeltaFormat::Balena => {
                let base = ChainId::of_stack(self.base.address_space());
                let chain = ChainId::of_stack(&target);
                let shared = chain.iter().zip(base.iter().map(Some).chain(std::iter::repeat(None)));
                shared.map(|(chain, base)| Some(chain) == base).collect()
            }
        }
    }

    fn pack(
        &self,
        layers: Vec<DeltaLayer>,
        reports: Vec<LayerReport>,
        pools: &[Arc<Pool>],
        scratch_bytes: u64,
    ) -> Result<CreatedDelta, CreateError> {
        let delta = DeltaImage {
            format: self.options.format,
            target: self.target.config.clone(),
            base: self.base.ids().first().copied(),
            base_layers: Some(self.base.address_space().to_vec()),
            names: self.target.names.clone(),
            kinds: Vec::new(),
            shared: pools.iter().map(|pool| DiffId(pool.digest)).collect(),
        };
        let shared = pools.iter().filter_map(|pool| pool.layer.clone()).collect();
        let parts = Parts { layers, reports, shared, scratch_bytes };
        let packed = parts.pack(delta, self.base.ids().to_vec())?;
        Ok(CreatedDelta { subject: self.target.original_manifest.clone(), ..packed })
    }
}
