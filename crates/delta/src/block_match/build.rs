//! Cutting the origins into blocks and hashing each.

use super::rolling::RollingHash;
use super::table::{Entry, TABLE_BYTES_PER_BLOCK, key_of};
use super::{BLOCK_SIZE_BYTES_MAX, BlockIndexOptions, MatchError};
use crate::cover::OriginId;
use crate::read_at::{ReadAt, ReadError};

/// Bytes of an origin that are read at once, or one block where that is more.
const READ_BYTES: usize = 256 << 10;

/// Which blocks are whose: each origin has its whole blocks, numbered after those before it.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) size_bytes: u32,
    count: u32,
    /// The number of each origin's first block, in order.
    first_blocks: Vec<u32>,
}

impl Blocks {
    /// The smallest block size, doubled from the one that is asked for, whose table fits.
    pub(super) fn plan(
        origins: &[&dyn ReadAt],
        options: &BlockIndexOptions,
    ) -> Result<Self, MatchError> {
        let memory_limit_bytes = options.memory_limit_bytes;
        let mut size_bytes = options.block_size_bytes.clamp(16, BLOCK_SIZE_BYTES_MAX);
        loop {
            match Self::number(origins, size_bytes) {
                Some(blocks) if blocks.table_bytes() <= memory_limit_bytes => return Ok(blocks),
                _ if size_bytes == BLOCK_SIZE_BYTES_MAX => {
                    return Err(MatchError::MemoryLimit { memory_limit_bytes });
                }
                _ => size_bytes = size_bytes.saturating_mul(2).min(BLOCK_SIZE_BYTES_MAX),
            }
        }
    }

    /// Origin and offset of a block.
    pub(super) fn place_of(&self, block: u32) -> (usize, u64) {
        let after = self.first_blocks.partition_point(|&first| first <= block);
        let origin = after.saturating_sub(1);
        let within = block - self.first_blocks[origin];
        (origin, u64::from(within) * u64::from(self.size_bytes))
    }

    /// Numbers the blocks, unless there are more than 32 bits can number.
    fn number(origins: &[&dyn ReadAt], size_bytes: u32) -> Option<Self> {
        let mut count: u64 = 0;
        let mut first_blocks = Vec::with_capacity(origins.len());
        for origin in origins {
            first_blocks.push(u32::try_from(count).ok()?);
            count += origin.size() / u64::from(size_bytes);
        }
        let count = u32::try_from(count).ok()?;
        Some(Self { size_bytes, count, first_blocks })
    }

    /// What a table of all blocks takes at most; the last term is what every table has.
    fn table_bytes(&self) -> u64 {
        u64::from(self.count) * TABLE_BYTES_PER_BLOCK + 64
    }
}

/// Hashes every whole block of every origin. Of blocks of one byte repeated, only the start of the
/// longest run is kept, for each byte: they would all be candidates for each other.
pub(super) fn hash_blocks(
    origins: &[&dyn ReadAt],
    blocks: &Blocks,
) -> Result<Vec<Entry>, MatchError> {
    let mut hasher = BlockHasher::new(blocks);
    for (origin, id) in origins.iter().zip(0..) {
        hasher
            .hash_origin(*origin, blocks)
            .map_err(|source| MatchError::Origin { origin: OriginId(id), source })?;
    }
    hasher.entries.extend(hasher.longest_runs.iter().flatten().map(|run| run.first));
    Ok(hasher.entries)
}

/// Neighbouring blocks of one byte repeated.
#[derive(Clone, Copy)]
struct Run {
    first: Entry,
    blocks: u32,
}

struct BlockHasher {
    entries: Vec<Entry>,
    longest_runs: [Option<Run>; 256],
    run: Option<(u8, Run)>,
    next_block: u32,
}

impl BlockHasher {
    fn new(blocks: &Blocks) -> Self {
        // At once, since growing would take twice what the plan allows.
        let capacity = usize::try_from(blocks.count).unwrap_or(usize::MAX);
        Self {
            entries: Vec::with_capacity(capacity),
            longest_runs: [None; 256],
            run: None,
            next_block: 0,
        }
    }

    fn hash_origin(&mut self, origin: &dyn ReadAt, blocks: &Blocks) -> Result<(), ReadError> {
        let block_size = usize::try_from(blocks.size_bytes).unwrap_or(usize::MAX);
        let mut buffer = vec![0; block_size * (READ_BYTES / block_size).max(1)];
        let whole = origin.size() / u64::from(blocks.size_bytes) * u64::from(blocks.size_bytes);
        let mut offset = 0;
        while offset < whole {
            let length =
                usize::try_from(whole - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
            origin.read_exact_at(&mut buffer[..length], offset)?;
            for block in buffer[..length].chunks_exact(block_size) {
                self.hash_block(block);
            }
            offset += length as u64;
        }
        self.end_run();
        Ok(())
    }

    fn hash_block(&mut self, block: &[u8]) {
        let entry = Entry { key: key_of(RollingHash::of(block).spread()), block: self.next_block };
        self.next_block += 1;
        let byte = block[0];
        if block.iter().any(|&other| other != byte) {
            self.end_run();
            self.entries.push(entry);
            return;
        }
        match &mut self.run {
            Some((of, run)) if *of == byte => run.blocks += 1,
            _ => {
                self.end_run();
                self.run = Some((byte, Run { first: entry, blocks: 1 }));
            }
        }
    }

    fn end_run(&mut self) {
        if let Some((byte, run)) = self.run.take() {
            let longest = &mut self.longest_runs[usize::from(byte)];
            if longest.is_none_or(|longest| longest.blocks < run.blocks) {
                *longest = Some(run);
            }
        }
    }
}
