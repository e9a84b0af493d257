//! `image load` and `image apply`: first a plan, then the deed.

use std::path::Path;

use silt::load::{
    DeletedBase, Input, LoadError, LoadOptions, LoadPlan, LoadReport, LoadedImage, RepairedLayer,
};
use silt::{OpenMode, load};

use super::plan_text::plan_text;
use crate::context::Context;
use crate::error::CommandResult;
use crate::output;

pub(crate) struct LoadTask {
    pub(crate) input: Input,
    pub(crate) options: LoadOptions,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) is_dry_run: bool,
    pub(crate) is_json: bool,
}

pub(crate) struct ApplyTask {
    pub(crate) image: String,
    pub(crate) options: LoadOptions,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) is_dry_run: bool,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, task: &LoadTask) -> CommandResult {
    let LoadTask { input, options, bytes_per_second, is_dry_run, is_json } = task;
    // A store that is not there yet is made for what can be loaded, and for a pipe, which is copied.
    let is_pipe = !matches!(input, Input::Path(path) if is_seekable(path));
    let mode = match is_pipe && !is_dry_run {
        true => OpenMode::Create,
        false => OpenMode::ReadOnly,
    };
    let store = context.open_store(mode)?;
    let progress = context.paced_reporter(*bytes_per_second);
    let opened = load::open_input(input, &store, options, progress.as_ref())?;
    let plan = load::plan_load(&opened, &store, options, progress.as_ref())?;
    warn(context, &plan);
    if *is_dry_run {
        return print_plan(&plan, *is_json);
    }
    let store = context.open_store(OpenMode::Create)?;
    let report = load::load(&opened, &plan, &store, progress.as_ref());
    let report = report.inspect_err(|error| print_repaired(error, *is_json))?;
    drop(progress);
    note_present(context, &report, options);
    print_report(&report, *is_json)
}

pub(super) fn run_apply(context: &Context, task: &ApplyTask) -> CommandResult {
    let ApplyTask { image, options, bytes_per_second, is_dry_run, is_json } = task;
    let store = context.open_store(OpenMode::ReadOnly)?;
    let progress = context.paced_reporter(*bytes_per_second);
    let plan = load::plan_apply(&store, image, options, progress.as_ref())?;
    warn(context, &plan);
    if *is_dry_run {
        return print_plan(&plan, *is_json);
    }
    let store = context.open_store(OpenMode::ReadWrite)?;
    let report = load::apply(&store, image, &plan, progress.as_ref());
    let report = report.inspect_err(|error| print_repaired(error, *is_json))?;
    drop(progress);
    print_report(&report, *is_json)
}

/// What cannot be found out fails in the loading, with a message of its own.
fn is_seekable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() || found.is_dir()) || !path.exists()
}

fn warn(context: &Context, plan: &LoadPlan) {
    for image in &plan.images {
        for warning in &image.warnings {
            context.note(&format!("warning: {warning}"));
        }
    }
}

fn print_plan(plan: &LoadPlan, is_json: bool) -> CommandResult {
    match is_json {
        true => output::print_json(plan),
        false => output::print(&plan_text(plan)),
    }
}

fn print_report(report: &LoadReport, is_json: bool) -> CommandResult {
    match is_json {
        true => output::print_json(report),
        false => {
            let repaired = report.repaired.iter().map(repaired);
            let loaded = report.images.iter().map(loaded);
            let deleted = report.deleted.iter().map(deleted);
            output::print(&repaired.chain(loaded).chain(deleted).collect::<String>())
        }
    }
}

/// A load takes for granted what is here: whoever loads an image because it does not work is told.
fn note_present(context: &Context, report: &LoadReport, options: &LoadOptions) {
    if !options.repair && report.images.iter().any(|image| image.was_present) {
        context.note(
            "note: what was here already was not read: `silt image verify` checks it, \
             and --repair mends it from this file",
        );
    }
}

/// Where not all could be mended, what was is told all the same.
fn print_repaired(error: &LoadError, is_json: bool) {
    if let LoadError::NotRepaired { repaired: layers, .. } = error
        && !is_json
    {
        // That standard output is closed matters less than the failure, which is told next.
        let _ = output::print(&layers.iter().map(repaired).collect::<String>());
    }
}

fn deleted(base: &DeletedBase) -> String {
    let untagged = base.untagged.iter().map(|name| format!("Untagged: {name}\n"));
    untagged.chain([format!("Deleted: {}\n", base.id)]).collect()
}

fn repaired(layer: &RepairedLayer) -> String {
    match layer.written_bytes {
        0 => format!("Repaired layer: {} (block digests)\n", layer.diff_id),
        bytes => format!("Repaired layer: {} ({bytes} bytes)\n", layer.diff_id),
    }
}

/// Docker's lines, which scripts read.
fn loaded(image: &LoadedImage) -> String {
    match image.names.is_empty() {
        true => format!("Loaded image ID: {}\n", image.id),
        false => image.names.iter().map(|name| format!("Loaded image: {name}\n")).collect(),
    }
}
