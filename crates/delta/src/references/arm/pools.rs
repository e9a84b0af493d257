//! Words in code that instructions load: literal pools, and tables of places to jump to. In code that may be loaded
//! anywhere they are counted from the instruction that adds the program counter to them.

use std::ops::Range;

use super::{a32, thumb};
use crate::read_at::ReadError;
use crate::references::area_index::Source;
use crate::references::low_word;
use crate::references::structure::Area;
use crate::references::window::Window;

/// Pools are looked for in so much of a file at once.
const BLOCK_BYTES: u64 = 8 << 10;
const BLOCK_WORDS: usize = 2 << 10;

/// How far before its word a load may be.
const REACH_BYTES: u64 = 4096 + 8;

/// So many blocks are kept: covers go back and forth, and with one block alone each is searched twice as often.
const MAX_BLOCKS: usize = 8;

/// The pools of the blocks that were asked for last.
#[derive(Debug, Default)]
pub(in crate::references) struct Pools {
    /// The last one first.
    blocks: Vec<Block>,
    window: Window,
}

/// A load from a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// From the load to the word.
    pub(super) distance: u64,
    /// What the word is loaded into.
    pub(super) register: u32,
}

impl Pools {
    #[cfg(test)]
    pub(in crate::references) const MEMORY_BYTES: u64 =
        MAX_BLOCKS as u64 * BLOCK_BYTES + 2 * (REACH_BYTES + BLOCK_BYTES + 128);

    /// The address that is added to the word at `at`, if that is in a pool: 0 where files are linked to a
    /// fixed address.
    pub(super) fn base_of(
        &mut self,
        source: &Source<'_>,
        area: &Area,
        at: u64,
    ) -> Result<Option<u64>, ReadError> {
        match self.blocks.iter().position(|block| block.range.contains(&at)) {
            Some(number) => self.blocks[..=number].rotate_right(1),
            None => self.search(source, area, at)?,
        }
        Ok(self.blocks.first().and_then(|block| block.base(at)))
    }

    /// Finds the pools of the block with `at`, which takes the place of the one not asked for longest.
    fn search(&mut self, source: &Source<'_>, area: &Area, at: u64) -> Result<(), ReadError> {
        let start = at / BLOCK_BYTES * BLOCK_BYTES;
        let range = start.max(area.range.start)..(start + BLOCK_BYTES).min(area.range.end);
        let before = range.start.saturating_sub(REACH_BYTES).max(area.range.start);
        self.window.read(source.origin, source.old, &(before..range.end))?;

        let spare = if self.blocks.len() == MAX_BLOCKS { self.blocks.pop() } else { None };
        let mut block = spare.unwrap_or_default();
        block.begin(range);
        match source.structure.is_fixed {
            true => block.find_absolute(&self.window, source, area, before),
            false => block.find_distances(&self.window, area, before),
        }
        self.blocks.insert(0, block);
        Ok(())
    }
}

/// Where instructions may start, their addresses, and the four bytes there.
fn words<'a>(
    window: &'a Window,
    area: &Area,
    start: u64,
) -> impl Iterator<Item = (u64, u64, u32)> + 'a {
    let address = area.address_of(start);
    let odd = address & 1;
    let (at, address) = (start + odd, address.wrapping_add(odd));
    let words = window.from(at).windows(4).step_by(2).filter_map(<[u8]>::first_chunk);
    let words = words.map(|word| u32::from_le_bytes(*word));
    (0..).step_by(2).zip(words).map(move |(i, word)| (at + i, address.wrapping_add(i), word))
}

/// What an instruction loads, and whether it is of A32. Pools have aligned words alone.
fn load(word: u32, address: u64) -> Option<(Load, bool)> {
    let a32 = if address & 3 == 0 { a32::load(word) } else { None };
    let load = a32.map(|load| (load, true));
    let load = load.or_else(|| Some((thumb::load(word, address)?, false)));
    load.filter(|(load, _)| address.wrapping_add(load.distance) & 3 == 0)
}

/// What is known of the words in a range.
#[derive(Debug, Default)]
struct Block {
    range: Range<u64>,
    /// For each word what is added to it, or [`NONE`].
    bases: Vec<u32>,
}

/// No address of an instruction.
const NONE: u32 = u32::MAX;

impl Block {
    fn begin(&mut self, range: Range<u64>) {
        self.range = range;
        self.bases.clear();
        self.bases.resize(BLOCK_WORDS, NONE);
    }

    /// Finds words that say where something is.
    fn find_absolute(&mut self, window: &Window, source: &Source<'_>, area: &Area, before: u64) {
        let is_code = |word: u32| source.structure.segments.is_code(word.into());
        let mut table_at = None;
        for (at, address, word) in words(window, area, before) {
            if table_at == Some(at) && is_code(word) {
                self.put(at, 0);
                table_at = Some(at + 4);
                continue;
            }
            if address & 3 == 0 && a32::jumps_by_table(word) {
                table_at = Some(at + a32::AHEAD);
            }
            if let Some((load, _)) = load(word, address) {
                self.put(at + load.distance, 0);
            }
        }
    }

    /// Finds words that say how far something is from the instruction that adds the program counter.
    fn find_distances(&mut self, window: &Window, area: &Area, before: u64) {
        for (at, address, word) in words(window, area, before) {
            let Some((load, is_a32)) = load(word, address) else { continue };
            let (adds_at, ahead) = match is_a32 {
                true => (a32::use_of(window, at, load.register), a32::AHEAD),
                false => (thumb::use_of(window, at, load.register), thumb::AHEAD),
            };
            if let Some(adds_at) = adds_at {
                self.put(at + load.distance, area.address_of(adds_at).wrapping_add(ahead));
            }
        }
    }

    fn number(&self, at: u64) -> Option<usize> {
        let is_within = self.range.contains(&at);
        is_within.then(|| usize::try_from((at - self.range.start) / 4).ok()).flatten()
    }

    fn base(&self, at: u64) -> Option<u64> {
        let base = *self.bases.get(self.number(at)?)?;
        (base != NONE).then_some(base.into())
    }

    /// Of the loads of a word the first counts.
    fn put(&mut self, at: u64, base: u64) {
        let number = self.number(at);
        let known = number.and_then(|number| self.bases.get_mut(number));
        if let Some(known) = known.filter(|known| **known == NONE) {
            *known = low_word(base);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_of_aligned_words() {
        // ldr r0, [pc, #n], of A32, which may be n bytes away.
        let distance = |n: u32| load(0xe59f_0000 | n, 0x1000).map(|(load, _)| load.distance);
        assert_eq!([0x3f, 0x40, 0x41, 0x44].map(distance), [None, Some(0x48), None, Some(0x4c)]);
        // ldr.w r0, [pc, #n], of Thumb-2: from the next multiple of 4.
        let distance = |n: u32| load(0xf8df | n << 16, 0x1002).map(|(load, _)| load.distance);
        assert_eq!([0x3f, 0x40, 0x41, 0x44].map(distance), [None, Some(0x42), None, Some(0x46)]);
    }
}
