//! `image delta --merge`: two deltas that follow one another, as one.

use serde::Serialize;
use silt::Name;
use silt::create::{CreateReport, DeltaOptions, MergeCounts, merge_deltas};
use silt::delta_image::DeltaFormat;
use silt::save::SaveReport;

use super::destination::{DeltaDestination, arrival, deliver, store_for, tell};
use crate::context::Context;
use crate::error::{CommandResult, UsageError};
use crate::output::exact_size;
use crate::places::Places;

pub(crate) struct MergeTask {
    pub(crate) first: String,
    pub(crate) second: String,
    /// Images that hold what the first delta was made against; without any, the store is asked.
    pub(crate) bases: Vec<String>,
    /// What they are to be, where that was said.
    pub(crate) format: Option<DeltaFormat>,
    pub(crate) names: Vec<Name>,
    pub(crate) options: DeltaOptions,
    pub(crate) destination: DeltaDestination,
    pub(crate) is_json: bool,
}

/// What became of the two.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    report: CreateReport,
    merge: MergeCounts,
    names: Vec<Name>,
    /// Of a delta that was not stored.
    archive: Option<SaveReport>,
}

pub(super) fn run(context: &Context, task: &MergeTask) -> CommandResult {
    let images = [&task.first, &task.second].into_iter().chain(&task.bases);
    let places = Places::open(context, store_for(context, images, &task.destination)?);
    let progress = context.reporter();
    let open = |reference: &String| places.source(reference, progress.as_ref());
    let (first, second) = (open(&task.first)?, open(&task.second)?);
    let bases = task.bases.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let (scratch, options) = (&places.scratch, &task.options);
    let merged = merge_deltas(first, second, bases, scratch, options, progress.as_ref())?;
    let (report, merge) = (merged.delta.report().clone(), merged.counts);
    if let Some(asked) = task.format.filter(|asked| *asked != report.format) {
        let message = format!("the deltas are of the format {}, not {asked}", report.format);
        let hint = Some("a merged delta is of the format of the two".to_owned());
        return Err(UsageError::Arguments { message, hint }.into());
    }
    let (names, destination) = (task.names.as_slice(), &task.destination);
    let archive = deliver(merged.delta, &places, context, names, destination, progress.as_ref())?;
    drop(progress);
    let outcome = Outcome { report, merge, names: task.names.clone(), archive };
    let lines = outcome.lines(context.is_quiet);
    tell(context, destination, task.is_json, &outcome, &lines)
}

impl Outcome {
    fn lines(&self, is_quiet: bool) -> Vec<String> {
        let id = self.report.delta;
        if is_quiet {
            return vec![id.to_string()];
        }
        let mut lines = vec![self.sizes(), self.composition(), format!("Created delta: {id}")];
        lines.extend(arrival(self.archive.as_ref(), &self.names));
        lines
    }

    fn sizes(&self) -> String {
        format!(
            "Both deltas: {}, Delta size: {}",
            exact_size(self.merge.merged_bytes),
            exact_size(self.report.delta_bytes),
        )
    }

    fn composition(&self) -> String {
        let merge = &self.merge;
        let mut parts = vec![format!("{} layers as they were", merge.carried_layers)];
        if merge.composed_layers > 0 {
            let mut composed = format!(
                "{} composed: {} copied, {} with differences, {} carried",
                merge.composed_layers,
                exact_size(merge.copied_bytes),
                exact_size(merge.added_bytes),
                exact_size(merge.literal_bytes),
            );
            if self.report.format == DeltaFormat::Silt {
                composed += &format!(
                    "; {} compressed members and executables as they were, {} files of {} matched anew",
                    merge.carried_regions,
                    merge.rematched_files,
                    exact_size(merge.rematched_bytes),
                );
            }
            parts.push(composed);
        }
        format!("Merged: {}", parts.join(", "))
    }
}
