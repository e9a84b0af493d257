//! The files of all origins, found by contents, by path and by name.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::names::{base_name, shared_components, without_versions};
use super::sketch::Sketch;
use super::table::{Found, Table};
use super::{Choice, Counterpart};
use crate::block_match::{BlockIndex, BlockIndexOptions, MatchError};
use crate::cover::OriginId;
use crate::read_at::{ReadAt, ReadError};
use crate::tar_map::{Member, TarMap};

/// A member of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileRef {
    pub(super) origin: u32,
    pub(super) member: u32,
}

impl FileRef {
    fn next(self) -> Self {
        Self { member: self.member.saturating_add(1), ..self }
    }

    fn is_after(self, other: Option<FileRef>) -> bool {
        other.is_some_and(|other| other.next() == self)
    }
}

/// 128 bits of contents: enough to tell files apart; what is built on it is proved by decoding.
type ContentHash = u128;

/// 64 bits of a path or a name, in place of all of it: files that share them by chance, or because somebody saw to it,
/// are bad counterparts and no worse.
type NameHash = u64;

/// Of files that share contents, a path, or a name without versions, at most so many are looked at.
const MAX_CANDIDATES: usize = 256;

/// All files that a delta can copy from.
pub struct FileIndex<'a> {
    origins: Vec<&'a dyn ReadAt>,
    maps: Vec<TarMap>,
    by_content: Table<ContentHash>,
    by_path: Table<NameHash>,
    by_name: Table<NameHash>,
    /// Sizes of the files that will be looked for.
    sizes: HashSet<u64>,
    blocks: OnceLock<Option<BlockIndex<'a>>>,
    /// Of the files that were looked at for likeness.
    sketches: Mutex<HashMap<FileRef, Sketch>>,
    /// Origins that were there from the start.
    base_count: usize,
}

impl<'a> FileIndex<'a> {
    /// Indexes `origins`, of which the last is the topmost layer. Only files of a size that
    /// occurs in one of `targets` are read: those that will be matched, or added.
    pub fn build(origins: &[&'a dyn ReadAt], targets: &[&dyn ReadAt]) -> Result<Self, MatchError> {
        let mut index = Self {
            sizes: sizes_of(targets).map_err(|source| MatchError::Target { source })?,
            origins: Vec::new(),
            maps: Vec::new(),
            by_content: Table::default(),
            by_path: Table::default(),
            by_name: Table::default(),
            blocks: OnceLock::new(),
            sketches: Mutex::new(HashMap::new()),
            base_count: origins.len(),
        };
        origins.iter().try_for_each(|origin| index.add(*origin))?;
        Ok(index)
    }

    /// Adds one more origin, topmost of all: a layer of the target that was matched before.
    pub fn add(&mut self, origin: &'a dyn ReadAt) -> Result<(), MatchError> {
        let number = self.origin_count();
        let error = |source| MatchError::Origin { origin: OriginId(number), source };
        let map = TarMap::of(origin).map_err(error)?;
        let hash = |member: &Member| match self.may_be_wanted(member) {
            true => hash_range(origin, &member.data).map(Some),
            false => Ok(None),
        };
        let hashes = map.members.par_iter().map(hash).collect::<Result<Vec<_>, _>>();
        let hashes = hashes.map_err(error)?;
        let files = || (0..).map(|member| FileRef { origin: number, member }).zip(&map.members);
        let contents = hashes.into_iter().zip(files());
        self.by_content.add(contents.filter_map(|(hash, (file, _))| Some((hash?, file))));
        self.by_path.add(files().map(|(file, member)| (xxh3_64(&member.path), file)));
        let named = files().filter(|(_, member)| member.is_file() && !member.data.is_empty());
        self.by_name.add(named.map(|(file, member)| (hash_of_name(member), file)));
        self.origins.push(origin);
        self.maps.push(map);
        Ok(())
    }

    /// Memory that it takes, in bytes: the same number on all machines, so that they make the same deltas.
    pub(super) fn memory_bytes(&self) -> u64 {
        let sketches = self.sketches.lock().unwrap_or_else(PoisonError::into_inner);
        let lengths = sketches.values().map(|sketch| sketch.numbers().len());
        let sketches: u64 = lengths.map(Sketch::memory_bytes).sum();
        let maps: u64 = self.maps.iter().map(TarMap::memory_bytes).sum();
        let tables = 32 * self.by_content.len() + 16 * (self.by_path.len() + self.by_name.len());
        let blocks = self.blocks.get().and_then(Option::as_ref).map_or(0, BlockIndex::memory_bytes);
        maps + tables + sketches + blocks
    }

    fn may_be_wanted(&self, member: &Member) -> bool {
        let size = member.data.end - member.data.start;
        size > 0 && self.sizes.contains(&size)
    }

    /// The blocks of the origins that were there from the start, indexed when they are first asked
    /// for; `None` where `memory_limit_bytes` does not allow it.
    pub(super) fn blocks(
        &self,
        memory_limit_bytes: u64,
    ) -> Result<Option<&BlockIndex<'a>>, MatchError> {
        if let Some(blocks) = self.blocks.get() {
            return Ok(blocks.as_ref());
        }
        let options = BlockIndexOptions { memory_limit_bytes, ..BlockIndexOptions::default() };
        let blocks = match BlockIndex::build(&self.origins[..self.base_count], &options) {
            // What is not found is sent: a small budget makes a larger delta, not a failure.
            Err(MatchError::MemoryLimit { .. }) => None,
            blocks => Some(blocks?),
        };
        Ok(self.blocks.get_or_init(|| blocks).as_ref())
    }

