//! Deltas whose literals and differences are mixed.

// A slice is unsized and cannot become a trait object.
#![allow(clippy::ptr_arg)]

use delta::native::{
    Compression, DecodeError, EncodeError, EncodeOptions, LayerDecoder, Limits, Origin, encode,
};
use delta::read_at::ReadAt;
use delta::region::Content;
use delta::{Cover, OriginId};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

mod noise_support;
use noise_support::noise;

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 64 << 20 };
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/silt-1");

const MIXED: Compression = Compression::Mixed { preset: 1 };
const LZMA: Compression = Compression::Lzma2 { preset: 9 };

/// A target made of pieces: how long, how much of it is the base's, and which bytes are changed.
#[derive(Debug, Clone, Copy)]
struct Piece {
    length: usize,
    at: Option<usize>,
    step: usize,
}

fn piece() -> impl Strategy<Value = Piece> {
    let at = prop::option::weighted(0.7, 0usize..40_000);
    (1usize..40_000, at, 1usize..900).prop_map(|(length, at, step)| Piece { length, at, step })
}

fn build(base: &[u8], pieces: &[Piece]) -> (Vec<u8>, Content) {
    let (mut target, mut content) = (Vec::new(), Content::default());
    for Piece { length, at, step } in pieces {
        let to = target.len() as u64;
        let Some(at) = at else {
            target.extend(words(to, *length));
            continue;
        };
        let mut bytes = base[*at..*at + length].to_vec();
        bytes.iter_mut().step_by(*step).for_each(|byte| *byte = byte.wrapping_add(8));
        target.extend(bytes);
        let (length, at) = (*length as u64, *at as u64);
        content.covers.push(Cover { target: to, length, origin: OriginId(0), at });
    }
    (target, content)
}

/// Bytes of few kinds, that repeat one another now and then.
fn words(seed: u64, length: usize) -> Vec<u8> {
    let choice = noise(seed, length);
    choice
        .iter()
        .flat_map(|word| format!("word{:x} ", word & 31).into_bytes())
        .take(length)
        .collect()
}

fn delta_of(
    base: &Vec<u8>,
    target: &Vec<u8>,
    content: &Content,
    compression: Compression,
    memory_bytes: u64,
) -> Result<Vec<u8>, EncodeError> {
    let [diff_id, output] = [base, target].map(|bytes| Sha256::digest(bytes).into());
    let origin = Origin::Layer { diff_id, size: base.len() as u64 };
    let options = EncodeOptions { compression, memory_bytes, compress_memory_bytes: 256 << 20 };
    let mut delta = Vec::new();
    let origins = [(origin, base as &dyn ReadAt)];
    encode(target, output, &origins, content, &options, &mut delta)?;
    Ok(delta)
}

