//! Where the layers of an image that is to be loaded come from.

use std::io::Read;

use tarball::archive::{Archive, ArchivedImage};
use tarball::{DiffId, ImageConfig, Name};

use super::LoadError;
use crate::delta_image::{DeltaImage, DeltaImageError};
use crate::layer_digest::is_whole;
use crate::place::{PlaceRef, SourceImage, SourceLayer};
use crate::sequential::Sequential;

/// An image of the input: plain, or a delta.
pub(super) struct Candidate<'a> {
    pub(super) config: ImageConfig,
    pub(super) names: Vec<Name>,
    /// The exact bytes of its manifest, where it came with one.
    pub(super) manifest: Option<Vec<u8>>,
    /// Whether it is taken as it is, also where it is a delta.
    pub(super) is_as_is: bool,
    layers: Layers<'a>,
    /// What further layers of a delta make, each with the layer's number.
    shared: Vec<(DiffId, usize)>,
}

enum Layers<'a> {
    Archive(&'a Archive, &'a ArchivedImage),
    Image(Box<SourceImage>),
}

pub(super) fn of_archive(archive: &Archive) -> Vec<Candidate<'_>> {
    archive.images().iter().map(|image| candidate_of(archive, image)).collect()
}

fn candidate_of<'a>(archive: &'a Archive, image: &'a ArchivedImage) -> Candidate<'a> {
    Candidate {
        config: image.config.clone(),
        names: image.names.clone(),
        manifest: image.manifest.as_ref().map(|manifest| manifest.raw.clone()),
        is_as_is: false,
        layers: Layers::Archive(archive, image),
        shared: shared_of(&image.config),
    }
}

pub(super) fn of_place(
    place: PlaceRef<'_>,
    reference: &str,
) -> Result<Candidate<'static>, LoadError> {
    let image = match place {
        PlaceRef::Store(store) => SourceImage::of_store(store, reference)?,
        PlaceRef::Engine(place) => SourceImage::of_engine(place, reference)?,
    };
    Ok(Candidate {
        shared: shared_of(&image.config),
        config: image.config.clone(),
        names: image.names.clone(),
        manifest: None,
        is_as_is: false,
        layers: Layers::Image(Box::new(image)),
    })
}

/// Only those that a plan takes, in their order.
pub(super) fn take<'a>(candidates: Vec<Candidate<'a>>, taken: &[usize]) -> Vec<Candidate<'a>> {
    let numbered = candidates.into_iter().enumerate();
    let taken = numbered.filter(|(number, _)| taken.contains(number));
    taken.map(|(_, candidate)| candidate).collect()
}

fn shared_of(config: &ImageConfig) -> Vec<(DiffId, usize)> {
    let delta = DeltaImage::of(config).ok().flatten();
    let (first, shared) = delta.map(|d| (d.target.diff_ids.len(), d.shared)).unwrap_or_default();
    shared.into_iter().zip(first..).collect()
}

/// An image that is copied as it is, under other names.
pub(super) fn of_source(image: SourceImage, names: &[Name]) -> Candidate<'static> {
    Candidate {
        config: image.config.clone(),
        names: names.to_vec(),
        manifest: None,
        is_as_is: true,
        layers: Layers::Image(Box::new(image)),
        shared: Vec::new(),
    }
}

impl Candidate<'_> {
    /// What it says of a delta, unless it is copied.
    pub(super) fn delta(&self) -> Result<Option<DeltaImage>, DeltaImageError> {
        match self.is_as_is {
            true => Ok(None),
            false => DeltaImage::of(&self.config),
        }
    }

    /// The layer that makes these bytes, where they are some that the delta shares with others.
    pub(super) fn shared_layer(&self, bytes: DiffId) -> Option<usize> {
        self.shared.iter().find(|(shared, _)| *shared == bytes).map(|(_, index)| *index)
    }

    /// Bytes of a layer as it is stored in the input; `None` where the input leaves it out.
    pub(super) fn stored_bytes(&self, index: usize) -> Option<u64> {
        match &self.layers {
            Layers::Archive(_, image) => image.layers[index].stored.map(|stored| stored.bytes),
            Layers::Image(image) => image.layers.get(index).map(SourceLayer::size_bytes),
        }
    }

    /// Of the memory that the load may take, what the decompressors of the input leave, those of the
    /// layer that is open among them.
    pub(super) fn left_memory_bytes(&self, max_memory_bytes: u64) -> u64 {
        match &self.layers {
            Layers::Archive(archive, _) => archive.left_memory_bytes().min(max_memory_bytes),
            Layers::Image(_) => max_memory_bytes,
        }
    }

    /// The uncompressed tar of a layer, which must be in the input. An archive's checks itself at its
    /// end; the store's is checked before.
    pub(super) fn open_layer(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, LoadError> {
        let diff_id = self.config.diff_ids[index];
        match &self.layers {
            Layers::Archive(archive, image) => {
                Ok(Box::new(archive.open_layer(&image.layers[index])?))
            }
            Layers::Image(image) => match image.layers.get(index) {
                // What is copied was read when it was planned, and the sink reads it again.
                Some(layer) if self.is_as_is || is_whole(layer, diff_id) => {
                    Ok(Box::new(Sequential::new(layer)))
                }
                Some(_) => Err(LoadError::StoredDelta { layer: diff_id }),
                None => Err(LoadError::MissingLayer { image: self.config.id, layer: diff_id }),
            },
        }
    }

    /// The files of a layer that were changed under an engine, for messages; and whether it has its bytes.
    pub(super) fn damage_of(&self, index: usize) -> Option<Vec<String>> {
        match &self.layers {
            Layers::Image(image) if self.is_as_is => {
                let layer = image.layers.get(index)?;
                (!is_whole(layer, self.diff_id(index))).then(|| layer.changed_files())
            }
            _ => None,
        }
    }

    pub(super) fn diff_id(&self, index: usize) -> DiffId {
        self.config.diff_ids[index]
    }
}
