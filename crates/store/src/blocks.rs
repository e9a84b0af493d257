//! Digests of a layer's 64 KiB blocks, in a file beside it: `docs/formats/store.md` has the format.
//!
//! They find accidental damage, and say where it is; what a layer *is* only its diffID says. So they
//! are XXH3-128: a collision by accident does not happen, and a slow processor pays for SHA-256 once.
//!
//! A layer of one block has no such file: its diffID is the digest of that block.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tarball::{DiffId, Digest};
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::durable::{self, failed};
use crate::error::{FileError, ReadError};

/// The size of every block but the last, which may be shorter.
pub const BLOCK_SIZE_BYTES: u64 = 64 * 1024;
pub(crate) const BLOCK_SIZE: usize = 64 * 1024;

const MAGIC: &[u8; 8] = b"SILTBLK\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 4 + 32;
const DIGEST_BYTES: usize = 16;
const FOOTER_BYTES: usize = 8 + 16;
/// The block digests of a layer of 1 TiB. No layer is as large, and a file that claims to be is not read.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
const MAX_LAYER_BYTES: u64 = 1 << 40;

/// The block digests of one layer, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDigests {
    /// The layer.
    pub diff_id: DiffId,
    /// The layer's size.
    pub layer_size_bytes: u64,
    digests: Vec<u8>,
}

impl BlockDigests {
    /// The digests of a layer that needs no file of them.
    pub(crate) fn of_one_block(diff_id: DiffId, layer_size_bytes: u64) -> Self {
        Self { diff_id, layer_size_bytes, digests: Vec::new() }
    }

    /// Whether `bytes` are what the block number `block` held when it was written.
    pub fn matches(&self, block: u64, bytes: &[u8]) -> bool {
        if is_one_block(self.layer_size_bytes) {
            return block < self.block_count() && DiffId(Digest::of(bytes)) == self.diff_id;
        }
        let stored = usize::try_from(block)
            .ok()
            .and_then(|block| self.digests.chunks_exact(DIGEST_BYTES).nth(block));
        stored == Some(&xxh3_128(bytes).to_le_bytes())
    }

    /// How many blocks the layer has.
    pub fn block_count(&self) -> u64 {
        self.layer_size_bytes.div_ceil(BLOCK_SIZE_BYTES)
    }
}

/// Why a file of block digests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is none.
    #[error("layer {diff_id} has no block digests")]
    Missing {
        /// The layer.
        diff_id: DiffId,
    },
    /// A newer Silt wrote it.
    #[error("the block digests of layer {diff_id} have version {found}")]
    UnknownVersion {
        /// The layer.
        diff_id: DiffId,
        /// The version that was found.
        found: u32,
    },
    /// Its bytes are not what was written.
    #[error("the block digests of layer {diff_id} are damaged")]
    Damaged {
        /// The layer.
        diff_id: DiffId,
    },
}

/// Whether a layer of so many bytes has no file of block digests.
pub(crate) fn is_one_block(layer_size_bytes: u64) -> bool {
    layer_size_bytes <= BLOCK_SIZE_BYTES
}

/// Reads the block digests of `diff_id` from the file `path`.
pub(crate) fn read_blocks(path: &Path, diff_id: DiffId) -> Result<BlockDigests, BlocksError> {
    let Some(bytes) = durable::read_small(path, MAX_FILE_BYTES)? else {
        return Err(BlocksError::Missing { diff_id });
    };
    parse(&bytes, diff_id)
}

