//! Signed archives (`docs/formats/signed.md`): a tar that is, byte for byte, what [`mod@crate::write`]
//! makes of its index, with the index's signature after it.
//!
//! The index names manifests by digest and size, those name all other blobs, and everything else
//! follows from them. So whoever has checked the signature of `index.json`, which needs nothing but
//! the first members, and then that all the rest is as it must be, has checked every byte.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::container::{blob_name, check_digest};
use super::error::ArchiveFault;
use super::layout::INDEX;
use super::limits::{MetadataBudget, ReadLimits};
use super::part_file::PartFile;
use super::tar_file::TarFile;
use super::tar_index::{StoredMember, TarIndex};
use super::{ArchiveError, docker};
use crate::compression::Compression;
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::digest::{Digest, Digester};
use crate::json::JsonError;
use crate::manifest::{Index, MAX_MANIFEST_BYTES, Manifest, annotation};
use crate::name::Name;
use crate::tar_stream::BLOCK_BYTES;
use crate::write::{
    ArchiveFormat, BlobToWrite, ImageToWrite, LAYOUT_BYTES, ManifestToWrite, all_documents,
    member_header,
};

/// The member with the signature of `index.json`.
pub const SIGNATURE: &str = "index.json.minisig";
/// Most bytes of a signature.
const MAX_SIGNATURE_BYTES: u64 = 16 << 10;
/// Bytes that are hashed at a time.
const BUFFER_BYTES: usize = 256 << 10;
const LAYOUT: &str = "oci-layout";

/// The first members of an archive that is signed.
#[derive(Debug)]
pub struct SignedIndex {
    /// The exact bytes of `index.json`.
    pub index: Vec<u8>,
    /// The exact bytes of its signature.
    pub signature: Vec<u8>,
    /// Where the members after these begin.
    end: u64,
}

/// Told of the bytes that pass; may end the reading.
pub type Watch<'a> = &'a mut dyn FnMut(usize) -> std::io::Result<()>;

impl SignedIndex {
    /// Reads the first members; `None` where they are not those of a signed archive.
    pub fn read(file: &PartFile) -> std::io::Result<Option<Self>> {
        let mut walk = Walk { file, at: 0 };
        match walk.head() {
            Ok(signed) => Ok(Some(signed)),
            Err(fault) => match *fault {
                ArchiveFault::Io { source, .. } => Err(source),
                _ => Ok(None),
            },
        }
    }
}

/// Checks that all members after the first are what the index implies, and finds them.
pub(super) fn open(
    file: Arc<PartFile>,
    signed: SignedIndex,
    limits: &ReadLimits,
    budget: &mut MetadataBudget,
    watch: Watch<'_>,
) -> Result<TarFile, Box<ArchiveFault>> {
    let mut walk = Walk { file: &file, at: signed.end };
    let mut found = Found { index: TarIndex::default(), budget };
    found.add(LAYOUT, 0, LAYOUT_BYTES.to_vec())?;
    found.add(INDEX, 0, signed.index.clone())?;
    found.add(SIGNATURE, 0, signed.signature)?;
    let docker = walk.docker_manifest(&mut found)?;
    let images = walk.images(&signed.index, limits, &mut found)?;
    check_documents(&images, &signed.index, docker.as_deref())?;
    let mut passed: HashSet<Digest> = images.documents.keys().copied().collect();
    let layers = images.list.iter().flat_map(|image| &image.manifest.layers);
    for layer in layers {
        if passed.insert(layer.digest) {
            let member = walk.layer(layer.digest, layer.size, watch)?;
            found.index.add_file(blob_name(&layer.digest), member, found.budget)?;
        }
    }
    walk.end()?;
    let index = found.index;
    Ok(TarFile::of_index(file, index))
}

/// Members that were found and checked.
struct Found<'a> {
    index: TarIndex,
    budget: &'a mut MetadataBudget,
}

impl Found<'_> {
    /// A document is kept: what it says was checked, and the file could be another by now.
    fn add(&mut self, name: &str, offset: u64, bytes: Vec<u8>) -> Result<(), Box<ArchiveFault>> {
        self.budget.take(bytes.len() as u64)?;
        let member = StoredMember {
            offset,
            size: bytes.len() as u64,
            compression: Compression::None,
            kept: Some(bytes),
        };
        self.index.add_file(name.to_owned(), member, self.budget)
    }
}

/// The images that an index implies.
struct Images {
    list: Vec<Image>,
    documents: HashMap<Digest, Vec<u8>>,
}

struct Image {
    manifest: Manifest,
    config: ImageConfig,
    names: Vec<Name>,
}

