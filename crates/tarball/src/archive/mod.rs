//! Reading archives and layouts: what images they hold, and their layers' exact bytes.
//!
//! - docker-archive, as Docker up to 24, balenaEngine, Podman and skopeo write it;
//! - the OCI layout with a `manifest.json` that Docker writes from 25 on;
//! - oci-archive, and OCI layouts that are directories.
//!
//! Tars may be compressed as a whole, and every layer on its own. Nothing is written to disk, and
//! memory is bounded by [`ReadLimits`]. Bytes are checked where they are read: documents when the
//! archive is opened, layers by [`LayerReader`] when it reaches their end.

mod container;
mod docker;
mod error;
mod file_range;
mod images;
mod layer_reader;
mod layout;
mod layout_directory;
mod limits;
mod member_name;
mod part_file;
mod signed;
mod tar_file;
mod tar_index;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compression::{Compression, MemoryBudget};
use crate::config::ImageConfig;
use crate::digest::{DiffId, Digest};
use crate::manifest::Manifest;
use crate::name::Name;
use crate::platform::{Platform, PlatformChoice};

pub use error::{ArchiveError, ArchiveFault, FaultKind};
pub use layer_reader::{LayerReader, StoredReader};
pub use limits::ReadLimits;
pub use part_file::PartFile;
pub use signed::{SIGNATURE, SignedIndex, Watch};

use container::Container;
use images::FoundImages;
use layout_directory::LayoutDirectory;
use limits::MetadataBudget;
use tar_file::TarFile;

/// An archive or layout that was opened, and whose documents were read.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    container: Container,
    memory: MemoryBudget,
    found: FoundImages,
}

/// How an archive names its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveForm {
    /// `manifest.json` alone.
    Docker,
    /// A layout with `manifest.json` beside it.
    DockerLayout,
    /// `index.json` alone.
    Layout,
}

/// One image of an archive.
#[derive(Debug, Clone)]
pub struct ArchivedImage {
    /// The image's config.
    pub config: ImageConfig,
    /// The names that the archive gives it; there may be none.
    pub names: Vec<Name>,
    /// What a layout calls it, as it is written there: perhaps only a tag, perhaps no image name.
    pub references: Vec<String>,
    /// Its manifest, where the archive has one.
    pub manifest: Option<Manifest>,
    /// Its layers, the lowest first: as many as the config has diffIDs.
    pub layers: Vec<ArchivedLayer>,
}

/// One layer of an image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedLayer {
    /// Digest of the uncompressed tar, as the config says.
    pub diff_id: DiffId,
    /// Digest of the stored bytes, where the archive says.
    pub digest: Option<Digest>,
    /// The layer's media type, where there is a manifest.
    pub media_type: Option<String>,
    /// The stored bytes. `None` where the archive leaves the layer out, which engines accept for
    /// layers that they have.
    pub stored: Option<StoredLayer>,
    /// The member that holds it.
    pub(crate) member: String,
}

/// The stored bytes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredLayer {
    /// How many there are.
    pub bytes: u64,
    /// How they are compressed.
    pub compression: Compression,
}

/// An image that was left out, since no platform that it is there for fits the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedImage {
    /// The names that the archive gives it.
    pub names: Vec<Name>,
    /// What it is there for.
    pub platforms: Vec<Platform>,
}

impl Archive {
    /// Opens an archive file. It is read from its start to its end once: a plain tar's headers, a
    /// compressed one's every byte. `path` is for messages only.
    pub fn open_file(
        file: File,
        path: &Path,
        choice: &PlatformChoice,
        limits: &ReadLimits,
    ) -> Result<Self, ArchiveError> {
        match PartFile::of(vec![file]) {
            Ok(file) => Self::open(file, path, choice, limits),
            Err(_) => Err(ArchiveError::new(path, ArchiveFault::NotSeekable.into())),
        }
    }

    /// The same for a file that may lie in several parts.
    pub fn open(
        file: PartFile,
        path: &Path,
        choice: &PlatformChoice,
        limits: &ReadLimits,
    ) -> Result<Self, ArchiveError> {
        let mut budget = MetadataBudget::new(limits);
        let memory = MemoryBudget::new(limits.decoder_memory_bytes);
        TarFile::open(file, limits, &memory, &mut budget)
            .map(Container::Tar)
            .and_then(|container| Self::read(container, path, choice, limits, memory, budget))
            .map_err(|fault| ArchiveError::new(path, fault))
    }

    /// Opens a directory that holds an OCI layout. Nothing outside it is read.
    pub fn open_directory(
        path: &Path,
        choice: &PlatformChoice,
        limits: &ReadLimits,
    ) -> Result<Self, ArchiveError> {
        LayoutDirectory::open(path)
            .map(Container::Directory)
            .and_then(|container| {
                let budget = MetadataBudget::new(limits);
                let memory = MemoryBudget::new(limits.decoder_memory_bytes);
                Self::read(container, path, choice, limits, memory, budget)
            })
            .map_err(|fault| ArchiveError::new(path, fault))
    }

    /// The images, in the archive's order, each once; never empty.
    pub fn images(&self) -> &[ArchivedImage] {
        &self.found.images
    }

    /// Images for other platforms alone.
    pub fn skipped(&self) -> &[SkippedImage] {
        &self.found.skipped
    }

    /// How the archive names its images.
    pub fn form(&self) -> ArchiveForm {
        self.found.form
    }

    /// How the archive is compressed as a whole.
    pub fn compression(&self) -> Compression {
        match &self.container {
            Container::Tar(tar) => tar.compression,
            Container::Directory(_) => Compression::None,
        }
    }

    /// The file or directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is left of [`ReadLimits::decoder_memory_bytes`] while layers are open, for what decodes their
    /// contents.
    pub fn left_memory_bytes(&self) -> u64 {
        self.memory.left_bytes()
    }

    /// Opens the uncompressed tar of a layer of this archive. Several can be open at once; in a
    /// compressed archive each of those decompresses the file from its start, and layers that are
    /// read in the order in which they lie are decompressed once.
    pub fn open_layer(&self, layer: &ArchivedLayer) -> Result<LayerReader, ArchiveError> {
        layer_reader::open_layer(&self.container, &self.path, layer, &self.memory)
            .map_err(|fault| ArchiveError::new(&self.path, fault))
    }

    /// The file in which the uncompressed tar of a layer lies as it is, and where it begins: it can be read
    /// at random, and nothing checks it. `None` where it is compressed, alone or with the archive.
    pub fn plain_layer(&self, layer: &ArchivedLayer) -> Option<(Arc<PartFile>, u64)> {
        let stored = layer.stored.filter(|stored| stored.compression == Compression::None)?;
        let place = self.container.place(&layer.member).ok().flatten();
        place.filter(|_| stored.bytes > 0)
    }

    /// Opens the stored bytes of a layer of this archive, still compressed.
    pub fn open_stored(&self, layer: &ArchivedLayer) -> Result<StoredReader, ArchiveError> {
        layer_reader::open_stored(&self.container, &self.path, layer, layer.digest)
            .map_err(|fault| ArchiveError::new(&self.path, fault))
    }

    fn read(
        container: Container,
        path: &Path,
        choice: &PlatformChoice,
        limits: &ReadLimits,
        memory: MemoryBudget,
        mut budget: MetadataBudget,
    ) -> Result<Self, Box<ArchiveFault>> {
        let found = images::read_images(&container, choice, limits, &mut budget)?;
        Ok(Self { path: path.to_owned(), container, memory, found })
    }
}
