//! Whether what is stored is whole.

use std::error::Error;
use std::ops::Range;

use serde::{Serialize, Serializer};
use store::{BlocksError, LayerDamage, Store, VerifyReport};
use tarball::{DiffId, Digest, ImageId};

use super::QueryError;
use super::place::{DamagedFile, files_in};
use crate::progress::{Progress, Step, passed};

/// What reading every byte has shown.
#[derive(Debug, Default, Serialize)]
pub struct Verification {
    /// How many images were checked.
    pub images: u64,
    /// How many layers, each once.
    pub layers: u64,
    /// How many bytes were read.
    pub read_bytes: u64,
    /// What is damaged; empty where all is whole.
    pub damage: Vec<Damage>,
}

/// What a look at the index, the manifests and the sizes of layers has shown.
#[derive(Debug, Default, Serialize)]
pub struct CheckReport {
    /// How many images are listed.
    pub images: u64,
    /// How many layers they have, each once.
    pub layers: u64,
    /// What is damaged; empty where nothing was noticed.
    pub damage: Vec<Damage>,
}

/// Something that is stored and not as it should be.
#[derive(Debug, Serialize)]
pub struct Damage {
    /// What it is.
    pub part: DamagedPart,
    /// Its name among the blobs: a diffID, for a layer. Unknown for an entry that Silt did not write.
    pub digest: Option<Digest>,
    /// The images that need it.
    pub images: Vec<ImageId>,
    /// What is wrong.
    pub problem: String,
    /// The damaged parts of a layer, where they are known, as offsets in its uncompressed tar: whole
    /// blocks of 64 KiB, the last one of a layer excepted.
    pub ranges: Vec<ByteRange>,
    /// The files that lie in those parts.
    pub files: Vec<DamagedFile>,
}

/// What can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamagedPart {
    /// A layer.
    Layer,
    /// A config, or the manifest with which an image came.
    Document,
    /// The digests of a layer's blocks. The layer itself is whole.
    BlockDigests,
    /// An entry of the index, or the manifest that it names.
    Image,
    /// The index as a whole, or a small file beside it.
    Index,
}

/// Bytes from `start` up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// Reads every byte of the given images, or of all where none is given, and compares digests. What is
/// damaged is in the result and no error.
pub fn verify(
    store: &Store,
    images: &[ImageId],
    progress: &dyn Progress,
) -> Result<Verification, QueryError> {
    let snapshot = store.snapshot()?;
    let is_wanted = |image: &ImageId| images.is_empty() || images.contains(image);
    let layers = snapshot.layers().into_iter();
    let wanted_bytes = layers
        .filter(|layer| layer.images.iter().any(is_wanted))
        .fold(0, |sum: u64, layer| sum.saturating_add(layer.size_bytes));
    progress.begin(&Step::Verifying, Some(wanted_bytes));
    let report = store.verify(images, &mut |bytes| passed(progress, bytes));
    progress.end();
    let mut found = Verification::of(report?);
    for damage in found.damage.iter_mut().filter(|damage| !damage.ranges.is_empty()) {
        damage.find_files(store)?;
    }
    Ok(found)
}

/// Looks at the index, at every manifest, and at the sizes of configs, layers and block digests. Opens
/// nothing for writing, takes no lock, and reads no layer.
pub fn check(store: &Store) -> Result<CheckReport, QueryError> {
    let found = store.check()?;
    let (images, layers) = (found.images, found.layers);
    Ok(CheckReport { images, layers, damage: Verification::of(found).damage })
}

impl Verification {
    fn of(report: VerifyReport) -> Self {
        let layers = report.damaged_layers.into_iter();
        let layers = layers.map(|it| Damage::of_layer(it.diff_id.0, it.images, it.damage));
        let documents = report.damaged_documents.into_iter().map(|it| Damage {
            part: DamagedPart::Document,
            digest: Some(it.digest),
            images: vec![it.image],
            problem: text_of(&it.why),
            ranges: Vec::new(),
            files: Vec::new(),
        });
        let blocks = report.damaged_blocks.into_iter();
        let blocks = blocks.map(|(why, images)| Damage::of_blocks(&why, images));
        let images = report.broken_images.into_iter().map(Damage::of_image);
        let root = report.damaged_root.iter().map(Damage::of_root);
        Self {
            images: report.images,
            layers: report.layers,
            read_bytes: report.read_bytes,
            // What is wrong with the index may be why images seem to be.
            damage: root.chain(layers).chain(documents).chain(blocks).chain(images).collect(),
        }
    }
}

impl Damage {
    fn of_layer(digest: Digest, images: Vec<ImageId>, damage: LayerDamage) -> Self {
        let ranges = damage.ranges().iter().cloned().map(ByteRange::from).collect();
        let problem = match damage {
            LayerDamage::Missing => "is missing".to_owned(),
            LayerDamage::WrongSize { expected_bytes, found_bytes, .. } => {
                format!("has {found_bytes} bytes, not {expected_bytes}")
            }
            LayerDamage::Bytes { unreadable: Some(error), .. } => text_of(&error),
            LayerDamage::Bytes { .. } => "does not have the bytes that its digest names".to_owned(),
        };
        let files = Vec::new();
        Self { part: DamagedPart::Layer, digest: Some(digest), images, problem, ranges, files }
    }

    /// A layer of an engine, which has no block digests.
    pub(crate) fn of_engine_layer(layer: DiffId, images: Vec<ImageId>, problem: String) -> Self {
        Self::plain(DamagedPart::Layer, Some(layer.0), images, problem)
    }

    /// Tells which files of a damaged layer its ranges are in.
    fn find_files(&mut self, store: &Store) -> Result<(), QueryError> {
        let layer = self.digest.map(|digest| store.layer(DiffId(digest))).transpose()?.flatten();
        self.files = layer.map(|layer| files_in(layer, &self.ranges)).unwrap_or_default();
        Ok(())
    }

    fn of_blocks(error: &BlocksError, images: Vec<ImageId>) -> Self {
        let layer = match error {
            BlocksError::Missing { diff_id }
            | BlocksError::UnknownVersion { diff_id, .. }
            | BlocksError::Damaged { diff_id } => Some(diff_id.0),
            BlocksError::Read(_) => None,
        };
        Self::plain(DamagedPart::BlockDigests, layer, images, text_of(error))
    }

    fn of_root(error: &store::ReadError) -> Self {
        Self::plain(DamagedPart::Index, None, Vec::new(), text_of(error))
    }

    fn plain(
        part: DamagedPart,
        digest: Option<Digest>,
        images: Vec<ImageId>,
        problem: String,
    ) -> Self {
        Self { part, digest, images, problem, ranges: Vec::new(), files: Vec::new() }
    }

    fn of_image(image: store::BrokenImage) -> Self {
        let images = image.id.into_iter().collect();
        Self::plain(DamagedPart::Image, image.manifest, images, text_of(&image.why))
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// An error and all its causes in one line.
fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Serializes an error as [`text_of`] gives it.
pub(super) fn error_text<S: Serializer>(
    error: &QueryError,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text_of(error))
}
