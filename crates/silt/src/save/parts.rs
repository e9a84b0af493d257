//! An archive in parts, for file systems that take no large files (`docs/formats/parts.md`).
//!
//! The parts are the archive cut in pieces, `NAME.000`, `NAME.001`, …: put together they are the plain
//! file. Beside them lies a list, by which a part that is missing or of another archive is named.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tarball::Digester;
use tempfile::NamedTempFile;

use crate::durable::{new_beside, replace_file, sync_folder_of};
use crate::parts::{ListedPart, MAX_PARTS, PartList, list_path, part_path};

/// Takes in an archive and cuts it.
pub(super) struct PartsWriter {
    path: PathBuf,
    part_bytes: u64,
    done: Vec<(NamedTempFile, ListedPart)>,
    open: Option<OpenPart>,
}

struct OpenPart {
    file: NamedTempFile,
    digester: Digester,
}

impl PartsWriter {
    pub(super) fn new(path: &Path, part_bytes: u64) -> Self {
        Self { path: path.to_owned(), part_bytes, done: Vec::new(), open: None }
    }

    fn part(&mut self) -> io::Result<&mut OpenPart> {
        if self.open.as_ref().is_some_and(|part| part.digester.length() >= self.part_bytes) {
            self.close_part()?;
        }
        if self.open.is_none() && self.done.len() >= MAX_PARTS {
            let why = format!("it would be more than {MAX_PARTS} parts");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(match &mut self.open {
            Some(part) => part,
            none => {
                let file = new_beside(&part_path(&self.path, self.done.len()))?;
                none.insert(OpenPart { file, digester: Digester::new() })
            }
        })
    }

    fn close_part(&mut self) -> io::Result<()> {
        let Some(part) = self.open.take() else { return Ok(()) };
        part.file.as_file().sync_all()?;
        let name = part_path(&self.path, self.done.len());
        let file = name.file_name().map(|name| name.to_string_lossy().into_owned());
        let bytes = part.digester.length();
        let digest = part.digester.finish();
        self.done.push((part.file, ListedPart { file: file.unwrap_or_default(), bytes, digest }));
        Ok(())
    }

    /// Puts all parts in their places, and the list last. Parts of a longer archive that was there
    /// before go: they would be taken for more of this one.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.close_part()?;
        let list_path = list_path(&self.path);
        // While parts of two archives lie there, nothing says that they belong together.
        remove_if_there(&list_path)?;
        let mut list = PartList { version: PartList::VERSION, bytes: 0, parts: Vec::new() };
        for (number, (file, part)) in self.done.into_iter().enumerate() {
            file.persist(part_path(&self.path, number)).map_err(|error| error.error)?;
            list.bytes += part.bytes;
            list.parts.push(part);
        }
        let mut next = list.parts.len();
        while remove_if_there(&part_path(&self.path, next))? {
            next += 1;
        }
        sync_folder_of(&self.path)?;
        let text = serde_json::to_vec_pretty(&list)?;
        replace_file(&list_path, |file| file.write_all(&text))
    }
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Write for PartsWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part_bytes = self.part_bytes;
        let part = self.part()?;
        let left = usize::try_from(part_bytes - part.digester.length()).unwrap_or(usize::MAX);
        // The file itself: errors of the other name the hidden file.
        let count = part.file.as_file_mut().write(&bytes[..left.min(bytes.len())])?;
        part.digester.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
