//! What the store holds at one moment. Reading needs no lock: the index is replaced as a whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io;

use tarball::{DiffId, Digest, ImageId, Name};

use crate::durable::failed;
use crate::error::{FileError, ReadError, ResolveError};
use crate::index::{self, Entry, Index};
use crate::manifest::{DOCUMENT_LIMIT_BYTES, Manifest, StoredLayer, Subject};
use crate::resolve;
use crate::store::Store;

/// An image that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// The digest of its config.
    pub id: ImageId,
    /// What it is called, in order of the alphabet; empty for an image that lost its last name.
    pub names: Vec<Name>,
    /// Its layers, lowest first.
    pub layers: Vec<StoredLayer>,
    /// The size of its config; [`Store::read_config`] reads it.
    pub config_size_bytes: u64,
    /// The store's own manifest of the image, which is what OCI tools see.
    pub manifest: Digest,
    /// The size of that manifest.
    pub manifest_size_bytes: u64,
    /// The manifest with which the image came, where it came with one: a record.
    pub original_manifest: Option<Digest>,
    /// The manifest's `artifactType`, which deltas have.
    pub artifact_type: Option<String>,
    /// The manifest's `subject`.
    pub subject: Option<Subject>,
    /// The manifest's annotations, without those of the store itself.
    pub annotations: BTreeMap<String, String>,
    /// Larger for an image that was loaded or tagged later.
    pub order: u64,
}

/// An image that is listed and cannot be read.
#[derive(Debug)]
pub struct BrokenImage {
    /// The image; `None` for an entry that Silt did not write.
    pub id: Option<ImageId>,
    /// What it is called.
    pub names: Vec<Name>,
    /// The manifest that cannot be read.
    pub manifest: Option<Digest>,
    /// Why not.
    pub why: ReadError,
}

/// All images at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The images, oldest first by [`StoredImage::order`].
    pub images: Vec<StoredImage>,
    /// What is listed and damaged.
    pub broken: Vec<BrokenImage>,
}

/// A layer that some image uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The layer.
    pub diff_id: DiffId,
    /// Its size.
    pub size_bytes: u64,
    /// The images that have it.
    pub images: Vec<ImageId>,
}

/// A layer's uncompressed tar, open for reading.
#[derive(Debug)]
pub struct LayerFile {
    /// The layer.
    pub diff_id: DiffId,
    /// The size of the file.
    pub size_bytes: u64,
    /// The file. It stays readable when the layer is removed.
    pub file: File,
}

impl Store {
    /// Reads the index and every manifest.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let mut index = index::read_index(self)?;
        loop {
            let snapshot = Snapshot::of_index(self, &index);
            if snapshot.broken.is_empty() {
                return Ok(snapshot);
            }
            // A manifest may be gone because its image was removed after the index was read.
            let now = index::read_index(self)?;
            if now == index {
                return Ok(snapshot);
            }
            index = now;
        }
    }

    /// The exact bytes of an image's config, checked against the image's ID.
    pub fn read_config(&self, image: ImageId) -> Result<Vec<u8>, ReadError> {
        self.read_blob(image.0, DOCUMENT_LIMIT_BYTES)
    }

    /// The exact bytes of a manifest, the store's own or an original one, checked.
    pub fn read_manifest(&self, manifest: Digest) -> Result<Vec<u8>, ReadError> {
        self.read_blob(manifest, DOCUMENT_LIMIT_BYTES)
    }

    /// Opens a layer; `None` where the store does not have it. The bytes are not checked here: that
    /// is for whoever reads them, or for [`Store::verify`].
    pub fn layer(&self, diff_id: DiffId) -> Result<Option<LayerFile>, FileError> {
        let path = self.blob_path(diff_id.0);
        match File::open(&path) {
            Ok(file) => LayerFile::of(diff_id, file, &path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("open", &path)(error)),
        }
    }

    /// The layers that images use and that are there, with the images that use them.
    pub fn layers(&self) -> Result<Vec<LayerInfo>, ReadError> {
        let mut layers = self.snapshot()?.layers();
        layers.retain(|layer| {
            let found = self.blob_path(layer.diff_id.0).metadata();
            found.is_ok_and(|found| found.len() == layer.size_bytes)
        });
        Ok(layers)
    }
}

impl LayerFile {
    pub(crate) fn of(
        diff_id: DiffId,
        file: File,
        path: &std::path::Path,
    ) -> Result<Self, FileError> {
        let size_bytes = file.metadata().map_err(failed("inspect", path))?.len();
        Ok(Self { diff_id, size_bytes, file })
    }
}

