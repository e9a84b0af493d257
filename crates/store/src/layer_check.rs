//! One stored layer against its digests: whether it is whole, and where it is not.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use tarball::{DiffId, Digester};

use crate::blocks::{self, BLOCK_SIZE, BLOCK_SIZE_BYTES, BlockDigests, BlocksError};
use crate::durable::failed;
use crate::error::FileError;
use crate::manifest::StoredLayer;
use crate::store::Store;

/// What is wrong with a layer.
#[derive(Debug)]
pub enum LayerDamage {
    /// There is no such file.
    Missing,
    /// The file is shorter or longer than the layer.
    WrongSize {
        /// The layer's size.
        expected_bytes: u64,
        /// The file's.
        found_bytes: u64,
        /// What is missing or different, as in [`LayerDamage::Bytes`].
        ranges: Vec<Range<u64>>,
    },
    /// Some bytes are different, or could not be read.
    Bytes {
        /// The damaged 64 KiB blocks, neighbours joined, as offsets in the layer. Empty where the block
        /// digests are of no use.
        ranges: Vec<Range<u64>>,
        /// The first error of the device, where there was one.
        unreadable: Option<FileError>,
    },
}

impl LayerDamage {
    /// The damaged 64 KiB blocks, neighbours joined; empty where they are not known.
    pub fn ranges(&self) -> &[Range<u64>] {
        match self {
            Self::Missing => &[],
            Self::WrongSize { ranges, .. } | Self::Bytes { ranges, .. } => ranges,
        }
    }
}

/// What reading a layer and its block digests has shown.
#[derive(Debug)]
pub struct LayerCheck {
    /// What is wrong with the layer; `None` where it is whole.
    pub damage: Option<LayerDamage>,
    /// Its block digests, or why they are of no use.
    pub blocks: Result<BlockDigests, BlocksError>,
}

impl Store {
    /// Reads a layer to its end, and calls `progress` with the number of bytes of each block that was
    /// read; what that fails with ends the reading. Damage is a result and no error.
    pub fn check_layer(
        &self,
        layer: StoredLayer,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<LayerCheck, FileError> {
        let diff_id = layer.diff_id;
        let blocks = match blocks::is_one_block(layer.size_bytes) {
            true => Ok(BlockDigests::of_one_block(diff_id, layer.size_bytes)),
            false => blocks::read_blocks(&self.blocks_path(diff_id), diff_id),
        };
        let Some(found) = self.layer(diff_id)? else {
            return Ok(LayerCheck { damage: Some(LayerDamage::Missing), blocks });
        };
        let usable = blocks.as_ref().ok();
        let usable = usable.filter(|blocks| blocks.layer_size_bytes == layer.size_bytes);
        let path = self.blob_path(diff_id.0);
        let seen = read(layer, &found.file, found.size_bytes, usable, progress);
        let seen = seen.map_err(failed("read", &path))?;
        let unreadable = seen.unreadable.map(failed("read", &path));
        let damage = if found.size_bytes != layer.size_bytes {
            Some(LayerDamage::WrongSize {
                expected_bytes: layer.size_bytes,
                found_bytes: found.size_bytes,
                ranges: seen.ranges,
            })
        } else if unreadable.is_some() || !seen.has_right_digest {
            Some(LayerDamage::Bytes { ranges: seen.ranges, unreadable })
        } else {
            None
        };
        Ok(LayerCheck { damage, blocks })
    }
}

/// What reading a layer showed.
struct Seen {
    has_right_digest: bool,
    ranges: Vec<Range<u64>>,
    unreadable: Option<io::Error>,
}

/// Reads a layer once, for its diffID and its blocks. A block that the device does not give is passed
/// over, so that one bad sector does not hide the next.
fn read(
    layer: StoredLayer,
    file: &File,
    found_bytes: u64,
    blocks: Option<&BlockDigests>,
    count: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Seen> {
    let mut buffer = vec![0; BLOCK_SIZE];
    let mut digester = Digester::new();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut unreadable = None;
    for block in 0..layer.size_bytes.div_ceil(BLOCK_SIZE_BYTES) {
        let start = block * BLOCK_SIZE_BYTES;
        let end = layer.size_bytes.min(start.saturating_add(BLOCK_SIZE_BYTES));
        if end > found_bytes {
            // The last block of a file that is too short, and all that should come after it.
            if blocks.is_some() {
                push_range(&mut ranges, start..layer.size_bytes);
            }
            break;
        }
        let length = usize::try_from(end - start).unwrap_or(BLOCK_SIZE);
        let bytes = &mut buffer[..length];
        match file.read_exact_at(bytes, start) {
            Ok(()) => {
                digester.update(bytes);
                count(end - start)?;
                if blocks.is_some_and(|blocks| !blocks.matches(block, bytes)) {
                    push_range(&mut ranges, start..end);
                }
            }
            Err(error) => {
                push_range(&mut ranges, start..end);
                unreadable.get_or_insert(error);
            }
        }
    }
    let has_right_digest = DiffId(digester.finish()) == layer.diff_id;
    Ok(Seen { has_right_digest, ranges, unreadable })
}

fn push_range(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
