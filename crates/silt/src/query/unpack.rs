//! The root file system of an image, written into a directory.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use tarball::archive::FaultKind;
use tarball::unpack::{LayerToUnpack, SkipReason, UnpackError, UnpackOptions, UnpackReport};
use tarball::{DiffId, Digester, ImageId};

use crate::create::changed;
use crate::failure::{Failure, FailureKind, is_engine_fault, is_full};
use crate::place::{SourceImage, SourceLayer};
use crate::progress::{NoProgress, Progress, Step, moved};
use crate::sequential::Sequential;

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpacked {
    /// The image.
    pub id: ImageId,
    /// Members of all layers, whiteouts included.
    pub members: u64,
    /// Bytes of all files that were written, those that a later layer removed included.
    pub file_bytes: u64,
    /// How many things could not be made, such as device nodes by who is not root.
    pub skipped_count: u64,
    /// The first hundred of them: what, and where in the image.
    pub skipped: Vec<String>,
}

/// An image could not be unpacked. The directory is left as far as it came, and cleared where the user
/// wanted to stop.
#[derive(Debug, thiserror::Error)]
pub enum UnpackImageError {
    /// A stored layer does not have the bytes that it should have, and so could not be unpacked.
    #[error("layer {layer} is damaged where it is stored{}", changed(files))]
    DamagedLayer {
        /// The layer.
        layer: DiffId,
        /// The files of it that were changed under an engine, as far as it noted what they had.
        files: Vec<String>,
        /// What that led to.
        source: Box<UnpackError>,
    },
    /// A layer could not be read, or the directory not be written.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

/// A stored layer does not have the bytes that it should have.
#[derive(Debug, thiserror::Error)]
#[error("its bytes have digest {found}")]
struct WrongDigest {
    found: DiffId,
}

/// Writes the root file system of an image, whiteouts applied, into `directory`, which must be empty or
/// not be there yet. Nothing is written outside it, and every layer is checked against its diffID.
pub fn unpack(
    image: &SourceImage,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Unpacked, UnpackImageError> {
    let layers: Vec<LayerToUnpack<'_>> = image
        .layers
        .iter()
        .map(|layer| LayerToUnpack {
            diff_id: layer.diff_id,
            open: Box::new(move || Ok(Box::new(CheckedLayer::new(layer, progress)))),
        })
        .collect();
    let was_there = directory.exists();
    let size_bytes = image.layers.iter().map(SourceLayer::size_bytes).fold(0, u64::saturating_add);
    progress.begin(&Step::Unpacking, Some(size_bytes));
    let report = tarball::unpack::unpack(&layers, directory, &UnpackOptions::default());
    progress.end();
    match report {
        Ok(report) => Ok(Unpacked::of(image.config.id, report)),
        Err(error) if progress.is_stopped() => {
            clear(directory, was_there, &error);
            Err(error.into())
        }
        Err(error) => Err(blamed(error, &image.layers)),
    }
}

/// Removes what was unpacked, as far as there is time for it: half a root file system is worse than none.
fn clear(directory: &Path, was_there: bool, error: &UnpackError) {
    // Where the directory itself was refused, nothing in it is ours.
    if matches!(error, UnpackError::Directory { .. }) {
        return;
    }
    // What cannot be removed stays; that the work was not done is said anyway.
    if !was_there {
        let _ = fs::remove_dir_all(directory);
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|found| found.is_dir());
        let _ = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// A layer that cannot be parsed may be one that was never a tar, or one that is damaged here.
fn blamed(error: UnpackError, layers: &[SourceLayer]) -> UnpackImageError {
    let (UnpackError::Layer { layer, .. }
    | UnpackError::Refused { layer, .. }
    | UnpackError::Open { layer, .. }) = error
    else {
        return error.into();
    };
    let Some(found) = layers.iter().find(|found| found.diff_id == layer) else {
        return error.into();
    };
    match io::copy(&mut CheckedLayer::new(found, &NoProgress), &mut io::sink()) {
        Err(why) if is_damage(&why) => {
            let files = found.changed_files();
            UnpackImageError::DamagedLayer { layer, files, source: Box::new(error) }
        }
        _ => error.into(),
    }
}

/// A layer that is hashed while it is read; its end is told only when the digest is right.
struct CheckedLayer<'a> {
    diff_id: DiffId,
    bytes: Sequential<'a>,
    digester: Option<Digester>,
    progress: &'a dyn Progress,
}

impl<'a> CheckedLayer<'a> {
    fn new(layer: &'a SourceLayer, progress: &'a dyn Progress) -> Self {
        let (diff_id, bytes) = (layer.diff_id, Sequential::new(layer));
        Self { diff_id, bytes, digester: Some(Digester::new()), progress }
    }
}

impl Read for CheckedLayer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        moved(self.progress, count)?;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        if count == 0
            && !buffer.is_empty()
            && let Some(digester) = self.digester.take()
        {
            let found = DiffId(digester.finish());
            if found != self.diff_id {
                return Err(io::Error::new(io::ErrorKind::InvalidData, WrongDigest { found }));
            }
        }
        Ok(count)
    }
}

impl Unpacked {
    fn of(id: ImageId, report: UnpackReport) -> Self {
        let skipped = report.skipped.into_iter().map(|member| {
            let path = member.path;
            match member.reason {
                SkipReason::Device => format!("device node {path}"),
                SkipReason::Attribute(name) => format!("attribute {name} of {path}"),
                SkipReason::Type(flag) => format!("{path}, which has the unknown type {flag}"),
            }
        });
        Self {
            id,
            members: report.members,
            file_bytes: report.file_bytes,
            skipped_count: report.skipped_count,
            skipped: skipped.collect(),
        }
    }
}

impl Failure for UnpackImageError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::DamagedLayer { .. } => FailureKind::StoredDamaged,
            Self::Unpack(
                UnpackError::Make { source, .. } | UnpackError::Directory { source, .. },
            ) if is_full(source) => FailureKind::NoRoom,
            Self::Unpack(error) => match error.kind() {
                FaultKind::Damage => FailureKind::Damaged,
                FaultKind::Memory => FailureKind::NoRoom,
                FaultKind::Io | FaultKind::Absent => FailureKind::Other,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match (self, self.kind()) {
            (_, FailureKind::StoredDamaged) => {
                Some("`silt image verify` lists all that is damaged".into())
            }
            (Self::Unpack(UnpackError::Directory { source, .. }), _)
                if source.kind() == io::ErrorKind::DirectoryNotEmpty =>
            {
                Some("name a directory that is empty, or that is not there yet".into())
            }
            _ => None,
        }
    }
}

fn is_damage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<WrongDigest>()) || is_engine_fault(error)
}
