//! `image delta`: from one image to another.

use serde::Serialize;
use silt::Name;
use silt::create::{CreateReport, DeltaOptions, create_delta_between};
use silt::save::SaveReport;

use super::destination::{DeltaDestination, arrival, deliver, store_for, tell};
use crate::context::Context;
use crate::error::CommandResult;
use crate::output::exact_size;
use crate::places::Places;

pub(crate) struct DeltaTask {
    /// All of them are needed together.
    pub(crate) bases: Vec<String>,
    pub(crate) target: String,
    pub(crate) names: Vec<Name>,
    pub(crate) options: DeltaOptions,
    pub(crate) destination: DeltaDestination,
    pub(crate) is_json: bool,
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
    let images = task.bases.iter().chain([&task.target]);
    let places = Places::open(context, store_for(context, images, &task.destination)?);
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
    let lines = outcome.lines(context.is_quiet);
    tell(context, destination, task.is_json, &outcome, &lines)
}

impl Outcome {
    /// balenaEngine's words, in its order.
    fn lines(&self, is_quiet: bool) -> Vec<String> {
        let id = self.report.delta;
        if is_quiet {
            return vec![id.to_string()];
        }
        let mut lines = vec![self.sizes(), format!("Created delta: {id}")];
        lines.extend(arrival(self.archive.as_ref(), &self.names));
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
