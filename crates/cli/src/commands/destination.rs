//! Where a delta goes that was made, and how the user hears of it.

use serde::Serialize;
use silt::create::CreatedDelta;
use silt::save::{Output, SaveOptions, SaveReport, save_delta};
use silt::{Name, OpenMode, Progress, Store};

use super::sign::{SignKey, signing};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::output::{self, exact_size};
use crate::places::{ImageReference, Places};

/// Where a delta goes.
pub(crate) enum DeltaDestination {
    Store,
    Archive { output: Output, sign: Option<SignKey> },
}

/// A store that is written must be there; one that only lends room for temporary files needs not.
pub(super) fn store_for<'a>(
    context: &Context,
    images: impl Iterator<Item = &'a String>,
    destination: &DeltaDestination,
) -> Result<Store, CommandError> {
    let stored = images.filter_map(|image| match ImageReference::parse(image, context.engine) {
        ImageReference::Store(name) => Some(name),
        _ => None,
    });
    let stored: Vec<String> = stored.collect();
    let is_kept = matches!(destination, DeltaDestination::Store) && context.engine.is_none();
    if stored.is_empty() && !is_kept {
        return context.open_scratch_store(OpenMode::ReadOnly);
    }
    let store = context.open_scratch_store(OpenMode::ReadOnly)?;
    silt::query::resolve_all(&store, &stored)?;
    match is_kept && stored.is_empty() {
        true => context.open_scratch_store(OpenMode::Create),
        false => context.open_scratch_store(OpenMode::ReadWrite),
    }
}

/// Puts a delta where it is to go.
pub(super) fn deliver(
    created: CreatedDelta,
    places: &Places<'_>,
    context: &Context,
    names: &[Name],
    destination: &DeltaDestination,
    progress: &dyn Progress,
) -> Result<Option<SaveReport>, CommandError> {
    match destination {
        DeltaDestination::Store => {
            keep(created, places, context, names, progress)?;
            Ok(None)
        }
        DeltaDestination::Archive { output, sign } => {
            let sign = sign.as_ref().map(signing).transpose()?;
            let options = SaveOptions { sign, ..SaveOptions::default() };
            let scratch = &places.scratch;
            Ok(Some(save_delta(scratch, &created, names, &options, output, progress)?))
        }
    }
}

/// Puts a delta into the store, or into the engine of bare names.
pub(super) fn keep(
    created: CreatedDelta,
    places: &Places<'_>,
    context: &Context,
    names: &[Name],
    progress: &dyn Progress,
) -> CommandResult {
    match context.engine {
        None => created.keep(&places.scratch, names, progress)?,
        Some(kind) => created.keep(&*places.engine(kind)?, names, progress)?,
    };
    Ok(())
}

/// Where it is now, in balenaEngine's words.
pub(super) fn arrival(archive: Option<&SaveReport>, names: &[Name]) -> Vec<String> {
    match archive {
        Some(archive) => vec![format!("Saved: {}", exact_size(archive.bytes))],
        None => names.iter().map(|name| format!("Successfully tagged {name}")).collect(),
    }
}

/// Prints what became of a delta: `outcome` as JSON, or `lines`.
pub(super) fn tell(
    context: &Context,
    destination: &DeltaDestination,
    is_json: bool,
    outcome: &impl Serialize,
    lines: &[String],
) -> CommandResult {
    match (destination, is_json) {
        (_, true) => output::print_json(outcome),
        // The archive itself is what standard output is for.
        (DeltaDestination::Archive { output: Output::Stdout, .. }, false) => {
            lines.iter().for_each(|line| context.note(line));
            Ok(())
        }
        (_, false) => {
            output::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
        }
    }
}
