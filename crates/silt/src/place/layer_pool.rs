//! Layers of the store as bytes to read, of which only some have their files open: an image may have
//! more layers than a process may have files.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use delta::ReadError;
use delta::read_at::{ReadAt, check_range};
use store::{FileError, Store};
use tarball::DiffId;

/// Files that are open at once.
const MAX_OPEN_FILES: usize = 24;

/// The files that were opened last.
pub(crate) struct LayerPool {
    store: Store,
    /// The one that was opened last is at the end.
    open: Mutex<VecDeque<(DiffId, Arc<File>)>>,
}

/// A layer, which is opened when it is read. It must be pinned for as long.
pub(crate) struct PooledLayer {
    diff_id: DiffId,
    size_bytes: u64,
    pool: Arc<LayerPool>,
}

impl LayerPool {
    pub(crate) fn new(store: &Store) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), open: Mutex::default() })
    }

    /// A layer with the size that it has now; `None` where the store does not have it.
    pub(crate) fn layer(
        self: &Arc<Self>,
        diff_id: DiffId,
    ) -> Result<Option<PooledLayer>, FileError> {
        let Some(found) = self.store.layer(diff_id)? else { return Ok(None) };
        let size_bytes = found.size_bytes;
        Ok(Some(PooledLayer { diff_id, size_bytes, pool: self.clone() }))
    }

    fn file(&self, diff_id: DiffId) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = open.iter().find(|(layer, _)| *layer == diff_id) {
            return Ok(file.clone());
        }
        let found = self.store.layer(diff_id).map_err(|error| error.source)?;
        let file = Arc::new(found.ok_or(io::ErrorKind::NotFound)?.file);
        if open.len() >= MAX_OPEN_FILES {
            open.pop_front();
        }
        open.push_back((diff_id, file.clone()));
        Ok(file)
    }
}

impl ReadAt for PooledLayer {
    fn size(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        check_range(self.size_bytes, offset, buffer.len())?;
        let read = self.pool.file(self.diff_id).and_then(|file| file.read_exact_at(buffer, offset));
        read.map_err(|source| ReadError::Io { offset, length: buffer.len() as u64, source })
    }
}
