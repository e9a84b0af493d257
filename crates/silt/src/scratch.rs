//! Files without a name, for what must be kept for a while.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use store::Store;

/// A scratch file could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a temporary file in {}", path.display())]
pub struct ScratchError {
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// An empty file in the store's `tmp/`; with a store that is read-only, or that does not exist, in
/// the system's folder for temporary files.
pub(crate) fn scratch_file(store: &Store) -> Result<File, ScratchError> {
    let in_store = store.begin().and_then(|transaction| transaction.scratch_file());
    in_store.or_else(|_| {
        tempfile::tempfile().map_err(|source| ScratchError { path: std::env::temp_dir(), source })
    })
}
