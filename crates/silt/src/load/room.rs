//! Whether what a load writes will fit.

use std::path::PathBuf;

use serde::Serialize;

use super::LoadError;
use super::destination::Destination;
use super::plan::{Action, How, ImagePlan, display_path};

/// What is needed of the file system, and what it has.
#[derive(Debug, Clone, Serialize)]
pub struct Room {
    /// Where the store's file system is mounted.
    #[serde(serialize_with = "display_path")]
    pub mount_point: PathBuf,
    /// Bytes that the new files take, in whole blocks, beyond what an interrupted load has left of them.
    pub needed_bytes: u64,
    /// Of these, bytes that an engine stages while it loads, and frees again.
    pub staged_bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Files that will be made.
    pub needed_inodes: u64,
    /// Files that can be made; `None` where there is no bound.
    pub free_inodes: Option<u64>,
    /// Bytes of damaged blocks that are written in the places of the old ones.
    pub mended_bytes: u64,
}

/// Bytes that the store's own manifest has at most, for each layer and beside them.
const MANIFEST_BYTES: (u64, u64) = (256, 4096);
/// Bytes that one more image adds to the index, for each name and beside them.
const INDEX_BYTES: (u64, u64) = (512, 512);

/// The new index lies beside the old one for a moment, and everything in whole blocks.
pub(super) fn room_for(
    destination: &Destination<'_>,
    images: &[ImagePlan],
) -> Result<Room, LoadError> {
    let free = destination.space()?;
    let block_bytes = free.block_size_bytes.max(1);
    let mut needed = Needed { block_bytes, bytes: 0, inodes: 0 };
    let (mut index_bytes, mut mended_bytes, mut staged_bytes) = (0, 0u64, 0u64);
    for image in images {
        if image.how != How::Present {
            index_bytes += INDEX_BYTES.0 * image.names.len() as u64 + INDEX_BYTES.1;
            needed.add(image.config.len() as u64, 0);
            needed.add(MANIFEST_BYTES.0 * image.layers.len() as u64 + MANIFEST_BYTES.1, 0);
            if let Some(manifest) = &image.manifest {
                needed.add(manifest.len() as u64, 0);
            }
        }
        for layer in &image.layers {
            if let Action::Repair(repair) = &layer.action {
                mended_bytes = mended_bytes.saturating_add(repair.mended_bytes());
            }
            if !layer.is_new_file() {
                continue;
            }
            let size_bytes = layer.size_bytes.unwrap_or(0);
            needed.add(size_bytes, destination.left_bytes(layer.diff_id)?);
            match (destination.stages(), store::blocks_file_size_bytes(size_bytes)) {
                (true, _) => staged_bytes = staged_bytes.saturating_add(size_bytes),
                (false, 0) => {}
                (false, blocks_bytes) => needed.add(blocks_bytes, 0),
            }
        }
    }
    if index_bytes > 0
        && let Some(store) = destination.store()
    {
        needed.add(store.index_size_bytes() + index_bytes, 0);
    }
    Ok(Room {
        mount_point: free.mount_point,
        needed_bytes: needed.bytes.saturating_add(staged_bytes),
        staged_bytes,
        free_bytes: free.free_bytes,
        needed_inodes: needed.inodes,
        free_inodes: free.free_inodes,
        mended_bytes,
    })
}

/// What files take.
struct Needed {
    block_bytes: u64,
    bytes: u64,
    inodes: u64,
}

impl Needed {
    /// One file more, of which there is a part already.
    fn add(&mut self, size_bytes: u64, left_bytes: u64) {
        let bytes = size_bytes.div_ceil(self.block_bytes).saturating_mul(self.block_bytes);
        self.bytes = self.bytes.saturating_add(bytes.saturating_sub(left_bytes));
        self.inodes += u64::from(left_bytes == 0);
    }
}
