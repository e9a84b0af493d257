//! Images in a directory with an [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md):
//! a new one, or one that is there and gets them beside those that it has.
//!
//! Blobs come first and the index last, so that a layout never names what is not there. Whatever was begun
//! and not finished is removed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tarball::Digester;
use tarball::manifest::annotation;
use tarball::write::{INDEX, LAYOUT, MemberSink};
use tempfile::NamedTempFile;

use crate::durable::{new_beside, replace_file, sync_folder_of};
use crate::progress::{Progress, moved};

/// An index of ten thousand images is smaller.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// A layout that is being written.
pub(super) struct LayoutWriter<'a> {
    folder: PathBuf,
    progress: &'a dyn Progress,
    member: Option<Member>,
    /// What is to be in the index.
    index: Vec<u8>,
    /// What is removed again where it is not finished.
    made: Vec<PathBuf>,
    written_bytes: u64,
}

enum Member {
    /// Kept for the end.
    Index,
    /// It is there, and the same.
    Present,
    File {
        file: NamedTempFile,
        path: PathBuf,
    },
}

impl<'a> LayoutWriter<'a> {
    /// Begins in a directory that is a layout, is empty, or is not there.
    pub(super) fn begin(folder: &Path, progress: &'a dyn Progress) -> io::Result<Self> {
        let mut made = Vec::new();
        match fs::read_dir(folder) {
            Ok(mut entries) => {
                if entries.next().is_some() && !folder.join(LAYOUT).is_file() {
                    let why = "it is neither empty nor an OCI layout";
                    return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, why));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(folder)?;
                made.push(folder.to_owned());
            }
            Err(error) => return Err(error),
        }
        let folder = folder.to_owned();
        let mut layout =
            Self { folder, progress, member: None, index: Vec::new(), made, written_bytes: 0 };
        for part in ["blobs", "blobs/sha256"] {
            let path = layout.folder.join(part);
            match fs::create_dir(&path) {
                Ok(()) => layout.made.push(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(layout)
    }

    /// Names what was written in the index; gives the bytes that were written.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        for part in ["blobs/sha256/x", "blobs/x", "x"] {
            sync_folder_of(&self.folder.join(part))?;
        }
        let path = self.folder.join(INDEX);
        let merged = match read_index(&path)? {
            Some(known) => merge(known, &self.index)?,
            None => std::mem::take(&mut self.index),
        };
        replace_file(&path, |file| file.write_all(&merged))?;
        sync_folder_of(&self.folder)?;
        self.made.clear();
        Ok(self.written_bytes + merged.len() as u64)
    }
}

impl MemberSink for LayoutWriter<'_> {
    fn start(&mut self, name: &str, size: u64) -> io::Result<()> {
        let path = self.folder.join(name);
        self.member = Some(match name {
            INDEX => Member::Index,
            _ if is_present(&path, size)? => Member::Present,
            _ => Member::File { file: new_beside(&path)?, path },
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.member {
            Some(Member::File { file, .. }) => {
                file.write_all(bytes)?;
                self.written_bytes += bytes.len() as u64;
            }
            Some(Member::Index) => self.index.extend_from_slice(bytes),
            Some(Member::Present) | None => {}
        }
        moved(self.progress, bytes.len())
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(Member::File { file, path }) = self.member.take() {
            file.as_file().sync_all()?;
            let was_there = path.exists();
            file.persist(&path).map_err(|error| error.error)?;
            if !was_there {
                self.made.push(path);
            }
        }
        Ok(())
    }
}

impl Drop for LayoutWriter<'_> {
    fn drop(&mut self) {
        self.member = None;
        // What cannot be removed is a blob that nothing names.
        for path in self.made.iter().rev() {
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

/// Whether a file is there that need not be written again: a blob by its digest, anything else by being there.
fn is_present(path: &Path, size: u64) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name == LAYOUT {
        return Ok(true);
    }
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let (found, _) = Digester::of_reader(&mut &file)?;
    Ok(found.hex() == name)
}

/// The index that is there; `None` where there is none.
fn read_index(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_INDEX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_INDEX_BYTES {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "its index.json is too large")),
        false => Ok(Some(bytes)),
    }
}

