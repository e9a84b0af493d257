//! An image of any place, with its layers readable at random.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use delta::ReadError;
use delta::read_at::{ReadAt, check_range};
use engine::EngineError;
use store::{FileError, Pins, ResolveError, Store, Subject};
use tarball::archive::PartFile;
use tarball::manifest::media_type;
use tarball::{
    Archive, ArchiveError, ArchivedImage, ArchivedLayer, DiffId, Digest, ImageConfig, ImageId,
    JsonError, Manifest, Name, PlatformChoice, ReadLimits,
};

use super::engine_place::{EngineLayer, EnginePlace};
use super::layer_pool::{LayerPool, PooledLayer};
use crate::failure::{Failure, FailureKind, is_full, kind_of_input};
use crate::progress::{Progress, Step, moved};
use crate::scratch::{ScratchError, scratch_file};

/// An image whose layers can be read, and stay until it is dropped where the place can hold them.
pub struct SourceImage {
    /// Its config.
    pub config: ImageConfig,
    /// What it is called there.
    pub names: Vec<Name>,
    /// Its layers, the lowest first.
    pub layers: Vec<SourceLayer>,
    /// The manifest with which it came, where that is known.
    pub original_manifest: Option<Subject>,
    _pins: Option<Pins>,
}

/// A layer that can be read.
pub struct SourceLayer {
    /// The layer.
    pub diff_id: DiffId,
    bytes: Bytes,
}

enum Bytes {
    Store(PooledLayer),
    Engine(EngineLayer),
    Part(FilePart),
}

/// An image could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such image, or more than one.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] store::ReadError),
    /// A file of the store could not be opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// The engine did not do what it was asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The config of an image cannot be read.
    #[error("the config of image {image} cannot be read")]
    Config {
        /// The image.
        image: ImageId,
        /// Why not.
        source: JsonError,
    },
    /// An ID was given of an image that has several names.
    #[error("image {id} has {names} names")]
    SeveralNames {
        /// The image.
        id: ImageId,
        /// How many names it has.
        names: usize,
    },
    /// An archive could not be opened.
    #[error("cannot read {}", path.display())]
    Open {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive is damaged, or none.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An archive has several images, and none was named.
    #[error("{} holds {images} images", path.display())]
    WhichImage {
        /// The archive.
        path: PathBuf,
        /// How many it holds.
        images: usize,
    },
    /// A compressed layer could not be decompressed to where it can be read.
    #[error("cannot copy layer {layer}")]
    Copy {
        /// The layer.
        layer: DiffId,
        /// Why not.
        source: io::Error,
    },
    /// A file for the copy could not be made.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A layer of an image is not there.
    #[error("layer {layer} of image {image} is missing")]
    MissingLayer {
        /// The image.
        image: ImageId,
        /// The layer.
        layer: DiffId,
    },
}

impl SourceImage {
    /// An image of the store.
    pub fn of_store(store: &Store, reference: &str) -> Result<Self, SourceError> {
        Self::of_pool(store, &LayerPool::new(store), reference)
    }

    /// The same, sharing the files that are open with other images.
    pub(crate) fn of_pool(
        store: &Store,
        pool: &Arc<LayerPool>,
        reference: &str,
    ) -> Result<Self, SourceError> {
        let snapshot = store.snapshot()?;
        let image = snapshot.resolve(reference)?;
        let raw = store.read_config(image.id)?;
        let config = parse_config(image.id, raw)?;
        let mut pins = store.pins();
        pins.pin(&config.diff_ids)?;
        let open = |diff_id: &DiffId| match pool.layer(*diff_id)? {
            Some(layer) => Ok(SourceLayer { diff_id: *diff_id, bytes: Bytes::Store(layer) }),
            None => Err(SourceError::MissingLayer { image: image.id, layer: *diff_id }),
        };
        let layers = config.diff_ids.iter().map(open).collect::<Result<_, _>>()?;
        let original_manifest = image.original_manifest.map(|digest| {
            let raw = store.read_manifest(digest)?;
            let size_bytes = raw.len() as u64;
            // Whoever looks for the subject asks for it by this type. Old manifests do not say it.
            let own = Manifest::parse(raw).ok().and_then(|manifest| manifest.media_type);
            let media_type = own.unwrap_or_else(|| media_type::MANIFEST.to_owned());
            Ok::<_, SourceError>(Subject { media_type, digest, size_bytes })
        });
        let original_manifest = original_manifest.transpose()?;
        let names = image.names.clone();
        Ok(Self { config, names, layers, original_manifest, _pins: Some(pins) })
    }

