//! Where an archive goes. A file appears under its name when it is whole and on the device: a stick
//! that is pulled too early has no file rather than half of one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::SaveError;
use crate::progress::{Progress, moved};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Where an archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file, which is replaced; a pipe or a device is written to.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// Runs `write` on the output and makes the result durable; gives the bytes written.
pub(super) fn write(
    output: &Output,
    progress: &dyn Progress,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SaveError>,
) -> Result<u64, SaveError> {
    match output {
        Output::Stdout => {
            let path = Path::new("standard output");
            write_stream(io::stdout().lock(), path, progress, write)
        }
        Output::Path(path) if is_special(path) => {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|source| SaveError::write(path, source))?;
            write_stream(file, path, progress, write)
        }
        Output::Path(path) => write_file(path, progress, write),
    }
}

fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn write_stream(
    out: impl Write,
    path: &Path,
    progress: &dyn Progress,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SaveError>,
) -> Result<u64, SaveError> {
    let mut out = Counted { inner: BufWriter::with_capacity(128 << 10, out), bytes: 0, progress };
    write(&mut out).map_err(|error| error.at(path))?;
    out.flush().map_err(|source| SaveError::write(path, source))?;
    Ok(out.bytes)
}

/// Written beside its place, synced, renamed, and the folder synced.
fn write_file(
    path: &Path,
    progress: &dyn Progress,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SaveError>,
) -> Result<u64, SaveError> {
    let write_error = |source| SaveError::write(path, source);
    let target = follow_links(path).map_err(write_error)?;
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
    let prefix = format!(".{}.", name.unwrap_or_default());
    let mut temporary = new_beside(folder, &prefix).map_err(write_error)?;
    let bytes = write_stream(temporary.as_file_mut(), path, progress, write)?;
    temporary.as_file().sync_all().map_err(write_error)?;
    temporary.persist(&target).map_err(|error| write_error(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(write_error)?;
    Ok(bytes)
}

/// The file that a path means in the end, which need not be there. It is what gets replaced: a link
/// to it stays a link.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if !path.is_symlink() {
            return Ok(path);
        }
        let next = path.read_link()?;
        // What is relative starts where the link lies.
        path = path.parent().unwrap_or(Path::new("")).join(next);
    }
    Err(Errno::LOOP.into())
}

/// A new file in `folder`. The error is the system's own, without a name that nobody asked for.
fn new_beside(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut refused = None;
    let open = |path: &Path| {
        // As any new file: what the umask leaves of rw for all.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o666).open(path);
        opened.inspect_err(|error| refused = error.raw_os_error())
    };
    let made = tempfile::Builder::new().prefix(prefix).make_in(folder, open);
    made.map_err(|error| refused.map_or(error, io::Error::from_raw_os_error))
}

/// Counts and tells of the bytes that pass.
struct Counted<'a, W> {
    inner: W,
    bytes: u64,
    progress: &'a dyn Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes += count as u64;
        moved(self.progress, count)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoProgress;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn write_to(path: PathBuf) -> Result<u64, SaveError> {
        write(&Output::Path(path), &NoProgress, |out| {
            out.write_all(b"new").map_err(|source| SaveError::Compress { source })
        })
    }

    #[test]
    fn links_stay_and_what_they_lead_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), b"old").unwrap();
        symlink("d/second", at("first")).unwrap();
        symlink("file", at("d/second")).unwrap();
        symlink(at("d/absent"), at("dangling")).unwrap();
        for (link, file) in [("first", "d/file"), ("dangling", "d/absent")] {
            write_to(at(link)).unwrap();
            assert_eq!(fs::read(at(file)).unwrap(), b"new");
            assert!(at(link).is_symlink());
        }
        symlink("loop", at("loop")).unwrap();
        assert!(matches!(write_to(at("loop")), Err(SaveError::Write { .. })));
    }

    #[test]
    fn the_error_names_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("absent/image.tar");
        let error = write_to(asked.clone()).unwrap_err();
        let SaveError::Write { path, source } = error else { panic!("{error}") };
        assert_eq!((path, source.kind()), (asked, io::ErrorKind::NotFound));
        assert_eq!(source.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
    }
}
