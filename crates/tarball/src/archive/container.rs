//! Where an archive's members are: in a tar, or in a directory.

use std::io::Read;
use std::sync::Arc;

use super::error::ArchiveFault;
use super::file_range::FileRange;
use super::layout_directory::LayoutDirectory;
use super::limits::MetadataBudget;
use super::member_name::shorten;
use super::part_file::PartFile;
use super::tar_file::TarFile;
use crate::compression::Compression;
use crate::digest::Digest;
use crate::json::JsonError;
use crate::manifest::Descriptor;

/// Files by their normalized names.
#[derive(Debug)]
pub(super) enum Container {
    Tar(TarFile),
    Directory(LayoutDirectory),
}

/// What is known of a file before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) size: u64,
    pub(super) compression: Compression,
}

/// The name of a blob in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Container {
    /// Size and compression of a file; `None` where it is not there.
    pub(super) fn facts(&self, name: &str) -> Result<Option<FileFacts>, Box<ArchiveFault>> {
        match self {
            Self::Tar(tar) => Ok(tar
                .index
                .find(name)?
                .map(|member| FileFacts { size: member.size, compression: member.compression })),
            Self::Directory(directory) => {
                let Some(found) = directory.file(name)? else {
                    return Ok(None);
                };
                let compression = LayoutDirectory::detect(&found.file);
                Ok(Some(FileFacts {
                    size: found.size,
                    compression: compression.map_err(|e| ArchiveFault::reading(name, e))?,
                }))
            }
        }
    }

    /// The stored bytes of a file; `None` where it is not there.
    pub(super) fn open(
        &self,
        name: &str,
    ) -> Result<Option<Box<dyn Read + Send>>, Box<ArchiveFault>> {
        match self {
            Self::Tar(tar) => match tar.index.find(name)? {
                None => Ok(None),
                Some(member) => tar
                    .open_member(member)
                    .map(Some)
                    .map_err(|error| ArchiveFault::reading(name, error)),
            },
            Self::Directory(directory) => match directory.file(name)? {
                None => Ok(None),
                Some(found) => {
                    let file = PartFile::of(vec![found.file]);
                    let file = file.map_err(|error| ArchiveFault::reading(name, error))?;
                    Ok(Some(Box::new(FileRange::new(Arc::new(file), 0, found.size))))
                }
            },
        }
    }

    /// The file that has the stored bytes of a file as they are, and where they begin; `None` where they
    /// come out of a compressed tar.
    pub(super) fn place(
        &self,
        name: &str,
    ) -> Result<Option<(Arc<PartFile>, u64)>, Box<ArchiveFault>> {
        match self {
            Self::Tar(tar) => Ok(tar.index.find(name)?.and_then(|member| tar.place(member))),
            Self::Directory(directory) => match directory.file(name)? {
                None => Ok(None),
                Some(found) => {
                    let file = PartFile::of(vec![found.file]);
                    let file = file.map_err(|error| ArchiveFault::reading(name, error))?;
                    Ok(Some((Arc::new(file), 0)))
                }
            },
        }
    }

    /// The whole of a document of at most `limit` bytes; `None` where it is not there.
    pub(super) fn document(
        &self,
        name: &str,
        limit: u64,
        budget: &mut MetadataBudget,
    ) -> Result<Option<Vec<u8>>, Box<ArchiveFault>> {
        let Some(facts) = self.facts(name)? else {
            return Ok(None);
        };
        let bytes = facts.size;
        if bytes > limit {
            return Err(ArchiveFault::Json {
                member: shorten(name),
                source: JsonError::TooLarge { bytes, limit },
            })?;
        }
        budget.take(bytes)?;
        let Some(reader) = self.open(name)? else {
            return Ok(None);
        };
        let mut document = Vec::new();
        reader
            .take(bytes)
            .read_to_end(&mut document)
            .map_err(|error| ArchiveFault::reading(name, error))?;
        check_size(name, bytes, document.len() as u64)?;
        Ok(Some(document))
    }

    /// The document that a descriptor names, checked against its size and digest.
    pub(super) fn blob_document(
        &self,
        descriptor: &Descriptor,
        limit: u64,
        budget: &mut MetadataBudget,
    ) -> Result<Option<Vec<u8>>, Box<ArchiveFault>> {
        let name = blob_name(&descriptor.digest);
        let Some(document) = self.document(&name, limit, budget)? else {
            return Ok(None);
        };
        check_size(&name, descriptor.size, document.len() as u64)?;
        check_digest(&name, descriptor.digest, Digest::of(&document))?;
        Ok(Some(document))
    }
}

/// Fails where a blob has not the size that it should have.
pub(super) fn check_size(what: &str, expected: u64, found: u64) -> Result<(), Box<ArchiveFault>> {
    if expected == found {
        return Ok(());
    }
    Err(ArchiveFault::Size { what: shorten(what), expected, found }.into())
}

/// Fails where a blob has not the digest that it should have.
pub(super) fn check_digest(
    what: &str,
    expected: Digest,
    found: Digest,
) -> Result<(), Box<ArchiveFault>> {
    if expected == found {
        return Ok(());
    }
    Err(ArchiveFault::Digest { what: shorten(what), expected, found }.into())
}