/// Fails where the documents are not those that are made of the images.
fn check_documents(
    images: &Images,
    index: &[u8],
    docker: Option<&[u8]>,
) -> Result<(), Box<ArchiveFault>> {
    let format = match docker {
        Some(_) => ArchiveFormat::DockerArchive,
        None => ArchiveFormat::OciArchive,
    };
    let to_write: Vec<ImageToWrite<'_>> = images.list.iter().map(Image::to_write).collect();
    let differs = |member: &str| {
        let member = member.to_owned();
        Box::new(ArchiveFault::NotImplied { member })
    };
    let documents = all_documents(format, &to_write).map_err(|_| differs(INDEX))?;
    let find = |name: &str| {
        let found = documents.iter().find(|(known, _)| known == name);
        found.map(|(_, bytes)| bytes.as_slice())
    };
    if find(INDEX) != Some(index) {
        return Err(differs(INDEX));
    }
    match find(docker::MANIFEST) == docker {
        true => Ok(()),
        false => Err(differs(docker::MANIFEST)),
    }
}

impl Image {
    fn to_write(&self) -> ImageToWrite<'_> {
        let diff_ids = self.config.diff_ids.iter().map(Some).chain(std::iter::repeat(None));
        let layers =
            self.manifest.layers.iter().zip(diff_ids).map(|(layer, diff_id)| BlobToWrite {
                digest: layer.digest,
                size: layer.size,
                compression: match diff_id.is_some_and(|diff_id| diff_id.0 == layer.digest) {
                    true => Compression::None,
                    false => Compression::Gzip,
                },
                open: Box::new(|| Err(std::io::ErrorKind::Unsupported.into())),
            });
        ImageToWrite {
            config: &self.config,
            names: &self.names,
            layers: layers.collect(),
            manifest: ManifestToWrite::Exact(&self.manifest.raw),
        }
    }
}

/// Reads members one after the other, of which each has the one header that it can have.
struct Walk<'a> {
    file: &'a PartFile,
    at: u64,
}