fn parse(bytes: &[u8], diff_id: DiffId) -> Result<BlockDigests, BlocksError> {
    let damaged = BlocksError::Damaged { diff_id };
    let Some((checked, checksum)) = bytes.split_last_chunk::<16>() else {
        return Err(damaged);
    };
    if xxh3_128(checked).to_le_bytes() != *checksum {
        return Err(damaged);
    }
    let Some((header, rest)) = checked.split_first_chunk::<HEADER_BYTES>() else {
        return Err(damaged);
    };
    let version = u32_at(header, 8);
    if header[..8] == *MAGIC && version != VERSION {
        return Err(BlocksError::UnknownVersion { diff_id, found: version });
    }
    let Some((digests, size)) = rest.split_last_chunk::<8>() else {
        return Err(damaged);
    };
    let found = BlockDigests {
        diff_id,
        layer_size_bytes: u64::from_le_bytes(*size),
        digests: digests.to_vec(),
    };
    let right_length = found
        .block_count()
        .checked_mul(DIGEST_BYTES as u64)
        .is_some_and(|length| length == digests.len() as u64);
    let needs_file = !is_one_block(found.layer_size_bytes);
    if *header != header_of(diff_id) || !right_length || !needs_file {
        return Err(damaged);
    }
    Ok(found)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

fn header_of(diff_id: DiffId) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(64 * 1024_u32).to_le_bytes());
    header[16..].copy_from_slice(Digest::as_bytes(&diff_id.0));
    header
}

/// So many bytes of digests are gathered before there is a file: those of a layer of 2 GiB.
const GATHERED_BYTES: usize = 512 * 1024;

/// Gathers block digests while the layer passes by. Most layers' are written at the end, at once; of
/// a huge layer they go to the disk in pieces, so that their number costs no memory.
pub(crate) struct BlocksWriter {
    directory: PathBuf,
    diff_id: DiffId,
    file: Option<NamedTempFile>,
    gathered: Vec<u8>,
    checksum: Xxh3,
    written_bytes: u64,
}

impl BlocksWriter {
    /// Starts the digests of `diff_id`, for a file in the directory `temporary`.
    pub(crate) fn new(temporary: &Path, diff_id: DiffId) -> Self {
        Self {
            directory: temporary.to_owned(),
            diff_id,
            file: None,
            gathered: header_of(diff_id).to_vec(),
            checksum: Xxh3::new(),
            written_bytes: 0,
        }
    }