    pub(super) fn origin_count(&self) -> u32 {
        u32::try_from(self.origins.len()).unwrap_or(u32::MAX)
    }

    /// The sketch of a file, which `make` makes when it is first asked for.
    pub(super) fn cached_sketch(
        &self,
        file: FileRef,
        make: impl FnOnce() -> Result<Sketch, MatchError>,
    ) -> Result<Sketch, MatchError> {
        let sketches = || self.sketches.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sketches().get(&file).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let sketch = make()?;
        sketches().insert(file, sketch.clone());
        Ok(sketch)
    }

    pub(super) fn origin(&self, origin: u32) -> &'a dyn ReadAt {
        self.origins[origin as usize]
    }

    pub(super) fn map(&self, origin: u32) -> &TarMap {
        &self.maps[origin as usize]
    }

    pub(super) fn member(&self, file: FileRef) -> &Member {
        &self.map(file.origin).members[file.member as usize]
    }

    /// For each member of a target, the old members that its header and its contents come from.
    pub(super) fn choose_counterparts(
        &self,
        target: &dyn ReadAt,
        map: &TarMap,
    ) -> Result<Vec<Choice>, MatchError> {
        let hash = |member: &Member| match member.data.is_empty() {
            true => Ok(None),
            false => hash_range(target, &member.data).map(Some),
        };
        let hashes = map.members.par_iter().map(hash).collect::<Result<Vec<_>, _>>();
        let hashes = hashes.map_err(|source| MatchError::Target { source })?;
        let mut last = None;
        let choose = |(member, hash)| {
            let choice = self.choose(member, hash, last);
            last = choice.header.or(last);
            choice
        };
        Ok(map.members.iter().zip(hashes).map(choose).collect())
    }

    /// Prefers what continues the choice before, so that runs of unchanged members stay runs.
    fn choose(&self, member: &Member, hash: Option<ContentHash>, last: Option<FileRef>) -> Choice {
        let namesakes = self.by_path.get(xxh3_64(&member.path));
        let of_kind = |file: &FileRef| self.member(*file).kind == member.kind;
        let path_rank = |file: &FileRef| (of_kind(file), file.is_after(last), *file);
        let same_path = candidates(namesakes, last).max_by_key(path_rank);
        let equals = hash.map_or(Found::default(), |hash| self.by_content.get(hash));
        let content_rank = |file: &FileRef| {
            let is_same_path = self.member(*file).path == member.path;
            (is_same_path && of_kind(file), file.is_after(last), is_same_path, *file)
        };
        let equal_namesakes = candidates(namesakes, last).filter(|file| equals.contains(*file));
        let same_content = candidates(equals, last).chain(equal_namesakes).max_by_key(content_rank);
        if let Some(file) = same_content {
            let is_same_path = self.member(file).path == member.path && of_kind(&file);
            let header =
                if is_same_path { file } else { same_path.filter(of_kind).unwrap_or(file) };
            return Choice { header: Some(header), data: Some(Counterpart::Same(file)) };
        }
        let is_like = |file: &FileRef| of_kind(file) && !self.member(*file).data.is_empty();
        let like = match member.data.is_empty() {
            true => None,
            false => same_path.filter(is_like).or_else(|| self.namesake(member)),
        };
        let header = same_path.filter(of_kind).or(like);
        Choice { header, data: like.map(Counterpart::Like) }
    }

    /// The file whose name is the same but for versions, and whose path and size are the nearest.
    fn namesake(&self, member: &Member) -> Option<FileRef> {
        if !member.is_file() {
            return None;
        }
        let files = self.by_name.get(hash_of_name(member));
        let path = without_versions(&member.path);
        let size = member.data.end - member.data.start;
        let rank = |file: &FileRef| {
            let old = self.member(*file);
            let shared = shared_components(&path, &without_versions(&old.path));
            let distance = (old.data.end - old.data.start).abs_diff(size);
            (shared, std::cmp::Reverse(distance), *file)
        };
        files.iter().rev().take(MAX_CANDIDATES).max_by_key(rank)
    }
}

