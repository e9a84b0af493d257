//! Commands that only look: `ls`, `inspect`, `history`, `layers`, `verify`.

use clap::Args;

use super::values::{AnyReference, any_texts};
use crate::commands::{
    HistoryOptions, InspectOptions, LayersOptions, LsOptions, Task, VerifyOptions,
};

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only images of this repository, or with this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Do not shorten IDs (with --quiet: print IDs alone)
    #[arg(long)]
    no_trunc: bool,
    /// Print an array of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<AnyReference>,
    /// Accepted for scripts: the result is JSON in any case
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[arg(value_name = "IMAGE")]
    image: AnyReference,
    /// Do not shorten IDs and commands
    #[arg(long)]
    no_trunc: bool,
    /// Print an array of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct LayersArgs {
    /// Print an array of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only these images, else all
    #[arg(value_name = "IMAGE")]
    images: Vec<AnyReference>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl LsArgs {
    pub(super) fn lower(self) -> Task {
        let Self { name, no_trunc, json } = self;
        Task::Ls(LsOptions { name, is_untruncated: no_trunc, is_json: json })
    }
}

impl InspectArgs {
    pub(super) fn lower(self) -> Task {
        let Self { images, json: _ } = self;
        Task::Inspect(InspectOptions { images: any_texts(images) })
    }
}

impl HistoryArgs {
    pub(super) fn lower(self) -> Task {
        let Self { image, no_trunc, json } = self;
        Task::History(HistoryOptions { image: image.0, is_untruncated: no_trunc, is_json: json })
    }
}

impl LayersArgs {
    pub(super) fn lower(self) -> Task {
        Task::Layers(LayersOptions { is_json: self.json })
    }
}

impl VerifyArgs {
    pub(super) fn lower(self) -> Task {
        Task::Verify(VerifyOptions { images: any_texts(self.images), is_json: self.json })
    }
}
