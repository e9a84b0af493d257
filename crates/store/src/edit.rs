//! Naming images and taking them out.

use std::collections::HashSet;

use tarball::{Digest, ImageId, Name};

use crate::commit::replace_index;
use crate::durable::Removal;
use crate::error::{EditError, WriteError};
use crate::index::{self, Entry, Index};
use crate::resolve;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::transaction::remove_blob;

/// What naming an image did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagReport {
    /// The image that has the name now.
    pub image: ImageId,
    /// The image that had it before, if it was another one. It stays, maybe without a name.
    pub before: Option<ImageId>,
}

/// How thoroughly to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Remove an image that is given by its ID though it has several names.
    pub force: bool,
}

/// What removing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveReport {
    /// The image that the reference meant.
    pub image: ImageId,
    /// Names that are gone.
    pub untagged: Vec<Name>,
    /// Whether the image is gone, and not only a name of it.
    pub is_deleted: bool,
    /// Bytes of files that are gone.
    pub freed_bytes: u64,
    /// Blobs that nothing needs but a running load holds; the next prune frees them.
    pub held: Vec<Digest>,
    /// Whether data stays because a damaged image may need it; [`Store::prune`] says which.
    pub is_blocked: bool,
}

impl Store {
    /// Gives an image one more name. The image that had the name keeps its data. Writes nothing where
    /// nothing changes.
    pub fn tag(&self, reference: &str, name: &Name) -> Result<TagReport, EditError> {
        self.check_writable()?;
        let _lock = self.lock()?;
        let mut index = index::read_index(self)?;
        let image = find(&index, reference)?.image;
        let old = index.clone();
        let before = index.set_name(image, name);
        if index != old {
            replace_index(self, &index, || Ok(()))?;
        }
        Ok(TagReport { image, before })
    }

    /// Removes what `reference` means, as `docker rmi` does: one of several names is only taken away;
    /// with the last name the image goes, and the data that nothing else needs.
    pub fn remove(
        &self,
        reference: &str,
        options: RemoveOptions,
    ) -> Result<RemoveReport, EditError> {
        self.check_writable()?;
        let _lock = self.lock()?;
        let before = index::read_index(self)?;
        let entry = find(&before, reference)?;
        let untagged = names_to_remove(entry, reference, options)?;
        let mut report = RemoveReport {
            image: entry.image,
            is_deleted: untagged.len() == entry.names.len(),
            untagged,
            freed_bytes: 0,
            held: Vec::new(),
            is_blocked: false,
        };
        let mut after = before.clone();
        if !report.is_deleted {
            after.take_names(report.image, &report.untagged);
            replace_index(self, &after, || Ok(()))?;
            return Ok(report);
        }
        after.remove(report.image);
        let sweep = Sweep::between(self, &before, &after, report.image);
        report.is_blocked = sweep.is_blocked;
        let mut swept = Swept::default();
        replace_index(self, &after, || swept.remove(self, &sweep.layers))?;
        swept.remove(self, &sweep.blobs)?;
        report.freed_bytes = swept.freed_bytes;
        report.held = swept.held.into_iter().collect();
        Ok(report)
    }

    pub(crate) fn check_writable(&self) -> Result<(), EditError> {
        if self.is_writable() {
            return Ok(());
        }
        Err(EditError::ReadOnly { root: self.root().to_owned() })
    }
}

/// The entry that a reference means, be its image whole or damaged.
fn find<'a>(index: &'a Index, reference: &str) -> Result<&'a Entry, EditError> {
    let names: Vec<(ImageId, Vec<Name>)> = index
        .entries
        .iter()
        .map(|entry| (entry.image, entry.names.iter().cloned().collect()))
        .collect();
    let images: Vec<(ImageId, &[Name])> =
        names.iter().map(|(image, names)| (*image, names.as_slice())).collect();
    let image = resolve::resolve(reference, &images)?;
    let not_found = || crate::error::ResolveError::NotFound { reference: reference.to_owned() };
    Ok(index.get(image).ok_or_else(not_found)?)
}

fn names_to_remove(
    entry: &Entry,
    reference: &str,
    options: RemoveOptions,
) -> Result<Vec<Name>, EditError> {
    let name = reference.parse::<Name>().ok();
    if let Some(name) = name.filter(|name| entry.names.contains(name)) {
        return Ok(vec![name]);
    }
    let names: Vec<Name> = entry.names.iter().cloned().collect();
    if names.len() > 1 && !options.force {
        return Err(EditError::SeveralNames { id: entry.image, names });
    }
    Ok(names)
}

/// What an image alone needs.
#[derive(Default)]
struct Sweep {
    /// All its blobs.
    blobs: Vec<Digest>,
    /// Those of them that are layers.
    layers: Vec<Digest>,
    is_blocked: bool,
}

impl Sweep {
    /// A damaged image that stays may need anything, so then nothing is freed. An image that is
    /// damaged itself gives its data to the next prune.
    fn between(store: &Store, before: &Index, after: &Index, removed: ImageId) -> Self {
        let Some(reachable) = Snapshot::of_index(store, after).reachable() else {
            return Self { is_blocked: true, ..Self::default() };
        };
        let snapshot = Snapshot::of_index(store, before);
        let Some(image) = snapshot.get(removed) else {
            return Self::default();
        };
        let is_free = |digest: &Digest| !reachable.contains(digest);
        let layers = image.layers.iter().map(|layer| layer.diff_id.0);
        Self {
            blobs: image.blobs().filter(is_free).collect(),
            layers: layers.filter(is_free).collect(),
            is_blocked: false,
        }
    }
}

/// What became of blobs that nothing reaches.
#[derive(Default)]
pub(crate) struct Swept {
    pub(crate) freed_bytes: u64,
    pub(crate) held: HashSet<Digest>,
}

impl Swept {
    /// Removes blobs; those that are gone already cost nothing.
    pub(crate) fn remove(&mut self, store: &Store, blobs: &[Digest]) -> Result<(), WriteError> {
        for digest in blobs {
            match remove_blob(store, *digest)? {
                Removal::Removed(size_bytes) => self.freed_bytes += size_bytes,
                Removal::Held => drop(self.held.insert(*digest)),
                Removal::Absent => {}
            }
        }
        Ok(())
    }
}
