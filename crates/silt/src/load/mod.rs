//! Loading: plain images and deltas of every format, from one call.
//!
//! [`plan_load`] reads the whole input, checks all of it that can be checked, finds what the store
//! has, and writes nothing. [`load`] then does what the plan says, through a
//! [sink](crate::sink::ImageTransaction).

mod bases;
mod check;
mod choose;
mod delete_base;
mod destination;
mod error;
mod execute;
mod folder;
mod health;
mod input;
mod known;
mod layer_job;
mod order;
mod plan;
mod planner;
mod pool;
mod repair;
mod room;
mod rules;
mod source;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;
use tarball::{DiffId, ImageId, Name, PlatformChoice};

use crate::delta_image::DeltaImage;
use crate::place::{EngineTransaction, PlaceRef, SourceImage};
use crate::policy::{Policy, Verdict};
use crate::progress::Progress;
use crate::sink::SinkError;
use crate::trust::{Demand, SignatureError, SignatureProblem, Signer, Trust};

pub use delete_base::DeletedBase;
pub use error::LoadError;
pub use folder::PassedOver;
pub use input::{Input, OpenedInput, open_input, open_input_for};
pub use plan::{Action, How, ImagePlan, LayerPlan, LoadPlan};
pub use repair::Repair;
pub use room::Room;

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
    /// Whose signatures count, and whether there must be one.
    pub trust: Trust,
    /// What may be loaded.
    pub policy: Option<Policy>,
    /// Whether the policy's rule against older images is set aside.
    pub allow_downgrade: bool,
    /// Whether the plan is only shown: it then has the rules that are not kept, and is no error.
    pub is_dry_run: bool,
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
            trust: Trust::default(),
            policy: None,
            allow_downgrade: false,
            is_dry_run: false,
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
    /// Who signed the input, where it is signed.
    pub signer: Option<Signer>,
    /// What the policy said.
    pub policy: Vec<Verdict>,
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

/// Plans to load what `input` holds into `place`. Reads all of the input; writes nothing.
pub fn plan_load<'a>(
    input: &OpenedInput,
    place: impl Into<PlaceRef<'a>>,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadPlan, LoadError> {
    if let Some(plan) = input.planned.take() {
        return Ok(*plan);
    }
    let candidates = source::of_archive(&input.archive);
    let from = From { signer: input.signer.clone(), spooled_bytes: input.spooled_bytes };
    let plan = planner::plan(&candidates, place.into(), options, from, progress);
    let mut plan = plan.map_err(|error| input.blame_part(error, progress))?;
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
pub fn load<'a>(
    input: &OpenedInput,
    plan: &LoadPlan,
    place: impl Into<PlaceRef<'a>>,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    let candidates = source::take(source::of_archive(&input.archive), &plan.taken);
    execute_in(&candidates, plan, place.into(), progress)
}

fn execute_in(
    candidates: &Candidates<'_>,
    plan: &LoadPlan,
    place: PlaceRef<'_>,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    match place {
        PlaceRef::Store(store) => {
            let report = execute::execute(candidates, plan, store.begin()?, progress)?;
            delete_base::delete_bases(store, plan, report)
        }
        PlaceRef::Engine(place) => {
            let sink = EngineTransaction::begin(place).map_err(SinkError::from)?;
            execute::execute(candidates, plan, sink, progress)
        }
    }
}

/// Plans to apply the delta image `reference`, which is in `place` already.
pub fn plan_apply<'a>(
    place: impl Into<PlaceRef<'a>>,
    reference: &str,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadPlan, LoadError> {
    let place = place.into();
    let delta = source::of_place(place, reference)?;
    if DeltaImage::of(&delta.config)?.is_none() {
        return Err(LoadError::NotADelta { image: delta.config.id });
    }
    // What is in a place came without a signature, or lost it.
    if options.trust.demand == Demand::Signed {
        let problem = SignatureProblem::Unsigned;
        return Err(SignatureError { path: PathBuf::from(reference), problem }.into());
    }
    planner::plan(&[delta], place, options, From::default(), progress)
}

/// Does what the plan of [`plan_apply`] says.
pub fn apply<'a>(
    place: impl Into<PlaceRef<'a>>,
    reference: &str,
    plan: &LoadPlan,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    let place = place.into();
    execute_in(&[source::of_place(place, reference)?], plan, place, progress)
}

/// Copies an image into `place` as it is, under `names`.
pub fn copy<'a>(
    source: SourceImage,
    names: &[Name],
    place: impl Into<PlaceRef<'a>>,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    if options.trust.demand == Demand::Signed {
        let problem = SignatureProblem::Unsigned;
        return Err(SignatureError { path: source.config.id.to_string().into(), problem }.into());
    }
    let place = place.into();
    let candidates = [source::of_source(source, names)];
    let plan = planner::plan(&candidates, place, options, From::default(), progress)?;
    execute_in(&candidates, &plan, place, progress)
}

/// What is known of the input beside its images.
#[derive(Default)]
pub(crate) struct From {
    pub(crate) signer: Option<Signer>,
    pub(crate) spooled_bytes: u64,
}

/// The layers of one candidate, numbered as the plan numbers them.
type Candidates<'a> = [Candidate<'a>];
