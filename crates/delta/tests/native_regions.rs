//! Regions of the native stream, said by hand: members within members, and what an enemy makes of them.

// A slice is unsized and cannot become a trait object.
#![allow(clippy::ptr_arg)]

use std::io::Write;

use delta::deflate::{AnalyseLimits, analyse};
use delta::native::{
    Compression, DecodeError, EncodeOptions, LayerDecoder, Limits, Origin, encode,
};
use delta::read_at::ReadAt;
use delta::references::{Machine, RegionCover};
use delta::region::{Content, Deflate, Inflated, References, Region, Transform};
use delta::{Cover, OriginId};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

#[allow(dead_code)]
mod references_support;
use references_support::{ElfBuilder, Section};

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 1 << 20 };

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Text that deflate makes smaller.
fn text(lines: std::ops::Range<u32>) -> Vec<u8> {
    lines.flat_map(|i| format!("line {} of {}\n", i, i * 7919 % 1009).into_bytes()).collect()
}

fn region_of(compressed: &[u8], at: u64, inflated: Vec<Inflated>, content: Content) -> Region {
    let analysed = analyse(compressed, &AnalyseLimits { plain_bytes: 1 << 20 }).unwrap();
    assert_eq!(analysed.compressed_bytes, compressed.len());
    let deflate = Deflate {
        plain_bytes: analysed.plain.len() as u64,
        corrections: analysed.corrections,
        steps: analysed.steps,
        inflated,
        content,
    };
    let target = at..at + compressed.len() as u64;
    Region { target, transform: Transform::Deflate(deflate) }
}

fn inflated(origin: OriginId, at: u64, compressed: &[u8], plain: &[u8]) -> Inflated {
    let (compressed_bytes, plain_bytes) = (compressed.len() as u64, plain.len() as u64);
    Inflated { origin, at, compressed_bytes, plain_bytes }
}

/// An archive in an archive, between bytes of the layer; the inner text has a line more than the old.
struct Nested {
    base: Vec<u8>,
    target: Vec<u8>,
    content: Content,
}

fn nested() -> Nested {
    let (old_text, new_text) =
        (text(0..2000), [&text(0..1000)[..], b"more\n", &text(1000..2000)].concat());
    let (old_inner, new_inner) = (deflated(&old_text), deflated(&new_text));
    let (old_outer, new_outer) =
        ([b"<<", &old_inner[..], b">>"].concat(), [b"<<<", &new_inner[..], b">>"].concat());
    let base = [b"old head", &deflated(&old_outer)[..], b"old tail"].concat();
    let compressed = deflated(&new_outer);
    let target = [b"new head", &compressed[..], b"new tail"].concat();

    let (outer, inner) = (OriginId::inflated(0), OriginId::inflated(1));
    let split = text(0..1000).len() as u64;
    let inner_covers = vec![
        Cover { target: 0, length: split, origin: inner, at: 0 },
        Cover {
            target: split + 5,
            length: old_text.len() as u64 - split,
            origin: inner,
            at: split,
        },
    ];
    let of_inner = Content { covers: inner_covers, ..Content::default() };
    let member = inflated(outer, 2, &old_inner, &old_text);
    let inner_region = region_of(&new_inner, 3, vec![member], of_inner);
    let of_outer = Content {
        covers: vec![Cover { target: 0, length: 2, origin: outer, at: 0 }],
        regions: vec![inner_region],
        ..Content::default()
    };
    let member = inflated(OriginId(1), 8, &deflated(&old_outer), &old_outer);
    let region = region_of(&compressed, 8, vec![member], of_outer);
    let end = region.target.end;
    let cover = |target, at| Cover { target, length: 8, origin: OriginId(1), at };
    let content = Content {
        covers: vec![cover(0, 0), cover(end, base.len() as u64 - 8)],
        regions: vec![region],
        ..Content::default()
    };
    Nested { base, target, content }
}

impl Nested {
    /// The delta, whose only origin is the second of two that are offered.
    fn delta(&self) -> Vec<u8> {
        let other = vec![0u8; 10];
        let origin = |number: u8, bytes: &dyn ReadAt| Origin::Layer {
            diff_id: [number; 32],
            size: bytes.size(),
        };
        let origins: [(Origin, &dyn ReadAt); 2] =
            [(origin(0, &other), &other), (origin(1, &self.base), &self.base)];
        let options = EncodeOptions {
            compression: Compression::Lzma2 { preset: 6 },
            memory_bytes: 16 << 20,
            compress_memory_bytes: 256 << 20,
        };
        let mut delta = Vec::new();
        let report = encode(&self.target, [7; 32], &origins, &self.content, &options, &mut delta);
        let report = report.unwrap();
        let sum = report.copied_bytes
            + report.added_bytes
            + report.literal_bytes
            + report.recompressed_bytes;
        assert_eq!(sum, self.target.len() as u64);
        delta
    }
}

