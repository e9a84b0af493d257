//! `image delta --from … --from …`: several deltas to one image.

use std::path::PathBuf;

use serde::Serialize;
use silt::create::{
    CreateReport, CreatedDelta, DeltaOptions, From, create_deltas, read_layer_list,
};
use silt::place::layers_of_store;
use silt::save::{SaveOptions, SaveReport, save_deltas};
use silt::{ImageId, Name};

use super::destination::{DeltaDestination, arrival, keep, store_for, tell};
use super::sign::signing;
use crate::context::Context;
use crate::error::CommandResult;
use crate::output::exact_size;
use crate::places::Places;

pub(crate) struct SeveralTask {
    pub(crate) from: Vec<FromTask>,
    pub(crate) target: String,
    pub(crate) with_full: bool,
    /// One for each delta, where they are stored.
    pub(crate) names: Vec<Name>,
    pub(crate) options: DeltaOptions,
    pub(crate) destination: DeltaDestination,
    pub(crate) is_json: bool,
}

/// What devices have.
pub(crate) enum FromTask {
    Image(String),
    /// A file with the list of a device's layers.
    Layers(PathBuf),
}

#[derive(Serialize)]
struct Outcome {
    target: ImageId,
    deltas: Vec<CreateReport>,
    /// Bytes of what more than one of them reads.
    shared_bytes: u64,
    names: Vec<Name>,
    archive: Option<SaveReport>,
}

pub(super) fn run(context: &Context, task: &SeveralTask) -> CommandResult {
    let images = task.from.iter().filter_map(|from| match from {
        FromTask::Image(image) => Some(image),
        FromTask::Layers(_) => None,
    });
    let images = images.chain([&task.target]);
    let places = Places::open(context, store_for(context, images, &task.destination)?);
    let progress = context.reporter();
    let mut from = Vec::new();
    for source in &task.from {
        from.push(match source {
            FromTask::Image(image) => {
                From::Image(Box::new(places.source(image, progress.as_ref())?))
            }
            FromTask::Layers(path) => {
                let listed = read_layer_list(path)?;
                From::Layers(layers_of_store(&places.scratch, &listed)?)
            }
        });
    }
    let target = places.source(&task.target, progress.as_ref())?;
    let sign = match &task.destination {
        DeltaDestination::Archive { sign, .. } => sign.as_ref().map(signing).transpose()?,
        DeltaDestination::Store => None,
    };
    let (scratch, full) = (&places.scratch, task.with_full);
    let created = create_deltas(from, &target, full, scratch, &task.options, progress.as_ref())?;
    let deltas: Vec<CreateReport> = created.iter().map(|delta| delta.report().clone()).collect();
    let shared_bytes = shared_bytes(&created);
    let archive = match &task.destination {
        DeltaDestination::Archive { output, .. } => {
            let options = SaveOptions { sign, ..SaveOptions::default() };
            Some(save_deltas(scratch, &created, &options, output, progress.as_ref())?)
        }
        DeltaDestination::Store => {
            for (delta, name) in created.into_iter().zip(&task.names) {
                let names = std::slice::from_ref(name);
                keep(delta, &places, context, names, progress.as_ref())?;
            }
            None
        }
    };
    drop(progress);
    let target = target.config.id;
    let names = task.names.clone();
    let outcome = Outcome { target, deltas, shared_bytes, names, archive };
    let lines = outcome.lines(context.is_quiet);
    tell(context, &task.destination, task.is_json, &outcome, &lines)
}

/// What they share is counted once, though each of them lists it.
fn shared_bytes(created: &[CreatedDelta]) -> u64 {
    let mut layers: Vec<_> = created.iter().flat_map(CreatedDelta::shared_layers).collect();
    layers.sort_unstable();
    layers.dedup();
    layers.iter().map(|(_, bytes)| bytes).sum()
}

impl Outcome {
    fn lines(&self, is_quiet: bool) -> Vec<String> {
        if is_quiet {
            return self.deltas.iter().map(|delta| delta.delta.to_string()).collect();
        }
        let mut lines = Vec::new();
        for delta in &self.deltas {
            let from = match &delta.base[..] {
                [] if delta.is_full => "nothing".to_owned(),
                [] => "the listed layers".to_owned(),
                images => images.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            };
            let size = exact_size(delta.delta_bytes);
            lines.push(format!("Created delta: {} ({size}, from {from})", delta.delta));
        }
        lines.push(format!("Shared: {}", exact_size(self.shared_bytes)));
        lines.extend(arrival(self.archive.as_ref(), &self.names));
        lines
    }
}
