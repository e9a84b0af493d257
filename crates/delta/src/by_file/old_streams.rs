//! The deflate streams of an old file, found by name and by their bytes.

use std::cmp::Reverse;
use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::index::hash_range;
use super::names::{base_name, shared_components, without_versions};
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
    by_name: ByHash,
    /// By name without versions.
    by_plain_name: ByHash,
    /// By the last two components, without versions, and by the last one.
    by_last_two: ByHash,
    by_base_name: ByHash,
}

impl<'a> OldStreams<'a> {
    /// Those of `file`, of which some may be among `wanted`, byte by byte. Fails where it cannot be read.
    pub(super) fn of(
        file: &dyn ReadAt,
        streams: &'a [Stream],
        wanted: &[Stream],
    ) -> Result<Self, ReadError> {
        let lengths: HashSet<u64> = wanted.iter().map(length).collect();
        let mut by_bytes = Vec::new();
        for (number, stream) in (0..).zip(streams).filter(|(_, s)| lengths.contains(&length(s))) {
            by_bytes.push((hash_bytes(file, stream)?, number));
        }
        let named = |name: fn(&Stream) -> u64| {
            ByHash::of((0..).zip(streams).map(|(number, stream)| (name(stream), number)).collect())
        };
        Ok(Self {
            streams,
            by_bytes: ByHash::of(by_bytes),
            by_name: named(|stream| xxh3_64(&stream.name)),
            by_plain_name: named(|stream| xxh3_64(&without_versions(&stream.name))),
            by_last_two: named(|stream| xxh3_64(last_two(&without_versions(&stream.name)))),
            by_base_name: named(|stream| xxh3_64(base_name(&without_versions(&stream.name)))),
        })
    }

    /// Memory that it takes beside the list of streams.
    pub(super) fn memory_bytes(streams: &[Stream]) -> u64 {
        // Five lists, of which the one of some streams may be twice as long as is needed; lengths.
        const EACH: usize = 6 * size_of::<(u64, u32)>() + 2 * size_of::<u64>();
        (streams.len() * EACH) as u64
    }

    /// The stream of the same name, or of the same but for versions, or the nearest one of the same base name.
    pub(super) fn like(&self, new: &Stream) -> Option<&'a Stream> {
        let first = |index: &ByHash, hash| index.all(hash).next().map(|i| self.stream(i));
        let name = without_versions(&new.name);
        // Members of gzip files are numbered: a file's only one is like the only one.
        let only = || self.streams.first().filter(|_| self.streams.len() == 1);
        first(&self.by_name, xxh3_64(&new.name))
            .or_else(|| first(&self.by_plain_name, xxh3_64(&name)))
            .or_else(|| self.namesake(new, &name))
            .or_else(only)
    }

    /// Of the first streams with the folder and the base name of `new`, or the base name alone, the one whose path
    /// and size are the nearest.
    fn namesake(&self, new: &Stream, name: &[u8]) -> Option<&'a Stream> {
        if new.name.len() > MAX_NAME_BYTES {
            return None;
        }
        let rank = |old: &&Stream| {
            let shared = shared_components(name, &without_versions(&old.name));
            (shared, Reverse(old.plain_bytes.abs_diff(new.plain_bytes)))
        };
        let nearest = |numbers: &mut dyn Iterator<Item = u32>| {
            let namesakes = numbers.take(MAX_CANDIDATES).map(|number| self.stream(number));
            namesakes.filter(|old| old.name.len() <= MAX_NAME_BYTES).max_by_key(rank)
        };
        nearest(&mut self.by_last_two.all(xxh3_64(last_two(name))))
            .or_else(|| nearest(&mut self.by_base_name.all(xxh3_64(base_name(name)))))
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
