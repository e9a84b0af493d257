//! Layers that must not be removed while somebody needs them.
//!
//! A pin is a shared `flock` on the layer's own file, held by the process. It costs no write, works
//! on a read-only file system, and ends with the process however that ends. Where many layers are
//! pinned, one such lock on their directory stands for all: descriptors are few.

use std::collections::HashMap;
use std::fs::File;

use tarball::DiffId;

use crate::durable;
use crate::error::FileError;
use crate::store::Store;

/// From so many pinned layers on, all blobs of the store are held together.
const MAX_PINNED_FILES: usize = 32;

/// Layers that stay until this is dropped.
#[derive(Debug)]
pub struct Pins {
    store: Store,
    /// Files of layers, locked against removal; none where the directory is.
    files: HashMap<DiffId, Option<File>>,
    directory: Option<File>,
}

/// Which of the wanted layers the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// These are there and stay there until the transaction ends.
    pub held: Vec<DiffId>,
    /// These are not there.
    pub missing: Vec<DiffId>,
}

impl Store {
    /// Pins nothing yet. A store that is open for reading alone can be pinned too.
    pub fn pins(&self) -> Pins {
        Pins { store: self.clone(), files: HashMap::new(), directory: None }
    }
}

impl Pins {
    /// Keeps the layers that are there from being removed. It takes at most 33 file descriptors.
    pub fn pin(&mut self, diff_ids: &[DiffId]) -> Result<Pinned, FileError> {
        let mut pinned = Pinned { held: Vec::new(), missing: Vec::new() };
        for diff_id in diff_ids {
            match self.pin_one(*diff_id)? {
                true => pinned.held.push(*diff_id),
                false => pinned.missing.push(*diff_id),
            }
        }
        Ok(pinned)
    }

    fn pin_one(&mut self, diff_id: DiffId) -> Result<bool, FileError> {
        if self.files.contains_key(&diff_id) {
            return Ok(true);
        }
        match durable::open_held(&self.store.blob_path(diff_id.0))? {
            Some(file) => self.insert(diff_id, file).map(|()| true),
            None => Ok(false),
        }
    }

    /// Takes over the lock on a layer's file.
    pub(crate) fn insert(&mut self, diff_id: DiffId, file: File) -> Result<(), FileError> {
        if self.directory.is_none() && self.files.len() >= MAX_PINNED_FILES {
            self.directory = Some(durable::hold_directory(&self.store.blobs())?);
            self.files.values_mut().for_each(|file| *file = None);
        }
        let file = self.directory.is_none().then_some(file);
        self.files.insert(diff_id, file);
        Ok(())
    }

    /// Pins a layer anew, whose file was replaced by another process.
    pub(crate) fn pin_again(&mut self, diff_id: DiffId) -> Result<bool, FileError> {
        self.files.remove(&diff_id);
        self.pin_one(diff_id)
    }

    pub(crate) fn clear(&mut self) {
        self.files.clear();
        self.directory = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OpenMode;
    use crate::transaction::remove_blob;
    use std::fs;
    use tarball::Digest;

    #[test]
    fn few_or_many_none_that_is_pinned_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), OpenMode::Create).unwrap();
        let layers: Vec<DiffId> =
            (0..MAX_PINNED_FILES * 3).map(|i| DiffId(Digest::of(&i.to_le_bytes()))).collect();
        layers.iter().for_each(|layer| fs::write(store.blob_path(layer.0), b"x").unwrap());
        for count in [1, MAX_PINNED_FILES, MAX_PINNED_FILES + 1, layers.len()] {
            let mut pins = store.pins();
            assert_eq!(pins.pin(&layers[..count]).unwrap().held.len(), count);
            let open = pins.files.values().filter(|file| file.is_some()).count();
            assert!(open <= MAX_PINNED_FILES, "{open}");
            for layer in &layers[..count] {
                assert_eq!(remove_blob(&store, layer.0).unwrap(), durable::Removal::Held);
            }
        }
        let last = layers[0];
        assert_eq!(remove_blob(&store, last.0).unwrap(), durable::Removal::Removed(1));
        assert_eq!(store.pins().pin(&[last]).unwrap().missing, [last]);
    }
}
