//! `image save`: images and deltas as an archive.

use silt::save::{Output, SaveOptions, save_images};

use super::sign::{SignKey, signing};
use crate::context::Context;
use crate::error::CommandResult;
use crate::output;

pub(crate) struct SaveTask {
    pub(crate) images: Vec<String>,
    pub(crate) options: SaveOptions,
    pub(crate) output: Output,
    pub(crate) sign: Option<SignKey>,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, task: &SaveTask) -> CommandResult {
    let store = super::open_with_images(context, &task.images)?;
    let images: Vec<&str> = task.images.iter().map(String::as_str).collect();
    let sign = task.sign.as_ref().map(signing).transpose()?;
    let options = SaveOptions { sign, ..task.options.clone() };
    let progress = context.reporter();
    let report = save_images(&store, &images, &options, &task.output, progress.as_ref())?;
    drop(progress);
    if task.is_json { output::print_json(&report) } else { Ok(()) }
}