    /// An image of an engine.
    pub fn of_engine(place: &EnginePlace, reference: &str) -> Result<Self, SourceError> {
        let images = place.images()?;
        let image = images.resolve(reference)?;
        let config = parse_config(image.id, place.engine().config(image)?)?;
        let open = |(index, diff_id): (usize, &DiffId)| {
            let layer = EngineLayer(place.layer(image, index)?);
            Ok(SourceLayer { diff_id: *diff_id, bytes: Bytes::Engine(layer) })
        };
        let layers = config.diff_ids.iter().enumerate().map(open);
        let layers = layers.collect::<Result<_, SourceError>>()?;
        let names = image.names.clone();
        Ok(Self { config, names, layers, original_manifest: None, _pins: None })
    }
}

impl SourceImage {
    /// An image of an archive or of a directory with a layout; `reference` says which, where it has
    /// several. Layers that are compressed are decompressed into `scratch`.
    pub fn of_archive(
        path: &Path,
        reference: Option<&str>,
        platform: &PlatformChoice,
        scratch: &Store,
        progress: &dyn Progress,
    ) -> Result<Self, SourceError> {
        let open_error = |source| SourceError::Open { path: path.to_owned(), source };
        let limits = ReadLimits::default();
        let archive = match path.metadata().map_err(open_error)?.is_dir() {
            true => Archive::open_directory(path, platform, &limits)?,
            false => {
                let file = File::open(path).map_err(open_error)?;
                Archive::open_file(file, path, platform, &limits)?
            }
        };
        let image = choose(&archive, reference)?;
        let open = |layer: &ArchivedLayer| {
            let part = archive_layer(&archive, image, layer, scratch, progress)?;
            Ok(SourceLayer { diff_id: layer.diff_id, bytes: Bytes::Part(part) })
        };
        let layers = image.layers.iter().map(open).collect::<Result<_, SourceError>>()?;
        let original_manifest = image.manifest.as_ref().map(|manifest| Subject {
            media_type: manifest.media_type.clone().unwrap_or(media_type::MANIFEST.to_owned()),
            digest: Digest::of(&manifest.raw),
            size_bytes: manifest.raw.len() as u64,
        });
        let (config, names) = (image.config.clone(), image.names.clone());
        Ok(Self { config, names, layers, original_manifest, _pins: None })
    }
}

/// The image that a reference means; without one, the only one.
fn choose<'a>(
    archive: &'a Archive,
    reference: Option<&str>,
) -> Result<&'a ArchivedImage, SourceError> {
    let Some(reference) = reference else {
        return match archive.images() {
            [only] => Ok(only),
            images => {
                let path = archive.path().to_owned();
                Err(SourceError::WhichImage { path, images: images.len() })
            }
        };
    };
    let by_reference = |image: &&ArchivedImage| image.references.iter().any(|r| r == reference);
    if let Some(image) = archive.images().iter().find(by_reference) {
        return Ok(image);
    }
    let images = archive.images().iter();
    let known: Vec<(ImageId, &[Name])> =
        images.map(|image| (image.config.id, image.names.as_slice())).collect();
    let id = store::resolve(reference, &known)?;
    let found = archive.images().iter().find(|image| image.config.id == id);
    found.ok_or_else(|| ResolveError::NotFound { reference: reference.to_owned() }.into())
}

