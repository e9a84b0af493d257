//! Writing one layer into `tmp/`, hashed as it passes: each byte is written once. What an earlier
//! load has left of the layer is compared with what comes, and only what differs is written.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use tarball::{DiffId, Digester};
use tempfile::NamedTempFile;

use crate::blocks::{BLOCK_SIZE, BlocksWriter};
use crate::durable::{self, failed};
use crate::error::{FileError, LayerError, NoSpace, WriteError};

/// Below this, reserving space costs more than it saves.
const PREALLOCATE_FROM_BYTES: u64 = 1024 * 1024;

/// So much of a layer is handed to the device at a time: enough for long runs, even on a small board
/// little in memory.
const WRITE_FROM_BYTES: u64 = 4 * 1024 * 1024;

/// A layer that is being written. Hand it to [`Transaction::finish_layer`] when all is there, or to
/// [`Transaction::set_aside`] for a later load to go on with; dropped, it leaves nothing behind.
///
/// As a [`Write`] it wraps its own [`LayerError`] in the [`io::Error`]; [`LayerWriter::write_bytes`]
/// gives it plainly.
///
/// [`Transaction::finish_layer`]: crate::Transaction::finish_layer
/// [`Transaction::set_aside`]: crate::Transaction::set_aside
pub struct LayerWriter {
    expect: DiffId,
    size_bytes: Option<u64>,
    layer: NamedTempFile,
    /// How much of the file was there before.
    left_bytes: u64,
    blocks: BlocksWriter,
    digester: Digester,
    block: Vec<u8>,
    taken_bytes: u64,
    written_bytes: u64,
    /// Bytes that were written before their block was full, to be read.
    flushed_bytes: u64,
}

/// A layer whose digest was right, not yet synced or in its place.
pub(crate) struct FinishedLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) size_bytes: u64,
    pub(crate) layer: NamedTempFile,
    /// Its block digests; a layer of one block has none.
    pub(crate) blocks: Option<NamedTempFile>,
    /// Bytes of both files that were written now, and not by an earlier load.
    pub(crate) written_bytes: u64,
    /// Bytes of the layer that an earlier load had written.
    pub(crate) resumed_bytes: u64,
}

impl LayerWriter {
    /// Starts a layer in the directory `temporary`, or goes on with what was left of it. Where its size
    /// is known, its space is reserved at once, so that a full disk is found before anything is written.
    pub(crate) fn new(
        temporary: &Path,
        expect: DiffId,
        size_bytes: Option<u64>,
        left: Option<NamedTempFile>,
    ) -> Result<Self, LayerError> {
        let layer = match left {
            Some(left) => left,
            None => durable::new_temporary(temporary, &layer_prefix(expect))?,
        };
        let left_bytes = layer.as_file().metadata().map_err(failed("inspect", layer.path()))?.len();
        if let Some(size_bytes) = size_bytes.filter(|size| *size >= PREALLOCATE_FROM_BYTES) {
            preallocate(&layer, size_bytes)?;
        }
        Ok(Self {
            expect,
            size_bytes,
            blocks: BlocksWriter::new(temporary, expect),
            layer,
            left_bytes,
            digester: Digester::new(),
            block: Vec::with_capacity(BLOCK_SIZE),
            taken_bytes: 0,
            written_bytes: 0,
            flushed_bytes: 0,
        })
    }

    /// The layer that is expected.
    pub fn diff_id(&self) -> DiffId {
        self.expect
    }

    /// How many bytes were taken in so far.
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// The layer's file, in which what was flushed can be read, and the size that it will have.
    pub fn read_back(&self) -> Result<(File, u64), LayerError> {
        let file = self.layer.as_file().try_clone();
        let file = file.map_err(|error| failed("open", self.layer.path())(error))?;
        Ok((file, self.size_bytes.unwrap_or(u64::MAX)))
    }

