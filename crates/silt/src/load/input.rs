//! Opening what is to be loaded: a file, a directory, or a pipe, which is copied first.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use store::Store;
use tarball::archive::{Archive, PartFile, SignedIndex};
use tarball::{Digest, Digester, ReadLimits};

use super::folder::{self, PassedOver};
use super::{LoadError, LoadOptions, LoadPlan};
use crate::failure::{Failure, FailureKind};
use crate::parts::{PartSet, whole_path};
use crate::place::PlaceRef;
use crate::progress::{Progress, Step, moved};
use crate::scratch::scratch_file;
use crate::trust::Signer;

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
    /// Who signed it, where it is signed.
    pub signer: Option<Signer>,
    /// How much of it was copied into the store's `tmp/`, because it was a pipe.
    pub spooled_bytes: u64,
    /// Other files of the folder, which could not be loaded.
    pub passed_over: Vec<PassedOver>,
    /// The plan, where it had to be made to choose the file.
    pub(super) planned: RefCell<Option<Box<LoadPlan>>>,
    parts: Option<PartSet>,
    file_bytes: Option<u64>,
}

impl OpenedInput {
    fn new(archive: Archive, signer: Option<Signer>, spooled_bytes: u64) -> Self {
        let (passed_over, planned) = (Vec::new(), RefCell::new(None));
        Self { archive, signer, spooled_bytes, passed_over, planned, parts: None, file_bytes: None }
    }

    /// Bytes of the file, or of what came through a pipe; `None` of a folder.
    pub fn size_bytes(&self) -> Option<u64> {
        self.file_bytes
    }

    /// The digest of the file and its size, read whole once more; `None` of a folder or a pipe.
    pub fn digest(&self) -> io::Result<Option<(Digest, u64)>> {
        let path = self.archive.path();
        let files = match &self.parts {
            Some(parts) => parts.open().map_err(io::Error::other)?,
            None if path.is_file() => vec![File::open(path)?],
            None => return Ok(None),
        };
        let mut digester = Digester::new();
        for mut file in files {
            io::copy(&mut file, &mut digester)?;
        }
        let bytes = digester.length();
        Ok(Some((digester.finish(), bytes)))
    }

    /// The same error, or the part that it comes from.
    pub(super) fn blame_part(&self, error: LoadError, progress: &dyn Progress) -> LoadError {
        blame_part(self.parts.as_ref(), error, progress)
    }
}

fn blame_part(parts: Option<&PartSet>, error: LoadError, progress: &dyn Progress) -> LoadError {
    let is_damage = matches!(error.kind(), FailureKind::Damaged | FailureKind::Signature);
    let wrong = parts.filter(|_| is_damage).and_then(|parts| parts.find_wrong(progress));
    wrong.map_or(error, LoadError::Part)
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
    open_input_for(input, store.into(), store, options, progress)
}

/// The same for what is loaded into any place. Copies of pipes are in `scratch`.
pub fn open_input_for(
    input: &Input,
    place: PlaceRef<'_>,
    scratch: &Store,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<OpenedInput, LoadError> {
    let opening = Opening { place, store: scratch, options, progress };
    match input {
        Input::Stdin => opening.spool(&mut io::stdin().lock(), Path::new("standard input")),
        Input::Path(path) => opening.path(path),
    }
}

pub(super) struct Opening<'a> {
    /// Where it will be loaded.
    pub(super) place: PlaceRef<'a>,
    /// Where copies are.
    pub(super) store: &'a Store,
    pub(super) options: &'a LoadOptions,
    pub(super) progress: &'a dyn Progress,
}

impl Opening<'_> {
    pub(super) fn path(&self, path: &Path) -> Result<OpenedInput, LoadError> {
        if let Some(whole) = whole_path(path) {
            return self.parts(&whole);
        }
        let open_error = |source| LoadError::Open { path: path.to_owned(), source };
        let kind = path.metadata().map_err(open_error)?.file_type();
        if kind.is_dir() {
            return match folder::is_of_files(path) {
                true => folder::choose(self, path),
                false => self.layout(path),
            };
        }
        let mut file = File::open(path).map_err(open_error)?;
        if !kind.is_file() && file.rewind().is_err() {
            return self.spool(&mut file, path);
        }
        self.archive(vec![file], path, 0)
    }

    fn parts(&self, whole: &Path) -> Result<OpenedInput, LoadError> {
        let parts = PartSet::find(whole)?;
        match self.archive(parts.open()?, whole, 0) {
            Ok(opened) => Ok(OpenedInput { parts: Some(parts), ..opened }),
            Err(error) => Err(blame_part(Some(&parts), error, self.progress)),
        }
    }

    fn layout(&self, path: &Path) -> Result<OpenedInput, LoadError> {
        self.options.trust.check_unsigned(path)?;
        let archive = Archive::open_directory(path, &self.options.platform, &self.limits())?;
        Ok(OpenedInput::new(archive, None, 0))
    }

    fn spool(&self, pipe: &mut dyn Read, path: &Path) -> Result<OpenedInput, LoadError> {
        let mut file = scratch_file(self.store)?;
        self.progress.begin(&Step::Spooling, None);
        let spooled_bytes = copy(pipe, &mut file, path, self.store, self.progress)?;
        self.progress.end();
        self.archive(vec![file], path, spooled_bytes)
    }

    /// Opens an archive in one file or several. Where it is signed, the signature is checked before
    /// anything else of it is read.
    fn archive(
        &self,
        parts: Vec<File>,
        path: &Path,
        spooled_bytes: u64,
    ) -> Result<OpenedInput, LoadError> {
        let open_error = |source| LoadError::Open { path: path.to_owned(), source };
        let (choice, limits) = (&self.options.platform, self.limits());
        let file = PartFile::of(parts).map_err(open_error)?;
        let file_bytes = Some(file.size());
        let Some(signed) = SignedIndex::read(&file).map_err(open_error)? else {
            self.options.trust.check_unsigned(path)?;
            let archive = Archive::open(file, path, choice, &limits)?;
            let opened = OpenedInput::new(archive, None, spooled_bytes);
            return Ok(OpenedInput { file_bytes, ..opened });
        };
        let signer = self.options.trust.check(path, &signed)?;
        self.progress.begin(&Step::CheckingSigned, Some(file.size()));
        let mut watch = |count| moved(self.progress, count);
        let archive = Archive::open_signed(file, signed, path, choice, &limits, &mut watch)?;
        self.progress.end();
        let opened = OpenedInput::new(archive, Some(signer), spooled_bytes);
        Ok(OpenedInput { file_bytes, ..opened })
    }

    fn limits(&self) -> ReadLimits {
        let decoder_memory_bytes = self.options.max_memory_bytes;
        ReadLimits { decoder_memory_bytes, ..Default::default() }
    }
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