/// What is worth a look among `files`: the topmost ones, and the one that comes after `last`. A layer may have any
/// number of files with one path, or with equal contents.
fn candidates<K>(files: Found<'_, K>, last: Option<FileRef>) -> impl Iterator<Item = FileRef> {
    let next = last.map(FileRef::next).filter(|next| files.contains(*next));
    files.iter().rev().take(MAX_CANDIDATES).chain(next)
}

fn hash_of_name(member: &Member) -> NameHash {
    xxh3_64(&without_versions(base_name(&member.path)))
}

fn sizes_of(targets: &[&dyn ReadAt]) -> Result<HashSet<u64>, ReadError> {
    let mut sizes = HashSet::new();
    for target in targets {
        let map = TarMap::of(*target)?;
        sizes.extend(map.members.iter().map(|member| member.data.end - member.data.start));
    }
    Ok(sizes)
}

pub(super) fn hash_range(from: &dyn ReadAt, range: &Range<u64>) -> Result<ContentHash, ReadError> {
    const CHUNK_BYTES: u64 = 128 << 10;
    let mut hash = Xxh3::new();
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(CHUNK_BYTES);
        buffer.resize(usize::try_from(length).unwrap_or(0), 0);
        from.read_exact_at(&mut buffer, at)?;
        hash.update(&buffer);
        at += length;
    }
    Ok(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar of files named by their numbers, in the order of `numbers`, all with equal contents.
    fn equal_files(numbers: impl Iterator<Item = usize>) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for number in numbers {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            builder.append_data(&mut header, format!("file{number}"), &b"abc"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn of_many_equal_files_the_one_with_the_path_or_the_next_one_is_chosen() {
        let count = MAX_CANDIDATES * 2;
        let (base, same) = (equal_files(0..count), equal_files(0..count));
        let moved = equal_files((0..count).map(|number| number + count));
        let index = FileIndex::build(&[&base], &[&same, &moved]).unwrap();
        let old_of = |target: &Vec<u8>| -> Vec<u32> {
            let map = TarMap::of(target).unwrap();
            let choices = index.choose_counterparts(target, &map).unwrap();
            let old = |choice: &Choice| match choice.data {
                Some(Counterpart::Same(file)) => file.member,
                other => panic!("{other:?}"),
            };
            choices.iter().map(old).collect()
        };
        assert!(old_of(&same).into_iter().eq((0u32..).take(count)));
        // The first moved file takes the topmost; there is none after it, so the others do too.
        assert!(old_of(&moved).iter().all(|old| *old as usize == count - 1));
    }

    #[test]
    fn few_of_many_files_are_looked_at() {
        let mut table = Table::default();
        table.add((0..100_000).map(|member| (7, FileRef { origin: 0, member })));
        table.add((0..5).map(|member| (8, FileRef { origin: 0, member })));
        let last = FileRef { origin: 0, member: 10 };
        let seen: Vec<_> = candidates(table.get(7), Some(last)).collect();
        assert_eq!(seen.len(), MAX_CANDIDATES + 1);
        assert!(seen.contains(&last.next()));
        assert_eq!(candidates(table.get(8), Some(last)).count(), 5);
    }
}
