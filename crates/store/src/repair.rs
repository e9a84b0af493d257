//! Mending layers in their places: only the blocks that are damaged are written.
//!
//! Why that is safe in a file that other images share: a block is written only where its bytes are not
//! those of its digest, and only with bytes that are. So a write that is cut short leaves a block damaged
//! that was damaged, and touches no other: blocks begin at multiples of 64 KiB, which no file system's
//! own blocks cross.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::Advice;
use tarball::{DiffId, Digest, Digester};

use crate::blocks::{self, BLOCK_SIZE, BlockDigests, BlocksError, BlocksWriter};
use crate::durable::{self, failed};
use crate::error::{FileError, LayerError};
use crate::layer_writer::io_error;
use crate::manifest::StoredLayer;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::transaction::Transaction;

/// A layer that is being mended: takes in all of its bytes in order, and writes those blocks that are
/// not as they should be. Hand it to [`Transaction::finish_repair`] at the end.
///
/// Who has the bytes from somebody who is not trusted checks their diffID first: block digests are no
/// proof.
pub struct LayerRepair {
    layer: StoredLayer,
    path: PathBuf,
    file: File,
    blocks: BlockDigests,
    digester: Digester,
    block: Vec<u8>,
    /// What is stored where `block` belongs.
    stored: Vec<u8>,
    taken_bytes: u64,
    written_bytes: u64,
}

impl Store {
    /// The size of a layer that is there. `None` also where its file is shorter or longer than its block
    /// digests say: such a layer is damaged, and a load writes it anew.
    pub fn layer_size(&self, diff_id: DiffId) -> Result<Option<u64>, FileError> {
        let Some(found) = self.layer(diff_id)? else {
            return Ok(None);
        };
        let recorded = blocks::recorded_size(&self.blocks_path(diff_id))?;
        Ok(recorded.is_none_or(|recorded| recorded == found.size_bytes).then_some(found.size_bytes))
    }

    /// The same; and where nothing tells the size, neither block digests nor an image in `listed`, a
    /// layer of one block must have the bytes of its digest.
    pub fn sound_layer_size(
        &self,
        diff_id: DiffId,
        listed: &Snapshot,
    ) -> Result<Option<u64>, FileError> {
        let size = self.layer_size(diff_id)?;
        let Some(size_bytes) = size.filter(|size_bytes| blocks::is_one_block(*size_bytes)) else {
            return Ok(size);
        };
        if listed.layer_size(diff_id) == Some(size_bytes) {
            return Ok(size);
        }
        let layer = self.layer(diff_id)?;
        Ok(size.filter(|_| layer.is_some_and(|layer| self.has_digest(&layer.file, diff_id))))
    }

    /// Whether a file of one block has the bytes of a layer.
    pub(crate) fn has_digest(&self, file: &File, diff_id: DiffId) -> bool {
        let mut bytes = Vec::with_capacity(BLOCK_SIZE);
        let read = file.take(blocks::BLOCK_SIZE_BYTES + 1).read_to_end(&mut bytes);
        read.is_ok() && DiffId(Digest::of(&bytes)) == diff_id
    }

    /// The size that a layer has by its block digests, be its file there or not; `None` where they
    /// cannot be read.
    pub fn recorded_layer_size(&self, diff_id: DiffId) -> Result<Option<u64>, BlocksError> {
        match blocks::read_blocks(&self.blocks_path(diff_id), diff_id) {
            Ok(blocks) => Ok(Some(blocks.layer_size_bytes)),
            Err(BlocksError::Read(error)) => Err(BlocksError::Read(error)),
            Err(_) => Ok(None),
        }
    }
}

impl Transaction {
    /// Starts to mend a layer whose block digests are whole. The file is written in its place. A layer of
    /// one block has none, and is replaced instead.
    pub fn repair_layer(&mut self, diff_id: DiffId) -> Result<LayerRepair, LayerError> {
        self.pin(&[diff_id])?;
        let blocks = blocks::read_blocks(&self.store.blocks_path(diff_id), diff_id)
            .map_err(|_| LayerError::NoBlockDigests { diff_id })?;
        let path = self.store.blob_path(diff_id.0);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        Ok(LayerRepair {
            layer: StoredLayer { diff_id, size_bytes: blocks.layer_size_bytes },
            file: file.map_err(failed("open", &path))?,
            path,
            blocks,
            digester: Digester::new(),
            block: Vec::with_capacity(BLOCK_SIZE),
            stored: Vec::with_capacity(BLOCK_SIZE),
            taken_bytes: 0,
            written_bytes: 0,
        })
    }