    /// Takes in the next bytes of the layer.
    pub fn write_bytes(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        let taken_bytes = self.taken_bytes.saturating_add(bytes.len() as u64);
        self.check_size(taken_bytes, true)?;
        while !bytes.is_empty() {
            let room = BLOCK_SIZE - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            self.taken_bytes += now.len() as u64;
            bytes = later;
            if self.block.len() == BLOCK_SIZE {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    /// Leaves what is there for a later load.
    pub(crate) fn leave(self) {
        durable::leave(self.layer);
    }

    /// Ends the layer and checks its size and digest.
    pub(crate) fn finish(mut self) -> Result<FinishedLayer, LayerError> {
        if !self.block.is_empty() {
            self.flush_block()?;
        }
        self.check_size(self.taken_bytes, false)?;
        let found = DiffId(self.digester.finish());
        if found != self.expect {
            return Err(LayerError::WrongDigest { expected: self.expect, found });
        }
        if self.left_bytes > self.taken_bytes {
            let cut = self.layer.as_file().set_len(self.taken_bytes);
            cut.map_err(|error| failed("shorten", self.layer.path())(error))?;
        }
        let (blocks, blocks_size_bytes) = self.blocks.finish(self.taken_bytes)?;
        Ok(FinishedLayer {
            diff_id: self.expect,
            size_bytes: self.taken_bytes,
            layer: self.layer,
            blocks,
            written_bytes: self.written_bytes + self.flushed_bytes + blocks_size_bytes,
            resumed_bytes: self.taken_bytes - self.written_bytes,
        })
    }

    fn check_size(&self, found_bytes: u64, at_least: bool) -> Result<(), LayerError> {
        let Some(expected_bytes) = self.size_bytes else {
            return Ok(());
        };
        if found_bytes > expected_bytes || (!at_least && found_bytes < expected_bytes) {
            return Err(LayerError::WrongSize {
                diff_id: self.expect,
                expected_bytes,
                found_bytes,
                at_least,
            });
        }
        Ok(())
    }

    fn flush_block(&mut self) -> Result<(), FileError> {
        let at = self.taken_bytes - self.block.len() as u64;
        self.written_bytes += self.write_block(at)?;
        self.start_writing(at);
        self.digester.update(&self.block);
        self.blocks.block(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Writes what there is of the block at hand, unless it is there; gives how many bytes that were.
    fn write_block(&self, at: u64) -> Result<u64, FileError> {
        if self.is_there(at) {
            return Ok(0);
        }
        let written = self.layer.as_file().write_all_at(&self.block, at);
        written.map_err(|error| failed("write", self.layer.path())(error))?;
        Ok(self.block.len() as u64)
    }

    /// A long layer goes to the device while it is made, and not all at once at the end.
    fn start_writing(&self, at: u64) {
        if at > 0 && at.is_multiple_of(WRITE_FROM_BYTES) {
            // The last piece but one is written by now, and can leave the cache.
            let start = at.saturating_sub(2 * WRITE_FROM_BYTES);
            durable::start_writing(self.layer.as_file(), start, at - start);
        }
    }

    /// Whether an earlier load has written this block. What cannot be read is written again.
    fn is_there(&self, at: u64) -> bool {
        if at + self.block.len() as u64 > self.left_bytes {
            return false;
        }
        let mut left = [0; COMPARED_BYTES];
        self.block.chunks(COMPARED_BYTES).zip((at..).step_by(COMPARED_BYTES)).all(|(chunk, at)| {
            let left = &mut left[..chunk.len()];
            self.layer.as_file().read_exact_at(left, at).is_ok() && left == chunk
        })
    }
}

/// What is left of a block is read in pieces of so many bytes.
const COMPARED_BYTES: usize = 16 * 1024;

/// How the names of files in `tmp/` begin that hold a part of a layer.
pub(crate) fn layer_prefix(diff_id: DiffId) -> String {
    format!("{}.layer.", diff_id.0.hex())
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_bytes(bytes).map_err(io_error)?;
        Ok(bytes.len())
    }

    /// Makes all that was taken in readable by [`LayerWriter::read_back`]. Nobody else has a use for it.
    fn flush(&mut self) -> io::Result<()> {
        let at = self.taken_bytes - self.block.len() as u64;
        self.flushed_bytes += self.write_block(at).map_err(|error| io_error(error.into()))?;
        Ok(())
    }
}

/// The store's own error, as what a [`Write`] fails with.
pub(crate) fn io_error(error: LayerError) -> io::Error {
    io::Error::new(kind_of(&error), error)
}

fn kind_of(error: &LayerError) -> io::ErrorKind {
    match error {
        LayerError::Write(WriteError::File(file)) => file.source.kind(),
        LayerError::Write(WriteError::NoSpace(NoSpace { source, .. })) => source.source.kind(),
        _ => io::ErrorKind::InvalidData,
    }
}

/// Reserves the space without changing the file's size, which tells how far writing has come.
fn preallocate(file: &NamedTempFile, size_bytes: u64) -> Result<(), LayerError> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file.as_file(), FallocateFlags::KEEP_SIZE, 0, size_bytes) {
        // Only a full disk is of interest; a file system that cannot reserve is no error.
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
            Err(failed("reserve space for", file.path())(error.into()).into())
        }
        _ => Ok(()),
    }
}
