//! The rsync-style matcher: a rolling sum finds blocks of the origins, extension to the byte fits.
//!
//! It serves where a file has no counterpart, or where memory is short: its index takes at most 12
//! bytes for each block, and blocks get larger until it fits. It reads the target from front to
//! back with bounded buffers and the origins at random; its covers are exact.

mod build;
mod compare;
mod find;
mod rolling;
mod table;
mod windows;

use std::ops::Range;

use crate::cover::{Cover, OriginId};
use crate::read_at::{ReadAt, ReadError};
use build::Blocks;
use find::Finder;
use table::BlockTable;

/// Blocks do not get larger than this, however little memory there is.
pub const BLOCK_SIZE_BYTES_MAX: u32 = 1 << 20;

/// How an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockIndexOptions {
    /// The block size that is wanted, 16 to [`BLOCK_SIZE_BYTES_MAX`]; it is doubled until the index
    /// fits. A match must hold a whole block of its origin to be seen, so twice the size will do.
    pub block_size_bytes: u32,
    /// What the index may take in memory when it is built.
    pub memory_limit_bytes: u64,
}

impl Default for BlockIndexOptions {
    /// Blocks of 128 bytes, 64 MiB.
    fn default() -> Self {
        Self { block_size_bytes: 128, memory_limit_bytes: 64 << 20 }
    }
}

/// An index could not be built, or a target not be searched.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// An origin could not be read.
    #[error("cannot read origin {}", origin.0)]
    Origin {
        /// Its index among the origins.
        origin: OriginId,
        /// Which bytes, and why not.
        source: ReadError,
    },
    /// The target could not be read.
    #[error("cannot read the target")]
    Target {
        /// Which bytes, and why not.
        source: ReadError,
    },
    /// The index does not fit even with the largest blocks.
    #[error("a block index does not fit in {memory_limit_bytes} bytes")]
    MemoryLimit {
        /// [`BlockIndexOptions::memory_limit_bytes`].
        memory_limit_bytes: u64,
    },
}

/// Where the blocks of some origins are, by their hashes.
///
/// Blocks lie at multiples of the block size in each origin; an origin's shorter end is reached
/// only by extension. At most eight blocks with one hash are kept, and of blocks that repeat one
/// byte, like zeros, only the start of the longest run.
pub struct BlockIndex<'a> {
    origins: Vec<&'a dyn ReadAt>,
    blocks: Blocks,
    table: BlockTable,
}

impl<'a> BlockIndex<'a> {
    /// Reads every origin once.
    pub fn build(
        origins: &[&'a dyn ReadAt],
        options: &BlockIndexOptions,
    ) -> Result<Self, MatchError> {
        let blocks = Blocks::plan(origins, options)?;
        let table = BlockTable::new(build::hash_blocks(origins, &blocks)?);
        let origins = origins.to_vec();
        Ok(Self { origins, blocks, table })
    }

    /// Finds ranges of the origins that are exactly like parts of `range` of the target.
    ///
    /// `sink` takes covers in the order of the target, which do not overlap there and do not
    /// straddle origins. Same inputs, same covers.
    pub fn find_covers(
        &self,
        target: &dyn ReadAt,
        range: Range<u64>,
        sink: &mut dyn FnMut(Cover),
    ) -> Result<(), MatchError> {
        self.check_target(target, &range)?;
        let mut finder = Finder::new(self, target, range);
        while let Some(cover) = finder.next_cover()? {
            sink(cover);
        }
        Ok(())
    }

    /// The block size that was chosen.
    pub fn block_size_bytes(&self) -> u32 {
        self.blocks.size_bytes
    }

    /// How many blocks the index holds.
    pub fn block_count(&self) -> usize {
        self.table.block_count()
    }

    /// What the index takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.table.memory_bytes()
    }

    fn check_target(&self, target: &dyn ReadAt, range: &Range<u64>) -> Result<(), MatchError> {
        let size = target.size();
        let (offset, length) = (range.start, range.end.saturating_sub(range.start));
        match range.start <= range.end && range.end <= size {
            true => Ok(()),
            false => {
                Err(MatchError::Target { source: ReadError::OutOfRange { offset, length, size } })
            }
        }
    }
}
