//! Counterparts by contents: for what has none by path or name, or where another file is much more like it.
//!
//! Files of the layer itself that come before count as old ones: two programs of one release are often
//! more like one another than like what they were before.

use rayon::prelude::*;

use super::index::FileRef;
use super::sketch::{MAX_LENGTH, MIN_LENGTH, Share, Sketch, sketch_length};
use super::{Aim, Choice, Counterpart, MatchOptions, Sides};
use crate::block_match::MatchError;
use crate::cover::OriginId;
use crate::deflate::may_hold_streams;
use crate::effort::Effort;
use crate::tar_map::Member;

/// Smaller files gain nothing more.
const MIN_FILE_BYTES: u64 = 4 << 10;
/// A number that more files have says nothing.
const MAX_FILES_PER_NUMBER: usize = 128;
/// Less is no likeness.
const MIN_SHARE: u32 = Share::WHOLE / 8;
/// What has the path or the name is the better guess unless another file has so much more: one or
/// two numbers are chance, and a large file with a wrong counterpart costs much.
const MIN_ADVANTAGE: u32 = Share::WHOLE / 16;
/// The same of smaller files, for which it is as costly to say that they come from elsewhere as what differs.
const MIN_ADVANTAGE_SMALL: u32 = Share::WHOLE / 4;
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// Of so many numbers a small share is no chance: then half as much again as another has is enough, …
const SURE_NUMBERS: usize = 512;
/// … if it is so much.
const MIN_SURE_ADVANTAGE: u32 = Share::WHOLE / 128;

/// Files that have so much in common differ in some bytes alone.
const NEARLY_THE_SAME: u32 = Share::WHOLE / 8 * 7;

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
    let (files, longest) = candidates(sides, choices, options.memory_bytes / 8);
    let sketches: Vec<Sketch> =
        files.par_iter().map(|file| sides.sketch(*file, longest)).collect::<Result<_, _>>()?;
    let index = Numbers::of(&sketches);
    let sketch_of = |file: FileRef| files.binary_search(&file).ok().map(|i| &sketches[i]);
    for member in wanted {
        let new = FileRef { origin: sides.itself(), member };
        let Some(sketch) = sketch_of(new) else { continue };
        let choice = &mut choices[member as usize];
        let chosen = match choice.data {
            Some(Counterpart::Like(old)) => {
                Some(sketch_of(old).map_or(Share::default(), |old| sketch.share_in(old)))
            }
            _ => None,
        };
        let before = files.partition_point(|file| *file < new);
        let Some((best, share)) = index.most_like(sketch, &sketches[..before]) else { continue };
        if share.part >= needed(chosen, share, sides.size(new))
            && sides.may_be_read(files[best], share)?
        {
            choice.data = Some(Counterpart::Like(files[best]));
        }
    }
    Ok(())
}