impl Snapshot {
    pub(crate) fn of_index(store: &Store, index: &Index) -> Self {
        let mut snapshot = Self::default();
        for entry in &index.entries {
            match read_image(store, entry) {
                Ok(image) => snapshot.images.push(image),
                Err(why) => snapshot.broken.push(BrokenImage {
                    id: Some(entry.image),
                    names: entry.names.iter().cloned().collect(),
                    manifest: Some(entry.manifest),
                    why,
                }),
            }
        }
        for (position, _) in &index.foreign {
            let path = store.index_path();
            snapshot.broken.push(BrokenImage {
                id: None,
                names: Vec::new(),
                manifest: None,
                why: ReadError::ForeignEntry { path, position: *position },
            });
        }
        snapshot.images.sort_by_key(|image| (image.order, image.id));
        snapshot
    }

    /// The image that `reference` means: a name, a full `sha256:…` ID, or the first digits of one, at
    /// least 4. A name wins over digits.
    pub fn resolve(&self, reference: &str) -> Result<&StoredImage, ResolveError> {
        let whole = self.images.iter().map(|image| (image.id, image.names.as_slice()));
        let broken =
            self.broken.iter().filter_map(|image| Some((image.id?, image.names.as_slice())));
        let id = resolve::resolve(reference, &whole.chain(broken).collect::<Vec<_>>())?;
        if let Some(image) = self.get(id) {
            return Ok(image);
        }
        let broken = self.broken.iter().find(|image| image.id == Some(id));
        Err(match broken.and_then(|image| image.manifest) {
            Some(manifest) => ResolveError::Broken { id, manifest },
            None => ResolveError::NotFound { reference: reference.to_owned() },
        })
    }

    /// The image with this ID.
    pub fn get(&self, id: ImageId) -> Option<&StoredImage> {
        self.images.iter().find(|image| image.id == id)
    }

    /// The size that a layer has by the manifest of an image.
    pub fn layer_size(&self, diff_id: DiffId) -> Option<u64> {
        let mut layers = self.images.iter().flat_map(|image| &image.layers);
        layers.find(|layer| layer.diff_id == diff_id).map(|layer| layer.size_bytes)
    }

    /// The layers of all images, each once, in order of their diffIDs.
    pub fn layers(&self) -> Vec<LayerInfo> {
        let mut layers: BTreeMap<DiffId, LayerInfo> = BTreeMap::new();
        for image in &self.images {
            let mut seen = BTreeSet::new();
            for layer in image.layers.iter().filter(|layer| seen.insert(layer.diff_id)) {
                let info = layers.entry(layer.diff_id).or_insert_with(|| LayerInfo {
                    diff_id: layer.diff_id,
                    size_bytes: layer.size_bytes,
                    images: Vec::new(),
                });
                info.images.push(image.id);
            }
        }
        layers.into_values().collect()
    }

    /// Every blob that an image needs; `None` where that cannot be known because a manifest is
    /// damaged. Then nothing may be called unreachable.
    pub(crate) fn reachable(&self) -> Option<HashSet<Digest>> {
        if !self.broken.is_empty() {
            return None;
        }
        Some(self.images.iter().flat_map(StoredImage::blobs).collect())
    }
}

impl StoredImage {
    /// The size of all layers, each counted as often as it occurs.
    pub fn compute_size_bytes(&self) -> u64 {
        let sizes = self.layers.iter().map(|layer| layer.size_bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// Every blob of the image.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> + use<'_> {
        let layers = self.layers.iter().map(|layer| layer.diff_id.0);
        self.documents().chain(layers)
    }

    /// Its blobs without the layers.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Digest> + use<> {
        let documents = [Some(self.id.0), Some(self.manifest), self.original_manifest];
        documents.into_iter().flatten()
    }
}

fn read_image(store: &Store, entry: &Entry) -> Result<StoredImage, ReadError> {
    let digest = entry.manifest;
    let bytes = store.read_blob(digest, DOCUMENT_LIMIT_BYTES)?;
    let manifest =
        Manifest::parse(&bytes).map_err(|source| ReadError::NotAManifest { digest, source })?;
    if manifest.image != entry.image {
        return Err(ReadError::WrongImage { digest, expected: entry.image, found: manifest.image });
    }
    Ok(StoredImage {
        id: entry.image,
        names: entry.names.iter().cloned().collect(),
        layers: manifest.layers,
        config_size_bytes: manifest.config_size_bytes,
        manifest: digest,
        manifest_size_bytes: bytes.len() as u64,
        original_manifest: manifest.original,
        artifact_type: manifest.artifact_type,
        subject: manifest.subject,
        annotations: manifest.annotations,
        order: entry.order,
    })
}
