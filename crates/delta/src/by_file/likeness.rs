//! Counterparts by contents: for what has none by path or name, or where another file is much more like it.
//!
//! Files of the layer itself that come before count as old ones: two programs of one release are often
//! more like one another than like what they were before.

use std::collections::HashMap;

use rayon::prelude::*;

use super::index::FileRef;
use super::sketch::{SKETCH_LENGTH, Sketch};
use super::{Aim, Choice, Counterpart, MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::cover::OriginId;
use crate::deflate::may_hold_streams;
use crate::effort::Effort;
use crate::tar_map::Member;

/// Smaller files gain nothing more.
const MIN_FILE_BYTES: u64 = 4 << 10;
/// What a file takes here: its sketch, twice where it is kept, and the list of its numbers.
const FILE_BYTES: u64 = 2 * Sketch::MEMORY_BYTES + (8 * SKETCH_LENGTH) as u64;
/// A number that more files have says nothing.
const MAX_FILES_PER_NUMBER: usize = 32;
/// Less is no likeness.
const MIN_IN_COMMON: usize = SKETCH_LENGTH / 8;
/// What has the path or the name is the better guess unless another file has so many more in common: one or
/// two are chance, and a large file with a wrong counterpart costs much.
const MIN_ADVANTAGE: usize = SKETCH_LENGTH / 16;
/// The same of smaller files, for which it is as costly to say that they come from elsewhere as what differs.
const MIN_ADVANTAGE_SMALL: usize = SKETCH_LENGTH / 4;
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// Files that have so many in common differ in some bytes alone.
const NEARLY_THE_SAME: usize = SKETCH_LENGTH / 8 * 7;

/// Gives files another counterpart where their contents say so.
pub(super) fn improve(
    sides: &Sides<'_, '_>,
    choices: &mut [Choice],
    options: &MatchOptions,
) -> Result<(), MatchError> {
    if options.aim != Aim::Differences || options.effort == Effort::Fast {
        return Ok(());
    }
    let wanted = wanted(sides, choices);
    if wanted.is_empty() {
        return Ok(());
    }
    let most = usize::try_from(options.memory_bytes / 8 / FILE_BYTES).unwrap_or(usize::MAX);
    let files = candidates(sides, choices, most);
    let sketches: Vec<Sketch> =
        files.par_iter().map(|file| sides.sketch(*file)).collect::<Result<_, _>>()?;
    let index = Numbers::of(&sketches);
    let sketch_of = |file: FileRef| files.binary_search(&file).ok().map(|i| &sketches[i]);
    for member in wanted {
        let new = FileRef { origin: sides.itself(), member };
        let Some(sketch) = sketch_of(new) else { continue };
        let choice = &mut choices[member as usize];
        let chosen = match choice.data {
            Some(Counterpart::Like(old)) => sketch_of(old).map_or(0, |old| old.in_common(sketch)),
            _ => 0,
        };
        let Some((best, common)) = index.most_like(sketch, files.partition_point(|f| *f < new))
        else {
            continue;
        };
        let needed = match choice.data {
            Some(_) => MIN_IN_COMMON.max(chosen + min_advantage(sides.size(new))),
            None => MIN_IN_COMMON,
        };
        if common >= needed && sides.may_be_read(files[best], common)? {
            choice.data = Some(Counterpart::Like(files[best]));
        }
    }
    Ok(())
}

fn min_advantage(size: u64) -> usize {
    if size < SMALL_FILE_BYTES { MIN_ADVANTAGE_SMALL } else { MIN_ADVANTAGE }
}

/// The files of the target whose contents are not found elsewhere.
fn wanted(sides: &Sides<'_, '_>, choices: &[Choice]) -> Vec<u32> {
    let is_wanted = |member: &Member, choice: &Choice| {
        is_large_file(member) && !matches!(choice.data, Some(Counterpart::Same(_)))
    };
    let members = (0..).zip(sides.map.members.iter().zip(choices));
    members.filter(|(_, (member, choice))| is_wanted(member, choice)).map(|(i, _)| i).collect()
}

fn is_large_file(member: &Member) -> bool {
    member.is_file() && member.data.end - member.data.start >= MIN_FILE_BYTES
}

/// The files that may be counterparts, in order, those of the layer itself last. What came over
/// unchanged is the ancestor of nothing else. Of too many, the largest ones.
fn candidates(sides: &Sides<'_, '_>, choices: &[Choice], most: usize) -> Vec<FileRef> {
    let mut same: Vec<FileRef> = choices
        .iter()
        .filter_map(|choice| match choice.data {
            Some(Counterpart::Same(file)) => Some(file),
            _ => None,
        })
        .collect();
    same.sort_unstable();
    let mut files = Vec::new();
    for origin in 0..=sides.itself() {
        let members = (0..).zip(&sides.map_of(origin).members);
        let large = members.filter(|(_, member)| is_large_file(member));
        let refs = large.map(|(member, _)| FileRef { origin, member });
        files.extend(refs.filter(|file| same.binary_search(file).is_err()));
    }
    if files.len() > most {
        files.sort_by_key(|file| std::cmp::Reverse(sides.size(*file)));
        files.truncate(most);
        files.sort_unstable();
    }
    files
}

/// Each number with the sketch that has it, in order.
struct Numbers(Vec<(u32, u32)>);

impl Numbers {
    fn of(sketches: &[Sketch]) -> Self {
        let files = (0..).zip(sketches);
        let numbers = files.flat_map(|(i, sketch)| sketch.numbers().iter().map(move |n| (*n, i)));
        let mut numbers: Vec<(u32, u32)> = numbers.collect();
        numbers.sort_unstable();
        Self(numbers)
    }

    /// The sketches that have a number, unless there are too many.
    fn files(&self, number: u32) -> &[(u32, u32)] {
        let first = self.0.partition_point(|(n, _)| *n < number);
        let files = &self.0[first..];
        let files = &files[..files.partition_point(|(n, _)| *n == number)];
        if files.len() > MAX_FILES_PER_NUMBER { &[] } else { files }
    }

    /// The sketch before `end` that has the most in common, and how much. Of equals, the last one.
    fn most_like(&self, sketch: &Sketch, end: usize) -> Option<(usize, usize)> {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for number in sketch.numbers() {
            let files = self.files(*number).iter().map(|(_, file)| *file as usize);
            for file in files.filter(|file| *file < end) {
                *counts.entry(file).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(file, count)| (*count, *file))
    }
}

impl Sides<'_, '_> {
    fn size(&self, file: FileRef) -> u64 {
        let data = &self.member(file).data;
        data.end - data.start
    }

    fn sketch(&self, file: FileRef) -> Result<Sketch, MatchError> {
        let make = || {
            let (origin, data) = (self.origin(file.origin), &self.member(file).data);
            let sketch = Sketch::of(origin, data);
            sketch.map_err(|source| MatchError::Origin { origin: OriginId(file.origin), source })
        };
        match file.origin == self.itself() {
            true => make(),
            false => self.index.cached_sketch(file, make),
        }
    }

    /// Whether a file can be a counterpart. One of the layer itself is compared as it is, compressed
    /// streams or not, since a region of those lies within a frame: then it must be nearly the same.
    fn may_be_read(&self, file: FileRef, common: usize) -> Result<bool, MatchError> {
        if file.origin != self.itself() || common >= NEARLY_THE_SAME {
            return Ok(true);
        }
        let magic = super::pairs::magic(self.target, &self.member(file).data)?;
        Ok(!magic.is_some_and(may_hold_streams))
    }
}
