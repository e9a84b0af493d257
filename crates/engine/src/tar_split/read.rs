//! The tar, out of notes and files.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::TarSplit;
use super::crc;
use super::pack::{Block, FileNote, Note};
use crate::error::{LayerReadError, check_range};
use crate::files::LayerFolder;
use crate::place::LayerBytes;

/// Blocks of notes that are kept unpacked.
const MAX_BLOCKS: usize = 16;
/// Files that are kept open.
const MAX_FILES: usize = 16;
/// Files are read in pieces of so many bytes where all of them are.
const PIECE_BYTES: usize = 128 << 10;

/// A layer's tar, read at random out of the folder in which its files are.
#[derive(Debug)]
pub struct SplitLayer {
    notes: TarSplit,
    folder: LayerFolder,
    /// By number.
    blocks: Mutex<Recent<usize, Arc<Block>>>,
    /// By the place of their contents in the tar.
    files: Mutex<Recent<u64, Arc<File>>>,
}

impl SplitLayer {
    /// The layer whose files are in `folder`.
    pub fn open(notes: TarSplit, folder: &Path) -> io::Result<Self> {
        let folder = LayerFolder::open(folder)?;
        let (blocks, files) = (Recent::new(MAX_BLOCKS), Recent::new(MAX_FILES));
        Ok(Self { notes, folder, blocks: Mutex::new(blocks), files: Mutex::new(files) })
    }

    /// The notes of a block.
    fn block(&self, number: usize) -> Result<Arc<Block>, LayerReadError> {
        let packed = &self.notes.blocks()[number];
        find_or_make(&self.blocks, number, || Ok(Arc::new(packed.unpack()?)))
            .map_err(|source| LayerReadError::Notes { source })
    }

    /// The block that has the note for an offset within the tar.
    fn block_number(&self, offset: u64) -> usize {
        self.notes.blocks().partition_point(|block| block.start <= offset).saturating_sub(1)
    }

