//! A load in progress: layers that it reads are pinned, layers that it writes are invisible until
//! all is published together.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tarball::{DiffId, Digest};
use tempfile::NamedTempFile;

use crate::blocks;
use crate::durable::{self, Removal, failed};
use crate::error::{FileError, LayerError};
use crate::index;
use crate::layer_writer::{FinishedLayer, LayerWriter, layer_prefix};
use crate::pins::{Pinned, Pins};
use crate::snapshot::{LayerFile, Snapshot};
use crate::store::Store;

/// Finished layers are synced and put in place together when so many bytes wait: each time costs the
/// file system some blocks of its own.
const SETTLE_FROM_BYTES: u64 = 8 * 1024 * 1024;
/// The same when so many wait: each keeps two files open.
const SETTLE_FROM_LAYERS: usize = 16;

/// A load in progress. Dropped without [`Transaction::commit`] or [`Transaction::suspend`], it takes back
/// what it wrote.
pub struct Transaction {
    pub(crate) store: Store,
    pins: Pins,
    /// Layers that are whole and not yet in place.
    finished: Vec<FinishedLayer>,
    /// Blobs that this transaction put in place, or tried to.
    pub(crate) placed: Vec<Digest>,
    /// Layers that are there, and damaged though they have the right size.
    pub(crate) replaced: HashSet<DiffId>,
    pub(crate) written_bytes: u64,
    /// Bytes of layers that an interrupted load had written before.
    pub(crate) resumed_bytes: u64,
}

impl Store {
    /// Starts a load. Nothing is written before there is something to write.
    pub fn begin(&self) -> Result<Transaction, LayerError> {
        if !self.is_writable() {
            return Err(LayerError::ReadOnly { root: self.root().to_owned() });
        }
        Ok(Transaction {
            store: self.clone(),
            pins: self.pins(),
            finished: Vec::new(),
            placed: Vec::new(),
            replaced: HashSet::new(),
            written_bytes: 0,
            resumed_bytes: 0,
        })
    }
}

impl Transaction {
    /// Keeps the layers that are there from being removed until the transaction ends.
    pub fn pin(&mut self, diff_ids: &[DiffId]) -> Result<Pinned, FileError> {
        self.pins.pin(diff_ids)
    }

    /// Starts to write a layer, or goes on where an earlier load was interrupted. With `size_bytes`, more
    /// or fewer bytes are an error, and the space is reserved.
    pub fn layer(
        &mut self,
        expect: DiffId,
        size_bytes: Option<u64>,
    ) -> Result<LayerWriter, LayerError> {
        let left = self.take_up_leftovers(expect)?;
        LayerWriter::new(&self.store.temporary(), expect, size_bytes, left)
    }

    /// Keeps what is there of a layer for a later load, which compares it with what it makes.
    pub fn set_aside(&mut self, writer: LayerWriter) {
        writer.leave();
    }

    /// Ends the transaction without publishing and without taking back what it wrote: a later load
    /// goes on from there. Nothing of it is visible, and a prune frees it.
    pub fn suspend(mut self) {
        self.leave_all();
    }

    pub(crate) fn leave_all(&mut self) {
        // The digests of blocks are made again with the layer; alone they are of no use.
        self.finished.drain(..).for_each(|layer| durable::leave(layer.layer));
        self.placed.clear();
    }

    /// Checks a written layer's size and digest and keeps it for [`Transaction::commit`]. A layer that
    /// the store has already is left as it is. Returns the size.
    pub fn finish_layer(&mut self, writer: LayerWriter) -> Result<u64, LayerError> {
        let layer = writer.finish()?;
        let size_bytes = layer.size_bytes;
        self.written_bytes += layer.written_bytes;
        self.resumed_bytes += layer.resumed_bytes;
        self.finished.push(layer);
        let waiting = self.finished.iter().map(|layer| layer.size_bytes);
        let waiting_bytes = waiting.fold(0, u64::saturating_add);
        if waiting_bytes >= SETTLE_FROM_BYTES || self.finished.len() >= SETTLE_FROM_LAYERS {
            self.settle()?;
        }
        Ok(size_bytes)
    }

    /// Opens a layer that this transaction has finished, or that the store has.
    pub fn open_layer(&self, diff_id: DiffId) -> Result<Option<LayerFile>, FileError> {
        let waiting = self.finished.iter().find(|layer| layer.diff_id == diff_id);
        let Some(waiting) = waiting else {
            return self.store.layer(diff_id);
        };
        let path = waiting.layer.path();
        let file = waiting.layer.reopen().map_err(failed("open", path))?;
        LayerFile::of(diff_id, file, path).map(Some)
    }

