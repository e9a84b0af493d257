//! The folder with the trusted keys: one file `KEYID.pub` for each, as minisign writes it. Files that
//! somebody else put there under other names `*.pub` count as well.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use signing::{KeyId, MAX_FILE_BYTES, PublicKey};

use super::TrustError;
use crate::durable::replace_file;

/// The folder.
#[derive(Debug, Clone)]
pub struct TrustDirectory {
    path: PathBuf,
}

/// A trusted key and its file.
#[derive(Debug, Clone, Serialize)]
pub struct TrustedKey {
    /// How it is called.
    #[serde(serialize_with = "super::display")]
    pub key_id: KeyId,
    /// What its file says of it.
    pub comment: String,
    /// The file.
    pub path: PathBuf,
    /// The key itself.
    #[serde(skip)]
    pub key: PublicKey,
}

impl TrustDirectory {
    /// A folder, which need not be there.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// All keys in it, by their files' names. A file that is no key is an error: somebody meant it to
    /// be one.
    pub fn keys(&self) -> Result<Vec<TrustedKey>, TrustError> {
        let error = |source| TrustError::Io { what: "read", path: self.path.clone(), source };
        let entries = match fs::read_dir(&self.path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(error)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(error)?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.into_iter().map(trusted_key).collect()
    }

    /// Trusts a key from now on. One that is trusted already is renewed.
    pub fn add(&self, key: PublicKey) -> Result<TrustedKey, TrustError> {
        let path = self.path.join(format!("{}.pub", key.id));
        let error = |source| TrustError::Io { what: "write", path: path.clone(), source };
        fs::create_dir_all(&self.path).map_err(error)?;
        replace_file(&path, |file| file.write_all(key.to_text().as_bytes())).map_err(error)?;
        Ok(TrustedKey { key_id: key.id, comment: key.comment.clone(), path, key })
    }

    /// Does not trust a key any more. It is named by its ID.
    pub fn remove(&self, asked: &str) -> Result<Vec<TrustedKey>, TrustError> {
        let id = KeyId::from_hex(asked);
        let keys = self.keys()?.into_iter().filter(|key| Some(key.key_id) == id);
        let keys: Vec<TrustedKey> = keys.collect();
        if keys.is_empty() {
            let asked = asked.chars().take(100).collect();
            return Err(TrustError::NoSuchKey { asked });
        }
        for key in &keys {
            let path = key.path.clone();
            let error = |source| TrustError::Io { what: "remove", path, source };
            fs::remove_file(&key.path).map_err(error)?;
        }
        let path = self.path.clone();
        let synced = fs::File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| TrustError::Io { what: "write", path, source })?;
        Ok(keys)
    }
}

fn trusted_key(path: PathBuf) -> Result<TrustedKey, TrustError> {
    let text = read_bounded(&path).map_err(|source| TrustError::Io {
        what: "read",
        path: path.clone(),
        source,
    })?;
    match PublicKey::parse(&text) {
        Ok(key) => Ok(TrustedKey { key_id: key.id, comment: key.comment.clone(), path, key }),
        Err(source) => Err(TrustError::NotAKey { path, source }),
    }
}

/// A key or a signature. What is larger is cut, and then refused.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signing::SecretKey;

    #[test]
    fn keys_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let directory = TrustDirectory::new(&folder.path().join("a/trust.d"));
        assert!(directory.keys().unwrap().is_empty());
        let key = |id: &[u8; 8]| SecretKey::from_seed(KeyId(*id), &[1; 32]).public_key("of us");
        let first = directory.add(key(b"1st key ")).unwrap();
        directory.add(key(b"2nd key ")).unwrap();
        directory.add(key(b"1st key ")).unwrap();
        let keys = directory.keys().unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys.iter().all(|key| key.comment == "of us"));
        directory.remove(&first.key_id.to_string()).unwrap();
        assert_eq!(directory.keys().unwrap()[0].key.id, KeyId(*b"2nd key "));
        for absent in ["", "*", &first.key_id.to_string()] {
            assert!(matches!(directory.remove(absent), Err(TrustError::NoSuchKey { .. })));
        }
        fs::write(folder.path().join("a/trust.d/x.pub"), "no key").unwrap();
        assert!(matches!(directory.keys(), Err(TrustError::NotAKey { .. })));
    }
}
