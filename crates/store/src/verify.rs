//! Every stored byte against its digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tarball::{DiffId, Digest, Digester, ImageId};

use crate::blocks::{self, BLOCK_SIZE, BLOCK_SIZE_BYTES, BlockDigests, BlocksError};
use crate::durable::failed;
use crate::error::{FileError, ReadError};
use crate::index;
use crate::manifest::{DOCUMENT_LIMIT_BYTES, StoredLayer};
use crate::snapshot::{BrokenImage, Snapshot};
use crate::store::Store;

/// What was checked and what was found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// How many images were checked.
    pub images: u64,
    /// How many layers, each once.
    pub layers: u64,
    /// How many bytes were read.
    pub read_bytes: u64,
    /// Layers that are damaged or missing.
    pub damaged_layers: Vec<DamagedLayer>,
    /// Configs and original manifests that are damaged or missing.
    pub damaged_documents: Vec<DamagedDocument>,
    /// Block digests that are damaged or missing beside layers that are whole.
    pub damaged_blocks: Vec<BlocksError>,
    /// Images whose manifests cannot be read, so that nothing else of them could be checked.
    pub broken_images: Vec<BrokenImage>,
}

/// A layer whose bytes are not what its diffID says.
#[derive(Debug)]
pub struct DamagedLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// The images that use it, of those that were checked.
    pub images: Vec<ImageId>,
    /// What is wrong.
    pub damage: LayerDamage,
}

/// What is wrong with a layer.
#[derive(Debug)]
pub enum LayerDamage {
    /// There is no such file.
    Missing,
    /// The file is shorter or longer than the layer.
    WrongSize {
        /// The layer's size.
        expected_bytes: u64,
        /// The file's.
        found_bytes: u64,
    },
    /// Some bytes are different, or could not be read.
    Bytes {
        /// The damaged 64 KiB blocks, neighbours joined, as offsets in the layer. Empty where the block
        /// digests are of no use.
        ranges: Vec<Range<u64>>,
        /// The first error of the device, where there was one.
        unreadable: Option<FileError>,
    },
}

/// A config or an original manifest whose bytes are not what its name says.
#[derive(Debug)]
pub struct DamagedDocument {
    /// The image that it belongs to.
    pub image: ImageId,
    /// The document; of the config this is the image's ID.
    pub digest: Digest,
    /// What is wrong with it.
    pub why: ReadError,
}

impl VerifyReport {
    /// Whether all that was checked is whole.
    pub fn is_whole(&self) -> bool {
        self.damaged_layers.is_empty()
            && self.damaged_documents.is_empty()
            && self.damaged_blocks.is_empty()
            && self.broken_images.is_empty()
    }
}

impl Store {
    /// Checks the given images, or all where none is given, and calls `progress` with the number of
    /// bytes of each block that was read. Damage is in the report and no error.
    pub fn verify(
        &self,
        images: &[ImageId],
        progress: &mut dyn FnMut(u64),
    ) -> Result<VerifyReport, ReadError> {
        let is_wanted = |image: &ImageId| images.is_empty() || images.contains(image);
        let mut snapshot = self.snapshot()?;
        snapshot.images.retain(|image| is_wanted(&image.id));
        snapshot.broken.retain(|image| image.id.as_ref().is_none_or(is_wanted));
        let mut report = VerifyReport {
            images: (snapshot.images.len() + snapshot.broken.len()) as u64,
            ..VerifyReport::default()
        };
        self.verify_documents(&snapshot, &mut report);
        for (layer, images) in layers_to_check(&snapshot) {
            self.verify_layer(layer, images, &mut report, progress)?;
        }
        report.broken_images = snapshot.broken;
        if !report.is_whole() {
            self.forget_removed_images(&mut report)?;
        }
        Ok(report)
    }

    /// What an image lacks because it was removed in the meantime is no damage.
    fn forget_removed_images(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        let index = index::read_index(self)?;
        let is_listed = |image: &ImageId| index.get(*image).is_some();
        report.damaged_layers.retain(|layer| layer.images.iter().any(is_listed));
        report.damaged_documents.retain(|document| is_listed(&document.image));
        Ok(())
    }