    /// An empty file without a name, for what must be kept for a while: it is gone when it is closed.
    pub fn scratch_file(&self) -> Result<File, LayerError> {
        let directory = self.store.temporary();
        let file = tempfile::tempfile_in(&directory);
        Ok(file.map_err(failed("make a file in", &directory))?)
    }

    /// How many bytes were written so far: layers, their block digests, and after the commit the
    /// documents and the index.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The size of a layer that will be there when the commit is done; `None` where it is missing.
    pub(crate) fn layer_size_bytes(
        &self,
        diff_id: DiffId,
        listed: &Snapshot,
    ) -> Result<Option<u64>, FileError> {
        let waiting = self.finished.iter().find(|layer| layer.diff_id == diff_id);
        match waiting {
            Some(waiting) => Ok(Some(waiting.size_bytes)),
            None => self.store.sound_layer_size(diff_id, listed),
        }
    }

    /// Whether block digests still wait to be put in place.
    pub(crate) fn has_finished_blocks(&self) -> bool {
        self.finished.iter().any(|layer| layer.blocks.is_some())
    }

    /// Puts the finished layers in place, durably.
    pub(crate) fn settle(&mut self) -> Result<(), LayerError> {
        if self.finished.is_empty() {
            return Ok(());
        }
        durable::sync_files(&self.finished_files())?;
        let has_blocks = self.has_finished_blocks();
        self.place_finished()?;
        if has_blocks {
            durable::sync_directory(&self.store.block_files())?;
        }
        durable::sync_directory(&self.store.blobs())?;
        Ok(())
    }

    /// What has to be on the device before the finished layers are put in place.
    pub(crate) fn finished_files(&self) -> Vec<&NamedTempFile> {
        let layers = self.finished.iter();
        layers.flat_map(|layer| [Some(&layer.layer), layer.blocks.as_ref()]).flatten().collect()
    }

    /// Gives the finished layers their names. The directories are the caller's to sync.
    pub(crate) fn place_finished(&mut self) -> Result<(), LayerError> {
        for layer in std::mem::take(&mut self.finished) {
            self.place(layer)?;
        }
        Ok(())
    }

    /// The block digests go first: a layer that is in its place has them. They stay locked until the
    /// layer is there, or a prune would take them for leftovers.
    fn place(&mut self, layer: FinishedLayer) -> Result<(), LayerError> {
        let FinishedLayer { diff_id, size_bytes, .. } = layer;
        let target = self.store.blob_path(diff_id.0);
        let found = self.find_in_place(diff_id, size_bytes)?;
        if found == InPlace::Whole {
            return Ok(());
        }
        // Noted first, so that half of a failed placing is taken back as well.
        self.placed.push(diff_id.0);
        let to_blocks = |blocks| durable::rename(blocks, &self.store.blocks_path(diff_id));
        let blocks = layer.blocks.map(to_blocks).transpose()?;
        let pin = match found {
            InPlace::Damaged => durable::rename(layer.layer, &target)?,
            _ => match durable::rename_new(layer.layer, &target)? {
                Some(pin) => pin,
                // Another process has just put it there; its bytes are the same.
                // Should it remove the layer again before it is pinned here, the commit says that it
                // is missing.
                None => return Ok(self.pins.pin_again(diff_id).map(drop)?),
            },
        };
        self.pins.insert(diff_id, pin)?;
        drop(blocks);
        Ok(())
    }

    /// Looks whether the store has the layer already, and pins it if so. A file that is shorter or
    /// longer is damaged, and is replaced, and so is one of a single block with other bytes.
    fn find_in_place(&mut self, diff_id: DiffId, size_bytes: u64) -> Result<InPlace, FileError> {
        let path = self.store.blob_path(diff_id.0);
        let Some(file) = durable::open_held(&path)? else {
            return Ok(InPlace::Absent);
        };
        let found_bytes = file.metadata().map_err(failed("inspect", &path))?.len();
        // Reading one block costs less than writing it.
        let is_sound = match blocks::is_one_block(size_bytes) {
            true => found_bytes == size_bytes && self.store.has_digest(&file, diff_id),
            false => self.store.blocks_path(diff_id).exists(),
        };
        self.pins.insert(diff_id, file)?;
        let is_whole = is_sound && !self.replaced.contains(&diff_id);
        Ok(match found_bytes == size_bytes && is_whole {
            true => InPlace::Whole,
            false => InPlace::Damaged,
        })
    }

