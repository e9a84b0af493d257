//! `system df`: what the store takes, and what is free.

use silt::OpenMode;
use silt::query::{self, Usage};

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, Table, exact_size, one_line};

pub(crate) struct DfOptions {
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &DfOptions) -> CommandResult {
    let store = context.open_store(OpenMode::ReadOnly)?;
    let usage = query::disk_usage(&store)?;
    match options.is_json {
        true => output::print_json(&usage),
        false => output::print(&(table(&usage) + &totals(&usage))),
    }
}

fn table(usage: &Usage) -> String {
    let mut table = Table::new(&["TYPE", "FILES", "SIZE"]);
    for (what, kind) in [
        ("Layers", usage.layers),
        ("Configs and manifests", usage.documents),
        ("Block digests and index", usage.bookkeeping),
        ("Unreachable", usage.unreachable),
        ("Temporary", usage.temporary),
    ] {
        table.row([what.to_owned(), kind.files.to_string(), exact_size(kind.size_bytes)]);
    }
    table.to_text()
}

fn totals(usage: &Usage) -> String {
    let inodes = usage.free_inodes.map(|inodes| format!(", {inodes} inodes")).unwrap_or_default();
    format!(
        "\n{} images with a name, {} without\n{} in {}, of which {} can be freed\n\
         {} of {} free on {}{inodes}\n",
        usage.named_images,
        usage.unnamed_images,
        exact_size(usage.compute_total_bytes()),
        one_line(&usage.root),
        exact_size(usage.reclaimable_bytes),
        exact_size(usage.free_bytes),
        exact_size(usage.total_bytes),
        one_line(&usage.mount_point),
    )
}