    /// Ends the mending of a layer: its bytes are on the device, and all of them were read again and
    /// have its digest; `progress` is called as by [`Store::check_layer`]. Returns how many were written.
    pub fn finish_repair(
        &mut self,
        mut repair: LayerRepair,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<u64, LayerError> {
        repair.take_block()?;
        let layer = repair.layer;
        let found = DiffId(repair.digester.clone().finish());
        if found != layer.diff_id {
            return Err(LayerError::WrongDigest { expected: layer.diff_id, found });
        }
        self.written_bytes += repair.written_bytes;
        repair.cut_and_sync()?;
        // What is read now comes from the device, as far as the system can be asked for that.
        let _ = rustix::fs::fadvise(&repair.file, 0, None, Advice::DontNeed);
        match self.store.check_layer(layer, progress)?.damage {
            None => Ok(repair.written_bytes),
            Some(_) => Err(LayerError::StillDamaged { diff_id: layer.diff_id }),
        }
    }

    /// Lets the next [`Transaction::finish_layer`] of this layer replace the file that is there, which
    /// is damaged though it has the right size.
    pub fn replace_layer(&mut self, diff_id: DiffId) {
        self.replaced.insert(diff_id);
    }

    /// Writes the block digests of a layer that is whole without them; `progress` is called as by
    /// [`Store::check_layer`].
    pub fn renew_blocks(
        &mut self,
        diff_id: DiffId,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<(), LayerError> {
        let still_damaged = || LayerError::StillDamaged { diff_id };
        self.pin(&[diff_id])?;
        let layer = self.store.layer(diff_id)?.ok_or_else(still_damaged)?;
        let path = self.store.blob_path(diff_id.0);
        let mut writer = BlocksWriter::new(&self.store.temporary(), diff_id);
        let mut digester = Digester::new();
        let mut buffer = vec![0; BLOCK_SIZE];
        let mut at = 0;
        while at < layer.size_bytes {
            let left = usize::try_from(layer.size_bytes - at).unwrap_or(BLOCK_SIZE);
            let block = &mut buffer[..left.min(BLOCK_SIZE)];
            layer.file.read_exact_at(block, at).map_err(failed("read", &path))?;
            digester.update(block);
            writer.block(block)?;
            at += block.len() as u64;
            progress(block.len() as u64).map_err(failed("read", &path))?;
        }
        if DiffId(digester.finish()) != diff_id {
            return Err(still_damaged());
        }
        let (file, written_bytes) = writer.finish(layer.size_bytes)?;
        let Some(file) = file else { return Ok(()) };
        self.written_bytes += written_bytes;
        durable::sync_file(&file)?;
        durable::rename(file, &self.store.blocks_path(diff_id))?;
        Ok(durable::sync_directory(&self.store.block_files())?)
    }

    /// A blob may come to be a layer that was put in place as something else, such as a config; and
    /// block digests may be lost. Every layer that is published and has more than one block has them.
    pub(crate) fn ensure_blocks(&mut self, diff_ids: &[DiffId]) -> Result<(), LayerError> {
        for diff_id in diff_ids {
            let (blob, blocks) =
                (self.store.blob_path(diff_id.0), self.store.blocks_path(*diff_id));
            let needs = blob.metadata().is_ok_and(|found| !blocks::is_one_block(found.len()));
            if needs && !blocks.exists() {
                self.renew_blocks(*diff_id, &mut |_| Ok(()))?;
            }
        }
        Ok(())
    }
}

impl LayerRepair {
    /// Takes in the next bytes of the layer.
    pub fn write_bytes(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        let (diff_id, expected_bytes) = (self.layer.diff_id, self.layer.size_bytes);
        let found_bytes =
            (self.taken_bytes + self.block.len() as u64).saturating_add(bytes.len() as u64);
        if found_bytes > expected_bytes {
            return Err(LayerError::WrongSize {
                diff_id,
                expected_bytes,
                found_bytes,
                at_least: true,
            });
        }
        while !bytes.is_empty() {
            let room = BLOCK_SIZE - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_SIZE {
                self.take_block()?;
            }
        }
        Ok(())
    }

    /// Writes the block where what is stored is something else, and it is what it should be.
    fn take_block(&mut self) -> Result<(), FileError> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.digester.update(&self.block);
        self.stored.resize(self.block.len(), 0);
        let is_read = self.file.read_exact_at(&mut self.stored, self.taken_bytes).is_ok();
        let is_same = is_read && self.stored == self.block;
        let number = self.taken_bytes / blocks::BLOCK_SIZE_BYTES;
        if !is_same && self.blocks.matches(number, &self.block) {
            let written = self.file.write_all_at(&self.block, self.taken_bytes);
            written.map_err(failed("write", &self.path))?;
            self.written_bytes += self.block.len() as u64;
        }
        self.taken_bytes += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    fn cut_and_sync(&self) -> Result<(), FileError> {
        let found_bytes = self.file.metadata().map_err(failed("inspect", &self.path))?.len();
        if found_bytes > self.layer.size_bytes {
            self.file.set_len(self.layer.size_bytes).map_err(failed("shorten", &self.path))?;
        }
        self.file.sync_all().map_err(failed("sync", &self.path))
    }
}

impl Write for LayerRepair {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_bytes(bytes).map_err(io_error)?;
        Ok(bytes.len())
    }

    /// All is written when the repair is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
