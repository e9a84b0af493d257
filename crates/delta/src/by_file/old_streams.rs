//! The deflate streams of an old file, found by name and by their bytes.

use std::collections::{HashMap, HashSet};

use super::index::{ContentHash, hash_range};
use super::names::without_versions;
use crate::deflate::Stream;
use crate::read_at::{ReadAt, ReadError};

/// The streams of an old file.
pub(super) struct OldStreams<'a> {
    streams: &'a [Stream],
    by_bytes: HashMap<ContentHash, &'a Stream>,
    /// Of those that are found by their bytes: the hash of each, by where it starts, and their lengths.
    hashes: HashMap<u64, ContentHash>,
    lengths: HashSet<u64>,
    by_name: HashMap<&'a [u8], &'a Stream>,
    by_plain_name: HashMap<Vec<u8>, &'a Stream>,
}

impl<'a> OldStreams<'a> {
    /// Those of `file`, of which some may be among `wanted`, byte by byte. Fails where it cannot be read.
    pub(super) fn of(
        file: &dyn ReadAt,
        streams: &'a [Stream],
        wanted: &[Stream],
    ) -> Result<Self, ReadError> {
        let lengths: HashSet<u64> = wanted.iter().map(length).collect();
        let (mut by_bytes, mut hashes) = (HashMap::new(), HashMap::new());
        // Of those that share a name or their bytes the first is found.
        let each = || streams.iter().rev();
        for stream in each().filter(|stream| lengths.contains(&length(stream))) {
            let hash = hash_range(file, &stream.range)?;
            by_bytes.insert(hash, stream);
            hashes.insert(stream.range.start, hash);
        }
        Ok(Self {
            streams,
            lengths: by_bytes.values().map(|stream| length(stream)).collect(),
            by_bytes,
            hashes,
            by_name: each().map(|stream| (stream.name.as_slice(), stream)).collect(),
            by_plain_name: each().map(|s| (without_versions(&s.name), s)).collect(),
        })
    }

    /// Memory that it takes, and the list of streams.
    pub(super) fn memory_bytes(streams: &[Stream]) -> u64 {
        const EACH: usize = size_of::<(ContentHash, &Stream)>()
            + size_of::<(u64, ContentHash)>()
            + size_of::<u64>()
            + 2 * size_of::<(Vec<u8>, &Stream)>()
            + size_of::<Stream>();
        // A table is at least half full, or grows to be.
        let of_streams = streams.len() * 3 * EACH;
        let of_names: usize = streams.iter().map(|stream| stream.name.len()).sum();
        (of_streams + 2 * of_names) as u64
    }

    /// The stream of the same name, or of the same but for versions.
    pub(super) fn like(&self, new: &Stream) -> Option<&'a Stream> {
        let by_name = || self.by_name.get(new.name.as_slice()).copied();
        let by_plain_name = || self.by_plain_name.get(&without_versions(&new.name)).copied();
        // Members of gzip files are numbered: a file's only one is like the only one.
        by_name()
            .or_else(by_plain_name)
            .or_else(|| self.streams.first().filter(|_| self.streams.len() == 1))
    }

    /// A stream of the very bytes of `new`, a stream of `file`: `like`, if it is one.
    pub(super) fn same(
        &self,
        file: &dyn ReadAt,
        new: &Stream,
        like: Option<&'a Stream>,
    ) -> Result<Option<&'a Stream>, ReadError> {
        if !self.lengths.contains(&length(new)) {
            return Ok(None);
        }
        let hash = hash_range(file, &new.range)?;
        let is_same = |like: &&Stream| self.hashes.get(&like.range.start) == Some(&hash);
        Ok(like.filter(is_same).or_else(|| self.by_bytes.get(&hash).copied()))
    }
}

fn length(stream: &Stream) -> u64 {
    stream.range.end - stream.range.start
}