    fn verify_documents(&self, snapshot: &Snapshot, report: &mut VerifyReport) {
        for image in &snapshot.images {
            report.read_bytes += image.manifest_size_bytes;
            for digest in [Some(image.id.0), image.original_manifest].into_iter().flatten() {
                match self.read_blob(digest, DOCUMENT_LIMIT_BYTES) {
                    Ok(bytes) => report.read_bytes += bytes.len() as u64,
                    Err(why) => report.damaged_documents.push(DamagedDocument {
                        image: image.id,
                        digest,
                        why,
                    }),
                }
            }
        }
    }

    fn verify_layer(
        &self,
        layer: StoredLayer,
        images: Vec<ImageId>,
        report: &mut VerifyReport,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), FileError> {
        let diff_id = layer.diff_id;
        report.layers += 1;
        let blocks = blocks::read_blocks(&self.blocks_path(diff_id), diff_id);
        let mut count = |read_bytes| {
            report.read_bytes += read_bytes;
            progress(read_bytes);
        };
        let damage = match self.layer(diff_id)? {
            None => Some(LayerDamage::Missing),
            Some(found) if found.size_bytes != layer.size_bytes => Some(LayerDamage::WrongSize {
                expected_bytes: layer.size_bytes,
                found_bytes: found.size_bytes,
            }),
            Some(found) => {
                let checked = check_bytes(layer, &found.file, blocks.as_ref().ok(), &mut count);
                checked.damage(&self.blob_path(diff_id.0))
            }
        };
        match (damage, blocks) {
            (Some(damage), _) => {
                report.damaged_layers.push(DamagedLayer { diff_id, images, damage })
            }
            (None, Err(error)) => report.damaged_blocks.push(error),
            (None, Ok(_)) => {}
        }
        Ok(())
    }
}

fn layers_to_check(snapshot: &Snapshot) -> Vec<(StoredLayer, Vec<ImageId>)> {
    let mut layers: BTreeMap<DiffId, (StoredLayer, Vec<ImageId>)> = BTreeMap::new();
    for image in &snapshot.images {
        for layer in &image.layers {
            let (_, images) = layers.entry(layer.diff_id).or_insert((*layer, Vec::new()));
            if images.last() != Some(&image.id) {
                images.push(image.id);
            }
        }
    }
    layers.into_values().collect()
}

/// What reading a layer showed.
struct Checked {
    has_right_digest: bool,
    ranges: Vec<Range<u64>>,
    unreadable: Option<io::Error>,
}

impl Checked {
    fn damage(self, path: &Path) -> Option<LayerDamage> {
        let is_whole = self.has_right_digest && self.unreadable.is_none();
        (!is_whole).then(|| LayerDamage::Bytes {
            ranges: self.ranges,
            unreadable: self.unreadable.map(failed("read", path)),
        })
    }
}

/// Reads a layer once, for its diffID and its blocks. A block that the device does not give is passed
/// over, so that one bad sector does not hide the next.
fn check_bytes(
    layer: StoredLayer,
    file: &File,
    blocks: Option<&BlockDigests>,
    count: &mut dyn FnMut(u64),
) -> Checked {
    let mut buffer = vec![0; BLOCK_SIZE];
    let mut digester = Digester::new();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut unreadable = None;
    for block in 0..layer.size_bytes.div_ceil(BLOCK_SIZE_BYTES) {
        let start = block * BLOCK_SIZE_BYTES;
        let end = layer.size_bytes.min(start.saturating_add(BLOCK_SIZE_BYTES));
        let length = usize::try_from(end - start).unwrap_or(BLOCK_SIZE);
        let bytes = &mut buffer[..length];
        match file.read_exact_at(bytes, start) {
            Ok(()) => {
                digester.update(bytes);
                count(end - start);
                if blocks.is_some_and(|blocks| !blocks.matches(block, bytes)) {
                    push_range(&mut ranges, start..end);
                }
            }
            Err(error) => {
                push_range(&mut ranges, start..end);
                unreadable.get_or_insert(error);
            }
        }
    }
    Checked { has_right_digest: DiffId(digester.finish()) == layer.diff_id, ranges, unreadable }
}

fn push_range(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
