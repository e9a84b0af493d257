//! A layer where an engine keeps it.

use std::fs::File;
use std::path::Path;

use super::{SplitLayer, TarSplit};
use crate::error::EngineError;

/// A layer out of its notes and the folder of its files.
pub(crate) fn open_split_layer(notes: &Path, files: &Path) -> Result<SplitLayer, EngineError> {
    let file_error = |path: &Path, source| EngineError::File { path: path.to_owned(), source };
    let stored = File::open(notes).map_err(|source| file_error(notes, source))?;
    let split = TarSplit::read_gzip(stored).map_err(|error| EngineError::Damaged {
        path: notes.to_owned(),
        why: with_causes(&error),
    })?;
    SplitLayer::open(split, files).map_err(|source| file_error(files, source))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}
