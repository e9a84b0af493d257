//! The deflate streams of an old file, found by name and by their bytes.

use std::cmp::Reverse;
use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::by_file::index::hash_range;
use crate::by_file::names::{base_name, shared_components, without_versions};
use crate::deflate::Stream;
use crate::read_at::{ReadAt, ReadError};

/// Of streams that share a base name, at most so many are looked at.
const MAX_CANDIDATES: usize = 32;
/// What has a longer name is looked for by the whole of it alone.
const MAX_NAME_BYTES: usize = 512;

/// The streams of an old file.
pub(super) struct OldStreams<'a> {
    streams: &'a [Stream],
    /// By their bytes, those alone that have the length of a wanted one.
    by_bytes: ByHash,
    /// By each of [`name_hashes`].
    by_name: [ByHash; 4],
}

/// Hashes of the name of a stream: of all of it, without versions, and of the last two components of that, and the
/// last one.
fn name_hashes(name: &[u8]) -> [u64; 4] {
    let plain = without_versions(name);
    [name, &plain, last_two(&plain), base_name(&plain)].map(xxh3_64)
}

impl<'a> OldStreams<'a> {
    /// Those of `file`, of which some may be among `wanted`, byte by byte; others are found by name only if they hold
    /// no more than `plain_bytes`. Fails where it cannot be read.
    pub(super) fn of(
        file: &dyn ReadAt,
        streams: &'a [Stream],
        wanted: &[Stream],
        plain_bytes: u64,
    ) -> Result<Self, ReadError> {
        let lengths: HashSet<u64> = wanted.iter().map(length).collect();
        let mut by_bytes = Vec::new();
        for (number, stream) in (0..).zip(streams).filter(|(_, s)| lengths.contains(&length(s))) {
            by_bytes.push((hash_bytes(file, stream)?, number));
        }
        let mut by_name = [(); 4].map(|()| Vec::with_capacity(streams.len()));
        for (number, stream) in (0..).zip(streams).filter(|(_, s)| s.plain_bytes <= plain_bytes) {
            for (list, hash) in by_name.iter_mut().zip(name_hashes(&stream.name)) {
                list.push((hash, number));
            }
        }
        let (by_bytes, by_name) = (ByHash::of(by_bytes), by_name.map(ByHash::of));
        Ok(Self { streams, by_bytes, by_name })
    }

    /// Memory that it takes beside the list of streams.
    pub(super) fn memory_bytes(streams: &[Stream]) -> u64 {
        // Five lists, of which the one of some streams may be twice as long as is needed; lengths.
        const EACH: usize = 6 * size_of::<(u64, u32)>() + 2 * size_of::<u64>();
        (streams.len() * EACH) as u64
    }

    /// The stream of the same name, or of the same but for versions, or the nearest one of the same base name.
    pub(super) fn like(&self, new: &Stream) -> Option<&'a Stream> {
        let hashes = name_hashes(&new.name);
        let first = |by: usize| self.by_name[by].all(hashes[by]).next().map(|i| self.stream(i));
        // Members of gzip files are numbered: a file's only one is like the only one.
        let only = || self.streams.first().filter(|_| self.streams.len() == 1);
        first(0).or_else(|| first(1)).or_else(|| self.namesake(new, hashes)).or_else(only)
    }

    /// Of the first streams with the folder and the base name of `new`, or the base name alone, the one whose path
    /// and size are the nearest.
    fn namesake(&self, new: &Stream, hashes: [u64; 4]) -> Option<&'a Stream> {
        if new.name.len() > MAX_NAME_BYTES {
            return None;
        }
        let name = without_versions(&new.name);
        let rank = |old: &&Stream| {
            let shared = shared_components(&name, &without_versions(&old.name));
            (shared, Reverse(old.plain_bytes.abs_diff(new.plain_bytes)))
        };
        let nearest = |by: usize| {
            let numbers = self.by_name[by].all(hashes[by]).take(MAX_CANDIDATES);
            let namesakes = numbers.map(|number| self.stream(number));
            namesakes.filter(|old| old.name.len() <= MAX_NAME_BYTES).max_by_key(rank)
        };
        nearest(2).or_else(|| nearest(3))
    }

    /// A stream of the very bytes of `new`, a stream of `file`: `like`, if it is one.
    pub(super) fn same(
        &self,
        file: &dyn ReadAt,
        new: &Stream,
        like: Option<&'a Stream>,
    ) -> Result<Option<&'a Stream>, ReadError> {
        if self.by_bytes.is_empty() {
            return Ok(None);
        }
        let hash = hash_bytes(file, new)?;
        let same = |number| self.stream(number);
        let is_like = |old: &&Stream| like.is_some_and(|like| std::ptr::eq(like, *old));
        let same_like = self.by_bytes.all(hash).take(MAX_CANDIDATES).map(same).find(is_like);
        Ok(same_like.or_else(|| self.by_bytes.all(hash).next().map(same)))
    }

    fn stream(&self, number: u32) -> &'a Stream {
        &self.streams[number as usize]
    }
}

/// The last two components of a path.
fn last_two(path: &[u8]) -> &[u8] {
    let above = (path.len() - base_name(path).len()).saturating_sub(1);
    let parent = base_name(&path[..above]).len();
    &path[above - parent..]
}

/// Numbers of streams by a hash of something. Two that share one by chance are taken for alike, which costs bytes
/// of the delta and no more: differences are said in any case.
struct ByHash(Vec<(u64, u32)>);

impl ByHash {
    fn of(mut entries: Vec<(u64, u32)>) -> Self {
        entries.sort_unstable();
        Self(entries)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that have the hash, in order.
    fn all(&self, hash: u64) -> impl Iterator<Item = u32> {
        let start = self.0.partition_point(|(other, _)| *other < hash);
        self.0[start..].iter().take_while(move |(other, _)| *other == hash).map(|(_, i)| *i)
    }
}

/// Memory that a list of streams takes.
pub(super) fn list_bytes(streams: &[Stream]) -> u64 {
    let names: usize = streams.iter().map(|stream| stream.name.len() + ALLOCATED_BYTES).sum();
    // A vector grows to twice its length.
    (size_of_val(streams) * 2 + names) as u64
}

/// What an allocation takes beside its bytes.
const ALLOCATED_BYTES: usize = 24;

fn length(stream: &Stream) -> u64 {
    stream.range.end - stream.range.start
}

fn hash_bytes(file: &dyn ReadAt, stream: &Stream) -> Result<u64, ReadError> {
    let hash = hash_range(file, &stream.range)?;
    Ok(u64::try_from(hash >> 64).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_components_are_taken() {
        for (path, end) in [("a/b/c", "b/c"), ("b/c", "b/c"), ("c", "c"), ("/c", "/c"), ("", "")] {
            assert_eq!(last_two(path.as_bytes()), end.as_bytes(), "{path}");
        }
    }
}
