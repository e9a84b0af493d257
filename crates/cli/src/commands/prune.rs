//! `system prune`: frees what no name and no delta needs.

use silt::OpenMode;
use silt::query::{self, PruneReport};

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, exact_size, joined};

pub(crate) struct PruneOptions {
    pub(crate) is_dry_run: bool,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &PruneOptions) -> CommandResult {
    let report = match options.is_dry_run {
        true => query::plan_prune(&context.open_store(OpenMode::ReadOnly)?)?,
        // Where there is no store, there is nothing to free, and none is made for it.
        false => match context.open_existing_store()? {
            Some(store) => query::prune(&store)?,
            None => PruneReport::default(),
        },
    };
    for image in &report.blocked_by {
        let names = joined(&image.names);
        context.note(&format!(
            "warning: image {names} is damaged; until it is removed, no layer is freed"
        ));
    }
    if options.is_json {
        return output::print_json(&report);
    }
    output::print(&text(&report, options.is_dry_run))
}

fn text(report: &PruneReport, is_dry_run: bool) -> String {
    let deleted = if is_dry_run { "Would delete" } else { "Deleted" };
    let images = report.images.iter().map(|image| format!("{deleted} image: {image}\n"));
    let blobs = report.blobs.iter().map(|blob| format!("{deleted} blob: {}\n", blob.digest));
    let size = exact_size(report.freed_bytes);
    let total = match is_dry_run {
        true => format!("Total reclaimable space: {size}\n"),
        false => format!("Total reclaimed space: {size}\n"),
    };
    images.chain(blobs).chain([total]).collect()
}
