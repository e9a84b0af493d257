//! Notes in blocks: a layer of a hundred thousand files has a hundred megabytes of headers, which are
//! kept compressed, and unpacked a block at a time.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// A block is full when its notes have so many bytes.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// One note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// Bytes of the tar.
    Segment(Vec<u8>),
    /// The contents of a file.
    File(FileNote),
}

/// What is noted of a file that has contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileNote {
    /// Its path, as the tar has it.
    pub(super) name: Vec<u8>,
    pub(super) size_bytes: u64,
    /// The CRC-64 of its contents, where it was noted.
    pub(super) crc: Option<u64>,
}

/// Some notes, compressed.
#[derive(Debug)]
pub(super) struct PackedBlock {
    /// Where the first of them is in the tar.
    pub(super) start: u64,
    packed: Vec<u8>,
    raw_bytes: usize,
}

/// Notes with their places in the tar, in order.
pub(super) type Block = Vec<(u64, Note)>;

const SEGMENT: u8 = 0;
const FILE: u8 = 1;
const FILE_WITH_CRC: u8 = 2;

impl Note {
    /// How many bytes of the tar it stands for.
    pub(super) fn tar_bytes(&self) -> u64 {
        match self {
            Self::Segment(bytes) => bytes.len() as u64,
            Self::File(file) => file.size_bytes,
        }
    }

    /// Appends the note as kind, length, and bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Segment(bytes) => {
                out.push(SEGMENT);
                write_bytes(bytes, out);
            }
            Self::File(file) => {
                out.push(if file.crc.is_some() { FILE_WITH_CRC } else { FILE });
                write_bytes(&file.name, out);
                out.extend_from_slice(&file.size_bytes.to_le_bytes());
                out.extend(file.crc.iter().flat_map(|crc| crc.to_le_bytes()));
            }
        }
    }

    fn read(from: &mut &[u8]) -> io::Result<Self> {
        let [kind] = take(from)?;
        let bytes = read_bytes(from)?;
        Ok(match kind {
            SEGMENT => Self::Segment(bytes),
            _ => {
                let size_bytes = u64::from_le_bytes(take(from)?);
                let crc = match kind {
                    FILE_WITH_CRC => Some(u64::from_le_bytes(take(from)?)),
                    _ => None,
                };
                Self::File(FileNote { name: bytes, size_bytes, crc })
            }
        })
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn read_bytes(from: &mut &[u8]) -> io::Result<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(take(from)?)).unwrap_or(usize::MAX);
    let (bytes, rest) = from.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *from = rest;
    Ok(bytes.to_vec())
}

fn take<const N: usize>(from: &mut &[u8]) -> io::Result<[u8; N]> {
    let (bytes, rest) = from.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    *from = rest;
    Ok(*bytes)
}

impl PackedBlock {
    pub(super) fn pack(start: u64, raw: &[u8]) -> io::Result<Self> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(raw)?;
        let mut packed = encoder.finish()?;
        packed.shrink_to_fit();
        Ok(Self { start, packed, raw_bytes: raw.len() })
    }

    pub(super) fn unpack(&self) -> io::Result<Block> {
        let mut raw = Vec::with_capacity(self.raw_bytes);
        DeflateDecoder::new(self.packed.as_slice()).read_to_end(&mut raw)?;
        let (mut rest, mut at, mut block) = (raw.as_slice(), self.start, Vec::new());
        while !rest.is_empty() {
            let note = Note::read(&mut rest)?;
            let tar_bytes = note.tar_bytes();
            block.push((at, note));
            at = at.saturating_add(tar_bytes);
        }
        Ok(block)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.packed.len() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn any_note() -> impl Strategy<Value = Note> {
        prop_oneof![
            vec(any::<u8>(), 0..2000).prop_map(Note::Segment),
            (vec(any::<u8>(), 0..300), 0..u64::from(u32::MAX), any::<Option<u64>>())
                .prop_map(|(name, size_bytes, crc)| Note::File(FileNote { name, size_bytes, crc })),
        ]
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back_with_its_places(
            notes in vec(any_note(), 0..40),
            start in 0..u64::from(u32::MAX),
        ) {
            let mut raw = Vec::new();
            notes.iter().for_each(|note| note.write(&mut raw));
            let block = PackedBlock::pack(start, &raw).unwrap().unpack().unwrap();
            let mut at = start;
            for (note, (place, unpacked)) in notes.iter().zip(&block) {
                prop_assert_eq!((at, note), (*place, unpacked));
                at += note.tar_bytes();
            }
            prop_assert_eq!(block.len(), notes.len());
        }
    }
}
