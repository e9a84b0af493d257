//! Every stored byte against its digest.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use tarball::{DiffId, Digest, ImageId};

use crate::blocks::{self, BlocksError, blocks_file_size_bytes};
use crate::durable::failed;
use crate::error::{FileError, ReadError};
use crate::index;
use crate::layer_check::LayerDamage;
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
    /// Block digests that are damaged or missing, with the images that use the layers.
    pub damaged_blocks: Vec<(BlocksError, Vec<ImageId>)>,
    /// The index and the files beside it, where they are not as Silt wrote them.
    pub damaged_root: Vec<ReadError>,
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
            && self.damaged_root.is_empty()
            && self.broken_images.is_empty()
    }
}

impl Store {
    /// Checks the given images, or all where none is given, and calls `progress` with the number of
    /// bytes of each block that was read; what that fails with ends the checking. Damage is in the
    /// report and no error.
    pub fn verify(
        &self,
        images: &[ImageId],
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<VerifyReport, ReadError> {
        let is_wanted = |image: &ImageId| images.is_empty() || images.contains(image);
        let mut snapshot = self.snapshot()?;
        snapshot.images.retain(|image| is_wanted(&image.id));
        snapshot.broken.retain(|image| image.id.as_ref().is_none_or(is_wanted));
        let mut report = VerifyReport {
            images: (snapshot.images.len() + snapshot.broken.len()) as u64,
            ..VerifyReport::default()
        };
        self.verify_root(&mut report)?;
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

    /// The same without reading layers or configs: the index, every manifest, and whether all files are
    /// there and have the right sizes.
    pub fn check(&self) -> Result<VerifyReport, ReadError> {
        let snapshot = self.snapshot()?;
        let mut report = VerifyReport {
            images: (snapshot.images.len() + snapshot.broken.len()) as u64,
            ..VerifyReport::default()
        };
        self.verify_root(&mut report)?;
        self.check_documents(&snapshot, &mut report)?;
        for (layer, images) in layers_to_check(&snapshot) {
            self.check_sizes(layer, images, &mut report)?;
        }
        report.broken_images = snapshot.broken;
        if !report.is_whole() {
            self.forget_removed_images(&mut report)?;
        }
        Ok(report)
    }

    fn check_documents(
        &self,
        snapshot: &Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), FileError> {
        for image in &snapshot.images {
            let config = (image.id.0, Some(image.config_size_bytes));
            let original = image.original_manifest.map(|digest| (digest, None));
            for (digest, expected_bytes) in [Some(config), original].into_iter().flatten() {
                let path = self.blob_path(digest);
                let why = match size_of(&path)? {
                    None => ReadError::MissingBlob { digest },
                    Some(found_bytes) if expected_bytes.is_some_and(|size| size != found_bytes) => {
                        ReadError::WrongSize { digest, found_bytes }
                    }
                    Some(_) => continue,
                };
                report.damaged_documents.push(DamagedDocument { image: image.id, digest, why });
            }
        }
        Ok(())
    }

    fn check_sizes(
        &self,
        layer: StoredLayer,
        images: Vec<ImageId>,
        report: &mut VerifyReport,
    ) -> Result<(), FileError> {
        let StoredLayer { diff_id, size_bytes: expected_bytes } = layer;
        report.layers += 1;
        let damage = match size_of(&self.blob_path(diff_id.0))? {
            None => Some(LayerDamage::Missing),
            Some(found_bytes) if found_bytes != expected_bytes => {
                Some(LayerDamage::WrongSize { expected_bytes, found_bytes, ranges: Vec::new() })
            }
            Some(_) => None,
        };
        if let Some(damage) = damage {
            report.damaged_layers.push(DamagedLayer { diff_id, images: images.clone(), damage });
        }
        if blocks::is_one_block(expected_bytes) {
            return Ok(());
        }
        match size_of(&self.blocks_path(diff_id))? {
            None => report.damaged_blocks.push((BlocksError::Missing { diff_id }, images)),
            Some(found) if found != blocks_file_size_bytes(expected_bytes) => {
                report.damaged_blocks.push((BlocksError::Damaged { diff_id }, images));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What an image lacks because it was removed in the meantime is no damage.
    fn forget_removed_images(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        let index = index::read_index(self)?;
        let is_listed = |image: &ImageId| index.get(*image).is_some();
        report.damaged_layers.retain(|layer| layer.images.iter().any(is_listed));
        report.damaged_documents.retain(|document| is_listed(&document.image));
        report.damaged_blocks.retain(|(_, images)| images.iter().any(is_listed));
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
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let diff_id = layer.diff_id;
        report.layers += 1;
        let checked = self.check_layer(layer, &mut |read_bytes| {
            report.read_bytes += read_bytes;
            progress(read_bytes)
        })?;
        if let Some(damage) = checked.damage {
            report.damaged_layers.push(DamagedLayer { diff_id, images: images.clone(), damage });
        }
        match checked.blocks {
            Ok(blocks) if blocks.layer_size_bytes == layer.size_bytes => {}
            Ok(_) => report.damaged_blocks.push((BlocksError::Damaged { diff_id }, images)),
            Err(error) => report.damaged_blocks.push((error, images)),
        }
        Ok(())
    }

    /// The few small files beside the images.
    fn verify_root(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        if !index::is_as_written(self)? {
            report.damaged_root.push(ReadError::ChangedIndex { path: self.index_path() });
        }
        report.damaged_root.extend(self.check_layout_file()?);
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

/// The size of a regular file; `None` where there is none.
fn size_of(path: &Path) -> Result<Option<u64>, FileError> {
    match path.symlink_metadata() {
        Ok(found) => Ok(found.is_file().then_some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("inspect", path)(error)),
    }
}
