//! `image load` and `image apply`: first a plan, then the deed.

use std::path::Path;

use silt::load::{
    DeletedBase, Input, LoadError, LoadOptions, LoadPlan, LoadReport, LoadedImage, RepairedLayer,
};
use silt::{OpenMode, load};

use super::plan_text::{how_text, plan_text};
use super::record::{Record, ReportPath, name_of};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, UsageError, with_causes};
use crate::output;
use crate::places::{OpenPlace, Places};

pub(crate) struct LoadTask {
    pub(crate) input: Input,
    pub(crate) options: LoadOptions,
    pub(crate) manner: Manner,
}

pub(crate) struct ApplyTask {
    pub(crate) image: String,
    pub(crate) options: LoadOptions,
    pub(crate) manner: Manner,
}

/// What surrounds a load.
pub(crate) struct Manner {
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) is_dry_run: bool,
    pub(crate) is_json: bool,
    pub(crate) report: ReportPath,
}

pub(super) fn run(context: &Context, task: &LoadTask) -> CommandResult {
    let path = match &task.input {
        Input::Path(path) => Some(path.as_path()),
        Input::Stdin => None,
    };
    let Manner { is_dry_run, report, .. } = &task.manner;
    let mut record = Record::new(context, &name_of(path), report.as_deref(), *is_dry_run);
    let result = load_input(context, task, &mut record);
    record.end(result)
}

pub(super) fn run_apply(context: &Context, task: &ApplyTask) -> CommandResult {
    let Manner { is_dry_run, report, .. } = &task.manner;
    let mut record = Record::new(context, &task.image, report.as_deref(), *is_dry_run);
    let result = apply_image(context, task, &mut record);
    record.end(result)
}

fn load_input(context: &Context, task: &LoadTask, record: &mut Record<'_>) -> CommandResult {
    let LoadTask { input, manner, .. } = task;
    let options = guarded(context, &task.options)?;
    // A store that is not there yet is made for what can be loaded, and for a pipe, which is copied.
    let is_pipe = !matches!(input, Input::Path(path) if is_seekable(path));
    let mode = match is_pipe && !manner.is_dry_run && context.engine.is_none() {
        true => OpenMode::Create,
        false => OpenMode::ReadOnly,
    };
    let places = Places::open(context, context.open_scratch_store(mode)?);
    let place = match context.engine {
        None => OpenPlace::Store(places.scratch.clone()),
        Some(kind) => {
            let engine = places.engine(kind)?;
            places.note_copies(&engine);
            OpenPlace::Engine(engine)
        }
    };
    let (scratch, progress) = (&places.scratch, context.paced_reporter(manner.bytes_per_second));
    let opened = load::open_input_for(input, place.get(), scratch, &options, progress.as_ref())?;
    record.opened(&opened, device_type(&options));
    for file in &opened.passed_over {
        context.note(&format!("passed over {}: {}", file.path.display(), with_causes(&file.why)));
    }
    let plan = load::plan_load(&opened, place.get(), &options, progress.as_ref())?;
    record.planned(place.get(), &plan)?;
    warn(context, &plan);
    if manner.is_dry_run {
        return show_plan(&plan, manner.is_json);
    }
    record.announce()?;
    let place = place.for_writing(context, OpenMode::Create)?;
    let report = load::load(&opened, &plan, place.get(), progress.as_ref());
    let report = report.inspect_err(|error| print_repaired(error, manner.is_json))?;
    drop(progress);
    record.loaded(&report);
    note_present(context, &report, &options);
    print_report(&report, manner.is_json)
}

fn apply_image(context: &Context, task: &ApplyTask, record: &mut Record<'_>) -> CommandResult {
    let ApplyTask { image, manner, .. } = task;
    let options = guarded(context, &task.options)?;
    let places = Places::for_reading(context)?;
    let (place, image) = places.place_of(image)?;
    let progress = context.paced_reporter(manner.bytes_per_second);
    let plan = load::plan_apply(place.get(), &image, &options, progress.as_ref())?;
    record.planned(place.get(), &plan)?;
    warn(context, &plan);
    if manner.is_dry_run {
        return show_plan(&plan, manner.is_json);
    }
    record.announce()?;
    let place = place.for_writing(context, OpenMode::ReadWrite)?;
    let report = load::apply(place.get(), &image, &plan, progress.as_ref());
    let report = report.inspect_err(|error| print_repaired(error, manner.is_json))?;
    drop(progress);
    record.loaded(&report);
    print_report(&report, manner.is_json)
}

/// What is mended or removed with a load is the store's.
fn refuse_for_engines(context: &Context, options: &LoadOptions) -> Result<(), UsageError> {
    let Some(engine) = context.engine else { return Ok(()) };
    let flags = [("--repair", options.repair), ("--delete-base", options.delete_base)];
    match flags.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => {
            let message = format!("{flag} works on the store alone, not with --engine {engine}");
            let hint = Some("remove the image with `silt image rm`".to_owned());
            Err(UsageError::Arguments { message, hint })
        }
        None => Ok(()),
    }
}

/// The same with what the device's owner says of files and images.
fn guarded(context: &Context, options: &LoadOptions) -> Result<LoadOptions, CommandError> {
    refuse_for_engines(context, options)?;
    let policy = context.policy()?;
    let trust = context.trust(policy.as_ref())?;
    Ok(LoadOptions { trust, policy, ..options.clone() })
}

fn device_type(options: &LoadOptions) -> Option<&str> {
    options.policy.as_ref()?.device_type.as_deref()
}

/// Prints a plan. One that the policy forbids is printed, and then fails.
fn show_plan(plan: &LoadPlan, is_json: bool) -> CommandResult {
    print_plan(plan, is_json)?;
    Ok(plan.enforce_policy()?)
}

/// What cannot be found out fails in the loading, with a message of its own.
fn is_seekable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() || found.is_dir()) || !path.exists()
}

fn warn(context: &Context, plan: &LoadPlan) {
    for image in &plan.images {
        // Where there was a choice, it is told.
        if image.left_out > 0 {
            let name = image.names.first().map_or(image.id.to_string(), ToString::to_string);
            context.note(&format!("{name}: {}", how_text(image.how)));
        }
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

pub(super) fn print_report(report: &LoadReport, is_json: bool) -> CommandResult {
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
