//! Loading: plain images and deltas of every format, from one call.
//!
//! [`plan_load`] reads the whole input, checks all of it that can be checked, finds what the store
//! has, and writes nothing. [`load`] then does what the plan says, through a
//! [sink](crate::sink::ImageTransaction).

mod bases;
mod check;
mod delete_base;
mod error;
mod execute;
mod health;
mod input;
mod known;
mod order;
mod plan;
mod repair;
mod source;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;
use store::Store;
use tarball::{DiffId, ImageId, Name, PlatformChoice};

use crate::delta_image::DeltaImage;
use crate::progress::Progress;

pub use delete_base::DeletedBase;
pub use error::LoadError;
pub use input::{Input, OpenedInput, open_input};
pub use plan::{Action, How, ImagePlan, LayerPlan, LoadPlan, Room};
pub use repair::Repair;

use source::Candidate;

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What the image is to be called, whatever the input says.
    pub tag: Option<Name>,
    /// Which image of several platforms.
    pub platform: PlatformChoice,
    /// The most memory that decompressing and decoding may take, in bytes.
    pub max_memory_bytes: u64,
    /// Whether layers that are read or kept are compared with their digests before anything is written.
    pub verify_base: bool,
    /// Whether the images' layers that are here are compared with their digests, and mended.
    pub repair: bool,
    /// Other stores from which layers of the base may be read.
    pub base_roots: Vec<PathBuf>,
    /// Whether the base of a delta is removed once its target is there.
    pub delete_base: bool,
}

impl Default for LoadOptions {
    /// The names of the input, the host's platform, 64 MiB.
    fn default() -> Self {
        Self {
            tag: None,
            platform: PlatformChoice::Host,
            max_memory_bytes: 64 << 20,
            verify_base: false,
            repair: false,
            base_roots: Vec::new(),
            delete_base: false,
        }
    }
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// The images, in the order of the input.
    pub images: Vec<LoadedImage>,
    /// Bytes of the input that were read to make layers, still compressed; checking read them too.
    pub read_bytes: u64,
    /// Bytes that were written into the store.
    pub written_bytes: u64,
    /// Bytes of the images' layers that were not written, because they were there.
    pub saved_bytes: u64,
    /// Of these, what an interrupted load had left.
    pub resumed_bytes: u64,
    /// Of the input, bytes that had to be copied first because it was a pipe.
    pub spooled_bytes: u64,
    /// Layers that were damaged and are whole now.
    pub repaired: Vec<RepairedLayer>,
    /// Bases that were removed.
    pub deleted: Vec<DeletedBase>,
}

/// A layer that was damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairedLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of it that were written: of the damaged blocks, or all. 0 where only its block digests were.
    pub written_bytes: u64,
}

/// One image that is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedImage {
    /// The image.
    pub id: ImageId,
    /// The names that were set.
    pub names: Vec<Name>,
    /// Whether it was there before.
    pub was_present: bool,
}

/// Plans to load what `input` holds into `store`. Reads all of the input; writes nothing.
pub fn plan_load(
    input: &OpenedInput,
    store: &Store,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadPlan, LoadError> {
    let candidates = source::of_archive(&input.archive);
    let mut plan = plan::plan(&candidates, store, options, input.spooled_bytes, progress)?;
    leave_names_to_the_last(&mut plan);
    Ok(plan)
}

/// A name that several images claim goes to the last of them that is made, as if each had been loaded
/// after the other: a chain of deltas carries `latest` with each link.
fn leave_names_to_the_last(plan: &mut LoadPlan) {
    let mut owners: HashMap<Name, ImageId> = HashMap::new();
    for number in plan.order.iter().rev() {
        let image = &mut plan.images[*number];
        image.names.retain(|name| *owners.entry(name.clone()).or_insert(image.id) == image.id);
    }
}

/// Does what `plan` says. All images become visible together, or none does.
pub fn load(
    input: &OpenedInput,
    plan: &LoadPlan,
    store: &Store,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    let candidates = source::of_archive(&input.archive);
    let report = execute::execute(&candidates, plan, store.begin()?, progress)?;
    delete_base::delete_bases(store, plan, report)
}

/// Plans to apply the delta image `reference`, which is in `store` already.
pub fn plan_apply(
    store: &Store,
    reference: &str,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadPlan, LoadError> {
    let delta = source::of_store(store, reference)?;
    if DeltaImage::of(&delta.config)?.is_none() {
        return Err(LoadError::NotADelta { image: delta.config.id });
    }
    plan::plan(&[delta], store, options, 0, progress)
}

/// Does what the plan of [`plan_apply`] says.
pub fn apply(
    store: &Store,
    reference: &str,
    plan: &LoadPlan,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    let delta = source::of_store(store, reference)?;
    let report = execute::execute(&[delta], plan, store.begin()?, progress)?;
    delete_base::delete_bases(store, plan, report)
}

/// The layers of one candidate, numbered as the plan numbers them.
type Candidates<'a> = [Candidate<'a>];
