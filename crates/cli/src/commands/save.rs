//! `image save`: images and deltas as an archive.

use silt::place::SourceImage;
use silt::save::{Output, SaveOptions, SaveReport, save_images, save_sources};
use silt::{Name, Progress};

use super::sign::{SignKey, signing};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::places::{ImageReference, Places};

pub(crate) struct SaveTask {
    pub(crate) images: Vec<String>,
    pub(crate) options: SaveOptions,
    pub(crate) output: Output,
    pub(crate) sign: Option<SignKey>,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, task: &SaveTask) -> CommandResult {
    let sign = task.sign.as_ref().map(signing).transpose()?;
    let options = SaveOptions { sign, ..task.options.clone() };
    let progress = context.reporter();
    let is_stored = |image: &String| {
        matches!(ImageReference::parse(image, context.engine), ImageReference::Store(_))
    };
    let report = match task.images.iter().all(is_stored) {
        true => {
            let store = super::open_with_images(context, &task.images)?;
            let images: Vec<&str> = task.images.iter().map(String::as_str).collect();
            save_images(&store, &images, &options, &task.output, progress.as_ref())?
        }
        false => save_from_places(context, task, &options, progress.as_ref())?,
    };
    drop(progress);
    if task.is_json { output::print_json(&report) } else { Ok(()) }
}

fn save_from_places(
    context: &Context,
    task: &SaveTask,
    options: &SaveOptions,
    progress: &dyn Progress,
) -> Result<SaveReport, CommandError> {
    let places = Places::for_reading(context)?;
    let mut images = Vec::with_capacity(task.images.len());
    for reference in &task.images {
        let image = places.source(reference, progress)?;
        let name = name_meant(&image, &ImageReference::parse(reference, context.engine));
        images.push((image, name));
    }
    Ok(save_sources(images, &places.scratch, options, &task.output, progress)?)
}

/// The name by which a reference means an image, unless it means it by its ID.
fn name_meant(image: &SourceImage, reference: &ImageReference) -> Option<Name> {
    let text = match reference {
        ImageReference::Store(text) | ImageReference::Engine(_, text) => Some(text),
        ImageReference::Archive { reference, .. } => reference.as_ref(),
    };
    match text {
        Some(text) => text.parse().ok().filter(|name| image.names.contains(name)),
        None => image.names.first().cloned(),
    }
}
