//! Freeing what nobody needs: first a plan, then the deed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tarball::{DiffId, Digest, ImageId};

use crate::commit::replace_index;
use crate::durable::{self, Removal, failed};
use crate::edit::Swept;
use crate::error::{EditError, FileError, ReadError};
use crate::index::{self, Index};
use crate::snapshot::{BrokenImage, Snapshot};
use crate::store::Store;
use crate::transaction::list_files;

/// What a prune is to spare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Images that are kept though they have no name, such as the base of a delta that is kept.
    pub keep: Vec<ImageId>,
}

/// What a prune would free.
#[derive(Debug, Default)]
pub struct PrunePlan {
    /// Images without a name.
    pub images: Vec<ImageId>,
    /// Blobs that no image needs once those images are gone, with their sizes, block digests included.
    pub blobs: Vec<(Digest, u64)>,
    /// Files in `tmp/` and block digests without their layer, with their sizes.
    pub leftovers: Vec<(PathBuf, u64)>,
    /// The sum of all these sizes.
    pub freed_bytes: u64,
    /// What nothing needs but a running load holds.
    pub held: Vec<PathBuf>,
    /// Images with a name whose manifests are damaged, so that what they need is not known. While there
    /// are any, only leftovers in `tmp/` are freed; removing these images helps.
    pub blocked_by: Vec<BrokenImage>,
}

impl Store {
    /// Finds what a prune would free now. Changes nothing.
    pub fn plan_prune(&self, options: &PruneOptions) -> Result<PrunePlan, ReadError> {
        let index = index::read_index(self)?;
        Ok(self.plan_prune_of(&index, options)?)
    }

    /// Frees what the returned plan says; [`PrunePlan::freed_bytes`] is what was really freed. On a
    /// full disk, what nothing names goes before the new index is written.
    pub fn prune(&self, options: &PruneOptions) -> Result<PrunePlan, EditError> {
        self.check_writable()?;
        let _lock = self.lock()?;
        let mut index = index::read_index(self)?;
        let snapshot = Snapshot::of_index(self, &index);
        let mut plan = self.plan_prune_of(&index, options)?;
        let mut swept = Swept::default();
        for (path, _) in &plan.leftovers {
            match durable::remove_unless_held(path)? {
                Removal::Removed(size_bytes) => swept.freed_bytes += size_bytes,
                Removal::Held => plan.held.push(path.clone()),
                Removal::Absent => {}
            }
        }
        let blobs: Vec<Digest> = plan.blobs.iter().map(|(digest, _)| *digest).collect();
        if !plan.images.is_empty() {
            index.entries.retain(|entry| !plan.images.contains(&entry.image));
            let first = plan.blobs_to_remove_first(&snapshot);
            replace_index(self, &index, || swept.remove(self, &first))?;
        }
        swept.remove(self, &blobs)?;
        plan.freed_bytes = swept.freed_bytes;
        Ok(plan)
    }

    fn plan_prune_of(&self, index: &Index, options: &PruneOptions) -> Result<PrunePlan, FileError> {
        let mut plan = PrunePlan::default();
        let mut kept = Snapshot::of_index(self, index);
        plan.images = condemned(&kept, options);
        let is_condemned = |image: &ImageId| plan.images.contains(image);
        kept.images.retain(|image| !is_condemned(&image.id));
        kept.broken.retain(|image| !image.id.as_ref().is_some_and(is_condemned));
        let reachable = kept.reachable();
        if reachable.is_none() {
            plan.images.clear();
        }
        let layers = kept.layers().into_iter().map(|layer| layer.diff_id.0).collect();
        plan.blocked_by = kept.broken;
        plan.add_files(self, reachable.as_ref(), &layers)?;
        let blobs = plan.blobs.iter().map(|(_, size_bytes)| size_bytes);
        let leftovers = plan.leftovers.iter().map(|(_, size_bytes)| size_bytes);
        plan.freed_bytes = blobs.chain(leftovers).sum();
        Ok(plan)
    }
}

/// Images without a name, whole or damaged: what they need, nobody needs.
fn condemned(snapshot: &Snapshot, options: &PruneOptions) -> Vec<ImageId> {
    let whole = snapshot.images.iter().map(|image| (Some(image.id), &image.names));
    let broken = snapshot.broken.iter().map(|image| (image.id, &image.names));
    whole
        .chain(broken)
        .filter(|(_, names)| names.is_empty())
        .filter_map(|(image, _)| image)
        .filter(|image| !options.keep.contains(image))
        .collect()
}

impl PrunePlan {
    /// What may go while the images are still listed: all but the documents that describe them.
    fn blobs_to_remove_first(&self, snapshot: &Snapshot) -> Vec<Digest> {
        let images = snapshot.images.iter();
        let documents: HashSet<Digest> = images.flat_map(|image| image.documents()).collect();
        let blobs = self.blobs.iter().map(|(digest, _)| *digest);
        blobs.filter(|digest| !documents.contains(digest)).collect()
    }

    /// Without `reachable`, only what lies in `tmp/` is known to be of no use.
    fn add_files(
        &mut self,
        store: &Store,
        reachable: Option<&HashSet<Digest>>,
        layers: &HashSet<Digest>,
    ) -> Result<(), FileError> {
        for path in list_files(&store.temporary())? {
            self.add_leftover(path)?;
        }
        let Some(reachable) = reachable else {
            return Ok(());
        };
        let are_all_held = durable::is_held(&store.blobs())?;
        for path in list_files(&store.blobs())? {
            match digest_of_name(&path) {
                Some(digest) if reachable.contains(&digest) => {}
                Some(_) if are_all_held => self.held.push(path),
                Some(digest) => self.add_blob(store, digest, path)?,
                None => {}
            }
        }
        for path in list_files(&store.block_files())? {
            let Some(digest) = digest_of_name(&path) else { continue };
            // What is reachable and no layer is a document that was one: its digests are of no use. What
            // is not reachable has its digests go with it.
            let is_document = reachable.contains(&digest) && !layers.contains(&digest);
            if is_document || !store.blob_path(digest).exists() {
                self.add_leftover(path)?;
            }
        }
        Ok(())
    }

    fn add_leftover(&mut self, path: PathBuf) -> Result<(), FileError> {
        match (durable::is_held(&path)?, size_of(&path)?) {
            (true, _) => self.held.push(path),
            (false, size_bytes) => self.leftovers.push((path, size_bytes)),
        }
        Ok(())
    }

    fn add_blob(&mut self, store: &Store, digest: Digest, path: PathBuf) -> Result<(), FileError> {
        if durable::is_held(&path)? {
            self.held.push(path);
            return Ok(());
        }
        let size_bytes = size_of(&path)? + size_of(&store.blocks_path(DiffId(digest)))?;
        self.blobs.push((digest, size_bytes));
        Ok(())
    }
}

/// The digest that a file is named by; files with other names are nobody's business here.
pub(crate) fn digest_of_name(path: &Path) -> Option<Digest> {
    Digest::from_hex(path.file_name()?.to_str()?)
}

/// The size of a file, 0 where it is gone.
pub(crate) fn size_of(path: &Path) -> Result<u64, FileError> {
    match path.symlink_metadata() {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed("inspect", path)(error)),
    }
}
