//! How much the store takes, and of what.

use std::collections::HashSet;
use std::path::PathBuf;

use tarball::Digest;

use crate::error::{FileError, ReadError};
use crate::prune::{PruneOptions, digest_of_name, size_of};
use crate::space::{FreeSpace, free_space};
use crate::store::Store;
use crate::transaction::list_files;

/// Files of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilesUsage {
    /// How many.
    pub count: u64,
    /// The sum of their sizes.
    pub size_bytes: u64,
}

/// What the store takes. Every file is in exactly one of the kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images with a name.
    pub named_images: u64,
    /// Images without one.
    pub unnamed_images: u64,
    /// Layers that images use.
    pub layers: FilesUsage,
    /// Configs, manifests and original manifests of images.
    pub documents: FilesUsage,
    /// Block digests, and the few files in the root.
    pub bookkeeping: FilesUsage,
    /// Blobs that no image uses.
    pub unreachable: FilesUsage,
    /// What lies in `tmp/`.
    pub temporary: FilesUsage,
    /// What a prune would free now.
    pub reclaimable_bytes: u64,
    /// What is free beside all that.
    pub free: FreeSpace,
}

impl Store {
    /// Measures every file of the store. Files may come and go while it does.
    pub fn disk_usage(&self) -> Result<DiskUsage, ReadError> {
        let snapshot = self.snapshot()?;
        let layers = snapshot.layers().into_iter().map(|layer| layer.diff_id.0);
        let layers: HashSet<Digest> = layers.collect();
        let all: HashSet<Digest> = snapshot.images.iter().flat_map(|image| image.blobs()).collect();
        let mut usage = DiskUsage {
            named_images: 0,
            unnamed_images: 0,
            layers: FilesUsage::default(),
            documents: FilesUsage::default(),
            bookkeeping: FilesUsage::default(),
            unreachable: FilesUsage::default(),
            temporary: FilesUsage::default(),
            reclaimable_bytes: self.plan_prune(&PruneOptions::default())?.freed_bytes,
            free: free_space(self.root())?,
        };
        for image in &snapshot.images {
            match image.names.is_empty() {
                true => usage.unnamed_images += 1,
                false => usage.named_images += 1,
            }
        }
        for path in list_files(&self.blobs())? {
            let kind = match digest_of_name(&path) {
                Some(digest) if layers.contains(&digest) => &mut usage.layers,
                Some(digest) if all.contains(&digest) => &mut usage.documents,
                _ => &mut usage.unreachable,
            };
            kind.add(path)?;
        }
        usage.bookkeeping.add_all(list_files(&self.block_files())?)?;
        usage.bookkeeping.add_all(self.root_files())?;
        usage.temporary.add_all(list_files(&self.temporary())?)?;
        Ok(usage)
    }

    fn root_files(&self) -> Vec<PathBuf> {
        let names = ["lock", "oci-layout", "index.json", "silt.json"];
        let paths = names.map(|name| self.root().join(name));
        paths.into_iter().filter(|path| path.exists()).collect()
    }
}

impl FilesUsage {
    fn add(&mut self, path: PathBuf) -> Result<(), FileError> {
        self.size_bytes += size_of(&path)?;
        self.count += 1;
        Ok(())
    }

    fn add_all(&mut self, paths: Vec<PathBuf>) -> Result<(), FileError> {
        paths.into_iter().try_for_each(|path| self.add(path))
    }
}
