//! Which files of a layer lie in a range of its tar.

use std::ops::Range;

use delta::read_at::{FileBasis, ReadAt, ReadError};
use delta::tar_map::{BLOCK_BYTES, Block, Member, TarMap, checksum, number};
use serde::Serialize;
use store::LayerFile;

use super::ByteRange;

/// So many places of one layer are told.
const MAX_PLACES: usize = 1000;

/// A part of a layer that is damaged, or may be: block digests tell no more than 64 KiB apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// The path of the file in the layer; `None` where its header can not be read.
    pub path: Option<String>,
    /// Which part of it.
    pub part: FilePart,
    /// The first byte, as an offset in the file's contents; in a header, in the header.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// Where the first byte is in the layer's uncompressed tar.
    pub layer_offset: u64,
}

/// What a tar has for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FilePart {
    /// Its name, owner, times and the like.
    Header,
    /// Its bytes.
    Contents,
}

/// The files that lie in `ranges` of a layer. A header that cannot be read is passed over, and the
/// next one that can be is looked for.
pub(super) fn files_in(layer: LayerFile, ranges: &[ByteRange]) -> Vec<DamagedFile> {
    let tar = Tolerant(FileBasis::with_size(layer.file, layer.size_bytes));
    let mut found = Vec::new();
    let mut at = 0;
    while ranges.iter().any(|range| range.end > at) && at < tar.size() && found.len() < MAX_PLACES {
        // The reader never fails, and so the map does not.
        let Ok(map) = TarMap::of(&Rest { tar: &tar, start: at }) else { break };
        for member in &map.members {
            let (header, data) = (member.header + at, member.data.start + at);
            push(&mut found, ranges, member, FilePart::Header, header..data);
            push(&mut found, ranges, member, FilePart::Contents, data..member.data.end + at);
        }
        let tail = at + map.tail;
        if let Some(member) = damaged_member(&tar, tail) {
            at = member.end();
            push(&mut found, ranges, &member, FilePart::Header, tail..member.data.start);
            push(&mut found, ranges, &member, FilePart::Contents, member.data.clone());
            continue;
        }
        at = next_header(&tar, tail);
        let unread = Member { header: tail, data: tail..at, kind: b'0', path: Vec::new() };
        if !is_zero_block(&tar, tail) && at < tar.size() {
            push(&mut found, ranges, &unread, FilePart::Header, tail..at);
        }
    }
    found.truncate(MAX_PLACES);
    found
}

/// Notes what of `part`, which lies at `place`, is in one of the ranges.
fn push(
    found: &mut Vec<DamagedFile>,
    ranges: &[ByteRange],
    member: &Member,
    part: FilePart,
    place: Range<u64>,
) {
    for range in ranges {
        let (start, end) = (place.start.max(range.start), place.end.min(range.end));
        if start < end && found.len() < MAX_PLACES {
            let path = (!member.path.is_empty())
                .then(|| String::from_utf8_lossy(&member.path).into_owned());
            let (start, end, layer_offset) = (start - place.start, end - place.start, start);
            found.push(DamagedFile { path, part, start, end, layer_offset });
        }
    }
}

/// The member of a header that fails its checksum and can be read all the same: another one, or the
/// end of the tar, is where its size says.
fn damaged_member(tar: &dyn ReadAt, at: u64) -> Option<Member> {
    let block = read_block(tar, at)?;
    let size = number(&block[124..136]).filter(|_| &block[257..262] == b"ustar")?;
    let size = if matches!(block[156], b'1'..=b'6') { 0 } else { size };
    let start = at + BLOCK_BYTES;
    let path = block[..100].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let data = start..start.checked_add(size)?;
    let member = Member { header: at, data, kind: block[156], path };
    let next = read_block(tar, member.end())?;
    (is_header(&next) || next.iter().all(|byte| *byte == 0)).then_some(member)
}

/// Where the first header after `at` is, or the end. What looks like a header in the contents of a file
/// whose own header is damaged is taken for one: a tar in a tar.
fn next_header(tar: &dyn ReadAt, at: u64) -> u64 {
    let mut at = at.saturating_add(BLOCK_BYTES);
    while let Some(block) = read_block(tar, at) {
        if is_header(&block) {
            return at;
        }
        at += BLOCK_BYTES;
    }
    tar.size()
}

