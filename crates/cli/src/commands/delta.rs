//! `image delta`: from one image to another.

use serde::Serialize;
use silt::Name;
use silt::create::{CreateReport, CreatedDelta, DeltaOptions, create_delta};
use silt::save::{Output, SaveOptions, SaveReport, save_delta};
use silt::{Progress, Store};

use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::output::{self, exact_size};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeltaDestination {
    Store,
    Archive(Output),
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
    let images: Vec<String> = task.bases.iter().chain([&task.target]).cloned().collect();
    let store = super::open_with_images(context, &images)?;
    let bases: Vec<&str> = task.bases.iter().map(String::as_str).collect();
    let progress = context.reporter();
    let created = create_delta(&store, &bases, &task.target, &task.options, progress.as_ref())?;
    let report = created.report().clone();
    let archive = deliver(created, &store, task, progress.as_ref())?;
    drop(progress);
    let outcome = Outcome { report, names: task.names.clone(), archive };
    match (&task.destination, task.is_json) {
        (_, true) => output::print_json(&outcome),
        // The archive itself is what standard output is for.
        (DeltaDestination::Archive(Output::Stdout), false) => {
            outcome.lines(context.is_quiet).iter().for_each(|line| context.note(line));
            Ok(())
        }
        (_, false) => {
            let lines = outcome.lines(context.is_quiet);
            output::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
        }
    }
}

fn deliver(
    created: CreatedDelta,
    store: &Store,
    task: &DeltaTask,
    progress: &dyn Progress,
) -> Result<Option<SaveReport>, CommandError> {
    match &task.destination {
        DeltaDestination::Store => {
            created.keep(&task.names, progress)?;
            Ok(None)
        }
        DeltaDestination::Archive(output) => {
            let options = SaveOptions::default();
            Ok(Some(save_delta(store, &created, &task.names, &options, output, progress)?))
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
