//! How much an archive may ask for.

/// Bounds of what reading an archive takes. All are far above what honest archives need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLimits {
    /// Members of one tar, and blobs that its indexes list. Docker writes four for each layer.
    pub max_members: u64,
    /// Names, manifests and configs that are held in memory, all together, in bytes.
    pub max_metadata_bytes: u64,
    /// Images in one archive.
    pub max_images: u64,
    /// Indexes inside indexes.
    pub max_index_depth: u32,
    /// Windows of all decompressors that are open at a time, in bytes.
    pub decoder_memory_bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_members: 100_000,
            max_metadata_bytes: 32 << 20,
            max_images: 1_000,
            max_index_depth: 4,
            decoder_memory_bytes: 64 << 20,
        }
    }
}

/// What is left of [`ReadLimits::max_metadata_bytes`].
#[derive(Debug)]
pub(super) struct MetadataBudget {
    limit: u64,
    left: u64,
}

impl MetadataBudget {
    pub(super) fn new(limits: &ReadLimits) -> Self {
        let limit = limits.max_metadata_bytes;
        Self { limit, left: limit }
    }

    /// How much may still be taken.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Takes `bytes`, or fails where they are not left.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Box<super::ArchiveFault>> {
        self.left = self.left.checked_sub(bytes).ok_or(super::ArchiveFault::TooMany {
            what: "bytes of names, manifests and configs",
            limit: self.limit,
        })?;
        Ok(())
    }
}
