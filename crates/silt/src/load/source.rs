//! Where the layers of an image that is to be loaded come from.

use std::io::Read;

use delta::read_at::FileBasis;
use store::{Store, StoredImage};
use tarball::archive::{Archive, ArchivedImage};
use tarball::{DiffId, ImageConfig, Name};

use super::LoadError;
use crate::layer_digest::is_whole;

/// An image of the input: plain, or a delta.
pub(super) struct Candidate<'a> {
    pub(super) config: ImageConfig,
    pub(super) names: Vec<Name>,
    /// The exact bytes of its manifest, where it came with one.
    pub(super) manifest: Option<Vec<u8>>,
    layers: Layers<'a>,
}

enum Layers<'a> {
    Archive(&'a Archive, &'a ArchivedImage),
    Store(&'a Store),
}

pub(super) fn of_archive(archive: &Archive) -> Vec<Candidate<'_>> {
    archive.images().iter().map(|image| candidate_of(archive, image)).collect()
}

fn candidate_of<'a>(archive: &'a Archive, image: &'a ArchivedImage) -> Candidate<'a> {
    Candidate {
        config: image.config.clone(),
        names: image.names.clone(),
        manifest: image.manifest.as_ref().map(|manifest| manifest.raw.clone()),
        layers: Layers::Archive(archive, image),
    }
}

pub(super) fn of_store<'a>(store: &'a Store, reference: &str) -> Result<Candidate<'a>, LoadError> {
    let snapshot = store.snapshot()?;
    let image: &StoredImage = snapshot.resolve(reference)?;
    let raw = store.read_config(image.id)?;
    let config = ImageConfig::parse(raw)
        .map_err(|source| LoadError::StoredConfig { image: image.id, source })?;
    Ok(Candidate {
        config,
        names: image.names.clone(),
        manifest: None,
        layers: Layers::Store(store),
    })
}

impl Candidate<'_> {
    /// Bytes of a layer as it is stored in the input; `None` where the input leaves it out.
    pub(super) fn stored_bytes(&self, index: usize) -> Option<u64> {
        match &self.layers {
            Layers::Archive(_, image) => image.layers[index].stored.map(|stored| stored.bytes),
            Layers::Store(store) => {
                let layer = store.layer(self.config.diff_ids[index]).ok()?;
                layer.map(|layer| layer.size_bytes)
            }
        }
    }

    /// Of the memory that the load may take, what the decompressors of the input leave, those of the
    /// layer that is open among them.
    pub(super) fn left_memory_bytes(&self, max_memory_bytes: u64) -> u64 {
        match &self.layers {
            Layers::Archive(archive, _) => archive.left_memory_bytes().min(max_memory_bytes),
            Layers::Store(_) => max_memory_bytes,
        }
    }

    /// The uncompressed tar of a layer, which must be in the input. An archive's checks itself at its
    /// end; the store's is checked before.
    pub(super) fn open_layer(&self, index: usize) -> Result<Box<dyn Read + '_>, LoadError> {
        let diff_id = self.config.diff_ids[index];
        match &self.layers {
            Layers::Archive(archive, image) => {
                Ok(Box::new(archive.open_layer(&image.layers[index])?))
            }
            Layers::Store(store) => match store.layer(diff_id)? {
                Some(layer) => {
                    let stored = FileBasis::with_size(layer.file, layer.size_bytes);
                    match is_whole(&stored, diff_id) {
                        true => Ok(Box::new(stored.into_file())),
                        false => Err(LoadError::StoredDelta { layer: diff_id }),
                    }
                }
                None => Err(LoadError::MissingLayer { image: self.config.id, layer: diff_id }),
            },
        }
    }

    pub(super) fn diff_id(&self, index: usize) -> DiffId {
        self.config.diff_ids[index]
    }
}
