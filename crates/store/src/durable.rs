//! Files that survive a power cut: written whole under `tmp/`, synced, renamed, directory synced.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Advice;
use tempfile::NamedTempFile;

use crate::error::{FileError, ReadError};

/// Turns what the system said into an error that names the file.
pub(crate) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.to_owned();
    move |source| FileError { action, path, source }
}

/// Makes a file in `directory` whose name starts with `prefix`, and holds a shared lock on it, which
/// tells [`remove_unless_held`] that somebody still writes it.
pub(crate) fn new_temporary(directory: &Path, prefix: &str) -> Result<NamedTempFile, FileError> {
    loop {
        let file = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)
            .map_err(failed("make a file in", directory))?;
        file.as_file().lock_shared().map_err(failed("lock", file.path()))?;
        // Between its making and its locking, a prune or a load may have taken the file for a leftover.
        if is_at(file.as_file(), file.path()).map_err(failed("inspect", file.path()))? {
            return Ok(file);
        }
    }
}

/// Takes over a file that its writer has left in `directory`: it gets a new name that starts with
/// `prefix`, and a shared lock like that of [`new_temporary`]. `None` where somebody holds the file,
/// or was faster.
///
/// Two that want the same file are told apart by its name: who renames it holds it alone, and the
/// name stays as long as anybody shares the lock. So whose name the file has in the end, owns it.
pub(crate) fn take_over(
    path: &Path,
    directory: &Path,
    prefix: &str,
) -> Result<Option<NamedTempFile>, FileError> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
    }
    if !is_at(&file, path).map_err(failed("inspect", path))? {
        return Ok(None);
    }
    let mut file = Some(file);
    let renamed =
        tempfile::Builder::new().prefix(prefix).rand_bytes(12).make_in(directory, |own| {
            fs::rename(path, own)?;
            file.take().ok_or_else(|| io::ErrorKind::NotFound.into())
        });
    let taken = renamed.map_err(failed("rename", path))?;
    taken.as_file().lock_shared().map_err(failed("lock", taken.path()))?;
    let is_ours = is_at(taken.as_file(), taken.path()).map_err(failed("inspect", taken.path()))?;
    Ok(is_ours.then_some(taken))
}

/// Leaves a temporary file where it is, for a later load.
pub(crate) fn leave(file: NamedTempFile) {
    // What cannot be left is removed, and the later load starts from nothing.
    let _ = file.into_temp_path().keep();
}

/// Writes `bytes` to a new temporary file, not yet synced.
pub(crate) fn write_temporary(directory: &Path, bytes: &[u8]) -> Result<NamedTempFile, FileError> {
    let mut file = new_temporary(directory, "small.")?;
    let written = file.write_all(bytes);
    written.map_err(failed("write", file.path()))?;
    Ok(file)
}

/// Lets the system write a part of `file` to the device now, and does not wait for that. Pages that are
/// written already leave the cache, which has better things to hold than a layer that is done.
///
/// Files whose writing begins together need one commit of the file system's journal where each
/// alone would need its own.
pub(crate) fn start_writing(file: &File, offset: u64, length: u64) {
    // Only advice: the later sync is what counts.
    let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(length), Advice::DontNeed);
}

/// Waits until the bytes of `file` are on the device.
pub(crate) fn sync_file(file: &NamedTempFile) -> Result<(), FileError> {
    let synced = file.as_file().sync_all();
    synced.map_err(failed("sync", file.path()))
}

/// Waits until the bytes of all these files are on the device.
///
/// Their writing begins together, and what is longest is waited for first: then all are known to the file
/// system's journal by its next commit, which is the only one that is needed.
pub(crate) fn sync_files(files: &[&NamedTempFile]) -> Result<(), FileError> {
    let mut by_size = files.to_vec();
    by_size.sort_by_cached_key(|file| file.as_file().metadata().map_or(0, |found| found.len()));
    for file in &by_size {
        start_writing(file.as_file(), 0, 0);
    }
    by_size.into_iter().rev().try_for_each(sync_file)
}

/// Waits until the names in `directory` are on the device.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed("sync", directory))
}

/// Renames a temporary file over `target`. The file stays locked while the handle lives.
pub(crate) fn rename(file: NamedTempFile, target: &Path) -> Result<File, FileError> {
    file.persist(target).map_err(|error| failed("rename a file to", target)(error.error))
}

/// Renames a temporary file to `target` unless there is a file already: `None`, and ours is gone.
pub(crate) fn rename_new(file: NamedTempFile, target: &Path) -> Result<Option<File>, FileError> {
    match file.persist_noclobber(target) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed("rename a file to", target)(error.error)),
    }
}

