//! `image rm`: names go, and images with their last name.

use serde::Serialize;
use silt::{ImageId, Name, RemoveOptions};

use super::open_with_images;
use crate::context::Context;
use crate::error::CommandResult;
use crate::output;

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

impl Removed {
    /// Docker's words.
    fn to_text(&self) -> String {
        let names = self.untagged.iter().map(|name| format!("Untagged: {name}\n"));
        let deleted = self.is_deleted.then(|| format!("Deleted: {}\n", self.id));
        names.chain(deleted).collect()
    }
}