    /// Takes in the next block, which is whole unless it is the last.
    pub(crate) fn block(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.gathered.extend_from_slice(&xxh3_128(bytes).to_le_bytes());
        if self.gathered.len() >= GATHERED_BYTES {
            self.checksum.update(&self.gathered);
            let mut file = self.take_file()?;
            self.write_gathered(&mut file)?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// Writes what is left and returns the file, if the layer needs one, with its size.
    pub(crate) fn finish(
        mut self,
        layer_size_bytes: u64,
    ) -> Result<(Option<NamedTempFile>, u64), FileError> {
        if is_one_block(layer_size_bytes) {
            return Ok((None, 0));
        }
        self.gathered.extend_from_slice(&layer_size_bytes.to_le_bytes());
        self.checksum.update(&self.gathered);
        let checksum = self.checksum.digest128().to_le_bytes();
        self.gathered.extend_from_slice(&checksum);
        let mut file = self.take_file()?;
        self.write_gathered(&mut file)?;
        Ok((Some(file), self.written_bytes))
    }

    fn take_file(&mut self) -> Result<NamedTempFile, FileError> {
        let prefix = format!("{}.blocks.", self.diff_id.0.hex());
        self.file.take().map_or_else(|| durable::new_temporary(&self.directory, &prefix), Ok)
    }

    fn write_gathered(&mut self, file: &mut NamedTempFile) -> Result<(), FileError> {
        let written: io::Result<()> = file.write_all(&self.gathered);
        written.map_err(|error| failed("write", file.path())(error))?;
        self.written_bytes += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

/// The layer's size that the file of block digests at `path` tells, looked up without reading all of it;
/// `None` where there is no such file, or its own size is another than that of so many digests.
pub(crate) fn recorded_size(path: &Path) -> Result<Option<u64>, FileError> {
    let read = || -> io::Result<Option<u64>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let length = file.metadata()?.len();
        let Some(at) = length.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let mut size = [0; 8];
        file.read_exact_at(&mut size, at)?;
        let size = u64::from_le_bytes(size);
        Ok((size <= MAX_LAYER_BYTES && blocks_file_size_bytes(size) == length).then_some(size))
    };
    read().map_err(failed("read", path))
}

/// The size of the file of block digests for a layer of so many bytes; 0 where it needs none.
pub fn blocks_file_size_bytes(layer_size_bytes: u64) -> u64 {
    if is_one_block(layer_size_bytes) {
        return 0;
    }
    layer_size_bytes.div_ceil(BLOCK_SIZE_BYTES) * DIGEST_BYTES as u64
        + (HEADER_BYTES + FOOTER_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(layer: &[u8]) -> (DiffId, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let diff_id = DiffId(Digest::of(layer));
        let mut writer = BlocksWriter::new(directory.path(), diff_id);
        for block in layer.chunks(BLOCK_SIZE) {
            writer.block(block).unwrap();
        }
        let (file, size) = writer.finish(layer.len() as u64).unwrap();
        let bytes = file.map(|file| fs::read(file.path()).unwrap()).unwrap_or_default();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(size, blocks_file_size_bytes(layer.len() as u64));
        (diff_id, bytes)
    }

    #[test]
    fn every_block_is_told_from_a_damaged_one() {
        for length in [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE] {
            let layer: Vec<u8> = (0..=250).cycle().take(length).collect();
            let (diff_id, bytes) = written(&layer);
            assert_eq!(bytes.is_empty(), length <= BLOCK_SIZE);
            let digests = match bytes.is_empty() {
                true => BlockDigests::of_one_block(diff_id, length as u64),
                false => parse(&bytes, diff_id).unwrap(),
            };
            for (block, content) in (0..).zip(layer.chunks(BLOCK_SIZE)) {
                assert!(digests.matches(block, content));
                let mut damaged = content.to_vec();
                damaged[content.len() / 2] ^= 1;
                assert!(!digests.matches(block, &damaged));
            }
            assert!(!digests.matches(digests.block_count(), b""));
        }
    }

    #[test]
    fn digests_of_many_blocks_go_to_the_file_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let diff_id = DiffId::EMPTY_LAYER;
        let mut writer = BlocksWriter::new(directory.path(), diff_id);
        let blocks = GATHERED_BYTES as u64 / DIGEST_BYTES as u64 * 2 + 7;
        for block in 0..blocks {
            writer.block(&block.to_le_bytes()).unwrap();
            assert!(writer.gathered.len() < GATHERED_BYTES);
        }
        let (file, size) = writer.finish(blocks * BLOCK_SIZE_BYTES).unwrap();
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert_eq!(bytes.len() as u64, size);
        let digests = parse(&bytes, diff_id).unwrap();
        assert!(digests.matches(blocks - 1, &(blocks - 1).to_le_bytes()));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let (diff_id, bytes) = written(&[7; 100_000]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(parse(&damaged, diff_id).is_err(), "byte {at}");
            assert!(parse(&bytes[..at], diff_id).is_err(), "cut at {at}");
        }
        assert!(parse(&bytes, DiffId::EMPTY_LAYER).is_err());
    }

    #[test]
    fn the_bytes_of_the_format_stay_as_they_are() {
        let layer = [&[0; BLOCK_SIZE][..], b"abc"].concat();
        let (_, bytes) = written(&layer);
        assert_eq!(&bytes[..16], b"SILTBLK\n\x01\0\0\0\0\0\x01\0");
        assert_eq!(bytes[16..48], *Digest::of(&layer).as_bytes());
        // XXH3-128 of "abc", as `xxhsum -H128` prints it, is 06b05ab6733a618578af5f94892f3950.
        let expected = 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950_u128;
        assert_eq!(bytes[64..80], expected.to_le_bytes());
        assert_eq!(bytes[80..88], 65_539_u64.to_le_bytes());
        assert_eq!(bytes.len(), 104);
    }
}
