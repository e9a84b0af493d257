//! The deflate streams of an old file, found by name and by their bytes.

use std::collections::{HashMap, HashSet};

use super::index::{ContentHash, hash_range};
use super::names::{base_name, shared_components, without_versions};
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
    /// By name without versions.
    by_plain_name: HashMap<Vec<u8>, &'a Stream>,
    /// By what comes after the last slash, without versions.
    by_base_name: HashMap<Vec<u8>, Vec<&'a Stream>>,
}

/// Of streams that share a base name, at most so many are looked at.
const MAX_CANDIDATES: usize = 32;

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
        let mut by_base_name: HashMap<_, Vec<_>> = HashMap::new();
        for stream in streams {
            let name = without_versions(base_name(&stream.name));
            by_base_name.entry(name).or_default().push(stream);
        }
        Ok(Self {
            streams,
            by_base_name,
            lengths: by_bytes.values().map(|stream| length(stream)).collect(),
            by_bytes,
            hashes,
            by_name: each().map(|stream| (stream.name.as_slice(), stream)).collect(),
            by_plain_name: each().map(|s| (without_versions(&s.name), s)).collect(),
        })
    }

    /// Memory that it takes beside the list of streams.
    pub(super) fn memory_bytes(streams: &[Stream]) -> u64 {
        const EACH: usize = size_of::<(ContentHash, &Stream)>()
            + size_of::<(u64, ContentHash)>()
            + size_of::<u64>()
            + size_of::<(&[u8], &Stream)>()
            + size_of::<(Vec<u8>, &Stream)>()
            + size_of::<(Vec<u8>, Vec<&Stream>)>()
            + size_of::<[&Stream; 2]>();
        // Tables grow to twice their length.
        (streams.len() * 2 * EACH + 2 * name_bytes(streams)) as u64
    }

    /// The stream of the same name, or of the same but for versions, or the nearest one of the same base name.
    pub(super) fn like(&self, new: &Stream) -> Option<&'a Stream> {
        if let Some(stream) = self.by_name.get(new.name.as_slice()) {
            return Some(stream);
        }
        let name = without_versions(&new.name);
        // Members of gzip files are numbered: a file's only one is like the only one.
        let only = || self.streams.first().filter(|_| self.streams.len() == 1);
        let by_plain_name = self.by_plain_name.get(&name).copied();
        by_plain_name.or_else(|| self.namesake(new, &name)).or_else(only)
    }

    /// Of the streams with the base name of `new`, the one whose path and size are the nearest.
    fn namesake(&self, new: &Stream, name: &[u8]) -> Option<&'a Stream> {
        let streams = self.by_base_name.get(base_name(name))?;
        let rank = |old: &&&Stream| {
            let shared = shared_components(name, &without_versions(&old.name));
            (shared, std::cmp::Reverse(old.plain_bytes.abs_diff(new.plain_bytes)))
        };
        streams.iter().take(MAX_CANDIDATES).max_by_key(rank).copied()
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

/// Memory that a list of streams takes.
pub(super) fn list_bytes(streams: &[Stream]) -> u64 {
    (size_of_val(streams) * 2 + name_bytes(streams)) as u64
}

fn name_bytes(streams: &[Stream]) -> usize {
    streams.iter().map(|stream| stream.name.len()).sum()
}

fn length(stream: &Stream) -> u64 {
    stream.range.end - stream.range.start
}