    /// Reads from one note; gives how many bytes that were.
    fn read_note(
        &self,
        start: u64,
        note: &Note,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, LayerReadError> {
        let within = offset - start;
        let left = usize::try_from(note.tar_bytes() - within).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        match note {
            Note::Segment(bytes) => {
                let at = usize::try_from(within).unwrap_or(usize::MAX);
                buffer[..count].copy_from_slice(&bytes[at..at + count]);
            }
            Note::File(note) => {
                let file = self.file(start, note)?;
                let read = file.read_exact_at(&mut buffer[..count], within);
                read.map_err(|source| file_error(note, &file, source))?;
            }
        }
        Ok(count)
    }

    /// The file whose contents are at `start`. One that does not have the size that was noted is not the
    /// one that the engine unpacked.
    fn file(&self, start: u64, note: &FileNote) -> Result<Arc<File>, LayerReadError> {
        let open = || {
            let file = self.folder.open_file(&note.name)?;
            let found = file.metadata()?.len();
            match found == note.size_bytes {
                true => Ok(Arc::new(file)),
                false => Err(wrong_size(note, found).into()),
            }
        };
        find_or_make(&self.files, start, open).map_err(|source| {
            match source.downcast::<LayerReadError>() {
                Ok(error) => error,
                Err(source) if source.kind() == io::ErrorKind::NotFound => {
                    LayerReadError::FileMissing { file: text(&note.name) }
                }
                Err(source) => LayerReadError::File { file: text(&note.name), source },
            }
        })
    }

    /// The CRC-64 of a file's contents.
    fn checksum(&self, start: u64, note: &FileNote) -> Result<u64, LayerReadError> {
        let file = self.file(start, note)?;
        let mut buffer = vec![0; PIECE_BYTES];
        let (mut at, mut sum) = (0, 0);
        while at < note.size_bytes {
            let left = usize::try_from(note.size_bytes - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(PIECE_BYTES)];
            file.read_exact_at(piece, at).map_err(|source| file_error(note, &file, source))?;
            sum = crc::update(sum, piece);
            at += piece.len() as u64;
        }
        Ok(sum)
    }

    fn is_changed(&self, start: u64, note: &FileNote) -> Result<bool, LayerReadError> {
        match (self.checksum(start, note), note.crc) {
            (Ok(found), Some(noted)) => Ok(found != noted),
            (Ok(_), None) => Ok(false),
            (Err(error), _) if error.is_damage() => Ok(true),
            (Err(error), _) => Err(error),
        }
    }
}

impl LayerBytes for SplitLayer {
    fn size_bytes(&self) -> u64 {
        self.notes.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LayerReadError> {
        check_range(self.size_bytes(), offset, buffer.len())?;
        let (mut done, mut at) = (0, offset);
        let mut number = self.block_number(offset);
        while done < buffer.len() {
            let block = self.block(number)?;
            let first = block.partition_point(|(start, _)| *start <= at).saturating_sub(1);
            for (start, note) in &block[first..] {
                let count = self.read_note(*start, note, &mut buffer[done..], at)?;
                done += count;
                at += count as u64;
                if done == buffer.len() {
                    break;
                }
            }
            number += 1;
        }
        Ok(())
    }

    fn changed_files(&self) -> Result<Vec<String>, LayerReadError> {
        let mut changed = Vec::new();
        for number in 0..self.notes.blocks().len() {
            for (start, note) in self.block(number)?.iter() {
                if let Note::File(note) = note
                    && self.is_changed(*start, note)?
                {
                    changed.push(text(&note.name));
                }
            }
        }
        Ok(changed)
    }
}

/// A file that was cut while it was open ends too early.
fn file_error(note: &FileNote, file: &File, source: io::Error) -> LayerReadError {
    match file.metadata() {
        Ok(found) if found.len() != note.size_bytes => wrong_size(note, found.len()),
        _ => LayerReadError::File { file: text(&note.name), source },
    }
}

fn wrong_size(note: &FileNote, found: u64) -> LayerReadError {
    LayerReadError::FileSize { file: text(&note.name), expected: note.size_bytes, found }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The values that were used last.
#[derive(Debug)]
struct Recent<K, V> {
    limit: usize,
    /// The one that was used last is at the end.
    values: VecDeque<(K, V)>,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    fn new(limit: usize) -> Self {
        Self { limit, values: VecDeque::with_capacity(limit) }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let at = self.values.iter().position(|(known, _)| known == key)?;
        let found = self.values.remove(at)?;
        let value = found.1.clone();
        self.values.push_back(found);
        Some(value)
    }

    fn add(&mut self, key: K, value: V) {
        if self.values.len() >= self.limit {
            self.values.pop_front();
        }
        self.values.push_back((key, value));
    }
}

/// Two threads may make the same value at once: that costs less than waiting for each other.
fn find_or_make<K: PartialEq, V: Clone>(
    recent: &Mutex<Recent<K, V>>,
    key: K,
    make: impl FnOnce() -> io::Result<V>,
) -> io::Result<V> {
    if let Some(value) = recent.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(value);
    }
    let value = make()?;
    recent.lock().unwrap_or_else(PoisonError::into_inner).add(key, value.clone());
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::fs;

    /// Notes, a folder and a tar that belong together: pairs of a header and the contents of a file.
    fn layer(parts: &[(Vec<u8>, Vec<u8>)]) -> (SplitLayer, Vec<u8>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (mut notes, mut tar) = (String::new(), Vec::new());
        for (i, (segment, contents)) in parts.iter().enumerate() {
            let payload = STANDARD.encode(segment);
            notes += &format!("{{\"type\":2,\"payload\":\"{payload}\",\"position\":{}}}\n", 2 * i);
            let crc = STANDARD.encode(crc::update(0, contents).to_be_bytes());
            notes += &format!(
                "{{\"type\":1,\"name\":\"d/{i}\",\"size\":{},\"payload\":\"{crc}\",\"position\":{}}}\n",
                contents.len(),
                2 * i + 1
            );
            fs::create_dir_all(folder.path().join("d")).unwrap();
            fs::write(folder.path().join(format!("d/{i}")), contents).unwrap();
            tar.extend_from_slice(segment);
            tar.extend_from_slice(contents);
        }
        let notes = TarSplit::read(notes.as_bytes()).unwrap();
        (SplitLayer::open(notes, folder.path()).unwrap(), tar, folder)
    }

    fn any_parts() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes = || prop_oneof![vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..30_000)];
        vec((bytes(), bytes()), 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_range_reads_as_in_the_tar(
            parts in any_parts(),
            ranges in vec((any::<prop::sample::Index>(), 0usize..5000), 1..50),
        ) {
            let (layer, tar, _folder) = layer(&parts);
            prop_assert_eq!(layer.size_bytes(), tar.len() as u64);
            for (start, length) in ranges {
                let start = start.index(tar.len() + 1);
                let end = (start + length).min(tar.len());
                let mut read = vec![0; end - start];
                layer.read_exact_at(&mut read, start as u64).unwrap();
                prop_assert_eq!(&read, &tar[start..end]);
            }
            let size = tar.len() as u64;
            let past = layer.read_exact_at(&mut [0; 2], size.saturating_sub(1));
            let is_refused = matches!(past, Err(LayerReadError::OutOfRange { .. }));
            prop_assert!(is_refused);
        }
    }

    #[test]
    fn files_that_were_changed_under_the_engine_are_named() {
        let parts: Vec<_> = (0..4).map(|i| (vec![b'h'; 512], vec![b'a' + i; 1000])).collect();
        let (layer, _, folder) = layer(&parts);
        assert_eq!(layer.changed_files().unwrap(), Vec::<String>::new());
        fs::write(folder.path().join("d/1"), vec![b'x'; 1000]).unwrap();
        assert_eq!(layer.changed_files().unwrap(), ["d/1"]);
        fs::write(folder.path().join("d/2"), b"short").unwrap();
        fs::remove_file(folder.path().join("d/3")).unwrap();
        let (notes, folder) = (layer.notes, folder.path());
        let layer = SplitLayer::open(notes, folder).unwrap();
        assert_eq!(layer.changed_files().unwrap(), ["d/1", "d/2", "d/3"]);
        let mut buffer = [0; 100];
        let error = layer.read_exact_at(&mut buffer, 2 * 1512 + 512).unwrap_err();
        assert!(
            matches!(error, LayerReadError::FileSize { expected: 1000, found: 5, .. }),
            "{error}"
        );
        let error = layer.read_exact_at(&mut buffer, 3 * 1512 + 512).unwrap_err();
        assert!(matches!(error, LayerReadError::FileMissing { .. }), "{error}");
        assert!(error.to_string().contains("d/3"));
    }
}
