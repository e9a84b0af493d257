//! Writing archives: one pass, nothing spooled, and the same bytes for the same images.
//!
//! Both formats are a tar with an
//! [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md). The
//! docker-archive has Docker's `manifest.json` as well, as Docker writes it from 25 on and engines
//! since 1.10 read it. All documents come before the first layer, so a reader of a stream knows
//! what comes; then each blob once, in the order of the images' layers. Every header is the same
//! but for name and size: mode 0644, owner 0, time 0.

mod documents;
mod error;
mod tar_writer;

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use crate::compression::Compression;
use crate::config::ImageConfig;
use crate::digest::{Digest, Digester};
use crate::manifest::Descriptor;
use crate::name::Name;

pub use error::WriteError;
pub use tar_writer::member_header;

use documents::Document;
pub(crate) use documents::LAYOUT_BYTES;
pub use documents::{INDEX, LAYOUT};

use tar_writer::{TarWriter, member_bytes};

/// Where `index.json` stands among the documents.
const INDEX_PLACE: usize = 1;

/// Which kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// What `docker load` reads.
    DockerArchive,
    /// A layout alone, as `podman save --format oci-archive` writes it.
    OciArchive,
}

/// An image for an archive.
pub struct ImageToWrite<'a> {
    /// The config, whose exact bytes are written.
    pub config: &'a ImageConfig,
    /// The names to give it; there may be none.
    pub names: &'a [Name],
    /// Its layers, the lowest first: as many as the config has diffIDs.
    pub layers: Vec<BlobToWrite<'a>>,
    /// Its manifest.
    pub manifest: ManifestToWrite<'a>,
}

/// Where an image's manifest comes from.
#[derive(Debug, Clone)]
pub enum ManifestToWrite<'a> {
    /// These bytes, which must name exactly the config and the layers that are written.
    Exact(&'a [u8]),
    /// It is made.
    Make {
        /// What kind of artifact it is, where it is no plain image.
        artifact_type: Option<String>,
        /// The manifest that it is about.
        subject: Option<Box<Descriptor>>,
        /// Free notes.
        annotations: BTreeMap<String, String>,
    },
}

/// A layer's stored bytes.
pub struct BlobToWrite<'a> {
    /// Digest of the bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// How they are compressed: not at all, or by gzip or zstd, for which OCI has media types.
    pub compression: Compression,
    /// Opens the bytes for reading once, which are checked against digest and size.
    pub open: OpenBlob<'a>,
}

/// Opens a blob for reading once.
pub type OpenBlob<'a> = Box<dyn Fn() -> io::Result<Box<dyn Read + 'a>> + 'a>;

/// Everything about an archive but the layers' bytes.
pub struct ArchivePlan<'p, 'a> {
    /// Size of the archive.
    pub bytes: u64,
    documents: Vec<Document>,
    layers: Vec<&'p BlobToWrite<'a>>,
}

impl Default for ManifestToWrite<'_> {
    fn default() -> Self {
        Self::Make { artifact_type: None, subject: None, annotations: BTreeMap::new() }
    }
}

/// Where the members of an archive go, one after the other.
pub trait MemberSink {
    /// Begins a member, of which `size` bytes follow.
    fn start(&mut self, name: &str, size: u64) -> io::Result<()>;

    /// Takes the next bytes of the member.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Ends a member. Of one that is called by its digest, the bytes have that digest.
    fn end(&mut self) -> io::Result<()>;
}

/// Writes an archive of these images, in their order, and returns its size.
pub fn write_archive(
    format: ArchiveFormat,
    images: &[ImageToWrite<'_>],
    out: &mut dyn Write,
) -> Result<u64, WriteError> {
    plan_archive(format, images)?.write(out)
}

/// Makes all documents and settles the order, without opening a layer.
pub fn plan_archive<'p, 'a>(
    format: ArchiveFormat,
    images: &'p [ImageToWrite<'a>],
) -> Result<ArchivePlan<'p, 'a>, WriteError> {
    let documents = documents::make(format, images)?;
    let mut written: HashSet<Digest> = documents.iter().filter_map(|d| d.digest).collect();
    let layers: Vec<_> = images
        .iter()
        .flat_map(|image| &image.layers)
        .filter(|layer| written.insert(layer.digest))
        .collect();
    let of_documents = documents.iter().map(|d| member_bytes(d.bytes.len() as u64));
    let of_layers = layers.iter().map(|layer| member_bytes(layer.size));
    let bytes = of_documents.chain(of_layers).fold(tar_writer::END_BYTES, u64::saturating_add);
    Ok(ArchivePlan { bytes, documents, layers })
}

/// The names and bytes of all documents that an archive of these images has.
pub(crate) fn all_documents(
    format: ArchiveFormat,
    images: &[ImageToWrite<'_>],
) -> Result<Vec<(String, Vec<u8>)>, WriteError> {
    let documents = documents::make(format, images)?;
    Ok(documents.into_iter().map(|document| (document.name, document.bytes)).collect())
}

impl ArchivePlan<'_, '_> {
    /// The bytes of `index.json`: all else is named in it by digests.
    pub fn index(&self) -> &[u8] {
        &self.documents[INDEX_PLACE].bytes
    }

    /// Puts a signature of [`ArchivePlan::index`] after it (`docs/formats/signed.md`).
    pub fn sign(&mut self, signature: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(member_bytes(signature.len() as u64));
        let name = crate::archive::SIGNATURE.to_owned();
        let document = Document { name, bytes: signature, digest: None };
        self.documents.insert(INDEX_PLACE + 1, document);
    }

    /// Writes the archive and returns its size.
    pub fn write(&self, out: &mut dyn Write) -> Result<u64, WriteError> {
        let mut tar = TarWriter::new(out);
        self.write_members(&mut tar)?;
        tar.finish().map_err(WriteError::Output)?;
        Ok(self.bytes)
    }

    /// Writes what the archive has, without making a tar of it.
    pub fn write_members(&self, sink: &mut dyn MemberSink) -> Result<(), WriteError> {
        for document in &self.documents {
            let size = document.bytes.len() as u64;
            sink.start(&document.name, size).map_err(WriteError::Output)?;
            sink.write(&document.bytes).map_err(WriteError::Output)?;
            sink.end().map_err(WriteError::Output)?;
        }
        for layer in &self.layers {
            let name = documents::blob_name(&layer.digest);
            sink.start(&name, layer.size).map_err(WriteError::Output)?;
            copy_layer(layer, sink)?;
            sink.end().map_err(WriteError::Output)?;
        }
        Ok(())
    }
}

fn copy_layer(layer: &BlobToWrite<'_>, sink: &mut dyn MemberSink) -> Result<(), WriteError> {
    let digest = layer.digest;
    let read_error = |source| WriteError::Layer { digest, source };
    let mut reader = (layer.open)().map_err(read_error)?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error)),
        };
        digester.update(&buffer[..count]);
        // Too much is not written: it would run into the next member.
        if digester.length() > layer.size {
            break;
        }
        sink.write(&buffer[..count]).map_err(WriteError::Output)?;
    }
    check_layer(layer, digester)
}

fn check_layer(layer: &BlobToWrite<'_>, digester: Digester) -> Result<(), WriteError> {
    let expected = layer.digest;
    if digester.length() != layer.size {
        return Err(WriteError::LayerSize {
            digest: expected,
            expected: layer.size,
            found: digester.length(),
        });
    }
    let found = digester.finish();
    if found == expected {
        return Ok(());
    }
    Err(WriteError::LayerDigest { expected, found })
}
