//! What a store takes, and what is free beside it.

use serde::Serialize;
use store::{FilesUsage, Store};

use super::QueryError;
use super::prune::plan_prune;

/// What a store takes. Every file is in exactly one of the kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The store's directory.
    pub root: String,
    /// Images with a name.
    pub named_images: u64,
    /// Images without one.
    pub unnamed_images: u64,
    /// Layers that images use.
    pub layers: UsageOfKind,
    /// Configs and manifests of images.
    pub documents: UsageOfKind,
    /// Block digests, and the few files in the root.
    pub bookkeeping: UsageOfKind,
    /// Blobs that no image uses.
    pub unreachable: UsageOfKind,
    /// What lies in the temporary directory.
    pub temporary: UsageOfKind,
    /// What a prune would free now.
    pub reclaimable_bytes: u64,
    /// Where the store's file system is mounted.
    pub mount_point: String,
    /// What may still be written there.
    pub free_bytes: u64,
    /// The size of that file system.
    pub total_bytes: u64,
    /// Files that may still be made; `None` where that has no limit of its own.
    pub free_inodes: Option<u64>,
}

/// Files of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsageOfKind {
    /// How many.
    pub files: u64,
    /// The sum of their sizes.
    pub size_bytes: u64,
}

/// Measures every file of the store.
pub fn disk_usage(store: &Store) -> Result<Usage, QueryError> {
    let found = store.disk_usage()?;
    Ok(Usage {
        root: store.root().display().to_string(),
        named_images: found.named_images,
        unnamed_images: found.unnamed_images,
        layers: found.layers.into(),
        documents: found.documents.into(),
        bookkeeping: found.bookkeeping.into(),
        unreachable: found.unreachable.into(),
        temporary: found.temporary.into(),
        reclaimable_bytes: plan_prune(store)?.freed_bytes,
        mount_point: found.free.mount_point.display().to_string(),
        free_bytes: found.free.free_bytes,
        total_bytes: found.free.total_bytes,
        free_inodes: found.free.free_inodes,
    })
}

impl Usage {
    /// The size of all files together.
    pub fn compute_total_bytes(&self) -> u64 {
        let kinds =
            [self.layers, self.documents, self.bookkeeping, self.unreachable, self.temporary];
        kinds.iter().map(|kind| kind.size_bytes).sum()
    }
}

impl From<FilesUsage> for UsageOfKind {
    fn from(usage: FilesUsage) -> Self {
        Self { files: usage.count, size_bytes: usage.size_bytes }
    }
}
