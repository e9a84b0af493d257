//! Where an archive goes. A file appears under its name when it is whole and on the device: a stick
//! that is pulled too early has no file rather than half of one.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::SaveError;
use super::parts::PartsWriter;
use crate::durable::{new_beside, sync_folder_of};
use crate::progress::{Progress, moved};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Where an archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file, which is replaced; a pipe or a device is written to.
    Path(PathBuf),
    /// Files `PATH.000`, `PATH.001`, … of at most so many bytes.
    Parts {
        /// The name before the numbers.
        path: PathBuf,
        /// Bytes of each but the last.
        part_bytes: u64,
    },
    /// Standard output.
    Stdout,
    /// A directory with an OCI layout, which keeps what it has.
    Layout(PathBuf),
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
        Output::Parts { path, part_bytes } => {
            let mut parts = PartsWriter::new(path, *part_bytes);
            let bytes = write_stream(&mut parts, path, progress, write)?;
            parts.finish().map_err(|source| SaveError::write(path, source))?;
            Ok(bytes)
        }
        // A layout is no stream: whoever writes one does not come here.
        Output::Layout(path) => Err(SaveError::write(path, io::ErrorKind::IsADirectory.into())),
    }
}

/// In how many files so many bytes went.
pub(super) fn part_count(output: &Output, bytes: u64) -> Option<u64> {
    match output {
        Output::Parts { part_bytes, .. } => Some(bytes.div_ceil(*part_bytes)),
        Output::Path(_) | Output::Stdout | Output::Layout(_) => None,
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
    let mut temporary = new_beside(&target).map_err(write_error)?;
    let bytes = write_stream(temporary.as_file_mut(), path, progress, write)?;
    temporary.as_file().sync_all().map_err(write_error)?;
    temporary.persist(&target).map_err(|error| write_error(error.error))?;
    sync_folder_of(&target).map_err(write_error)?;
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
