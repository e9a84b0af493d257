//! Where the headers and the contents of a tar are, without a change to a byte of it.
//!
//! The map is lossless: members follow one another without a gap, each header at a multiple of 512,
//! and what is not understood (a damaged tail, the end-of-archive blocks, a layer that is no tar at
//! all) is the *tail*. Nothing fails here but reading: a delta of opaque bytes is still a delta.
//!
//! Formats: ustar and PAX as in POSIX.1-2001, GNU long names (`L`, `K`), base-256 numbers and
//! old-GNU sparse headers, see [GNU tar's manual](https://www.gnu.org/software/tar/manual/html_node/Standard.html).

use std::ops::Range;

use crate::read_at::{ReadAt, ReadError};

/// Bytes in a tar block; headers and contents start at multiples of it.
pub const BLOCK_BYTES: u64 = 512;

/// A tar header, as it lies in the file.
pub type Block = [u8; 512];

/// The largest extended header whose contents are looked at; longer ones are carried, not read.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// The longest path that is used for matching; of a longer one the beginning is.
const MAX_PATH_BYTES: usize = 4096;

/// Members that are told apart; what comes after so many belongs to the tail. Each takes some hundred
/// bytes of memory here and where files are matched, and a tar of a few kilobytes, compressed, may
/// have ten million. The largest of real layers have a third of this.
const MAX_MEMBERS: usize = 1 << 20;

/// Extended headers before one member that get its path. Honest writers make three at most.
const MAX_PENDING: usize = 8;

/// One header and the bytes that belong to it. An extended header is a member of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Offset of the header's block.
    pub header: u64,
    /// The contents, without padding; empty for folders, links and the like.
    pub data: Range<u64>,
    /// The type flag: `b'0'` a file, `b'x'` a PAX header, and so on; NUL is given as `b'0'`.
    pub kind: u8,
    /// The path of the file that this header is about, with `./` and trailing `/` removed.
    pub path: Vec<u8>,
}

impl Member {
    /// Offset after the padding that follows the contents.
    pub fn end(&self) -> u64 {
        align(self.data.end)
    }

    /// Whether the contents are those of a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, b'0' | b'7')
    }
}

/// All members of a tar, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TarMap {
    /// The members; each starts where the one before it ends.
    pub members: Vec<Member>,
    /// Offset of everything after the last member.
    pub tail: u64,
}

/// The next multiple of [`BLOCK_BYTES`]; saturates at the last one that a `u64` holds.
pub fn align(offset: u64) -> u64 {
    offset.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX - (BLOCK_BYTES - 1))
}

impl TarMap {
    /// Walks over the headers of `tar`; contents are not read, but for those of extended headers.
    pub fn of(tar: &dyn ReadAt) -> Result<Self, ReadError> {
        let mut walk = Walk { tar, map: Self::default(), long: Extension::default(), pending: 0 };
        while walk.step()? {}
        walk.map.members.shrink_to_fit();
        Ok(walk.map)
    }

    /// Memory that it takes, in bytes: the same number on all machines, so that they make the same deltas.
    pub(crate) fn memory_bytes(&self) -> u64 {
        // The list's entry, and what an allocation takes beside its bytes.
        const MEMBER_BYTES: u64 = 56 + 16;
        self.members.iter().map(|member| MEMBER_BYTES + member.path.len() as u64).sum()
    }
}

/// What extended headers said of the member that comes next.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

struct Walk<'a> {
    tar: &'a dyn ReadAt,
    map: TarMap,
    long: Extension,
    /// Members at the end of the map that wait for the path of the header that they extend.
    pending: usize,
}

