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

    /// Finds words that say how far something is from the instruction that adds the program counter. From the end
    /// to the start: where that is added next is known then, and need not be looked for after each load.
    fn find_distances(&mut self, window: &Window, area: &Area, before: u64) {
        let first = before + (area.address_of(before) & 1);
        let bytes = window.from(first);
        let mut uses = NextUses::default();
        for (i, half) in bytes.as_chunks().0.iter().enumerate().rev() {
            let at = first + 2 * i as u64;
            let address = area.address_of(at);
            let word = bytes[2 * i..].first_chunk().map(|word| u32::from_le_bytes(*word));
            if let Some((load, is_a32)) = word.and_then(|word| load(word, address))
                && let Some(base) = uses.base(load.register, is_a32, at, area)
            {
                self.put(at + load.distance, base);
            }
            if let Some(word) = word.filter(|_| address & 3 == 0) {
                a32::adds_pc_to(word).for_each(|register| uses.a32[register] = at);
            }
            if let Some(register) = thumb::adds_pc_to(u16::from_le_bytes(*half)) {
                uses.thumb[register] = at;
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

    /// Says what is added to a word. What is said last stays: its first load is gone through last, and 0 is the same
    /// whoever says it.
    fn put(&mut self, at: u64, base: u64) {
        let number = self.number(at);
        if let Some(known) = number.and_then(|number| self.bases.get_mut(number)) {
            *known = low_word(base);
        }
    }
}

/// Where, after some place, the program counter is next added to each register.
#[derive(Debug, Default)]
struct NextUses {
    a32: [u64; 16],
    thumb: [u64; 16],
}

impl NextUses {
    /// What a word counts from that is loaded into `register` at `at`, if that is soon.
    fn base(&self, register: u32, is_a32: bool, at: u64, area: &Area) -> Option<u64> {
        let (uses, reach, ahead) = match is_a32 {
            true => (&self.a32, a32::USE_REACH_BYTES, a32::AHEAD),
            false => (&self.thumb, thumb::USE_REACH_BYTES, thumb::AHEAD),
        };
        let used_at = uses[register as usize];
        // Where none is known 0 stands, which is not after any load.
        let is_soon = used_at > at && used_at - at <= reach;
        is_soon.then(|| area.address_of(used_at).wrapping_add(ahead))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::references::structure::AreaKind;

    #[test]
    fn loads_are_of_aligned_words() {
        // ldr r0, [pc, #n], of A32, which may be n bytes away.
        let distance = |n: u32| load(0xe59f_0000 | n, 0x1000).map(|(load, _)| load.distance);
        assert_eq!([0x3f, 0x40, 0x41, 0x44].map(distance), [None, Some(0x48), None, Some(0x4c)]);
        // ldr.w r0, [pc, #n], of Thumb-2: from the next multiple of 4.
        let distance = |n: u32| load(0xf8df | n << 16, 0x1002).map(|(load, _)| load.distance);
        assert_eq!([0x3f, 0x40, 0x41, 0x44].map(distance), [None, Some(0x42), None, Some(0x46)]);
    }

    /// What is added to a word that is loaded at `at`, looked for after the load as the page of the format says.
    fn base_by_search(window: &Window, area: &Area, at: u64) -> Option<(u64, u32)> {
        let word = u32::from_le_bytes(*window.from(at).first_chunk()?);
        let (load, is_a32) = load(word, area.address_of(at))?;
        let r = load.register;
        let (used_at, ahead) = if is_a32 {
            let words = window.from(at + 4).as_chunks().0.iter().take(15);
            let is_use = |word: &[u8; 4]| {
                let w = u32::from_le_bytes(*word);
                w & 0x0fff_0fff == 0x008f_0000 + r
                    || w & 0x0fff_0fff == 0x0080_000f + (r << 16)
                    || w & 0x0f2f_0fff == 0x070f_0000 + r
            };
            (at + 4 + 4 * words.clone().position(is_use)? as u64, 8)
        } else {
            let mut halves = window.from(at + 2).as_chunks().0.iter().take(30);
            let wanted = 0x4478 + (r & 7) + ((r >> 3) << 7);
            let is_use = |half: &[u8; 2]| u32::from(u16::from_le_bytes(*half)) == wanted;
            let number = halves.position(is_use)?;
            (at + 2 + 2 * number as u64, 4)
        };
        Some((at + load.distance, low_word(area.address_of(used_at) + ahead)))
    }

    /// Loads and uses of few registers, of both instruction sets, and noise between.
    fn code() -> impl Strategy<Value = Vec<u8>> {
        let register = 0u16..4;
        let half = prop_oneof![
            (register.clone(), 0u16..64).prop_map(|(r, n)| 0x4800 | r << 8 | n),
            register.clone().prop_map(|r| 0x4478 | r),
            Just(0xf8df),
            any::<u16>(),
        ];
        let word = prop_oneof![
            (0u32..16, 0u32..512).prop_map(|(r, n)| 0xe59f_0000 | r << 12 | n),
            (0u32..16).prop_map(|r| 0xe08f_1000 | r),
            (0u32..16).prop_map(|r| 0xe080_200f | r << 16),
            (0u32..16).prop_map(|r| 0xe79f_3000 | r),
        ];
        let piece = prop_oneof![
            half.prop_map(|half| half.to_le_bytes().to_vec()),
            word.prop_map(|word| word.to_le_bytes().to_vec()),
        ];
        prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn words_count_from_the_first_use_after_their_first_load(
            code in code(), start in 0u8..8, address in 0x1000u64..0x1008, lost in 0usize..4,
        ) {
            let code = &code[..code.len().saturating_sub(lost)];
            let (old, start) = ([&vec![0; start.into()], code].concat(), u64::from(start));
            let end = old.len() as u64;
            let area = Area { range: start..end, origin: start, address, kind: AreaKind::Code };
            let mut window = Window::default();
            window.read(&old, &(0..end), &(start..end)).unwrap();
            let mut block = Block::default();
            block.begin(start..end);
            block.find_distances(&window, &area, start);

            let mut expected = HashMap::new();
            for at in (start + (address & 1)..end).step_by(2) {
                if let Some((place, base)) = base_by_search(&window, &area, at) {
                    expected.entry(place).or_insert(base);
                }
            }
            for number in 0..end.saturating_sub(start) / 4 {
                // Words are numbered by four bytes of the block, and loads are of aligned ones.
                let at = start + 4 * number;
                let known = (at..at + 4).find_map(|at| expected.get(&at)).copied();
                prop_assert_eq!(block.base(at), known.map(u64::from), "{}", at);
            }
        }
    }
}
