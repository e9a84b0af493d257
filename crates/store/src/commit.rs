//! Publishing: everything is on the device before `index.json`, replaced last, names it.

use std::collections::BTreeMap;

use serde::Deserialize;
use tarball::{DiffId, Digest, ImageId, Name};
use tempfile::NamedTempFile;

use crate::durable;
use crate::error::{CommitError, FileError, ReadError, WriteError};
use crate::index::{self, Index};
use crate::lock::LockError;
use crate::manifest::{DOCUMENT_LIMIT_BYTES, Manifest, StoredLayer, Subject};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::transaction::Transaction;

/// An image to publish. Its layers are those that the config names, in that order.
#[derive(Debug, Clone, Default)]
pub struct NewImage {
    /// The config's exact bytes; their digest is the image's ID.
    pub config: Vec<u8>,
    /// What the image is to be called. Names that other images have move here.
    pub names: Vec<Name>,
    /// The exact bytes of the manifest with which it came, kept as a record.
    pub original_manifest: Option<Vec<u8>>,
    /// `artifactType` of the manifest that is made.
    pub artifact_type: Option<String>,
    /// `subject` of the manifest that is made.
    pub subject: Option<Subject>,
    /// Annotations of the manifest that is made.
    pub annotations: BTreeMap<String, String>,
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// One for each image, in the order given.
    pub images: Vec<CommittedImage>,
    /// Bytes that the whole transaction wrote: layers, block digests, documents, index.
    pub written_bytes: u64,
    /// Bytes of the layers that an interrupted load had written already.
    pub resumed_bytes: u64,
}

/// One image of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedImage {
    /// The image.
    pub id: ImageId,
    /// Whether the store had it before. Then at most its names changed.
    pub was_there: bool,
    /// Names that it took over, each with the image that had it.
    pub moved_names: Vec<(Name, ImageId)>,
}

#[derive(Deserialize)]
struct ConfigDocument {
    rootfs: RootfsDocument,
}

#[derive(Deserialize)]
struct RootfsDocument {
    #[serde(default)]
    diff_ids: Option<Vec<DiffId>>,
}

/// A checked image.
struct Checked {
    id: ImageId,
    diff_ids: Vec<DiffId>,
    image: NewImage,
}

impl Transaction {
    /// Publishes images, all of them together, and ends the transaction. Waits for another publisher.
    ///
    /// An image that is there already keeps its manifest, and gets the names; its config is written
    /// again where it is damaged. Where nothing changes, nothing is written.
    pub fn commit(mut self, images: Vec<NewImage>) -> Result<CommitReport, CommitError> {
        let images = images.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
        check_names(&images)?;
        let store = self.store.clone();
        let _lock = match store.lock() {
            // Its layers were not at fault, and another try needs not write them again.
            Err(error @ LockError::Busy(_)) => {
                self.leave_all();
                return Err(error.into());
            }
            lock => lock?,
        };
        // Under the lock, or a prune would take digests beside what is no layer yet for leftovers.
        for checked in &images {
            self.ensure_blocks(&checked.diff_ids)?;
        }
        let before = index::read_index(&store)?;
        let snapshot = Snapshot::of_index(&store, &before);
        let mut after = before.clone();
        let mut documents = Documents::default();
        let mut report = CommitReport::default();
        for checked in &images {
            let was_there = snapshot.get(checked.id).is_some();
            match snapshot.get(checked.id) {
                Some(stored) => documents.add_known(checked, stored.original_manifest),
                None => {
                    let manifest = self.manifest_of(checked, &snapshot)?;
                    documents.add_image(checked, &manifest, &mut after)?;
                }
            }
            report.images.push(set_names(&mut after, checked, was_there));
        }
        self.publish(&before, &after, documents)?;
        report.written_bytes = self.written_bytes;
        report.resumed_bytes = self.resumed_bytes;
        Ok(report)
    }

    fn manifest_of(&self, checked: &Checked, listed: &Snapshot) -> Result<Manifest, CommitError> {
        let layer = |diff_id: &DiffId| match self.layer_size_bytes(*diff_id, listed)? {
            Some(size_bytes) => Ok(StoredLayer { diff_id: *diff_id, size_bytes }),
            None => Err(CommitError::MissingLayer { id: checked.id, diff_id: *diff_id }),
        };
        Ok(Manifest {
            image: checked.id,
            config_size_bytes: checked.image.config.len() as u64,
            layers: checked.diff_ids.iter().map(layer).collect::<Result<_, _>>()?,
            original: checked.image.original_manifest.as_deref().map(Digest::of),
            artifact_type: checked.image.artifact_type.clone(),
            subject: checked.image.subject.clone(),
            annotations: checked.image.annotations.clone(),
        })
    }

