//! The store's directory: where its files lie, how it is made and opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tarball::{DiffId, Digest};

use crate::durable::{self, failed};
use crate::error::{OpenError, ReadError};
use crate::index;
use crate::lock::{self, Exclusive, LOCK_WAIT, LockError};

/// The newest format version that this code reads, and the one that it writes.
pub const STORE_VERSION: u64 = 1;

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const VERSION_LIMIT_BYTES: u64 = 64 * 1024;
/// Everything that lies in a store's root, in the order in which it is made.
const FILES: [&str; 7] =
    ["lock", "tmp", "blobs", "blocks", "oci-layout", "index.json", "silt.json"];

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading and writing; the store is made where there is none.
    Create,
    /// Reading and writing; [`OpenError::Missing`] where there is no store.
    ReadWrite,
    /// Reading alone: nothing is made or written. Where there is no store, the view is empty.
    ReadOnly,
}

/// A store of images under one directory. Opening reads only `silt.json`; nothing is kept in memory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    is_writable: bool,
    lock_wait: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionFile {
    store_version: u64,
}

impl Store {
    /// Opens the store at `root`.
    pub fn open(root: &Path, mode: OpenMode) -> Result<Self, OpenError> {
        let store = Self {
            root: std::path::absolute(root).map_err(failed("find", root))?,
            is_writable: mode != OpenMode::ReadOnly,
            lock_wait: LOCK_WAIT,
        };
        match (store.read_version()?, mode) {
            (Some(_), _) => Ok(store),
            (None, OpenMode::Create) => store.create(),
            (None, OpenMode::ReadWrite) => {
                store.check_foreign_files()?;
                Err(OpenError::Missing { root: store.root })
            }
            (None, OpenMode::ReadOnly) => {
                store.check_foreign_files()?;
                Ok(store)
            }
        }
    }

    /// The directory of the store, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is a store at all: one that is opened for reading alone may not be there yet.
    pub fn exists(&self) -> bool {
        self.root.join("silt.json").exists()
    }

    /// Sets how long a publisher waits for another one; 30 seconds unless this is called.
    pub fn set_lock_wait(&mut self, wait: Duration) {
        self.lock_wait = wait;
    }

    /// The format version, or `None` where no store was finished.
    fn read_version(&self) -> Result<Option<u64>, OpenError> {
        let path = self.root.join("silt.json");
        let Some(bytes) = durable::read_small(&path, VERSION_LIMIT_BYTES)? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes).and_then(|found: VersionFile| {
            match found.store_version {
                0 => Err(serde::de::Error::custom("there is no version 0")),
                version => Ok(version),
            }
        });
        let found = parsed.map_err(|source| OpenError::DamagedVersion { path, source })?;
        if found > STORE_VERSION {
            return Err(OpenError::NewerVersion {
                root: self.root.clone(),
                found,
                supported: STORE_VERSION,
            });
        }
        Ok(Some(found))
    }

    /// A store is made only in a directory that is empty, or where the making of one was cut short.
    fn check_foreign_files(&self) -> Result<(), OpenError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &self.root)(error).into()),
        };
        for entry in entries {
            let name = entry.map_err(failed("read", &self.root))?.file_name();
            // A new file system has a `lost+found`, and is a good place for a store.
            if name != "lost+found" && !FILES.iter().any(|file| name == *file) {
                return Err(OpenError::NotAStore {
                    root: self.root.clone(),
                    found: name.to_string_lossy().into_owned(),
                });
            }
        }
        Ok(())
    }

    /// `silt.json` comes last: a store that has it is whole.
    fn create(self) -> Result<Self, OpenError> {
        self.check_foreign_files()?;
        make_directory(&self.root)?;
        let lock = self.lock()?;
        if self.read_version()?.is_some() {
            return Ok(self);
        }
        for directory in ["tmp", "blobs", "blobs/sha256", "blocks"] {
            make_directory(&self.root.join(directory))?;
        }
        durable::sync_directory(&self.root.join("blobs"))?;
        let index = index::empty_index();
        self.put_in_root("oci-layout", OCI_LAYOUT)?;
        if !self.index_path().exists() {
            self.put_in_root("index.json", &index)?;
        } else if !index::read_index(&self)?.foreign.is_empty() {
            // Somebody else's image layout, which Silt must not take over.
            return Err(OpenError::NotAStore {
                root: self.root.clone(),
                found: "index.json".into(),
            });
        }
        let version = format!("{{\"storeVersion\":{STORE_VERSION}}}\n");
        self.put_in_root("silt.json", version.as_bytes())?;
        durable::sync_directory(&self.root)?;
        if let Some(parent) = self.root.parent() {
            durable::sync_directory(parent)?;
        }
        drop(lock);
        Ok(self)
    }

    /// Why `oci-layout` is of no use to other tools, where it is not.
    pub(crate) fn check_layout_file(&self) -> Result<Option<ReadError>, ReadError> {
        let path = self.root.join("oci-layout");
        let found = durable::read_small(&path, VERSION_LIMIT_BYTES)?;
        let is_whole = found.as_deref() == Some(OCI_LAYOUT)
            || self.read_version().is_ok_and(|version| version.is_none());
        Ok((!is_whole).then_some(ReadError::DamagedLayout { path }))
    }

    fn put_in_root(&self, name: &str, bytes: &[u8]) -> Result<(), OpenError> {
        let file = durable::write_temporary(&self.temporary(), bytes)?;
        durable::sync_file(&file)?;
        durable::rename(file, &self.root.join(name))?;
        Ok(())
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }

    pub(crate) fn lock(&self) -> Result<Exclusive, LockError> {
        lock::acquire(&self.root, self.lock_wait)
    }

    /// For tidying up, which a later prune does as well: not worth a long wait.
    pub(crate) fn lock_briefly(&self) -> Result<Exclusive, LockError> {
        lock::acquire(&self.root, self.lock_wait.min(Duration::from_secs(1)))
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn block_files(&self) -> PathBuf {
        self.root.join("blocks")
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn blocks_path(&self, diff_id: DiffId) -> PathBuf {
        self.block_files().join(diff_id.0.hex())
    }

    /// Reads a small blob and checks it against its name.
    pub(crate) fn read_blob(&self, digest: Digest, limit_bytes: u64) -> Result<Vec<u8>, ReadError> {
        let bytes = durable::read_small(&self.blob_path(digest), limit_bytes)?
            .ok_or(ReadError::MissingBlob { digest })?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(ReadError::DamagedBlob { expected: digest, found });
        }
        Ok(bytes)
    }
}

fn make_directory(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(failed("make the directory", path))?;
    Ok(())
}
