//! The deflate streams in a file: gzip members, entries of zip archives, the data of png images.
//!
//! What is found is a claim: only [`analyse`](super::analyse) tells whether there is a stream.

mod gzip;
mod png;
mod zip;

use std::ops::Range;

use crate::read_at::{ReadAround, ReadAt, ReadError};

/// Where a file holds a deflate stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The raw stream, without the header and the trailer around it.
    pub range: Range<u64>,
    /// What it is called within the file, for finding its like in another: the path of an entry, after
    /// those of the stored archives that it is in, each with a `!`.
    pub name: Vec<u8>,
    /// What it holds, by what stands beside it.
    pub plain_bytes: u64,
}

/// Streams that are shorter are not worth a look.
const MIN_STREAM_BYTES: u64 = 64;
/// What a stream may be longer than what it holds.
const MAX_EXCESS_BYTES: u64 = 4 << 10;
/// Archives that are stored in archives are opened to this depth.
const MAX_STORED_DEPTH: usize = 3;
/// More streams are not looked for in one file …
const MAX_STREAMS: usize = 1 << 17;
/// … nor in more archives: they may hold one another.
const MAX_ARCHIVES: usize = 1 << 12;
/// More entries are not looked at …
const MAX_ENTRIES: usize = 1 << 18;
/// … nor more of their names.
const MAX_NAME_BYTES: usize = 16 << 20;

/// Enough of a stream to tell what it starts with.
const HEAD_BYTES: u64 = 1 << 10;

/// The first bytes of a file that may hold streams.
pub const MAGIC_BYTES: usize = 4;

/// Whether a file that starts with `magic` may hold streams.
pub fn may_hold_streams(magic: [u8; MAGIC_BYTES]) -> bool {
    magic.starts_with(gzip::MAGIC) || magic == *zip::LOCAL || magic == *png::MAGIC
}

/// Whether what `stream`, a stream of `file`, holds may hold streams. What cannot be told is taken for more.
pub fn may_hold_streams_within(file: &dyn ReadAt, stream: &Stream) -> Result<bool, ReadError> {
    let length = HEAD_BYTES.min(stream.range.end - stream.range.start);
    let mut head = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut head, stream.range.start)?;
    let mut magic = [0; MAGIC_BYTES];
    let mut inflater = flate2::Decompress::new(false);
    let inflated = inflater.decompress(&head, &mut magic, flate2::FlushDecompress::None);
    let is_told = inflated.is_ok() && inflater.total_out() == MAGIC_BYTES as u64;
    Ok(!is_told || may_hold_streams(magic))
}

/// The streams of a file, in order, none overlapping another.
///
/// Where nothing beside a stream says what it holds, it is inflated to be measured, and left out if that is more
/// than `measured_bytes`. What stands beside one may be any number.
///
/// Fails only where the file cannot be read.
pub fn find(file: &dyn ReadAt, measured_bytes: u64) -> Result<Vec<Stream>, ReadError> {
    let mut found = Found { measured_bytes, ..Found::default() };
    if let Err(Stop::Unreadable(error)) = find_all(file, &mut found) {
        return Err(error);
    }
    let mut streams = found.streams;
    streams.sort_by_key(|stream| stream.range.start);
    let mut end = 0;
    streams.retain(|stream| {
        let is_free = stream.range.start >= end;
        end = if is_free { stream.range.end } else { end };
        is_free
    });
    Ok(streams)
}

fn find_all(file: &dyn ReadAt, found: &mut Found) -> Result<(), Stop> {
    let magic: [u8; MAGIC_BYTES] = read(file, 0)?;
    if magic.starts_with(gzip::MAGIC) {
        gzip::find(&ReadAround::new(file), found)
    } else if magic == *png::MAGIC {
        png::find(file, found)
    } else if magic == *zip::LOCAL {
        zip::find(file, 0..file.size(), b"", 0, found)
    } else {
        Ok(())
    }
}

/// Why no more streams are found.
enum Stop {
    /// What is there is not what should be.
    Malformed,
    Unreadable(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { .. } => Self::Malformed,
            error @ ReadError::Io { .. } => Self::Unreadable(error),
        }
    }
}

/// What there is, if it is what should be.
fn if_well_formed<T>(result: Result<T, Stop>) -> Result<Option<T>, Stop> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Malformed) => Ok(None),
        Err(stop) => Err(stop),
    }
}

#[derive(Default)]
struct Found {
    streams: Vec<Stream>,
    measured_bytes: u64,
    /// Archives that were opened, entries that were looked at, and their names.
    archives: usize,
    entries: usize,
    name_bytes: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.streams.len() >= MAX_STREAMS
            || self.archives >= MAX_ARCHIVES
            || self.entries >= MAX_ENTRIES
            || self.name_bytes >= MAX_NAME_BYTES
    }

    fn push(&mut self, range: Range<u64>, name: Vec<u8>, plain_bytes: u64) {
        let length = range.end - range.start;
        let is_wanted = length >= MIN_STREAM_BYTES
            && length.saturating_sub(MAX_EXCESS_BYTES)
                <= plain_bytes.saturating_add(plain_bytes / 8);
        if is_wanted && !self.is_full() {
            self.streams.push(Stream { range, name, plain_bytes });
        }
    }
}

/// Lengths of the stream at `at`: its own, and that of what it holds, which is not more than
/// `limit_bytes`.
fn measure(file: &dyn ReadAt, at: u64, limit_bytes: u64) -> Result<(u64, u64), Stop> {
    const PIECE_BYTES: u64 = 16 << 10;
    let mut inflater = flate2::Decompress::new(false);
    let mut out = vec![0; 64 << 10];
    loop {
        let before = (inflater.total_in(), inflater.total_out());
        let from = at.checked_add(before.0).ok_or(Stop::Malformed)?;
        let length = PIECE_BYTES.min(file.size().saturating_sub(from));
        let piece = read_bytes(file, from, usize::try_from(length).unwrap_or(0))?;
        let status = inflater.decompress(&piece, &mut out, flate2::FlushDecompress::None);
        let status = status.map_err(|_| Stop::Malformed)?;
        let after = (inflater.total_in(), inflater.total_out());
        if after.1 > limit_bytes {
            return Err(Stop::Malformed);
        }
        if status == flate2::Status::StreamEnd {
            return Ok(after);
        }
        if before == after {
            return Err(Stop::Malformed);
        }
    }
}

fn read<const N: usize>(file: &dyn ReadAt, at: u64) -> Result<[u8; N], Stop> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn read_bytes(file: &dyn ReadAt, at: u64, length: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The little-endian number of 2 bytes at `at`, which is within `bytes`.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The little-endian number of 4 bytes at `at`, which is within `bytes`.
fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16_at(bytes, at)) | u64::from(u16_at(bytes, at + 2)) << 16
}

/// The little-endian number of 8 bytes at `at`, which is within `bytes`.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}