impl Walk<'_> {
    /// Takes in one member; false at the end, which is also the first thing that is no header.
    fn step(&mut self) -> Result<bool, ReadError> {
        let at = self.map.tail;
        if self.map.members.len() == MAX_MEMBERS {
            return Ok(false);
        }
        let Some(header) = self.header_at(at)? else {
            return Ok(false);
        };
        let kind = match header[156] {
            0 => b'0',
            kind => kind,
        };
        let Some(own_size) = number(&header[124..136]) else {
            return Ok(false);
        };
        let Some(data_start) = self.after_sparse_blocks(at, &header)? else {
            return Ok(false);
        };
        let is_extension = matches!(kind, b'x' | b'g' | b'L' | b'K');
        let size = match kind {
            b'1'..=b'6' => 0,
            _ if is_extension => own_size,
            _ => self.long.size.unwrap_or(own_size),
        };
        let Some(data_end) = data_start.checked_add(size).filter(|end| *end <= self.tar.size())
        else {
            return Ok(false);
        };
        let data = data_start..data_end;
        if is_extension {
            self.take_extension(kind, &data)?;
        }
        let path = if is_extension { Vec::new() } else { self.path_of(&header) };
        self.map.members.push(Member { header: at, data, kind, path });
        self.map.tail = align(data_end).min(self.tar.size());
        self.settle_paths(is_extension);
        Ok(self.map.tail == align(data_end))
    }

    /// Extended headers get the path of the file that they are about.
    fn settle_paths(&mut self, is_extension: bool) {
        if is_extension {
            self.pending = (self.pending + 1).min(MAX_PENDING);
            return;
        }
        self.long = Extension::default();
        if let Some((last, before)) = self.map.members.split_last_mut() {
            let first = before.len() - std::mem::take(&mut self.pending);
            before[first..].iter_mut().for_each(|member| member.path.clone_from(&last.path));
        }
    }

    fn header_at(&self, at: u64) -> Result<Option<Block>, ReadError> {
        if at.checked_add(BLOCK_BYTES).is_none_or(|end| end > self.tar.size()) {
            return Ok(None);
        }
        let mut header = [0; 512];
        self.tar.read_exact_at(&mut header, at)?;
        let stored = number(&header[148..156]);
        Ok((stored == Some(u64::from(checksum(&header)))).then_some(header))
    }

    /// Old-GNU sparse headers may be followed by blocks that continue their table.
    fn after_sparse_blocks(&self, at: u64, header: &Block) -> Result<Option<u64>, ReadError> {
        let mut next = at + BLOCK_BYTES;
        let mut continues = header[156] == b'S' && header[482] != 0;
        while continues {
            if next.checked_add(BLOCK_BYTES).is_none_or(|end| end > self.tar.size()) {
                return Ok(None);
            }
            let mut flag = [0];
            self.tar.read_exact_at(&mut flag, next + 504)?;
            continues = flag[0] != 0;
            next += BLOCK_BYTES;
        }
        Ok(Some(next))
    }

    fn take_extension(&mut self, kind: u8, data: &Range<u64>) -> Result<(), ReadError> {
        let length = data.end - data.start;
        if length > MAX_EXTENSION_BYTES || kind == b'K' {
            return Ok(());
        }
        let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
        self.tar.read_exact_at(&mut text, data.start)?;
        match kind {
            b'L' => self.long.path = Some(until_nul(&text).to_vec()),
            b'x' => pax_records(&text).for_each(|(key, value)| match key {
                b"path" => self.long.path = Some(value.to_vec()),
                b"size" => self.long.size = decimal(value).or(self.long.size),
                _ => {}
            }),
            _ => {}
        }
        Ok(())
    }

    fn path_of(&self, header: &Block) -> Vec<u8> {
        let mut path = match &self.long.path {
            Some(path) => path.clone(),
            None => {
                let name = until_nul(&header[..100]);
                let prefix = until_nul(&header[345..500]);
                let is_ustar = &header[257..263] == b"ustar\0";
                if is_ustar && !prefix.is_empty() {
                    [prefix, b"/", name].concat()
                } else {
                    name.to_vec()
                }
            }
        };
        path.truncate(MAX_PATH_BYTES);
        let start = if path.starts_with(b"./") { 2 } else { 0 };
        let end = path.iter().rposition(|c| *c != b'/').map_or(start, |last| last + 1);
        path.get(start..end).unwrap_or_default().to_vec()
    }
}

/// The sum of all bytes of a header, its checksum field read as spaces.
pub fn checksum(header: &Block) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..])
}

