//! The work of regions: what they read and make beside the layer itself. Without a bound a few bytes of a delta could
//! ask for hours of it.

use std::borrow::Cow;

use crate::region::{Content, Deflate, Region, Transform};

/// Regions of a layer may come to so many times its length, …
const PER_LAYER_BYTE: u64 = 64;
/// … and, however short it is, to so much.
const ALWAYS: u64 = 16 << 20;
/// What an operation comes to besides its bytes.
const OPERATION: u64 = 4 << 10;
/// What a cover of an executable comes to, however short: around it the old file is searched for what has references there.
pub(super) const EXECUTABLE_COVER: u64 = 512;
/// So many steps of making a deflate stream come to a byte: they are what takes longest there.
const STEPS_FOR_A_BYTE: u64 = 8;
/// So many members of origins may be inflated at once.
pub(super) const MAX_INFLATED: usize = 64;

pub(super) const TOO_MUCH: &str = "its regions ask for more work than a layer of its length may";

/// What regions of a layer may still come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    left: u64,
}

impl Work {
    pub(super) fn of_layer(layer_bytes: u64) -> Self {
        Self { left: layer_bytes.saturating_mul(PER_LAYER_BYTE).saturating_add(ALWAYS) }
    }

    /// Counts an operation that reads or makes so many bytes.
    pub(super) fn begin(&mut self, bytes: u64) -> Result<(), &'static str> {
        self.take(operation(bytes)).ok_or(TOO_MUCH)
    }

    /// Counts further bytes of it.
    pub(super) fn go_on(&mut self, bytes: u64) -> Result<(), &'static str> {
        self.take(bytes).ok_or(TOO_MUCH)
    }

    /// Counts what making a deflate stream took.
    pub(super) fn take_steps(&mut self, steps: u64) -> Result<(), &'static str> {
        self.take(steps / STEPS_FOR_A_BYTE).ok_or(TOO_MUCH)
    }

    /// How many bytes may still be read or made.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// How many steps may still be taken.
    pub(super) fn steps_left(&self) -> u64 {
        self.left.saturating_mul(STEPS_FOR_A_BYTE).saturating_add(STEPS_FOR_A_BYTE - 1)
    }

    fn take(&mut self, work: u64) -> Option<()> {
        self.left = self.left.checked_sub(work)?;
        Some(())
    }
}

/// The same without the regions that a decoder of a layer of so many bytes would refuse: what they make is said as it is
/// then. In the order of the target each stays that does not go beyond the bound with those that stayed before it.
pub fn bounded(content: &Content, layer_bytes: u64) -> Cow<'_, Content> {
    let mut work = Work::of_layer(layer_bytes);
    let mut stays = |region: &Region| {
        inflated_at_once(region) <= MAX_INFLATED && work.take(work_of(region)).is_some()
    };
    let stay: Vec<bool> = content.regions.iter().map(&mut stays).collect();
    if !stay.contains(&false) {
        return Cow::Borrowed(content);
    }
    let mut content = content.clone();
    let mut stay = stay.into_iter();
    content.regions.retain(|_| stay.next().unwrap_or(false));
    Cow::Owned(content)
}

/// What a region comes to, those within it counted.
fn work_of(region: &Region) -> u64 {
    match &region.transform {
        Transform::References(references) => {
            let covers = references.cover_count().saturating_mul(EXECUTABLE_COVER);
            operation(references.old.end - references.old.start).saturating_add(covers)
        }
        Transform::Deflate(deflate) => work_of_deflate(deflate),
    }
}

fn work_of_deflate(deflate: &Deflate) -> u64 {
    let opened = deflate
        .inflated
        .iter()
        .map(|member| operation(member.plain_bytes.saturating_add(member.compressed_bytes)));
    let within = deflate.content.regions.iter().map(work_of);
    let made = operation(deflate.plain_bytes).saturating_add(deflate.steps / STEPS_FOR_A_BYTE);
    opened.chain(within).fold(made, u64::saturating_add)
}