fn read_block(tar: &dyn ReadAt, at: u64) -> Option<Block> {
    let mut block: Block = [0; 512];
    let is_inside = at.checked_add(BLOCK_BYTES).is_some_and(|end| end <= tar.size());
    (is_inside && tar.read_exact_at(&mut block, at).is_ok()).then_some(block)
}

fn is_header(block: &Block) -> bool {
    &block[257..262] == b"ustar" && number(&block[148..156]) == Some(u64::from(checksum(block)))
}

fn is_zero_block(tar: &dyn ReadAt, at: u64) -> bool {
    read_block(tar, at).is_none_or(|block| block.iter().all(|byte| *byte == 0))
}

/// Bytes of which some cannot be read: those are zeros, which are no header.
struct Tolerant(FileBasis);

impl ReadAt for Tolerant {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        if self.0.read_exact_at(buffer, offset).is_err() {
            buffer.fill(0);
        }
        Ok(())
    }
}

/// Bytes from an offset on.
struct Rest<'a> {
    tar: &'a dyn ReadAt,
    start: u64,
}

impl ReadAt for Rest<'_> {
    fn size(&self) -> u64 {
        self.tar.size() - self.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.tar.read_exact_at(buffer, self.start.saturating_add(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn layer(files: &[(&str, usize)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, length) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(*length as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, vec![b'x'; *length].as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn find(tar: &[u8], ranges: &[(u64, u64)]) -> Vec<(Option<String>, FilePart, u64, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(tar).unwrap();
        file.rewind().unwrap();
        let size_bytes = tar.len() as u64;
        let layer = LayerFile { diff_id: crate::DiffId::EMPTY_LAYER, size_bytes, file };
        let ranges: Vec<ByteRange> =
            ranges.iter().map(|(start, end)| ByteRange { start: *start, end: *end }).collect();
        let found = files_in(layer, &ranges).into_iter();
        found.map(|file| (file.path, file.part, file.start, file.end)).collect()
    }

    fn named(path: &str) -> Option<String> {
        Some(path.to_owned())
    }

    #[test]
    fn each_part_of_a_file_that_a_range_touches_is_named() {
        use FilePart::{Contents, Header};
        let tar = layer(&[("a", 1000), ("b/c", 3000), ("d", 0), ("e", 10)]);
        // a: header 0, data 512..1512; b/c: header 1536, data 2048..5048; d: 5120; e: 5632.
        assert_eq!(find(&tar, &[(600, 700)]), [(named("a"), Contents, 88, 188)]);
        assert_eq!(
            find(&tar, &[(1000, 2100)]),
            [
                (named("a"), Contents, 488, 1000),
                (named("b/c"), Header, 0, 512),
                (named("b/c"), Contents, 0, 52)
            ]
        );
        let both = find(&tar, &[(0, 1), (5200, 5300)]);
        assert_eq!(both, [(named("a"), Header, 0, 1), (named("d"), Header, 80, 180)]);
        // The padding after a file, and the end of the tar, are no file's.
        assert_eq!(find(&tar, &[(1512, 1530), (7000, 7100)]), []);
    }

    #[test]
    fn what_comes_after_a_damaged_header_is_found() {
        use FilePart::{Contents, Header};
        let whole = layer(&[("a", 1000), ("b/c", 3000), ("d", 100)]);
        let after = [(named("d"), Header, 0, 512), (named("d"), Contents, 0, 100)];
        // A header that is wrong somewhere still says what it is of.
        let mut tar = whole.clone();
        tar[1536 + 105] ^= 1;
        let found = find(&tar, &[(0, 8192)]);
        assert_eq!(
            found[2..4],
            [(named("b/c"), Header, 0, 512), (named("b/c"), Contents, 0, 3000)]
        );
        assert_eq!(found[4..], after);
        // Without its size, all up to the next one is in doubt.
        let mut tar = whole.clone();
        tar[1536 + 130] ^= 1;
        let found = find(&tar, &[(0, 8192)]);
        assert_eq!(found[2], (None, Header, 0, 3584));
        assert_eq!(found[3..], after);
        assert_eq!(find(&tar, &[(5700, 5701)]), [(named("d"), Contents, 68, 69)]);
        let zeros = vec![0; 8192];
        assert_eq!(find(&zeros, &[(0, 8192)]), []);
    }
}
