//! Reading notes into an index.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::pack::{BLOCK_BYTES, FileNote, Note, PackedBlock};

/// The longest note: a segment has a few headers, an extended one of which may have a megabyte.
const MAX_NOTE_BYTES: u64 = 16 << 20;
/// The most that all notes together may have uncompressed: ten million files.
const MAX_NOTES_BYTES: u64 = 16 << 30;
/// The most memory that they may take once they are packed.
const MAX_MEMORY_BYTES: usize = 64 << 20;
/// The longest path of a file.
const MAX_NAME_BYTES: usize = 64 << 10;

/// The notes on one layer's tar.
#[derive(Debug)]
pub struct TarSplit {
    blocks: Vec<PackedBlock>,
    size_bytes: u64,
}

/// Notes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// They could not be read, or are no gzip.
    #[error("cannot read them")]
    Read(#[from] io::Error),
    /// A note is no JSON, or none that tar-split writes.
    #[error("note {number} is not one that tar-split writes")]
    Parse {
        /// Which, counted from 0.
        number: u64,
        /// Why not.
        source: serde_json::Error,
    },
    /// A note makes no sense.
    #[error("note {number} {why}")]
    Note {
        /// Which, counted from 0.
        number: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is more than can be kept.
    #[error("they are larger than any layer's can be")]
    TooLarge,
}

/// One note, as Go writes it.
#[derive(Deserialize)]
struct WrittenNote<'a> {
    r#type: u8,
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    /// The name, where it is no UTF-8.
    #[serde(default, borrow)]
    name_raw: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default, borrow)]
    payload: Option<Cow<'a, str>>,
    position: u64,
}

const FILE: u8 = 1;
const SEGMENT: u8 = 2;

impl TarSplit {
    /// Reads notes as they are stored, compressed by gzip.
    pub fn read_gzip(stored: impl Read) -> Result<Self, NotesError> {
        Self::read(BufReader::new(MultiGzDecoder::new(BufReader::new(stored))))
    }

    /// Reads notes that are not compressed.
    pub fn read(mut notes: impl BufRead) -> Result<Self, NotesError> {
        let mut packer = Packer::default();
        let (mut line, mut number, mut total_bytes) = (Vec::new(), 0, 0u64);
        loop {
            line.clear();
            let read = (&mut notes).take(MAX_NOTE_BYTES).read_until(b'\n', &mut line)? as u64;
            total_bytes += read;
            if read == 0 {
                return packer.finish();
            }
            if read == MAX_NOTE_BYTES || total_bytes > MAX_NOTES_BYTES {
                return Err(NotesError::TooLarge);
            }
            packer.add(parse(&line, number)?)?;
            number += 1;
        }
    }

    /// The size of the tar.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn blocks(&self) -> &[PackedBlock] {
        &self.blocks
    }
}

fn parse(line: &[u8], number: u64) -> Result<Note, NotesError> {
    let error = |why| NotesError::Note { number, why };
    let written: WrittenNote<'_> =
        serde_json::from_slice(line).map_err(|source| NotesError::Parse { number, source })?;
    if written.position != number {
        return Err(error("is not in its place"));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| error("is not base64"));
    let payload = written.payload.as_deref().map(decode).transpose()?.unwrap_or_default();
    match written.r#type {
        SEGMENT => Ok(Note::Segment(payload)),
        FILE => {
            let name = match (&written.name_raw, written.name) {
                (Some(raw), _) if !raw.is_empty() => decode(raw)?,
                (_, name) => name.unwrap_or_default().into_owned().into_bytes(),
            };
            if name.len() > MAX_NAME_BYTES {
                return Err(error("has a name that no file can have"));
            }
            let crc = <[u8; 8]>::try_from(payload.as_slice()).ok().map(u64::from_be_bytes);
            let size_bytes = written.size.unwrap_or(0);
            Ok(Note::File(FileNote { name, size_bytes, crc }))
        }
        _ => Err(error("is of no kind that there is")),
    }
}

/// Packs notes into blocks.
#[derive(Default)]
struct Packer {
    blocks: Vec<PackedBlock>,
    /// Notes that are not packed yet, and where the first of them is.
    raw: Vec<u8>,
    start: u64,
    /// Where the next one is.
    at: u64,
    memory_bytes: usize,
}

impl Packer {
    fn add(&mut self, note: Note) -> Result<(), NotesError> {
        let tar_bytes = note.tar_bytes();
        // Folders, links and empty files have nothing but their headers.
        if tar_bytes == 0 {
            return Ok(());
        }
        note.write(&mut self.raw);
        self.at = self.at.checked_add(tar_bytes).ok_or(NotesError::TooLarge)?;
        if self.raw.len() >= BLOCK_BYTES { self.pack() } else { Ok(()) }
    }

    fn pack(&mut self) -> Result<(), NotesError> {
        let block = PackedBlock::pack(self.start, &self.raw)?;
        self.memory_bytes += block.memory_bytes();
        if self.memory_bytes > MAX_MEMORY_BYTES {
            return Err(NotesError::TooLarge);
        }
        self.blocks.push(block);
        self.raw.clear();
        self.start = self.at;
        Ok(())
    }

    fn finish(mut self) -> Result<TarSplit, NotesError> {
        if !self.raw.is_empty() {
            self.pack()?;
        }
        Ok(TarSplit { blocks: self.blocks, size_bytes: self.at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(notes: &str) -> Result<TarSplit, NotesError> {
        TarSplit::read(notes.as_bytes())
    }

    #[test]
    fn what_is_no_note_is_refused_by_its_number() {
        let first = "{\"type\":2,\"payload\":\"aGVhZA==\",\"position\":0}\n";
        assert_eq!(read(first).unwrap().size_bytes(), 4);
        for (second, number) in [
            ("{\"type\":2,\"payload\":\"aGVhZA==\",\"position\":0}", 1),
            ("{\"type\":3,\"payload\":\"aGVhZA==\",\"position\":1}", 1),
            ("{\"type\":2,\"payload\":\"?\",\"position\":1}", 1),
            ("{\"type\":2", 1),
            ("nonsense", 1),
        ] {
            let error = read(&format!("{first}{second}")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("note {number} ")), "{error}");
        }
        let huge = format!("{{\"type\":1,\"name\":\"a\",\"size\":{},\"position\":1}}\n", u64::MAX);
        assert!(matches!(read(&format!("{first}{huge}")), Err(NotesError::TooLarge)));
    }

    #[test]
    fn notes_that_are_cut_or_no_gzip_are_refused() {
        assert!(matches!(TarSplit::read_gzip(&b"plain"[..]), Err(NotesError::Read(_))));
    }
}