fn operation(bytes: u64) -> u64 {
    bytes.saturating_add(OPERATION)
}

fn inflated_at_once(region: &Region) -> usize {
    let Transform::Deflate(deflate) = &region.transform else { return 0 };
    let within = deflate.content.regions.iter().map(inflated_at_once).max();
    deflate.inflated.len() + within.unwrap_or(0)
}

#[cfg(test)]
// A slice is unsized and cannot become a trait object.
#[allow(clippy::ptr_arg)]
mod tests {
    use std::io;

    use super::super::encode::encode_all;
    use super::super::{
        Compression, DecodeError, EncodeOptions, LayerDecoder, Limits, Origin, encode,
    };
    use super::*;
    use crate::cover::OriginId;
    use crate::deflate::{AnalyseLimits, Expected, analyse, recreate};
    use crate::read_at::ReadAt;
    use crate::references::{Machine, RegionCover};
    use crate::region::{Inflated, References};

    const OPTIONS: EncodeOptions = EncodeOptions {
        compression: Compression::Zstd { level: 3 },
        memory_bytes: 16 << 20,
        compress_memory_bytes: 256 << 20,
    };
    const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 1 << 20 };

    fn origin_of(old: &Vec<u8>) -> [(Origin, &dyn ReadAt); 1] {
        [(Origin::Layer { diff_id: [0; 32], size: old.len() as u64 }, old)]
    }

    /// Says all that `content` has, which [`encode`] would not.
    fn hostile(old: &Vec<u8>, new: &Vec<u8>, content: Content) -> Vec<u8> {
        let mut delta = Vec::new();
        encode_all(new, [7; 32], &origin_of(old), content, &OPTIONS, &mut delta).unwrap();
        delta
    }

    fn apply(delta: &[u8], old: &Vec<u8>) -> Result<(Vec<u8>, Content), DecodeError> {
        let mut decoder = LayerDecoder::new(delta, &LIMITS)?;
        decoder.record(1 << 24);
        let mut made = Vec::new();
        while decoder.next_frame(&[old], &mut made)?.is_some() {}
        Ok((made, decoder.into_content()))
    }

    fn refused_for(delta: &[u8], old: &Vec<u8>) -> &'static str {
        match apply(delta, old) {
            Err(DecodeError::FrameInvalid { what, .. }) => what,
            other => panic!("{:?}", other.map(drop)),
        }
    }

    /// A byte of each region is made out of all of a compiled module.
    fn bytes_of_modules(old_bytes: usize, count: u64) -> (Vec<u8>, Content) {
        let module = [&[0x3e, 0x0d, 0x0d, 0x0a][..], &vec![b'N'; old_bytes - 4]].concat();
        let region = |at: u64| {
            let references = References {
                machine: Machine::Python,
                origin: OriginId(0),
                old: 0..module.len() as u64,
                parameters: Vec::new(),
                covers: Vec::new(),
                unmapped: Vec::new(),
            };
            Region { target: at..at + 1, transform: Transform::References(references) }
        };
        let regions = (0..count).map(region).collect();
        (module, Content { regions, ..Content::default() })
    }

    #[test]
    fn executables_are_refused_that_read_far_more_than_the_layer_has() {
        let new = vec![7; 1000];
        let (old, content) = bytes_of_modules(100_000, 300);
        let delta = hostile(&old, &new, content.clone());
        assert!(refused_for(&delta, &old).contains("more work"));

        // Our encoder says the rest as it is.
        let mut delta = Vec::new();
        encode(&new, [7; 32], &origin_of(&old), &content, &OPTIONS, &mut delta).unwrap();
        let (made, said) = apply(&delta, &old).unwrap();
        assert_eq!(made, new);
        assert_eq!(said.regions.len() as u64, (ALWAYS + 64 * 1000) / (100_000 + 4096));
        assert_eq!(said.regions, content.regions[..said.regions.len()]);
    }

    #[test]
    fn the_longer_a_layer_the_more_it_may_ask_for() {
        let (old, content) = bytes_of_modules(100_000, 300);
        let new = vec![7; 300 * 104_096 / 64];
        let mut delta = Vec::new();
        encode(&new, [7; 32], &origin_of(&old), &content, &OPTIONS, &mut delta).unwrap();
        assert_eq!(apply(&delta, &old).unwrap().1.regions, content.regions);
    }

    const EMPTY: Inflated =
        Inflated { origin: OriginId(0), at: 0, compressed_bytes: 2, plain_bytes: 0 };

    #[test]
    fn covers_of_executables_are_refused_that_are_too_many() {
        let (new, old_bytes) = (vec![7; 40_000], 1000);
        let (old, content) = bytes_of_modules(old_bytes, 1);
        let limit = ALWAYS + 64 * new.len() as u64;
        let most = (limit - old_bytes as u64 - 4096) / 512;
        for (count, is_refused) in [(most, false), (most + 1, true)] {
            let covers = (0..u32::try_from(count).unwrap()).map(|at| {
                let old = at % 900;
                RegionCover { target: at, old, length: 1 }
            });
            let covers: Vec<_> = covers.collect();
            for (covers, unmapped) in [(covers.clone(), Vec::new()), (Vec::new(), covers)] {
                let mut content = content.clone();
                content.regions[0].target = 0..new.len() as u64;
                if let Transform::References(references) = &mut content.regions[0].transform {
                    (references.covers, references.unmapped) = (covers, unmapped);
                }
                assert_eq!(bounded(&content, new.len() as u64).regions.is_empty(), is_refused);
                let delta = hostile(&old, &new, content);
                match is_refused {
                    true => assert_eq!(refused_for(&delta, &old), TOO_MUCH),
                    false => assert!(apply(&delta, &old).unwrap().0 == new),
                }
            }
        }
    }

    /// A stream of one stored block, and an empty one before it that is inflated so often.
    fn deflate_region(inflated: usize, plain: &[u8]) -> (Vec<u8>, Vec<u8>, Region) {
        let old = vec![3, 0];
        let length = u16::try_from(plain.len()).unwrap();
        let stored = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), plain].concat();
        let analysed = analyse(&stored, &AnalyseLimits { plain_bytes: 1 << 20 }).unwrap();
        let deflate = Deflate {
            plain_bytes: analysed.plain.len() as u64,
            corrections: analysed.corrections,
            steps: analysed.steps,
            inflated: vec![EMPTY; inflated],
            content: Content::default(),
        };
        let region =
            Region { target: 0..stored.len() as u64, transform: Transform::Deflate(deflate) };
        (old, stored, region)
    }

    #[test]
    fn members_without_number_are_refused() {
        let (old, new, region) = deflate_region(MAX_INFLATED, b"what it holds");
        let content = Content { regions: vec![region], ..Content::default() };
        let (made, said) = apply(&hostile(&old, &new, content.clone()), &old).unwrap();
        assert_eq!((made, said.regions), (new, content.regions));

        let (old, new, region) = deflate_region(MAX_INFLATED + 1, b"what it holds");
        let content = Content { regions: vec![region], ..Content::default() };
        let delta = hostile(&old, &new, content.clone());
        assert!(refused_for(&delta, &old).contains("inflated at once"));
        assert_eq!(bounded(&content, 1 << 30).regions, []);
    }

    /// A stream may be of any length and hold nothing.
    #[test]
    fn long_streams_of_nothing_are_refused() {
        let (_, new, region) = deflate_region(1, b"what it holds");
        let limit = ALWAYS + 64 * new.len() as u64;
        let rest = work_of(&region) - EMPTY.compressed_bytes;
        for (excess, is_refused) in [(0, false), (5, true)] {
            // Empty stored blocks, the last of which is another.
            let blocks = (limit - rest).div_ceil(5) - 1 + excess / 5;
            let mut old = [0, 0, 0, 0xff, 0xff].repeat(usize::try_from(blocks - 1).unwrap());
            old.extend([1, 0, 0, 0xff, 0xff]);
            let mut region = region.clone();
            if let Transform::Deflate(deflate) = &mut region.transform {
                deflate.inflated[0].compressed_bytes = old.len() as u64;
            }
            let content = Content { regions: vec![region], ..Content::default() };
            assert_eq!(bounded(&content, new.len() as u64).regions.is_empty(), is_refused);
            let delta = hostile(&old, &new, content.clone());
            match is_refused {
                true => assert_eq!(refused_for(&delta, &old), TOO_MUCH),
                false => assert_eq!(apply(&delta, &old).unwrap(), (new.clone(), content)),
            }
        }
    }

    /// Two letters in no order: hundreds of places are looked at for each.
    #[test]
    fn streams_that_take_long_are_refused() {
        let mut seed = 1u32;
        let letter = || {
            seed = seed.wrapping_mul(0x9e37_79b1).wrapping_add(1);
            b'a' + (seed >> 31) as u8
        };
        let plain: Vec<u8> = std::iter::repeat_with(letter).take(50_000).collect();
        // Just as zlib does by level 9, whose length only shows then.
        let corrections = vec![1, 9, 8];
        let mut stream = Vec::new();
        recreate(&plain, &corrections, &Expected::of_length(1 << 20), &mut stream).unwrap_err();
        let length = stream.len() as u64;
        let expected = Expected::of_length(length);
        let steps = recreate(&plain, &corrections, &expected, &mut io::sink()).unwrap();
        for (max_steps, is_enough) in [(steps, true), (steps - 1, false)] {
            let expected = Expected { max_steps, ..expected };
            let made = recreate(&plain, &corrections, &expected, &mut io::sink());
            assert_eq!(made.is_ok(), is_enough);
        }

        let deflate = Deflate {
            plain_bytes: plain.len() as u64,
            corrections,
            steps,
            inflated: Vec::new(),
            content: Content::default(),
        };
        let new = [vec![7; 200], stream].concat();
        let target = 200..200 + length;
        let region = Region { target, transform: Transform::Deflate(deflate) };
        let work = work_of(&region);
        assert_eq!(work, 50_000 + 4096 + steps / 8);

        // Modules before it leave just enough for it, or one less: still more than it takes without its steps.
        let fit = (ALWAYS + 64 * new.len() as u64 - work) / 104_096;
        for (modules, is_refused) in [(fit, false), (fit + 1, true)] {
            let (old, mut content) = bytes_of_modules(100_000, modules);
            content.regions.push(region.clone());
            let delta = hostile(&old, &new, content.clone());
            match is_refused {
                true => assert_eq!(refused_for(&delta, &old), TOO_MUCH),
                false => assert!(apply(&delta, &old).unwrap().0 == new),
            }
            assert_eq!(bounded(&content, new.len() as u64).regions.len() as u64, fit + 1);
        }
    }

    /// What is inflated and what is made count, and operations within a stream like those around it.
    #[test]
    fn streams_count_with_what_is_in_them() {
        let (_, _, outer) = deflate_region(2, &[9; 1000]);
        let (_, _, inner) = deflate_region(3, &[9; 500]);
        let Transform::Deflate(mut deflate) = outer.transform else { unreachable!() };
        deflate.content.regions.push(inner);
        deflate.steps = 100;
        let region = Region { transform: Transform::Deflate(deflate), ..outer };
        assert_eq!(work_of(&region), 1000 + 500 + 5 * 2 + 7 * 4096 + 12 + 64);
        assert_eq!(inflated_at_once(&region), 5);
    }
}
