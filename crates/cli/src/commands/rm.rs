//! `image rm`: names go, and images with their last name.

use serde::Serialize;
use silt::place::EngineKind;
use silt::{ImageId, Name, RemoveOptions};

use super::open_with_images;
use crate::context::Context;
use crate::error::CommandResult;
use crate::output;
use crate::places::{Places, one_engine};

pub(crate) struct RmOptions {
    pub(crate) images: Vec<String>,
    pub(crate) is_forced: bool,
    pub(crate) is_json: bool,
}

/// What became of one argument.
#[derive(Serialize)]
struct Removed {
    id: ImageId,
    untagged: Vec<Name>,
    is_deleted: bool,
    freed_bytes: u64,
}

/// What was removed before a failure is told all the same.
pub(super) fn run(context: &Context, options: &RmOptions) -> CommandResult {
    if let Some((kind, names)) = one_engine(context, &options.images)? {
        return run_in_engine(context, kind, &names, options);
    }
    let store = open_with_images(context, &options.images)?;
    let remove = RemoveOptions { force: options.is_forced };
    let mut all = Vec::new();
    let mut failure = None;
    for image in &options.images {
        match store.remove(image, remove) {
            Ok(report) => all.push(Removed {
                id: report.image,
                untagged: report.untagged,
                is_deleted: report.is_deleted,
                freed_bytes: report.freed_bytes,
            }),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    match options.is_json {
        true => output::print_json(&all)?,
        false => output::print(&all.iter().map(Removed::to_text).collect::<String>())?,
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

fn run_in_engine(
    context: &Context,
    kind: EngineKind,
    names: &[String],
    options: &RmOptions,
) -> CommandResult {
    let engine = Places::for_reading(context)?.engine(kind)?;
    // A wrong name is told before anything is changed.
    names.iter().try_for_each(|name| engine.resolve(name).map(drop))?;
    let mut all = Vec::new();
    for name in names {
        let removed = engine.remove(name, options.is_forced)?;
        let (id, untagged, is_deleted) = (removed.id, removed.untagged, removed.is_deleted);
        // What that frees, engines do not say.
        all.push(Removed { id, untagged, is_deleted, freed_bytes: 0 });
    }
    match options.is_json {
        true => output::print_json(&all),
        false => output::print(&all.iter().map(Removed::to_text).collect::<String>()),
    }
}

impl Removed {
    /// Docker's words.
    fn to_text(&self) -> String {
        let names = self.untagged.iter().map(|name| format!("Untagged: {name}\n"));
        let deleted = self.is_deleted.then(|| format!("Deleted: {}\n", self.id));
        names.chain(deleted).collect()
    }
}