fn apply(delta: &[u8], base: &Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = LayerDecoder::new(delta, &LIMITS)?;
    let mut made = Vec::new();
    while decoder.next_frame(&[base], &mut made)?.is_some() {}
    Ok(made)
}

#[test]
fn members_within_members_come_back() {
    let nested = nested();
    let delta = nested.delta();
    assert!(apply(&delta, &nested.base).unwrap() == nested.target);
}

const VECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/silt-1");

#[test]
fn the_vector_of_the_specification_is_read() {
    let read = |name: &str| std::fs::read(format!("{VECTOR}/{name}")).unwrap();
    let made = apply(&read("nested-delta.silt"), &read("nested-base")).unwrap();
    assert!(made == read("nested-target"));
}

/// Writes the vector anew: only for a new version of the format.
#[test]
#[ignore = "writes testdata"]
fn write_the_vector() {
    let nested = nested();
    let files = [
        ("nested-delta.silt", nested.delta()),
        ("nested-base", nested.base),
        ("nested-target", nested.target),
    ];
    for (name, bytes) in files {
        std::fs::write(format!("{VECTOR}/{name}"), bytes).unwrap();
    }
}

#[test]
fn a_damaged_member_of_the_base_is_blamed() {
    let nested = nested();
    let delta = nested.delta();
    for at in 8..nested.base.len() - 8 {
        let mut base = nested.base.clone();
        base[at] ^= 0x10;
        match apply(&delta, &base) {
            Err(DecodeError::OutputWrong { origins, .. }) => assert_eq!(origins, [OriginId(0)]),
            // Deflate has bits that mean nothing, and unequal streams may hold the same.
            Ok(made) => assert!(made == nested.target, "{at}"),
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

/// What is said of an executable before its first byte fills a frame.
#[test]
fn an_executable_of_very_many_covers_comes_back() {
    const BLOCKS: u32 = 300_000;
    let text: Vec<u8> =
        (0..BLOCKS).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let old = ElfBuilder::new(Machine::X86_64).section(Section::code(text)).build().bytes;
    let first = u32::try_from(old.len()).unwrap() % 4;
    // Each block comes from far away: an offset takes three bytes.
    let covers: Vec<RegionCover> = (0..BLOCKS - 2_000)
        .map(|i| RegionCover {
            target: i * 4,
            old: first + i * 7919 % (BLOCKS - 2_000) * 4,
            length: 4,
        })
        .collect();
    let executable: Vec<u8> =
        covers.iter().flat_map(|cover| &old[cover.old as usize..][..4]).copied().collect();
    let references = References {
        machine: Machine::X86_64,
        origin: OriginId(0),
        old: 0..old.len() as u64,
        parameters: [vec![0, 1], vec![0; 4]].concat(),
        covers,
        unmapped: Vec::new(),
    };
    // Something is in the frame before.
    let target = [b"before".to_vec(), executable].concat();
    let region =
        Region { target: 6..target.len() as u64, transform: Transform::References(references) };
    let content = Content { regions: vec![region], ..Content::default() };
    let origin = Origin::Layer { diff_id: [0; 32], size: old.len() as u64 };
    let options = EncodeOptions {
        compression: Compression::Zstd { level: 3 },
        memory_bytes: 64 << 20,
        compress_memory_bytes: 256 << 20,
    };
    let mut delta = Vec::new();
    encode(&target, [7; 32], &[(origin, &old)], &content, &options, &mut delta).unwrap();
    let limits = Limits { memory_bytes: 64 << 20, output_bytes: 64 << 20 };
    let mut decoder = LayerDecoder::new(delta.as_slice(), &limits).unwrap();
    let mut made = Vec::new();
    while decoder.next_frame(&[&old], &mut made).unwrap().is_some() {}
    assert!(made == target);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Frames whose digests are right and whose contents are anything: an enemy's.
    #[test]
    fn an_enemys_frames_do_no_harm(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let nested = nested();
        let mut delta = nested.delta();
        let payload = u32::from_le_bytes(delta[10..14].try_into().unwrap());
        let start = 14 + usize::try_from(payload).unwrap() + 8;
        let end = delta.len();
        // Behind the two digests and the lengths, so that the frame is still one.
        let place = start + 24 + at.index(end - start - 24);
        let length = bytes.len().min(end - place);
        delta[place..place + length].copy_from_slice(&bytes[..length]);
        let digest = xxh3_64(&delta[start + 8..]).to_le_bytes();
        delta[start..start + 8].copy_from_slice(&digest);
        match apply(&delta, &nested.base) {
            Ok(made) => prop_assert!(made == nested.target),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
