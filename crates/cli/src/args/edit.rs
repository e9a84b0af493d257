//! Commands that change names, and `unpack`.

use std::path::PathBuf;

use clap::Args;
use silt::Name;

use super::values::{AnyReference, any_texts};
use crate::commands::{CopyTask, RmOptions, TagOptions, Task, UnpackOptions};

#[derive(Debug, Args)]
pub(super) struct TagArgs {
    #[arg(value_name = "IMAGE")]
    image: AnyReference,
    /// The new name; without a tag it is `latest`
    #[arg(value_name = "NAME")]
    name: Name,
}

#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    #[arg(value_name = "SRC")]
    source: AnyReference,
    /// A name, perhaps behind a transport; a transport alone keeps the image's own names
    #[arg(value_name = "DEST")]
    destination: AnyReference,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RmArgs {
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<AnyReference>,
    /// Remove an image that is given by its ID though it has several names
    #[arg(short, long)]
    force: bool,
    /// Print an array of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct UnpackArgs {
    #[arg(value_name = "IMAGE")]
    image: AnyReference,
    /// A directory that is empty or not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl TagArgs {
    pub(super) fn lower(self) -> Task {
        Task::Tag(TagOptions { image: self.image.0, name: self.name })
    }
}

impl CopyArgs {
    pub(super) fn lower(self) -> Task {
        let (source, destination) = (self.source.0, self.destination.0);
        Task::Copy(CopyTask { source, destination, is_json: self.json })
    }
}

impl RmArgs {
    pub(super) fn lower(self) -> Task {
        let Self { images, force, json } = self;
        Task::Rm(RmOptions { images: any_texts(images), is_forced: force, is_json: json })
    }
}

impl UnpackArgs {
    pub(super) fn lower(self) -> Task {
        let Self { image, directory, json } = self;
        Task::Unpack(UnpackOptions { image: image.0, directory, is_json: json })
    }
}