/// The entries of both; a new one takes the place of those that have its name, or that are the same without one.
fn merge(known: Vec<u8>, new: &[u8]) -> io::Result<Vec<u8>> {
    let mut index: Value = serde_json::from_slice(&known)?;
    let Value::Array(new) = serde_json::from_slice::<Value>(new)?["manifests"].take() else {
        return Ok(known);
    };
    let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its index.json is no index"));
    };
    entries.retain(|old| new.iter().all(|new| !is_replaced(old, new)));
    entries.extend(new);
    Ok(serde_json::to_vec(&index)?)
}

fn is_replaced(old: &Value, new: &Value) -> bool {
    let name = |entry: &Value| {
        let name = entry.get("annotations").and_then(|notes| notes.get(annotation::REF_NAME));
        name.and_then(Value::as_str).map(str::to_owned)
    };
    match (name(old), name(new)) {
        (None, None) => old["digest"] == new["digest"],
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoProgress;
    use tarball::Digest;

    fn entry(name: Option<&str>, digest: &str) -> String {
        let notes =
            name.map(|name| format!(r#","annotations":{{"{}":"{name}"}}"#, annotation::REF_NAME));
        format!(r#"{{"digest":"{digest}"{}}}"#, notes.unwrap_or_default())
    }

    fn index(entries: &[String]) -> Vec<u8> {
        format!(r#"{{"schemaVersion":2,"manifests":[{}],"x":1}}"#, entries.join(",")).into_bytes()
    }

    fn add(layout: &mut LayoutWriter<'_>, name: &str, bytes: &[u8]) {
        layout.start(name, bytes.len() as u64).unwrap();
        layout.write(bytes).unwrap();
        layout.end().unwrap();
    }

    #[test]
    fn what_an_index_has_stays_unless_it_has_the_same_name() {
        let known = index(&[entry(Some("a"), "1"), entry(Some("b"), "2"), entry(None, "3")]);
        let new = index(&[entry(Some("b"), "4"), entry(None, "3")]);
        let merged: Value = serde_json::from_slice(&merge(known, &new).unwrap()).unwrap();
        let digests: Vec<_> = merged["manifests"].as_array().unwrap().iter().collect();
        let digests: Vec<_> =
            digests.iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
        assert_eq!(digests, ["1", "4", "3"]);
        assert_eq!(merged["x"], 1);
        assert!(merge(b"[]".to_vec(), &index(&[])).is_err());
        assert!(merge(b"{".to_vec(), &index(&[])).is_err());
    }

    #[test]
    fn what_was_not_finished_is_gone_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("layout");
        let blob = |text: &str| format!("blobs/sha256/{}", Digest::of(text.as_bytes()).hex());
        let mut layout = LayoutWriter::begin(&at, &NoProgress).unwrap();
        add(&mut layout, LAYOUT, b"{}");
        add(&mut layout, &blob("one"), b"one");
        drop(layout);
        assert!(!at.exists());

        let mut layout = LayoutWriter::begin(&at, &NoProgress).unwrap();
        add(&mut layout, LAYOUT, b"{}");
        add(&mut layout, INDEX, &index(&[entry(Some("a"), "1")]));
        add(&mut layout, &blob("one"), b"one");
        layout.finish().unwrap();
        // A blob that was damaged is written again, one that is whole is not.
        fs::write(at.join(blob("two")), b"owt").unwrap();
        let before = fs::metadata(at.join(blob("one"))).unwrap().modified().unwrap();
        let mut layout = LayoutWriter::begin(&at, &NoProgress).unwrap();
        add(&mut layout, &blob("one"), b"one");
        add(&mut layout, &blob("two"), b"two");
        add(&mut layout, &blob("three"), b"three");
        drop(layout);
        assert_eq!(fs::read(at.join(blob("two"))).unwrap(), b"two");
        assert!(!at.join(blob("three")).exists());
        let after = fs::metadata(at.join(blob("one"))).unwrap().modified().unwrap();
        assert_eq!(before, after);
        assert_eq!(fs::read(at.join(INDEX)).unwrap(), index(&[entry(Some("a"), "1")]));
    }

    #[test]
    fn a_directory_of_other_things_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"").unwrap();
        let error = LayoutWriter::begin(folder.path(), &NoProgress).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::DirectoryNotEmpty);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