/// Replaces the file `target` by one that holds `bytes`, durably: sync, rename, sync the directory.
pub(crate) fn replace_file(
    temporary: &Path,
    directory: &Path,
    target: &Path,
    bytes: &[u8],
) -> Result<(), FileError> {
    let file = write_temporary(temporary, bytes)?;
    sync_file(&file)?;
    rename(file, target)?;
    sync_directory(directory)
}

/// Reads a file that must not be larger than `limit_bytes`; `None` where there is none.
pub(crate) fn read_small(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error).into()),
    };
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    let size_bytes = bytes.len() as u64;
    if size_bytes > limit_bytes {
        return Err(ReadError::TooLarge {
            path: path.to_owned(),
            size_bytes: fs::metadata(path).map_or(size_bytes, |found| found.len()),
            limit_bytes,
        });
    }
    Ok(Some(bytes))
}

/// What became of a file that was to be removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is gone; so many bytes came free.
    Removed(u64),
    /// Somebody holds it.
    Held,
    /// It was gone already.
    Absent,
}

/// Removes a file unless a process holds a shared lock on it. The lock is kept over the removal, so
/// that who locks the file next sees that it has no name any more.
pub(crate) fn remove_unless_held(path: &Path) -> Result<Removal, FileError> {
    let Some(file) = lock_if_free(path)? else {
        return Ok(if path.exists() { Removal::Held } else { Removal::Absent });
    };
    let size_bytes = file.metadata().map_err(failed("inspect", path))?.len();
    match fs::remove_file(path) {
        Ok(()) => Ok(Removal::Removed(size_bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::Absent),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// Whether some process holds a lock on the file.
pub(crate) fn is_held(path: &Path) -> Result<bool, FileError> {
    Ok(lock_if_free(path)?.is_none() && path.exists())
}

fn lock_if_free(path: &Path) -> Result<Option<File>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("lock", path)(error)),
    }
}

/// Opens a file and holds a shared lock on it; `None` where there is no such file.
pub(crate) fn open_held(path: &Path) -> Result<Option<File>, FileError> {
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", path)(error)),
        };
        file.lock_shared().map_err(failed("lock", path))?;
        // The name may have gone, or have come to mean another file, while this waited for the lock.
        if is_linked(&file).map_err(failed("inspect", path))? {
            return Ok(Some(file));
        }
    }
}

/// Holds all files in `directory` against removal by who asks [`lock_free_directory`] first.
pub(crate) fn hold_directory(directory: &Path) -> Result<File, FileError> {
    let opened = File::open(directory).map_err(failed("open", directory))?;
    opened.lock_shared().map_err(failed("lock", directory))?;
    Ok(opened)
}

/// Locks a directory whose files are not held all together; `None` where they are.
pub(crate) fn lock_free_directory(directory: &Path) -> Result<Option<File>, FileError> {
    lock_if_free(directory)
}

/// Whether `path` is the name of this very file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.ino() == own.ino() && found.dev() == own.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_linked(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"12345").unwrap();
        let held = open_held(&path).unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert_eq!(remove_unless_held(&path).unwrap(), Removal::Held);
        drop(held);
        assert_eq!(remove_unless_held(&path).unwrap(), Removal::Removed(5));
        assert_eq!(remove_unless_held(&path).unwrap(), Removal::Absent);
        assert!(open_held(&path).unwrap().is_none());
    }

    #[test]
    fn what_was_left_is_taken_over_by_one_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = new_temporary(directory.path(), "a.").unwrap();
        file.write_all(b"12345").unwrap();
        let path = file.path().to_owned();
        assert!(take_over(&path, directory.path(), "a.").unwrap().is_none());
        leave(file);
        let taken = take_over(&path, directory.path(), "a.").unwrap().unwrap();
        assert!(!path.exists() && taken.path() != path);
        assert!(take_over(&path, directory.path(), "a.").unwrap().is_none());
        assert!(take_over(taken.path(), directory.path(), "a.").unwrap().is_none());
        assert_eq!(remove_unless_held(taken.path()).unwrap(), Removal::Held);
        assert_eq!(fs::read(taken.path()).unwrap(), b"12345");
        drop(taken);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_that_want_the_same_leave_it_to_one() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let path = directory.path().join("a.left");
            fs::write(&path, b"12345").unwrap();
            let taken: Vec<NamedTempFile> = std::thread::scope(|scope| {
                let takers: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| take_over(&path, directory.path(), "a.").unwrap()))
                    .collect();
                takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect()
            });
            assert!(taken.len() <= 1, "{}", taken.len());
            drop(taken);
            let _ = fs::remove_file(&path);
        }
    }

    #[test]
    fn what_is_larger_than_the_limit_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_small(&path, 5).unwrap().unwrap(), b"12345");
        let error = read_small(&path, 4).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { size_bytes: 5, .. }), "{error}");
    }
}
