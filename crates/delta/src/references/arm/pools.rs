//! Words in code that instructions load: literal pools, and tables of places to jump to. In code that may be loaded
//! anywhere they are counted from the instruction that adds the program counter to them.

use std::ops::Range;

use super::{a32, thumb};
use crate::read_at::ReadError;
use crate::references::area_index::Source;
use crate::references::structure::Area;
use crate::references::window::Window;

/// Pools are looked for in so much of a file at once.
const BLOCK_BYTES: u64 = 8 << 10;
const BLOCK_WORDS: usize = 2 << 10;

/// How far before its word a load may be.
const REACH_BYTES: u64 = 4096 + 8;

/// The pools of the block that was asked for last.
#[derive(Debug, Default)]
pub(in crate::references) struct Pools {
    block: Block,
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
        BLOCK_BYTES + 2 * (REACH_BYTES + BLOCK_BYTES + 128);

    /// The address that is added to the word at `at`, if that is in a pool: 0 where files are linked to a
    /// fixed address.
    pub(super) fn base_of(
        &mut self,
        source: &Source<'_>,
        area: &Area,
        at: u64,
    ) -> Result<Option<u64>, ReadError> {
        if !self.block.range.contains(&at) {
            let start = at / BLOCK_BYTES * BLOCK_BYTES;
            let range = start.max(area.range.start)..(start + BLOCK_BYTES).min(area.range.end);
            let before = range.start.saturating_sub(REACH_BYTES).max(area.range.start);
            self.window.read(source.origin, source.old, &(before..range.end))?;
            self.block.begin(range);
            match source.structure.is_fixed {
                true => self.find_absolute(source, area, before),
                false => self.find_distances(area, before),
            }
        }
        Ok(self.block.base(at))
    }

    /// Finds words that say where something is.
    fn find_absolute(&mut self, source: &Source<'_>, area: &Area, before: u64) {
        let is_code = |word: u32| source.structure.segments.is_code(word.into());
        let mut table_at = None;
        for (at, address) in halfwords(area, before..self.block.range.end) {
            let Some(word) = self.window.u32(at) else { break };
            if table_at == Some(at) && is_code(word) {
                self.block.put(at, 0);
                table_at = Some(at + 4);
                continue;
            }
            if address & 3 == 0 && a32::jumps_by_table(word) {
                table_at = Some(at + a32::AHEAD);
            }
            if let Some((load, _)) = load(word, address) {
                self.block.put(at + load.distance, 0);
            }
        }
    }

    /// Finds words that say how far something is from the instruction that adds the program counter.
    fn find_distances(&mut self, area: &Area, before: u64) {
        for (at, address) in halfwords(area, before..self.block.range.end) {
            let Some(word) = self.window.u32(at) else { break };
            let Some((load, is_a32)) = load(word, address) else { continue };
            let (adds_at, ahead) = match is_a32 {
                true => (a32::use_of(&self.window, at, load.register), a32::AHEAD),
                false => (thumb::use_of(&self.window, at, load.register), thumb::AHEAD),
            };
            if let Some(adds_at) = adds_at {
                self.block.put(at + load.distance, area.address_of(adds_at).wrapping_add(ahead));
            }
        }
    }
}

/// Where instructions may start, and their addresses.
fn halfwords(area: &Area, range: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    let first = range.start + (area.address_of(range.start) & 1);
    (first..range.end).step_by(2).map(|at| (at, area.address_of(at)))
}

/// What an instruction loads, and whether it is of A32.
fn load(word: u32, address: u64) -> Option<(Load, bool)> {
    let a32 = if address & 3 == 0 { a32::load(word) } else { None };
    a32.map(|load| (load, true)).or_else(|| Some((thumb::load(word, address)?, false)))
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
            *known = u32::try_from(base & 0xffff_ffff).unwrap_or(NONE);
        }
    }
}
