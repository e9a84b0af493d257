//! The content store: blobs by their digests, which are manifests, configs and layers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tarball::archive::PartFile;
use tarball::compression::{Compression, open_decoder};
use tarball::config::MAX_CONFIG_BYTES;
use tarball::manifest::MAX_MANIFEST_BYTES;
use tarball::{Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Name};

use crate::error::EngineError;
use crate::files::read_document;
use crate::gzip_layer::GzipLayer;
use crate::piece_cache::PieceCache;
use crate::place::{ImageRecord, LayerBytes};
use crate::spool::{FileLayer, spool};
use crate::zstd_layer::ZstdLayer;

/// An index within an index is as deep as it gets.
const MAX_DEPTH: usize = 3;
/// What a decompressor may take.
const DECODER_MEMORY_BYTES: u64 = 16 << 20;

/// The folder of the blobs.
pub(super) struct Content {
    root: PathBuf,
    /// Of layers that are decompressed when they are read.
    pieces: Arc<PieceCache>,
}

/// What an image consists of, as its manifest says.
#[derive(Debug, Clone)]
pub(super) struct StoredManifest {
    pub(super) config: ImageConfig,
    pub(super) layers: Vec<Descriptor>,
}

impl StoredManifest {
    /// Bytes of all its blobs.
    fn stored_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    pub(super) fn record(&self, key: &str, name: Option<Name>) -> ImageRecord {
        ImageRecord {
            id: self.config.id,
            names: name.into_iter().collect(),
            diff_ids: self.config.diff_ids.clone(),
            created: self.config.created.clone(),
            size_bytes: self.stored_bytes(),
            platform: self.config.platform.clone(),
            key: key.to_owned(),
        }
    }
}

/// Finds the manifest of an image for this machine, with its config; `None` where they are not there, or
/// are no image's.
pub(super) fn find_manifest(
    digest: Digest,
    read: &dyn Fn(Digest) -> Result<Option<Vec<u8>>, EngineError>,
) -> Result<Option<StoredManifest>, EngineError> {
    let mut candidates = vec![(digest, 0)];
    while let Some((digest, depth)) = candidates.pop() {
        let Some(raw) = read(digest)? else { continue };
        if let Ok(index) = Index::parse(raw.clone())
            && !index.manifests.is_empty()
        {
            if depth < MAX_DEPTH {
                let fitting = index.manifests.iter().filter(|it| is_for_this_machine(it));
                candidates.extend(fitting.map(|manifest| (manifest.digest, depth + 1)));
            }
            continue;
        }
        let Ok(manifest) = Manifest::parse(raw) else { continue };
        let Some(config) = read(manifest.config.digest)? else { continue };
        let Ok(config) = ImageConfig::parse(config) else { continue };
        if config.diff_ids.len() == manifest.layers.len() {
            return Ok(Some(StoredManifest { config, layers: manifest.layers }));
        }
    }
    Ok(None)
}

/// What says nothing of a platform is for all.
fn is_for_this_machine(manifest: &Descriptor) -> bool {
    let host = tarball::Platform::host();
    manifest.platform.as_ref().is_none_or(|platform| host.runs(platform))
}

impl Content {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, pieces: Arc::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn why_unreadable(&self) -> Option<String> {
        let folder = self.root.join("blobs/sha256");
        let error = std::fs::read_dir(&folder).err()?;
        Some(format!("{} cannot be read: {error}", folder.display()))
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    pub(super) fn has(&self, digest: Digest) -> bool {
        self.blob(digest).is_file()
    }

    /// A document, checked against its digest; `None` where it is not there.
    pub(super) fn document(&self, digest: Digest) -> Result<Option<Vec<u8>>, EngineError> {
        read_document(&self.blob(digest), digest, MAX_CONFIG_BYTES.max(MAX_MANIFEST_BYTES))
    }

    /// A layer: as it lies there, through restart points, by frames, or decompressed into a file without a name.
    pub(super) fn layer(
        &self,
        image: &StoredManifest,
        index: usize,
        diff_id: DiffId,
        scratch: Option<&Path>,
    ) -> Result<Option<Arc<dyn LayerBytes>>, EngineError> {
        let Some(blob) = image.layers.get(index) else { return Ok(None) };
        let path = self.blob(blob.digest);
        let file_error = |source| EngineError::File { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(file_error(source)),
        };
        let size_bytes = file.metadata().map_err(file_error)?.len();
        let mut head = [0; Compression::DETECT_BYTES];
        let read = file.read_at(&mut head, 0).map_err(file_error)?;
        let compression = Compression::detect(&head[..read]);
        if compression == Compression::None {
            let file = Arc::new(PartFile::of(vec![file]).map_err(file_error)?);
            return Ok(Some(Arc::new(FileLayer { file, start: 0, size_bytes })));
        }
        if compression == Compression::Gzip {
            let again = File::open(&path).map_err(file_error)?;
            if let Some(layer) =
                GzipLayer::index(again, diff_id, image.stored_bytes(), self.pieces.layer())
                    .map_err(file_error)?
            {
                return Ok(Some(Arc::new(layer)));
            }
        }
        if compression == Compression::Zstd {
            let again = File::open(&path).map_err(file_error)?;
            if let Some(layer) =
                ZstdLayer::index(again, diff_id, self.pieces.layer()).map_err(file_error)?
            {
                return Ok(Some(Arc::new(layer)));
            }
        }
        let mut decoder = open_decoder(file, DECODER_MEMORY_BYTES).map_err(file_error)?;
        let folder = scratch.map_or_else(std::env::temp_dir, Path::to_owned);
        Ok(Some(Arc::new(spool(&mut decoder, &folder)?)))
    }
}