/// A number as tar headers spell it: octal digits between spaces and NULs, or base-256.
pub fn number(field: &[u8]) -> Option<u64> {
    match field.first()? {
        0x80 => field[1..].iter().try_fold(0u64, |value, byte| {
            (value >> 56 == 0).then(|| value << 8 | u64::from(*byte))
        }),
        0x81..=0xff => None,
        _ => {
            let digits = field.iter().skip_while(|c| **c == b' ');
            let digits = digits.take_while(|c| !matches!(**c, b' ' | 0));
            digits.copied().try_fold(0u64, |value, digit| {
                let in_range = (b'0'..=b'7').contains(&digit) && value >> 61 == 0;
                in_range.then(|| value << 3 | u64::from(digit - b'0'))
            })
        }
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|c| *c == 0).next().unwrap_or_default()
}

/// The `key=value` records of a PAX header, up to the first that is malformed.
fn pax_records(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let space = text.iter().position(|c| *c == b' ')?;
        let length = usize::try_from(decimal(&text[..space])?).ok()?;
        let record = text.get(space + 1..length.checked_sub(1)?)?;
        text = text.get(length..)?;
        let equals = record.iter().position(|c| *c == b'=')?;
        Some((&record[..equals], &record[equals + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(long: bool) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let name = if long { "d/".repeat(80) + "file" } else { "./d/file".into() };
        let mut header = tar::Header::new_gnu();
        header.set_size(700);
        builder.append_data(&mut header, &name, &[7u8; 700][..]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        builder.append_data(&mut header, "folder/", &[][..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn members_follow_one_another() {
        let tar = archive(false);
        let map = TarMap::of(&tar).unwrap();
        let paths: Vec<_> = map.members.iter().map(|m| m.path.as_slice()).collect();
        assert_eq!(paths, [b"d/file".as_slice(), b"folder"]);
        assert_eq!(map.members[0].data, 512..1212);
        assert_eq!(map.members[0].end(), map.members[1].header);
        assert_eq!((map.tail, tar.len()), (2048, 3072));
    }

    #[test]
    fn a_long_name_belongs_to_the_header_after_it() {
        let map = TarMap::of(&archive(true)).unwrap();
        assert_eq!(map.members.iter().map(|m| m.kind).collect::<Vec<_>>(), b"L05");
        assert_eq!(map.members[0].path, map.members[1].path);
        assert_eq!(map.members[1].path, ("d/".repeat(80) + "file").as_bytes());
    }

    #[test]
    fn what_is_no_tar_is_all_tail() {
        for bytes in [vec![], vec![0; 1024], vec![b'x'; 5000]] {
            assert_eq!(TarMap::of(&bytes).unwrap(), TarMap::default());
        }
    }

    #[test]
    fn a_cut_tar_ends_at_its_last_whole_member() {
        let tar = archive(false);
        for cut in 0..tar.len() {
            let map = TarMap::of(&tar[..cut].to_vec()).unwrap();
            assert!(map.tail <= cut as u64, "{cut}");
            assert!(map.members.iter().all(|m| m.data.end <= cut as u64), "{cut}");
        }
    }

    /// A terabyte of empty members.
    struct Endless(Block);

    impl ReadAt for Endless {
        fn size(&self) -> u64 {
            1 << 40
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
            assert_eq!(offset % BLOCK_BYTES, 0);
            buffer.copy_from_slice(&self.0[..buffer.len()]);
            Ok(())
        }
    }

    #[test]
    fn members_without_end_are_not_all_remembered() {
        let header = archive(false)[2048 - 512..2048].try_into().unwrap();
        let map = TarMap::of(&Endless(header)).unwrap();
        assert_eq!(map.members.len(), MAX_MEMBERS);
        assert_eq!(map.tail, MAX_MEMBERS as u64 * BLOCK_BYTES);
    }

    #[test]
    fn numbers_never_overflow() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0\0"), Some(0o644));
        assert_eq!(number(b"777777777777777777777"), Some(u64::MAX >> 1));
        assert_eq!(number(b"7777777777777777777777"), None);
        assert_eq!(number(&[0x80, 1, 0]), Some(256));
        assert_eq!(number(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(number(b"12x"), None);
    }
}
