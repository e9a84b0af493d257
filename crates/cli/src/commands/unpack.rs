//! `image unpack`: the root file system of an image.

use std::path::PathBuf;

use silt::query;

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, exact_size};
use crate::places::Places;

pub(crate) struct UnpackOptions {
    pub(crate) image: String,
    pub(crate) directory: PathBuf,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &UnpackOptions) -> CommandResult {
    let places = Places::for_reading(context)?;
    let progress = context.reporter();
    let image = places.source(&options.image, progress.as_ref())?;
    let unpacked = query::unpack(&image, &options.directory, progress.as_ref())?;
    drop(progress);
    for skipped in &unpacked.skipped {
        context.note(&format!("warning: not made: {skipped}"));
    }
    let untold = unpacked.skipped_count.saturating_sub(unpacked.skipped.len() as u64);
    if untold > 0 {
        context.note(&format!("warning: and {untold} more"));
    }
    if options.is_json {
        return output::print_json(&unpacked);
    }
    let size = exact_size(unpacked.file_bytes);
    context.note(&format!("Unpacked {} members, {size}", unpacked.members));
    Ok(())
}
