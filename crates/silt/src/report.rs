//! The record of a load: who put what where, when, and how it went (`docs/cli.md`, "Reports").

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tarball::{Digest, ImageId, Name};

use crate::durable::replace_file;
use crate::failure::{Failure, FailureKind, is_full};
use crate::load::{How, LoadPlan, LoadReport};
use crate::place::{PlaceRef, SourceError};
use crate::policy::Verdict;
use crate::trust::Signer;

/// What is told of a load, and where it failed of the attempt.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceReport {
    /// [`DeviceReport::VERSION`].
    pub version: u32,
    /// What the device is called.
    pub device: String,
    /// Its type, where its policy says.
    pub device_type: Option<String>,
    /// The version of the program.
    pub silt: String,
    /// When the load began, as RFC 3339.
    pub time: String,
    /// How long it took.
    pub seconds: f64,
    /// How it went.
    pub result: LoadResult,
    /// The exit code of the command.
    pub exit_code: u8,
    /// Why it failed.
    pub error: Option<String>,
    /// The file or image that was loaded.
    pub file: String,
    /// The digest of the file; `None` of a pipe, a folder or where it could not be read.
    pub file_digest: Option<Digest>,
    /// Bytes of the file.
    pub file_bytes: Option<u64>,
    /// Who signed it.
    pub signer: Option<Signer>,
    /// What the policy said.
    pub policy: Vec<Verdict>,
    /// The images.
    pub images: Vec<Change>,
    /// Bytes of the input that were read to make layers.
    pub read_bytes: u64,
    /// Bytes that were written into the store.
    pub written_bytes: u64,
    /// What failed after the load: hooks.
    pub warnings: Vec<String>,
}

/// How a load went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadResult {
    /// The images are there now.
    Loaded,
    /// They were there before.
    Present,
    /// It was only planned.
    DryRun,
    /// They are not there.
    Failed,
}

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What the names meant before: an entry for each that was there.
    pub from: Vec<Meaning>,
    /// The image.
    pub to: ImageId,
    /// Its names.
    pub names: Vec<Name>,
    /// Where it came from.
    pub how: How,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meaning {
    /// The name.
    pub name: Name,
    /// The image.
    pub image: ImageId,
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report {}", path.display())]
pub struct ReportError {
    /// Where it should be.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl DeviceReport {
    /// The version of the fields; more may be added without a new one.
    pub const VERSION: u32 = 1;

    /// Takes in what a load did.
    pub fn add_loaded(&mut self, loaded: &LoadReport) {
        let is_new = loaded.images.iter().any(|image| !image.was_present);
        self.result = if is_new { LoadResult::Loaded } else { LoadResult::Present };
        self.read_bytes = loaded.read_bytes;
        self.written_bytes = loaded.written_bytes;
    }

    /// Writes the report, whole and durably. In a folder it gets a name of its own.
    pub fn write(&self, path: &Path) -> Result<PathBuf, ReportError> {
        let path = match path.is_dir() {
            true => path.join(self.file_name()),
            false => path.to_owned(),
        };
        let error = |source| ReportError { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| error(e.into()))?;
        text.push(b'\n');
        replace_file(&path, |file| file.write_all(&text)).map_err(error)?;
        Ok(path)
    }

    /// One that FAT takes, and that sorts by device and time.
    fn file_name(&self) -> String {
        let plain = |text: &str| -> String {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            text.chars().take(80).map(|c| if is_plain(c) { c } else { '-' }).collect()
        };
        format!("silt-report-{}-{}.json", plain(&self.device), plain(&self.time))
    }
}

/// What a plan will change, as the store is now.
pub fn changes(place: PlaceRef<'_>, plan: &LoadPlan) -> Result<Vec<Change>, SourceError> {
    let named: Vec<(ImageId, Vec<Name>)> = match place {
        PlaceRef::Store(store) => {
            store.snapshot()?.images.into_iter().map(|image| (image.id, image.names)).collect()
        }
        PlaceRef::Engine(place) => {
            place.images()?.images.into_iter().map(|image| (image.id, image.names)).collect()
        }
    };
    let meaning = |name: &Name| {
        let (image, _) = named.iter().find(|(_, names)| names.contains(name))?;
        Some(Meaning { name: name.clone(), image: *image })
    };
    let change = |image: &crate::load::ImagePlan| Change {
        from: image.names.iter().filter_map(meaning).collect(),
        to: image.id,
        names: image.names.clone(),
        how: image.how,
    };
    Ok(plan.images.iter().map(change).collect())
}

impl Failure for ReportError {
    fn kind(&self) -> FailureKind {
        if is_full(&self.source) { FailureKind::NoRoom } else { FailureKind::Other }
    }
}
