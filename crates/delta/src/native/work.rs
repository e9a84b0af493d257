//! The work of regions: what they read and make beside the layer itself. Without a bound a few bytes of a delta could
//! ask for hours of it.

use crate::region::{Content, Deflate, Region, Transform};

/// Regions of a layer may come to so many times its length, …
const PER_LAYER_BYTE: u64 = 64;
/// … and, however short it is, to so much.
const ALWAYS: u64 = 16 << 20;
/// What an operation comes to besides its bytes.
const OPERATION: u64 = 4 << 10;
/// Places that are looked at for matches come to a byte together: what takes most in making a deflate stream.
const STEPS_FOR_A_BYTE: u64 = 32;
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
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), &'static str> {
        self.take_counted(operation(bytes)).ok_or(TOO_MUCH)
    }

    /// Counts what making a deflate stream took beside that.
    pub(super) fn take_steps(&mut self, steps: u64) -> Result<(), &'static str> {
        self.take_counted(steps / STEPS_FOR_A_BYTE).ok_or(TOO_MUCH)
    }

    /// How many steps may be taken.
    pub(super) fn steps_left(&self) -> u64 {
        self.left.saturating_mul(STEPS_FOR_A_BYTE).saturating_add(STEPS_FOR_A_BYTE - 1)
    }

    fn take_counted(&mut self, work: u64) -> Option<()> {
        self.left = self.left.checked_sub(work)?;
        Some(())
    }
}

/// Leaves out regions that a decoder would refuse: what they make is said as it is. Those that come first stay.
pub(super) fn leave_out_excess(content: &mut Content, layer_bytes: u64) {
    let mut work = Work::of_layer(layer_bytes);
    content.regions.retain(|region| {
        inflated_at_once(region) <= MAX_INFLATED && work.take_counted(work_of(region)).is_some()
    });
}

/// What a region comes to, those within it counted.
fn work_of(region: &Region) -> u64 {
    match &region.transform {
        Transform::References(references) => operation(references.old.end - references.old.start),
        Transform::Deflate(deflate) => work_of_deflate(deflate),
    }
}

fn work_of_deflate(deflate: &Deflate) -> u64 {
    let opened = deflate.inflated.iter().map(|member| operation(member.plain_bytes));
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
    use crate::deflate::{AnalyseLimits, analyse, recreate};
    use crate::read_at::ReadAt;
    use crate::references::Machine;
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
            inflated: vec![Inflated { origin: OriginId(0), at: 0, plain_bytes: 0 }; inflated],
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
        let mut content = Content { regions: vec![region], ..Content::default() };
        let delta = hostile(&old, &new, content.clone());
        assert!(refused_for(&delta, &old).contains("inflated at once"));
        leave_out_excess(&mut content, 1 << 30);
        assert_eq!(content.regions, []);
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
        recreate(&plain, &corrections, 1 << 20, u64::MAX, &mut stream).unwrap_err();
        let length = stream.len() as u64;
        let steps = recreate(&plain, &corrections, length, u64::MAX, &mut io::sink()).unwrap();
        assert!(recreate(&plain, &corrections, length, steps, &mut io::sink()).is_ok());
        assert!(recreate(&plain, &corrections, length, steps - 1, &mut io::sink()).is_err());

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
        assert_eq!(work, 50_000 + 4096 + steps / 32);

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
            leave_out_excess(&mut content, new.len() as u64);
            assert_eq!(content.regions.len() as u64, fit + 1);
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
        assert_eq!(work_of(&region), 1000 + 500 + 7 * 4096 + 3);
        assert_eq!(inflated_at_once(&region), 5);
    }
}
