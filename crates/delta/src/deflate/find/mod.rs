//! The deflate streams in a file: gzip members, entries of zip archives, the data of png images.
//!
//! What is found is a claim: only [`analyse`](super::analyse) tells whether there is a stream.

mod gzip;
mod png;
mod zip;

use std::ops::Range;

/// Where a file holds a deflate stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The raw stream, without the header and the trailer around it.
    pub range: Range<usize>,
    /// What it is called within the file, for finding its like in another: the path of an entry, after
    /// those of the stored archives that it is in, each with a `!`.
    pub name: Vec<u8>,
    /// What it holds, by what stands beside it.
    pub plain_bytes: u64,
}

/// Streams that are shorter are not worth a look.
const MIN_STREAM_BYTES: usize = 64;
/// Archives that are stored in archives are opened to this depth.
const MAX_STORED_DEPTH: usize = 3;
/// More streams are not looked for in one file …
const MAX_STREAMS: usize = 1 << 16;
/// … nor in more archives: they may hold one another.
const MAX_ARCHIVES: usize = 1 << 12;
/// More entries are not looked at.
const MAX_ENTRIES: usize = 1 << 18;

/// The first bytes of a file that may hold streams.
pub const MAGIC_BYTES: usize = 4;

/// Whether a file that starts with `magic` may hold streams.
pub fn may_hold_streams(magic: [u8; MAGIC_BYTES]) -> bool {
    magic.starts_with(gzip::MAGIC) || magic == *zip::LOCAL || magic == *png::MAGIC
}

/// The streams of a file, in order, none overlapping another, none holding more than
/// `plain_limit_bytes`.
pub fn find(file: &[u8], plain_limit_bytes: u64) -> Vec<Stream> {
    let mut found = Found { streams: Vec::new(), plain_limit_bytes, archives: 0, entries: 0 };
    if file.starts_with(gzip::MAGIC) {
        gzip::find(file, &mut found);
    } else if file.starts_with(png::MAGIC) {
        png::find(file, &mut found);
    } else if file.starts_with(zip::LOCAL) {
        zip::find(file, 0, b"", 0, &mut found);
    }
    let mut streams = found.streams;
    streams.sort_by_key(|stream| stream.range.start);
    let mut end = 0;
    streams.retain(|stream| {
        let is_free = stream.range.start >= end;
        end = if is_free { stream.range.end } else { end };
        is_free
    });
    streams
}

struct Found {
    streams: Vec<Stream>,
    plain_limit_bytes: u64,
    /// Archives that were opened, and entries that were looked at.
    archives: usize,
    entries: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.streams.len() >= MAX_STREAMS
            || self.archives >= MAX_ARCHIVES
            || self.entries >= MAX_ENTRIES
    }

    fn push(&mut self, range: Range<usize>, name: Vec<u8>, plain_bytes: u64) {
        let is_wanted = range.len() >= MIN_STREAM_BYTES && plain_bytes <= self.plain_limit_bytes;
        if is_wanted && !self.is_full() {
            self.streams.push(Stream { range, name, plain_bytes });
        }
    }
}

/// Lengths of the stream that `bytes` start with: its own, and that of what it holds, which is not
/// more than `limit_bytes`.
fn measure(bytes: &[u8], limit_bytes: u64) -> Option<(usize, u64)> {
    let mut inflater = flate2::Decompress::new(false);
    let mut out = vec![0; 64 << 10];
    loop {
        let before = (inflater.total_in(), inflater.total_out());
        let rest = bytes.get(usize::try_from(before.0).ok()?..)?;
        let status = inflater.decompress(rest, &mut out, flate2::FlushDecompress::None).ok()?;
        let after = (inflater.total_in(), inflater.total_out());
        if status == flate2::Status::StreamEnd {
            return Some((usize::try_from(after.0).ok()?, after.1));
        }
        if before == after || after.1 > limit_bytes {
            return None;
        }
    }
}

/// The little-endian number of 2 bytes at `at`.
fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field).into())
}

/// The little-endian number of 4 bytes at `at`.
fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field).into())
}

/// The little-endian number of 8 bytes at `at`.
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*field))
}