    /// The order that makes a power cut harmless: all bytes, then all names of blobs, then the index.
    fn publish(
        &mut self,
        before: &Index,
        after: &Index,
        documents: Documents,
    ) -> Result<(), CommitError> {
        let store = self.store.clone();
        let blobs = self.write_documents(documents)?;
        if before == after {
            self.settle()?;
            return Ok(self.mend_documents(blobs)?);
        }
        let index = after.to_json();
        self.written_bytes += index.len() as u64;
        let index = durable::write_temporary(&store.temporary(), &index)?;
        let mut files = self.finished_files();
        files.extend(blobs.iter().map(|(_, file)| file).chain([&index]));
        durable::sync_files(&files)?;
        let has_blocks = self.has_finished_blocks();
        self.place_finished()?;
        for (digest, file) in blobs {
            self.placed.push(digest);
            durable::rename(file, &store.blob_path(digest))?;
        }
        // Blobs have their names before the index does that names them.
        if !store.keeps_order_of_names() {
            if has_blocks {
                durable::sync_directory(&store.block_files())?;
            }
            durable::sync_directory(&store.blobs())?;
        }
        durable::rename(index, &store.index_path())?;
        durable::sync_directory(store.root())?;
        self.placed.clear();
        Ok(())
    }

    /// Puts back the damaged documents of images that are there.
    fn mend_documents(&self, blobs: Vec<(Digest, NamedTempFile)>) -> Result<(), FileError> {
        for (_, file) in &blobs {
            durable::sync_file(file)?;
        }
        let is_needed = !blobs.is_empty();
        for (digest, file) in blobs {
            durable::rename(file, &self.store.blob_path(digest))?;
        }
        match is_needed {
            true => durable::sync_directory(&self.store.blobs()),
            false => Ok(()),
        }
    }

    /// Writes those documents that are not there yet, or are damaged.
    fn write_documents(
        &mut self,
        documents: Documents,
    ) -> Result<Vec<(Digest, NamedTempFile)>, CommitError> {
        let mut written = Vec::new();
        for (digest, bytes) in documents.blobs {
            if self.store.read_blob(digest, DOCUMENT_LIMIT_BYTES).is_ok() {
                continue;
            }
            self.written_bytes += bytes.len() as u64;
            let file = durable::write_temporary(&self.store.temporary(), &bytes)?;
            written.push((digest, file));
        }
        Ok(written)
    }
}

/// Configs and manifests to write, each once.
#[derive(Default)]
struct Documents {
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Documents {
    /// Of an image that is there: what it came with, for the case that it is damaged.
    fn add_known(&mut self, checked: &Checked, original: Option<Digest>) {
        self.blobs.insert(checked.id.0, checked.image.config.clone());
        let manifest = checked.image.original_manifest.as_ref();
        if let Some((digest, bytes)) = original.zip(manifest)
            && Digest::of(bytes) == digest
        {
            self.blobs.insert(digest, bytes.clone());
        }
    }

    fn add_image(
        &mut self,
        checked: &Checked,
        manifest: &Manifest,
        index: &mut Index,
    ) -> Result<(), CommitError> {
        let bytes = manifest
            .to_json()
            .map_err(|source| ReadError::NotAManifest { digest: checked.id.0, source })?;
        check_size(checked.id, &bytes)?;
        let digest = Digest::of(&bytes);
        index.set_manifest(checked.id, digest, bytes.len() as u64);
        self.blobs.insert(digest, bytes);
        self.blobs.insert(checked.id.0, checked.image.config.clone());
        if let Some(original) = &checked.image.original_manifest {
            self.blobs.insert(Digest::of(original), original.clone());
        }
        Ok(())
    }
}

fn check(image: NewImage) -> Result<Checked, CommitError> {
    let id = ImageId(Digest::of(&image.config));
    check_size(id, &image.config)?;
    if let Some(original) = &image.original_manifest {
        check_size(id, original)?;
    }
    let config: ConfigDocument = serde_json::from_slice(&image.config)
        .map_err(|source| CommitError::NotAConfig { id, source })?;
    Ok(Checked { id, diff_ids: config.rootfs.diff_ids.unwrap_or_default(), image })
}

fn check_size(id: ImageId, document: &[u8]) -> Result<(), CommitError> {
    let size_bytes = document.len() as u64;
    if size_bytes > DOCUMENT_LIMIT_BYTES {
        return Err(CommitError::DocumentTooLarge {
            id,
            size_bytes,
            limit_bytes: DOCUMENT_LIMIT_BYTES,
        });
    }
    Ok(())
}

fn check_names(images: &[Checked]) -> Result<(), CommitError> {
    let mut owners: BTreeMap<&Name, ImageId> = BTreeMap::new();
    for checked in images {
        for name in &checked.image.names {
            if *owners.entry(name).or_insert(checked.id) != checked.id {
                return Err(CommitError::NameTwice { name: name.clone() });
            }
        }
    }
    Ok(())
}

fn set_names(index: &mut Index, checked: &Checked, was_there: bool) -> CommittedImage {
    let names = checked.image.names.iter();
    CommittedImage {
        id: checked.id,
        was_there,
        moved_names: names
            .filter_map(|name| Some((name.clone(), index.set_name(checked.id, name)?)))
            .collect(),
    }
}

/// Replaces the index by one from which images were taken. On a full disk the layers of those images
/// go first, to make room: cut short there, an image that was to be removed is still listed, without
/// its layers, and removing it again completes the work.
pub(crate) fn replace_index(
    store: &Store,
    index: &Index,
    make_room: impl FnOnce() -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let bytes = index.to_json();
    let replace = || {
        let path = store.index_path();
        durable::replace_file(&store.temporary(), store.root(), &path, &bytes)
    };
    match replace().map_err(WriteError::from) {
        Err(error) if error.is_no_space() => {
            make_room()?;
            Ok(replace()?)
        }
        result => result,
    }
}
