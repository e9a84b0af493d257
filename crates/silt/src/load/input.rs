//! Opening what is to be loaded: a file, a directory, or a pipe, which is copied first.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use store::Store;
use tarball::archive::Archive;
use tarball::{PlatformChoice, ReadLimits};

use super::{LoadError, LoadOptions};
use crate::progress::{Progress, Step, moved};
use crate::scratch::scratch_file;

/// Where the input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a directory with an OCI layout; a named pipe is read as one.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// An input whose index was read.
#[derive(Debug)]
pub struct OpenedInput {
    /// What it holds.
    pub archive: Archive,
    /// How much of it was copied into the store's `tmp/`, because it was a pipe.
    pub spooled_bytes: u64,
}

/// Opens an input and reads what images it holds.
///
/// A pipe is copied to a nameless file in the store first: what it holds stands at its end, and it
/// must be checked before it is used. With `store` read-only, and for looking alone, the copy lies
/// in the system's folder for temporary files.
pub fn open_input(
    input: &Input,
    store: &Store,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<OpenedInput, LoadError> {
    let limits =
        ReadLimits { decoder_memory_bytes: options.max_memory_bytes, ..Default::default() };
    let choice = &options.platform;
    match input {
        Input::Stdin => {
            let path = Path::new("standard input");
            spool(&mut io::stdin().lock(), path, store, choice, &limits, progress)
        }
        Input::Path(path) => open_path(path, store, choice, &limits, progress),
    }
}

fn open_path(
    path: &Path,
    store: &Store,
    choice: &PlatformChoice,
    limits: &ReadLimits,
    progress: &dyn Progress,
) -> Result<OpenedInput, LoadError> {
    let open_error = |source| LoadError::Open { path: path.to_owned(), source };
    let kind = path.metadata().map_err(open_error)?.file_type();
    if kind.is_dir() {
        let archive = Archive::open_directory(path, choice, limits)?;
        return Ok(OpenedInput { archive, spooled_bytes: 0 });
    }
    let mut file = File::open(path).map_err(open_error)?;
    if !kind.is_file() && file.rewind().is_err() {
        return spool(&mut file, path, store, choice, limits, progress);
    }
    let archive = Archive::open_file(file, path, choice, limits)?;
    Ok(OpenedInput { archive, spooled_bytes: 0 })
}

fn spool(
    pipe: &mut dyn Read,
    path: &Path,
    store: &Store,
    choice: &PlatformChoice,
    limits: &ReadLimits,
    progress: &dyn Progress,
) -> Result<OpenedInput, LoadError> {
    let mut file = scratch_file(store)?;
    progress.begin(&Step::Spooling, None);
    let spooled_bytes = copy(pipe, &mut file, path, store, progress)?;
    progress.end();
    let archive = Archive::open_file(file, path, choice, limits)?;
    Ok(OpenedInput { archive, spooled_bytes })
}

fn copy(
    pipe: &mut dyn Read,
    file: &mut File,
    path: &Path,
    store: &Store,
    progress: &dyn Progress,
) -> Result<u64, LoadError> {
    use io::Write;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(LoadError::Open { path: path.to_owned(), source }),
        };
        file.write_all(&buffer[..count])
            .map_err(|source| LoadError::Spool { path: store.root().to_owned(), source })?;
        total += count as u64;
        let passed = moved(progress, count);
        passed.map_err(|source| LoadError::Open { path: path.to_owned(), source })?;
    }
}
