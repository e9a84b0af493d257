//! Deflate streams of many compressors, taken apart and made again.
#![allow(missing_docs)]

use std::io::Write;

use delta::deflate::{
    AnalyseLimits, Analysed, Expected, RecreateError, analyse, inflate, recreate,
};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

const LIMITS: AnalyseLimits = AnalyseLimits { plain_bytes: 1 << 20 };

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/deflate");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

fn deflated(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn recreated(analysed: &Analysed) -> Vec<u8> {
    let mut out = Vec::new();
    let length = analysed.compressed_bytes as u64;
    recreate(&analysed.plain, &analysed.corrections, &Expected::of_length(length), &mut out)
        .unwrap();
    out
}

/// Corrections that were once written are read for ever.
#[test]
fn streams_of_zlib_and_gzip_need_their_settings_alone() {
    for (name, corrections) in [
        ("gzip-1", [1, 0x01, 0]),
        ("gzip-9", [1, 0x09, 0]),
        ("zlib-6", [1, 0x06, 8]),
        ("zlib-9-filtered", [1, 0x19, 8]),
    ] {
        let stream = fixture(name);
        let (plain, _) = inflate(&stream, 0, 42_704, u64::MAX).unwrap();
        let mut out = Vec::new();
        let expected = Expected::of_length(stream.len() as u64);
        recreate(&plain, &corrections, &expected, &mut out).unwrap();
        assert!(out == stream, "{name}");
        let analysed = analyse(&stream, &LIMITS).unwrap();
        assert_eq!(analysed.corrections.len(), 3, "{name}: {:?}", analysed.corrections);
        assert!(recreated(&analysed) == stream, "{name}");
    }
}

#[test]
fn streams_of_others_need_a_few_corrections() {
    for (name, most) in [("node-6", 700), ("zlib-9-memory-9", 3)] {
        let stream = fixture(name);
        let analysed = analyse(&stream, &LIMITS).unwrap();
        assert!(analysed.corrections.len() <= most, "{name}: {}", analysed.corrections.len());
        assert!(recreated(&analysed) == stream, "{name}");
    }
}

#[test]
fn a_stream_ends_where_it_ends() {
    let stream = fixture("zlib-6");
    let followed = [&stream[..], b"more"].concat();
    let analysed = analyse(&followed, &LIMITS).unwrap();
    assert_eq!(analysed.compressed_bytes, stream.len());
    let limit = |plain_bytes| analyse(&stream, &AnalyseLimits { plain_bytes });
    assert!(limit(analysed.plain.len()).is_some());
    assert!(limit(analysed.plain.len() - 1).is_none());
    for cut in [0, 1, 100, stream.len() - 1] {
        assert!(analyse(&stream[..cut], &LIMITS).is_none(), "{cut}");
    }
}

#[test]
fn what_is_written_is_as_long_as_was_said() {
    let stream = fixture("zlib-6");
    let Analysed { plain, corrections, .. } = analyse(&stream, &LIMITS).unwrap();
    for expected in [0, 1, stream.len() as u64 - 1, stream.len() as u64 + 1, u64::MAX] {
        let mut out = Vec::new();
        let of_length = Expected::of_length(expected);
        let error = recreate(&plain, &corrections, &of_length, &mut out).unwrap_err();
        assert!(matches!(error, RecreateError::Length { .. }), "{expected}: {error:?}");
        assert!(out.len() as u64 <= expected);
    }
}

/// Words, so that there is something to match.
fn text(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| format!("{} ", n % 97 * 31).into_bytes()).collect()
}

proptest! {
    #[test]
    fn streams_come_back(numbers: Vec<u16>, repeat in 1usize..200, level in 0u32..10) {
        let stream = deflated(&text(&numbers).repeat(repeat), level);
        if let Some(analysed) = analyse(&stream, &LIMITS) {
            prop_assert_eq!(recreated(&analysed), stream);
        }
    }

    #[test]
    fn streams_of_blocks_come_back(parts: Vec<(Vec<u8>, bool)>, level in 0u32..10) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        for (part, is_flushed) in &parts {
            encoder.write_all(part).unwrap();
            if *is_flushed {
                encoder.flush().unwrap();
            }
        }
        let stream = encoder.finish().unwrap();
        let analysed = analyse(&stream, &LIMITS);
        // A few bytes each need a flag: what is mostly blocks may be refused.
        if let Some(analysed) = analysed {
            prop_assert_eq!(recreated(&analysed), stream);
        }
    }

    #[test]
    fn any_corrections_end(
        numbers: Vec<u16>,
        level in 0u8..10,
        memory in 0u8..10,
        mut corrections: Vec<u8>,
        small in any::<bool>(),
    ) {
        if small {
            corrections.iter_mut().for_each(|byte| *byte &= 0x4b);
        }
        let corrections = [&[1, level, memory], &corrections[..]].concat();
        let mut out = Vec::new();
        let _ = recreate(&text(&numbers), &corrections, &Expected::of_length(5000), &mut out);
        prop_assert!(out.len() <= 5000);
    }

    #[test]
    fn damaged_corrections_end(at: prop::sample::Index, bit in 0u32..8, cut: prop::sample::Index) {
        let stream = fixture("node-6");
        let Analysed { plain, mut corrections, .. } = analyse(&stream, &LIMITS).unwrap();
        *at.get_mut(&mut corrections) ^= 1 << bit;
        let mut out = Vec::new();
        let expected = Expected::of_length(stream.len() as u64);
        let result = recreate(&plain, &corrections, &expected, &mut out);
        prop_assert!(result.is_err() || out != stream);
        let short = &plain[..cut.index(plain.len())];
        prop_assert!(recreate(short, &corrections, &Expected::of_length(1 << 16), &mut Vec::new()).is_err());
    }

    #[test]
    fn any_bytes_are_a_stream_or_none(bytes: Vec<u8>) {
        if let Some(analysed) = analyse(&bytes, &LIMITS) {
            prop_assert_eq!(&recreated(&analysed), &bytes[..analysed.compressed_bytes]);
        }
    }
}