    /// What an interrupted load has left of this layer in `tmp/`: the largest part, where nobody else is
    /// going on with it. The rest is removed.
    fn take_up_leftovers(&self, diff_id: DiffId) -> Result<Option<NamedTempFile>, FileError> {
        let directory = self.store.temporary();
        let prefix = layer_prefix(diff_id);
        let mut taken = None;
        for path in self.store.leftovers_of(diff_id)? {
            if taken.is_none() && is_named(&path, &prefix) {
                taken = durable::take_over(&path, &directory, &prefix)?;
            } else {
                durable::remove_unless_held(&path)?;
            }
        }
        Ok(taken)
    }

    /// Takes back the blobs that were put in place, unless somebody else published or pinned them.
    fn take_back(&mut self) -> Result<(), TakeBackError> {
        if self.placed.is_empty() {
            return Ok(());
        }
        self.pins.clear();
        let _lock = self.store.lock_briefly().map_err(|_| TakeBackError)?;
        let index = index::read_index(&self.store).map_err(|_| TakeBackError)?;
        let snapshot = Snapshot::of_index(&self.store, &index);
        let reachable: HashSet<Digest> = snapshot.reachable().ok_or(TakeBackError)?;
        for digest in self.placed.drain(..).filter(|digest| !reachable.contains(digest)) {
            remove_blob(&self.store, digest).map_err(|_| TakeBackError)?;
        }
        Ok(())
    }
}

/// What lies where a finished layer belongs.
#[derive(PartialEq, Eq)]
enum InPlace {
    Absent,
    Damaged,
    Whole,
}

/// What could not be taken back is unreachable, and a prune finds it.
struct TakeBackError;

/// The one place that says what becomes of a load that fails: all of it goes. (One that was
/// interrupted is suspended.)
/// Files in `tmp/` remove themselves.
impl Drop for Transaction {
    fn drop(&mut self) {
        self.finished.clear();
        // Nobody can be told here, and nothing is lost but space that a prune frees.
        let _ = self.take_back();
    }
}

/// Removes a blob that nothing reaches, and its block digests, unless it is pinned.
pub(crate) fn remove_blob(store: &Store, digest: Digest) -> Result<Removal, FileError> {
    let Some(_free) = durable::lock_free_directory(&store.blobs())? else {
        return Ok(Removal::Held);
    };
    let removal = durable::remove_unless_held(&store.blob_path(digest))?;
    if removal == Removal::Held {
        return Ok(removal);
    }
    let blocks = durable::remove_unless_held(&store.blocks_path(DiffId(digest)))?;
    Ok(match (removal, blocks) {
        (Removal::Removed(blob), Removal::Removed(blocks)) => Removal::Removed(blob + blocks),
        (Removal::Absent, removed) => removed,
        (removed, _) => removed,
    })
}

impl Store {
    /// How many bytes of a layer lie in `tmp/` already, for which a load needs no more room.
    pub fn left_bytes(&self, diff_id: DiffId) -> Result<u64, FileError> {
        let prefix = layer_prefix(diff_id);
        for path in self.leftovers_of(diff_id)?.iter().filter(|path| is_named(path, &prefix)) {
            if !durable::is_held(path)? {
                return allocated_bytes(path);
            }
        }
        Ok(0)
    }

    /// The files in `tmp/` that were begun for this layer, the largest first.
    fn leftovers_of(&self, diff_id: DiffId) -> Result<Vec<PathBuf>, FileError> {
        let prefix = diff_id.0.hex();
        let mut found = list_files(&self.temporary())?;
        found.retain(|path| is_named(path, &prefix));
        found.sort_by_cached_key(|path| Reverse(path.metadata().map_or(0, |found| found.len())));
        Ok(found)
    }
}

fn is_named(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(prefix))
}

/// What a file takes on the disk, which may be more than its size, or less. 0 where it is gone.
fn allocated_bytes(path: &Path) -> Result<u64, FileError> {
    /// What `st_blocks` counts, whatever the file system's blocks are.
    const SECTOR_BYTES: u64 = 512;
    match path.metadata() {
        Ok(found) => Ok(found.blocks().saturating_mul(SECTOR_BYTES)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed("inspect", path)(error)),
    }
}

/// The files in a directory, in order of their names.
pub(crate) fn list_files(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        Ok(paths)
    };
    read().map_err(failed("read", directory))
}
