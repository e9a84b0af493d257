//! Files without a name, for what must be kept for a while.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use store::{FileError, LayerError, Store, WriteError};

use crate::failure::{Failure, FailureKind, is_full};

/// A scratch file could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a temporary file in {}", path.display())]
pub struct ScratchError {
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Failure for ScratchError {
    fn kind(&self) -> FailureKind {
        if is_full(&self.source) { FailureKind::NoRoom } else { FailureKind::Other }
    }
}

/// An empty file in the store's `tmp/`; with a store that is read-only, or that does not exist, in
/// the system's folder for temporary files. A full store is an error: that folder is often memory.
pub(crate) fn scratch_file(store: &Store) -> Result<File, ScratchError> {
    let error = match store.begin().and_then(|transaction| transaction.scratch_file()) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    match file_error(error) {
        Some(error) if !is_closed_to_us(error.source.kind()) => {
            Err(ScratchError { path: error.path, source: error.source })
        }
        _ => tempfile::tempfile()
            .map_err(|source| ScratchError { path: std::env::temp_dir(), source }),
    }
}

/// What the system refused; `None` where the store was opened for reading alone.
fn file_error(error: LayerError) -> Option<FileError> {
    match error {
        LayerError::Write(WriteError::NoSpace(error)) => Some(error.source),
        LayerError::Write(WriteError::File(error)) => Some(error),
        _ => None,
    }
}

fn is_closed_to_us(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(kind, NotFound | PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::OpenMode;

    #[test]
    fn where_there_is_no_store_the_system_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("absent");
        scratch_file(&Store::open(&root, OpenMode::ReadOnly).unwrap()).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn what_else_the_store_refuses_is_not_gone_around() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), OpenMode::Create).unwrap();
        let temporary = folder.path().join("tmp");
        std::fs::remove_dir_all(&temporary).unwrap();
        std::fs::write(&temporary, b"").unwrap();
        let error = scratch_file(&store).unwrap_err();
        assert_eq!(error.path, temporary);
        assert_eq!(error.source.kind(), io::ErrorKind::NotADirectory);
    }
}
