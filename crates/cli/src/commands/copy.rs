//! `image copy`: an image from one place to another, as it is.

use silt::Name;
use silt::load::{LoadOptions, copy};
use silt::place::SourceImage;
use silt::save::{ArchiveFormat, Output, SaveOptions, save_source};
use silt::{OpenMode, Progress};

use crate::context::Context;
use crate::error::{CommandError, CommandResult, UsageError};
use crate::output;
use crate::places::{ImageReference, OpenPlace, Places};

pub(crate) struct CopyTask {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, task: &CopyTask) -> CommandResult {
    let destination = ImageReference::parse(&task.destination, context.engine);
    let mode = match destination {
        ImageReference::Store(_) => OpenMode::Create,
        _ => OpenMode::ReadOnly,
    };
    let places = Places::open(context, context.open_scratch_store(mode)?);
    let progress = context.reporter();
    let source = places.source(&task.source, progress.as_ref())?;
    let place = match destination {
        ImageReference::Archive { .. } => {
            return save(task, source, progress.as_ref());
        }
        ImageReference::Store(_) => OpenPlace::Store(places.scratch.clone()),
        ImageReference::Engine(kind, _) => OpenPlace::Engine(places.engine(kind)?),
    };
    let (ImageReference::Store(name) | ImageReference::Engine(_, name)) = &destination else {
        return Ok(());
    };
    let names = names_of(name, &source)?;
    let policy = context.policy()?;
    let trust = context.trust(policy.as_ref())?;
    let options = LoadOptions { trust, policy, ..LoadOptions::default() };
    let report = copy(source, &names, place.get(), &options, progress.as_ref())?;
    drop(progress);
    super::load::print_report(&report, task.is_json)
}

/// The name that was asked for; without one, those that the image has.
fn names_of(name: &str, source: &SourceImage) -> Result<Vec<Name>, CommandError> {
    match name {
        "" => Ok(source.names.clone()),
        name => match name.parse() {
            Ok(name) => Ok(vec![name]),
            Err(error) => {
                let message = format!("{error}");
                Err(UsageError::Arguments { message, hint: None }.into())
            }
        },
    }
}

fn save(task: &CopyTask, source: SourceImage, progress: &dyn Progress) -> CommandResult {
    let (transport, rest) = task.destination.split_once(':').unwrap_or_default();
    let (path, name) = rest.split_once(':').unwrap_or((rest, ""));
    let format = match transport {
        "docker-archive" => ArchiveFormat::DockerArchive,
        _ => ArchiveFormat::OciArchive,
    };
    let output = match transport {
        "oci" => Output::Layout(path.into()),
        _ => Output::Path(path.into()),
    };
    let names = names_of(name, &source)?;
    let options = SaveOptions { format, ..SaveOptions::default() };
    let report = save_source(source, &names, &options, &output, progress)?;
    match task.is_json {
        true => output::print_json(&report),
        false => Ok(()),
    }
}
