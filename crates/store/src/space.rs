//! How much room a file system has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::FileError;
use crate::store::Store;

/// What is free where a path lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeSpace {
    /// Where the file system is mounted.
    pub mount_point: PathBuf,
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in the whole file system.
    pub total_bytes: u64,
    /// Files that may still be made; `None` where the file system makes inodes as it needs them.
    pub free_inodes: Option<u64>,
    /// Files are stored in whole blocks of so many bytes.
    pub block_size_bytes: u64,
}

impl Store {
    /// The size of `index.json`, 0 where there is none. A new one lies beside it for a moment.
    pub fn index_size_bytes(&self) -> u64 {
        self.index_path().metadata().map_or(0, |found| found.len())
    }
}

/// What is free where `path` lies, or where it will lie once it is made.
pub fn free_space(path: &Path) -> Result<FreeSpace, FileError> {
    let existing = nearest_existing(path);
    let found = rustix::fs::statvfs(&existing).map_err(|error| FileError {
        action: "ask for the free space of",
        path: existing.clone(),
        source: error.into(),
    })?;
    Ok(FreeSpace {
        mount_point: mount_point(&existing),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_inodes: (found.f_files > 0).then_some(found.f_favail),
        block_size_bytes: found.f_frsize,
    })
}

/// The directory where the file system of `path` is mounted: the highest one with the same device.
/// A bind mount within one file system is not told apart from it.
pub(crate) fn mount_point(path: &Path) -> PathBuf {
    let mut highest = nearest_existing(path);
    let Ok(device) = fs::metadata(&highest).map(|found| found.dev()) else {
        return highest;
    };
    while let Some(parent) = highest.parent() {
        match fs::metadata(parent) {
            Ok(found) if found.dev() == device => highest = parent.to_owned(),
            _ => break,
        }
    }
    highest
}

/// Whether it is inodes that are used up. Only good for wording a message.
pub(crate) fn is_out_of_inodes(path: &Path) -> bool {
    free_space(path).is_ok_and(|space| space.free_inodes == Some(0) && space.free_bytes > 0)
}

fn nearest_existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute
        .ancestors()
        .find_map(|ancestor| ancestor.canonicalize().ok())
        .unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_has_the_space_of_its_parent() {
        let root = tempfile::tempdir().unwrap();
        let space = free_space(&root.path().join("a/b/c")).unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
        assert!(root.path().canonicalize().unwrap().starts_with(&space.mount_point));
    }

    #[test]
    fn proc_is_its_own_mount() {
        assert_eq!(mount_point(Path::new("/proc/self/status")), Path::new("/proc"));
    }
}