/// A layer where it lies, or copied and checked where it is compressed.
fn archive_layer(
    archive: &Archive,
    image: &ArchivedImage,
    layer: &ArchivedLayer,
    scratch: &Store,
    progress: &dyn Progress,
) -> Result<FilePart, SourceError> {
    let (image, diff_id) = (image.config.id, layer.diff_id);
    let stored = layer.stored.ok_or(SourceError::MissingLayer { image, layer: diff_id })?;
    if let Some((file, start)) = archive.plain_layer(layer) {
        return Ok(FilePart { file, start, size_bytes: stored.bytes });
    }
    let mut file = scratch_file(scratch)?;
    let mut reader = archive.open_layer(layer)?;
    progress.begin(&Step::Spooling, None);
    let copied = copy(&mut reader, &mut file, progress);
    let size_bytes = copied.map_err(|source| SourceError::Copy { layer: diff_id, source })?;
    progress.end();
    let file = PartFile::of(vec![file]);
    let file = file.map_err(|source| SourceError::Copy { layer: diff_id, source })?;
    Ok(FilePart { file: Arc::new(file), start: 0, size_bytes })
}

fn copy(from: &mut dyn Read, to: &mut dyn Write, progress: &dyn Progress) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..count])?;
        moved(progress, count)?;
        total += count as u64;
    }
}

/// A part of a file.
struct FilePart {
    file: Arc<PartFile>,
    start: u64,
    size_bytes: u64,
}

impl ReadAt for FilePart {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        check_range(self.size_bytes, offset, buffer.len())?;
        let read = self.file.read_exact_at(buffer, self.start + offset);
        read.map_err(|source| ReadError::Io { offset, length: buffer.len() as u64, source })
    }
}

pub(super) fn parse_config(image: ImageId, raw: Vec<u8>) -> Result<ImageConfig, SourceError> {
    ImageConfig::parse(raw).map_err(|source| SourceError::Config { image, source })
}

/// Those of `listed` that the store has.
pub fn layers_of_store(store: &Store, listed: &[DiffId]) -> Result<Vec<SourceLayer>, SourceError> {
    let pool = LayerPool::new(store);
    let mut layers = Vec::new();
    for diff_id in listed {
        if let Some(layer) = pool.layer(*diff_id)? {
            layers.push(SourceLayer { diff_id: *diff_id, bytes: Bytes::Store(layer) });
        }
    }
    Ok(layers)
}

impl SourceLayer {
    /// A layer that lies in a file.
    pub(crate) fn of_file(diff_id: DiffId, file: File, size_bytes: u64) -> io::Result<Self> {
        let file = Arc::new(PartFile::of(vec![file])?);
        Ok(Self { diff_id, bytes: Bytes::Part(FilePart { file, start: 0, size_bytes }) })
    }

    /// The size of its uncompressed tar.
    pub fn size_bytes(&self) -> u64 {
        self.size()
    }

    /// The files that were changed since an engine unpacked the layer, as far as it noted what they had.
    pub(crate) fn changed_files(&self) -> Vec<String> {
        match &self.bytes {
            Bytes::Store(_) | Bytes::Part(_) => Vec::new(),
            Bytes::Engine(layer) => layer.changed_files(),
        }
    }
}

impl ReadAt for SourceLayer {
    fn size(&self) -> u64 {
        match &self.bytes {
            Bytes::Store(layer) => layer.size(),
            Bytes::Engine(layer) => layer.size(),
            Bytes::Part(part) => part.size(),
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        match &self.bytes {
            Bytes::Store(layer) => layer.read_exact_at(buffer, offset),
            Bytes::Engine(layer) => layer.read_exact_at(buffer, offset),
            Bytes::Part(part) => part.read_exact_at(buffer, offset),
        }
    }
}

impl Failure for SourceError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Resolve(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Archive(error) => Failure::kind(error),
            Self::Scratch(error) => error.kind(),
            Self::Open { source, .. } | Self::Copy { source, .. } if is_full(source) => {
                FailureKind::NoRoom
            }
            Self::Copy { source, .. } => kind_of_input(source),
            Self::Open { .. } | Self::SeveralNames { .. } => FailureKind::Other,
            Self::WhichImage { .. } => FailureKind::NoSuchImage,
            Self::Config { .. } | Self::MissingLayer { .. } => FailureKind::StoredDamaged,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::SeveralNames { .. } => Some("remove it all with --force".into()),
            Self::WhichImage { .. } => Some("say which, as FILE:NAME".into()),
            _ => None,
        }
    }
}