impl Walk<'_> {
    fn head(&mut self) -> Result<SignedIndex, Box<ArchiveFault>> {
        let layout = self.named(LAYOUT, LAYOUT_BYTES.len() as u64)?;
        if layout != LAYOUT_BYTES {
            return Err(self.wrong("the version of the layout is another"));
        }
        let index = self.named(INDEX, MAX_MANIFEST_BYTES)?;
        let signature = self.named(SIGNATURE, MAX_SIGNATURE_BYTES)?;
        Ok(SignedIndex { index, signature, end: self.at })
    }

    fn docker_manifest(
        &mut self,
        found: &mut Found<'_>,
    ) -> Result<Option<Vec<u8>>, Box<ArchiveFault>> {
        let before = self.at;
        let (name, size) = self.header()?;
        self.at = before;
        if name != docker::MANIFEST {
            return Ok(None);
        }
        found.budget.take(size)?;
        let offset = self.at + BLOCK_BYTES;
        let docker = self.named(docker::MANIFEST, MAX_MANIFEST_BYTES)?;
        found.add(docker::MANIFEST, offset, docker.clone())?;
        Ok(Some(docker))
    }

    fn images(
        &mut self,
        index: &[u8],
        limits: &ReadLimits,
        found: &mut Found<'_>,
    ) -> Result<Images, Box<ArchiveFault>> {
        let index = Index::parse(index.to_vec()).map_err(|source| bad_json(INDEX, source))?;
        let mut images = Images { list: Vec::new(), documents: HashMap::new() };
        for entry in &index.manifests {
            let name = entry.annotations.get(annotation::IMAGE_NAME);
            let name = name.and_then(|name| name.parse().ok());
            // One image has an entry for each of its names.
            if let Some(last) = images.list.last_mut()
                && last.manifest.digest == entry.digest
            {
                last.names.extend(name);
                continue;
            }
            if images.list.len() as u64 >= limits.max_images {
                let limit = limits.max_images;
                return Err(ArchiveFault::TooMany { what: "images", limit }.into());
            }
            let what = blob_name(&entry.digest);
            let documents = &mut images.documents;
            let raw = self.blob(entry.digest, entry.size, MAX_MANIFEST_BYTES, documents, found)?;
            let manifest = Manifest::parse(raw).map_err(|source| bad_json(&what, source))?;
            let (digest, size) = (manifest.config.digest, manifest.config.size);
            let raw = self.blob(digest, size, MAX_CONFIG_BYTES, documents, found)?;
            let config = ImageConfig::parse(raw);
            let config = config.map_err(|source| bad_json(&blob_name(&digest), source))?;
            images.list.push(Image { manifest, config, names: name.into_iter().collect() });
        }
        Ok(images)
    }

    /// A document by its digest: the next member, unless it was met before.
    fn blob(
        &mut self,
        digest: Digest,
        size: u64,
        limit: u64,
        known: &mut HashMap<Digest, Vec<u8>>,
        found: &mut Found<'_>,
    ) -> Result<Vec<u8>, Box<ArchiveFault>> {
        if let Some(document) = known.get(&digest) {
            return Ok(document.clone());
        }
        let name = blob_name(&digest);
        found.budget.take(size)?;
        let offset = self.at + BLOCK_BYTES;
        self.expect(&name, size)?;
        let document = self.data(&name, size, limit)?;
        check_digest(&name, digest, Digest::of(&document))?;
        found.add(&name, offset, document.clone())?;
        known.insert(digest, document.clone());
        Ok(document)
    }

    /// A layer, which is read to its end.
    fn layer(
        &mut self,
        digest: Digest,
        size: u64,
        watch: Watch<'_>,
    ) -> Result<StoredMember, Box<ArchiveFault>> {
        let name = blob_name(&digest);
        self.expect(&name, size)?;
        let offset = self.at;
        let mut digester = Digester::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut head = [0; Compression::DETECT_BYTES];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
            let part = &mut buffer[..wanted];
            self.read(&name, part)?;
            if left == size {
                let filled = wanted.min(head.len());
                head[..filled].copy_from_slice(&part[..filled]);
            }
            digester.update(part);
            left -= wanted as u64;
            watch(wanted).map_err(|error| ArchiveFault::reading(&name, error))?;
        }
        self.padding(size)?;
        check_digest(&name, digest, digester.finish())?;
        let compression = Compression::detect(&head);
        Ok(StoredMember { offset, size, compression, kept: None })
    }

    /// Two blocks of zeros, and nothing after them.
    fn end(&mut self) -> Result<(), Box<ArchiveFault>> {
        let mut end = [1; 1024];
        self.read("the end", &mut end)?;
        match end == [0; 1024] && self.at == self.file.size() {
            true => Ok(()),
            false => Err(self.wrong("there is more after the last member")),
        }
    }

    /// A document of this name, of at most `limit` bytes.
    fn named(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, Box<ArchiveFault>> {
        let (found, size) = self.header()?;
        if found != name {
            return Err(self.wrong("another member should stand"));
        }
        self.data(name, size, limit)
    }

    fn expect(&mut self, name: &str, size: u64) -> Result<(), Box<ArchiveFault>> {
        match self.header()? == (name.to_owned(), size) {
            true => Ok(()),
            false => Err(self.wrong("another member should stand")),
        }
    }

    /// Name and size of a member whose header is exactly as it is written.
    fn header(&mut self) -> Result<(String, u64), Box<ArchiveFault>> {
        let mut block = [0; 512];
        self.read("the archive", &mut block)?;
        let length = block[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
        let name = String::from_utf8_lossy(&block[..length]).into_owned();
        let size = tar::Header::from_byte_slice(&block).entry_size().unwrap_or(u64::MAX);
        match member_header(&name, size).is_ok_and(|header| *header.as_bytes() == block) {
            true => Ok((name, size)),
            false => Err(self.wrong("a header has fields that are not those of a signed archive")),
        }
    }

    fn data(&mut self, name: &str, size: u64, limit: u64) -> Result<Vec<u8>, Box<ArchiveFault>> {
        let length = usize::try_from(size).ok().filter(|_| size <= limit);
        let Some(length) = length else {
            let source = JsonError::TooLarge { bytes: size, limit };
            return Err(bad_json(name, source).into());
        };
        let mut data = vec![0; length];
        self.read(name, &mut data)?;
        self.padding(size)?;
        Ok(data)
    }

    fn padding(&mut self, size: u64) -> Result<(), Box<ArchiveFault>> {
        let length = usize::try_from(size.wrapping_neg() % BLOCK_BYTES).unwrap_or(0);
        let mut padding = [0; 512];
        self.read("padding", &mut padding[..length])?;
        match padding == [0; 512] {
            true => Ok(()),
            false => Err(self.wrong("padding is not zeros")),
        }
    }

    fn read(&mut self, what: &str, buffer: &mut [u8]) -> Result<(), Box<ArchiveFault>> {
        match self.file.read_exact_at(buffer, self.at) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(self.wrong("the file ends too early"));
            }
            read => read.map_err(|error| ArchiveFault::reading(what, error))?,
        }
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn wrong(&self, why: &'static str) -> Box<ArchiveFault> {
        Box::new(ArchiveFault::NotCanonical { offset: self.at, why })
    }
}

fn bad_json(member: &str, source: JsonError) -> ArchiveFault {
    ArchiveFault::Json { member: member.to_owned(), source }
}

impl super::Archive {
    /// Opens an archive whose first members were read as [`SignedIndex`], and its signature checked.
    /// Reads all of it: whatever is not as the index implies is an error.
    pub fn open_signed(
        file: PartFile,
        signed: SignedIndex,
        path: &std::path::Path,
        choice: &crate::PlatformChoice,
        limits: &ReadLimits,
        watch: Watch<'_>,
    ) -> Result<Self, ArchiveError> {
        let mut budget = MetadataBudget::new(limits);
        let memory = crate::compression::MemoryBudget::new(limits.decoder_memory_bytes);
        open(Arc::new(file), signed, limits, &mut budget, watch)
            .map(super::Container::Tar)
            .and_then(|container| Self::read(container, path, choice, limits, memory, budget))
            .map_err(|fault| ArchiveError::new(path, fault))
    }
}
