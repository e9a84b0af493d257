//! `image delta`: from one image to another.

use serde::Serialize;
use silt::Name;
use silt::create::{CreateReport, CreatedDelta, DeltaOptions, create_delta_between};
use silt::save::{Output, SaveOptions, SaveReport, save_delta};
use silt::{OpenMode, Progress, Store};

use super::sign::{SignKey, signing};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::output::{self, exact_size};
use crate::places::{ImageReference, Places};

pub(crate) struct DeltaTask {
    /// All of them are needed together.
    pub(crate) bases: Vec<String>,
    pub(crate) target: String,
    pub(crate) names: Vec<Name>,
    pub(crate) options: DeltaOptions,
    pub(crate) destination: DeltaDestination,
    pub(crate) is_json: bool,
}

/// Where a delta goes.
pub(crate) enum DeltaDestination {
    Store,
    Archive { output: Output, sign: Option<SignKey> },
}

/// What became of a delta.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    report: CreateReport,
    names: Vec<Name>,
    /// Of a delta that was not stored.
    archive: Option<SaveReport>,
}

pub(super) fn run(context: &Context, task: &DeltaTask) -> CommandResult {
    let places = Places::open(context, {
        let images = task.bases.iter().chain([&task.target]);
        store_for(context, images, matches!(task.destination, DeltaDestination::Store))?
    });
    let progress = context.reporter();
    let open = |reference: &String| places.source(reference, progress.as_ref());
    let bases = task.bases.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let target = open(&task.target)?;
    let (scratch, options) = (&places.scratch, &task.options);
    let created = create_delta_between(bases, &target, scratch, options, progress.as_ref())?;
    let report = created.report().clone();
    let (names, destination) = (task.names.as_slice(), &task.destination);
    let archive = deliver(created, &places, context, names, destination, progress.as_ref())?;
    drop(progress);
    let outcome = Outcome { report, names: task.names.clone(), archive };
    match (&task.destination, task.is_json) {
        (_, true) => output::print_json(&outcome),
        // The archive itself is what standard output is for.
        (DeltaDestination::Archive { output: Output::Stdout, .. }, false) => {
            outcome.lines(context.is_quiet).iter().for_each(|line| context.note(line));
            Ok(())
        }
        (_, false) => {
            let lines = outcome.lines(context.is_quiet);
            output::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
        }
    }
}

/// A store that is written must be there; one that only lends room for temporary files needs not.
pub(super) fn store_for<'a>(
    context: &Context,
    images: impl Iterator<Item = &'a String>,
    is_stored: bool,
) -> Result<Store, CommandError> {
    let stored = images.filter_map(|image| match ImageReference::parse(image, context.engine) {
        ImageReference::Store(name) => Some(name),
        _ => None,
    });
    let stored: Vec<String> = stored.collect();
    let is_kept = is_stored && context.engine.is_none();
    if stored.is_empty() && !is_kept {
        return context.open_scratch_store(OpenMode::ReadOnly);
    }
    let store = context.open_scratch_store(OpenMode::ReadOnly)?;
    silt::query::resolve_all(&store, &stored)?;
    match is_kept && stored.is_empty() {
        true => context.open_scratch_store(OpenMode::Create),
        false => context.open_scratch_store(OpenMode::ReadWrite),
    }
}

/// Puts a delta where it is to go.
pub(super) fn deliver(
    created: CreatedDelta,
    places: &Places<'_>,
    context: &Context,
    names: &[Name],
    destination: &DeltaDestination,
    progress: &dyn Progress,
) -> Result<Option<SaveReport>, CommandError> {
    match destination {
        DeltaDestination::Store => {
            match context.engine {
                None => created.keep(&places.scratch, names, progress)?,
                Some(kind) => created.keep(&*places.engine(kind)?, names, progress)?,
            };
            Ok(None)
        }
        DeltaDestination::Archive { output, sign } => {
            let sign = sign.as_ref().map(signing).transpose()?;
            let options = SaveOptions { sign, ..SaveOptions::default() };
            let scratch = &places.scratch;
            Ok(Some(save_delta(scratch, &created, names, &options, output, progress)?))
        }
    }
}

impl Outcome {
    /// balenaEngine's words, in its order.
    fn lines(&self, is_quiet: bool) -> Vec<String> {
        let id = self.report.delta;
        if is_quiet {
            return vec![id.to_string()];
        }
        let mut lines = vec![self.sizes(), format!("Created delta: {id}")];
        if let Some(archive) = &self.archive {
            lines.push(format!("Saved: {}", exact_size(archive.bytes)));
        } else {
            let tagged = self.names.iter().map(|name| format!("Successfully tagged {name}"));
            lines.extend(tagged);
        }
        lines
    }

    fn sizes(&self) -> String {
        let CreateReport { normal_bytes, delta_bytes, .. } = self.report;
        let improvement = normal_bytes as f64 / delta_bytes.max(1) as f64;
        format!(
            "Normal size: {}, Delta size: {}, {improvement:.2}x improvement",
            exact_size(normal_bytes),
            exact_size(delta_bytes),
        )
    }
}
