//! Files that are there whole, and durably, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

/// The names of files that were begun. A name is not given twice, so one of a file that has come to its
/// place, or is gone, means nothing any more.
static BEGUN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes what is being written beside its place. For a program that has to end while the system still
/// waits for a slow device: what ends by itself removes its files by itself.
pub fn remove_unfinished() {
    for path in begun().drain(..) {
        // Mostly it is no more.
        let _ = fs::remove_file(path);
    }
}

fn begun() -> MutexGuard<'static, Vec<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a file beside its place, syncs it, renames it, and syncs the folder.
pub(crate) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut temporary = new_beside(path)?;
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_folder_of(path)
}

/// Makes what was renamed in the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path)).and_then(|folder| folder.sync_all())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A new file in the folder of `path`, hidden, with a name like its. The error is the system's own,
/// without a name that nobody asked for.
pub(crate) fn new_beside(path: &Path) -> io::Result<NamedTempFile> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let prefix = format!(".{}.", name.unwrap_or_default());
    let mut refused = None;
    let open = |path: &Path| {
        // As any new file: what the umask leaves of rw for all.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o666).open(path);
        opened.inspect_err(|error| refused = error.raw_os_error())
    };
    let made = tempfile::Builder::new().prefix(&prefix).make_in(folder_of(path), open);
    let made = made.map_err(|error| refused.map_or(error, io::Error::from_raw_os_error))?;
    begun().push(made.path().to_owned());
    Ok(made)
}