/// What share of a file of `size` bytes another must have to be its counterpart, where the one by path or name has
/// `chosen`.
fn needed(chosen: Option<Share>, share: Share, size: u64) -> u32 {
    let advantage = if size < SMALL_FILE_BYTES { MIN_ADVANTAGE_SMALL } else { MIN_ADVANTAGE };
    let needed = MIN_SHARE.max(chosen.map_or(0, |chosen| chosen.part + advantage));
    let sure = Share { part: 0, of_numbers: SURE_NUMBERS };
    let chosen = chosen.unwrap_or(sure);
    match share.of_numbers.min(chosen.of_numbers) {
        SURE_NUMBERS.. => needed.min((chosen.part / 2 * 3).max(chosen.part + MIN_SURE_ADVANTAGE)),
        _ => needed,
    }
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

/// The files that may be counterparts, in order, those of the layer itself last, and how long sketches may be so that
/// they fit `memory_bytes`. What came over unchanged is the ancestor of nothing else. Of too many, the largest ones.
fn candidates(
    sides: &Sides<'_, '_>,
    choices: &[Choice],
    memory_bytes: u64,
) -> (Vec<FileRef>, usize) {
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
    let long: u64 = files.iter().map(|file| file_bytes(sides.size(*file), MAX_LENGTH)).sum();
    if long <= memory_bytes {
        return (files, MAX_LENGTH);
    }
    let most = usize::try_from(memory_bytes / file_bytes(0, MIN_LENGTH)).unwrap_or(usize::MAX);
    if files.len() > most {
        files.sort_by_key(|file| std::cmp::Reverse(sides.size(*file)));
        files.truncate(most);
        files.sort_unstable();
    }
    (files, MIN_LENGTH)
}

/// What a file of `size` bytes takes here: its sketch, twice where it is kept, and the list of its numbers.
fn file_bytes(size: u64, longest: usize) -> u64 {
    let length = sketch_length(size, longest);
    2 * Sketch::memory_bytes(length) + 8 * length as u64
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

    /// The one of `sketches` whose file has the largest share of that of `sketch`. Of equals, the last one.
    fn most_like(&self, sketch: &Sketch, sketches: &[Sketch]) -> Option<(usize, Share)> {
        let mut counts = vec![0; sketches.len()];
        for number in sketch.numbers() {
            let files = self.files(*number).iter().map(|(_, file)| *file as usize);
            for file in files.filter(|file| *file < sketches.len()) {
                counts[file] += 1;
            }
        }
        let found = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        let shares = found.map(|(file, count)| (sketch.share_of(&sketches[file], count), file));
        shares.max_by_key(|(share, file)| (share.part, *file)).map(|(share, file)| (file, share))
    }
}

impl Sides<'_, '_> {
    fn size(&self, file: FileRef) -> u64 {
        let data = &self.member(file).data;
        data.end - data.start
    }

    fn sketch(&self, file: FileRef, longest: usize) -> Result<Sketch, MatchError> {
        let make = || {
            let (origin, data) = (self.origin(file.origin), &self.member(file).data);
            let sketch = Sketch::of(origin, data, sketch_length(self.size(file), longest));
            sketch.map_err(|source| MatchError::Origin { origin: OriginId(file.origin), source })
        };
        match file.origin == self.itself() {
            true => make(),
            false => self.index.cached_sketch(file, make),
        }
    }

    /// Whether a file can be a counterpart. One of the layer itself is compared as it is, compressed
    /// streams or not, since a region of those lies within a frame: then it must be nearly the same.
    fn may_be_read(&self, file: FileRef, share: Share) -> Result<bool, MatchError> {
        if file.origin != self.itself() || share.part >= NEARLY_THE_SAME {
            return Ok(true);
        }
        let magic = super::pairs::magic(self.target, &self.member(file).data)?;
        Ok(!magic.is_some_and(may_hold_streams))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(hundredths: u32, of_numbers: usize) -> Share {
        Share { part: Share::WHOLE / 100 * hundredths, of_numbers }
    }

    #[test]
    fn of_many_numbers_a_small_share_is_enough() {
        let is_taken =
            |new: Share, chosen: Option<Share>, size| new.part >= needed(chosen, new, size);
        for (new, chosen, size, expected) in [
            // By few numbers it takes an eighth, and a sixteenth more than the file of the path has, …
            (share(12, 64), None, 1 << 20, false),
            (share(13, 64), None, 1 << 20, true),
            (share(13, 64), Some(share(10, 64)), 1 << 20, false),
            (share(13, 64), Some(share(6, 64)), 1 << 20, true),
            (share(13, 64), Some(share(6, 2048)), 1 << 20, true),
            // … or a fourth more if they are small;
            (share(40, 64), Some(share(20, 64)), 1 << 15, false),
            (share(46, 64), Some(share(20, 64)), 1 << 15, true),
            // by many half as much again is enough, but not so little that it is chance.
            (share(5, 2048), Some(share(4, 2048)), 1 << 20, false),
            (share(6, 2048), Some(share(4, 2048)), 1 << 20, true),
            (share(6, 2048), Some(share(4, 64)), 1 << 20, false),
            (share(0, 2048), Some(share(0, 2048)), 1 << 20, false),
            (share(1, 2048), Some(share(0, 2048)), 1 << 20, true),
            (share(1, 2048), None, 1 << 20, true),
            (share(50, 2048), Some(share(46, 2048)), 1 << 20, false),
            (share(53, 2048), Some(share(46, 2048)), 1 << 20, true),
        ] {
            assert_eq!(is_taken(new, chosen, size), expected, "{new:?} {chosen:?} {size}");
        }
    }
}