fn apply(delta: &[u8], base: &Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = LayerDecoder::new(delta, &LIMITS)?;
    let origins = vec![base as &dyn ReadAt; decoder.needs().origins.len()];
    let mut made = Vec::new();
    while decoder.next_frame(&origins, &mut made)?.is_some() {}
    Ok(made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_mixed_comes_back(
        pieces in prop::collection::vec(piece(), 0..60),
        memory_bytes in prop::sample::select(vec![4 << 20, 6 << 20, 16 << 20]),
    ) {
        let base = words(1, 80_000);
        let (target, content) = build(&base, &pieces);
        let delta = delta_of(&base, &target, &content, MIXED, memory_bytes).unwrap();
        prop_assert!(apply(&delta, &base).unwrap() == target);
    }
}

/// A target of a few frames: literals and differences.
fn sample() -> (Vec<u8>, Vec<u8>, Content) {
    let base = words(1, 80_000);
    let changed = Piece { length: 40_000, at: Some(77), step: 3 };
    let new = Piece { length: 200_000, at: None, step: 1 };
    let pieces = [changed, new, changed, new].repeat(4);
    let (target, content) = build(&base, &pieces);
    (base, target, content)
}

#[test]
fn mixing_is_smaller_than_lzma() {
    let (base, target, content) = sample();
    let bytes =
        |compression| delta_of(&base, &target, &content, compression, 16 << 20).unwrap().len();
    let (mixed, lzma) = (bytes(MIXED), bytes(LZMA));
    assert!(mixed * 10 < lzma * 9, "{mixed} bytes, {lzma} by LZMA2");
}

/// Where the payload of a delta's header ends, and its frames begin.
fn header_ends(delta: &[u8]) -> (usize, usize) {
    let length = u32::from_le_bytes(delta[10..14].try_into().unwrap());
    let payload_end = 14 + usize::try_from(length).unwrap();
    (payload_end, payload_end + 8)
}

#[test]
fn other_streams_are_not_mixed() {
    let (base, target, content) = sample();
    let mut delta = delta_of(&base, &target, &content, MIXED, 16 << 20).unwrap();
    let (end, _) = header_ends(&delta);
    // Seven streams of three bytes each are the last of the payload.
    let codecs: Vec<u8> = (0..7).map(|id| delta[end - 21 + id * 3 + 1]).collect();
    assert_eq!(codecs, [2, 2, 2, 2, 4, 4, 2]);
    // Codec 3 was another model.
    for (stream, codec) in [(0, 4), (4, 3)] {
        let at = end - 21 + stream * 3 + 1;
        let before = std::mem::replace(&mut delta[at], codec);
        let digest = xxh3_64(&delta[..end]).to_le_bytes();
        delta[end..end + 8].copy_from_slice(&digest);
        let error = apply(&delta, &base).unwrap_err();
        assert!(matches!(error, DecodeError::Header { .. }), "{error}");
        delta[at] = before;
    }
}

/// The delta with a byte more or less in the first frame's last stream that has bytes, which is said in
/// its lengths; its digest is right.
fn with_stored(delta: &[u8], change: impl FnOnce(&mut Vec<u8>) -> i64) -> Vec<u8> {
    let (_, start) = header_ends(delta);
    let stored = u32::from_le_bytes(delta[start + 8..start + 12].try_into().unwrap());
    let end = start + 24 + usize::try_from(stored).unwrap();
    let mut frame = delta[start..end].to_vec();
    let by = change(&mut frame);
    let stored = u32::try_from(i64::from(stored) + by).unwrap();
    frame[8..12].copy_from_slice(&stored.to_le_bytes());
    let digest = xxh3_64(&frame[8..]).to_le_bytes();
    frame[..8].copy_from_slice(&digest);
    [&delta[..start], &frame, &delta[end..]].concat()
}

#[test]
fn a_mixed_stream_is_neither_longer_nor_shorter_than_what_it_holds() {
    // One literal operation: the length of its stream is the second last pair of numbers, of two bytes each.
    let target = words(5, 3000);
    let base = Vec::new();
    let delta = delta_of(&base, &target, &Content::default(), MIXED, 16 << 20).unwrap();
    assert!(apply(&delta, &base).unwrap() == target);
    let (_, start) = header_ends(&delta);
    let raw = delta[start + 24..].windows(2).position(|two| two == [0xb8, 0x17]).unwrap();
    let length_at = 24 + raw + 2;
    let with_stored_bytes = |by: i8| {
        with_stored(&delta, |frame| {
            frame[length_at] = frame[length_at].wrapping_add_signed(by);
            // It is the last stream that has bytes.
            let length = frame.len().checked_add_signed(by.into()).unwrap();
            frame.resize(length, 0);
            by.into()
        })
    };
    // A zero more says the same, but is not how it is written.
    let error = apply(&with_stored_bytes(1), &base).unwrap_err();
    assert!(matches!(error, DecodeError::FrameInvalid { frame: 0, .. }), "{error}");
    // Without its last byte the stream may be taken for another one of that length.
    let error = apply(&with_stored_bytes(-1), &base).unwrap_err();
    let is_refused =
        matches!(error, DecodeError::FrameInvalid { .. } | DecodeError::OutputWrong { .. });
    assert!(is_refused, "{error}");
}

#[test]
fn the_vector_of_the_specification_is_read() {
    let read = |name: &str| std::fs::read(format!("{FOLDER}/{name}")).unwrap();
    let delta = read("mixed-delta.silt");
    assert!(apply(&delta, &read("mixed-base")).unwrap() == read("mixed-target"));
}

/// What is hardly to be predicted, and repeats of it: from the end of a ring of 1,024 bytes, of which 32 are kept for comparing, and
/// from beyond; long ones that go on in one of two ways.
fn repeats() -> Vec<u8> {
    let far = |seed: u64, distance: usize| {
        let noise = noise(seed, 200);
        [&noise[..], &vec![0; distance - noise.len()], &noise].concat()
    };
    let shared = noise(14, 80);
    let fork = |end: u64| [&shared[..], &noise(end, 20)].concat();
    let forks = [fork(15), fork(16), fork(15), fork(16), fork(15)].concat();
    [noise(11, 3000), far(12, 991), far(13, 992), forks].concat()
}

/// Instructions of x86-64 with every part there is, whose last bytes are hardly to be predicted.
fn code() -> Vec<u8> {
    // A displacement or an immediate of so many bytes follows on each.
    const BEGINNINGS: [(&[u8], usize); 16] = [
        (&[0x55], 0),
        (&[0x48, 0x89, 0xe5], 0),
        (&[0x8b, 0x44, 0x24], 1),
        (&[0x48, 0x8d, 5], 4),
        (&[0xc7, 4, 0x85], 8),
        (&[0x66, 0xb8], 2),
        (&[0x49, 0xbf], 8),
        (&[0xf6, 0xc3], 1),
        (&[0xf7, 0xd3], 0),
        (&[0x66, 0xf7, 0x43], 3),
        (&[0x0f, 0x84], 4),
        (&[0xf3, 0x0f, 0x38, 0xf6, 0xc1], 0),
        (&[0x66, 0x0f, 0x3a, 0x0f, 0xc1], 1),
        (&[0xc5, 0xf8, 0x77], 0),
        (&[0xc4, 0xe3, 0x75, 0x46, 0xc2], 1),
        (&[0x62, 0xf1, 0x7c, 0x48, 0x10, 0x82], 4),
    ];
    let choices = noise(17, 1500);
    let numbers = noise(18, 8 * choices.len());
    let instructions = choices.iter().zip(numbers.chunks(8)).map(|(choice, numbers)| {
        let (beginning, count) = BEGINNINGS[usize::from(*choice) % BEGINNINGS.len()];
        [beginning, &numbers[..count]].concat()
    });
    instructions.collect::<Vec<_>>().concat()
}

/// There is code where a run of literals is read anew, the end of a frame among these places. At every second one it is of moves alone,
/// five bytes each, of which any byte may be the first: what is read on is not what is read anew.
fn put_code_at_borders(run: &mut [u8]) {
    let moves: Vec<u8> = noise(19, 3000).iter().map(|byte| 0xb8 | byte & 7).collect();
    let code = code();
    let islands = moves.chunks(300).zip(code.chunks(300)).flat_map(|(moves, code)| [moves, code]);
    let borders = (65_536..run.len() - 500).step_by(65_536);
    for (border, island) in borders.zip(islands) {
        run[border - 150..][..island.len()].copy_from_slice(island);
    }
}

/// Writes the vector anew: only for a new version of the format.
#[test]
#[ignore = "writes testdata"]
fn write_the_vector() {
    let base = words(9, 12_000);
    let changed = Piece { length: 9000, at: Some(1234), step: 7 };
    let new = Piece { length: 6000, at: None, step: 1 };
    let (mut target, content) = build(&base, &[new, changed, new, changed]);
    // As many literals as end a frame; what was learnt in it is of use in the next.
    let mut run = [code(), repeats(), vec![0; 1 << 20], repeats(), words(9, 3000)].concat();
    put_code_at_borders(&mut run);
    target.extend(run);
    // The smallest tables: contexts get into one another's way.
    let fits =
        |memory_bytes: &u64| delta_of(&base, &target, &content, MIXED, *memory_bytes).is_ok();
    let least = (1u64 << 20..).step_by(16 << 10).find(fits).unwrap();
    let delta = delta_of(&base, &target, &content, MIXED, least).unwrap();
    for (name, bytes) in [("delta.silt", &delta), ("base", &base), ("target", &target)] {
        std::fs::write(format!("{FOLDER}/mixed-{name}"), bytes).unwrap();
    }
}
