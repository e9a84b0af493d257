//! The block matcher: its covers are exact and in order, find what is there, and stay cheap.

use delta::block_match::{BlockIndex, BlockIndexOptions, MatchError};
use delta::{Cover, OriginId, ReadAt, ReadError};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

mod noise_support;
use noise_support::noise;

fn options(block_size_bytes: u32) -> BlockIndexOptions {
    BlockIndexOptions { block_size_bytes, memory_limit_bytes: 1 << 24 }
}

fn covers(origins: &[Vec<u8>], target: &[u8], block_size_bytes: u32) -> Vec<Cover> {
    let origins: Vec<&dyn ReadAt> = origins.iter().map(|origin| origin as &dyn ReadAt).collect();
    let index = BlockIndex::build(&origins, &options(block_size_bytes)).unwrap();
    let mut covers = Vec::new();
    index.find_covers(&target, 0..target.len() as u64, &mut |cover| covers.push(cover)).unwrap();
    covers
}

/// Covers are in order, do not overlap, and are what they say.
fn check(covers: &[Cover], origins: &[Vec<u8>], target: &[u8]) {
    let mut end = 0;
    for cover in covers {
        assert!(cover.target >= end && cover.length > 0, "{cover:?}");
        end = cover.target_end();
        let origin = &origins[cover.origin.0 as usize];
        let from = &origin[index(cover.at)..index(cover.origin_end())];
        assert!(from == &target[index(cover.target)..index(end)], "{cover:?}");
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn covered(covers: &[Cover]) -> u64 {
    covers.iter().map(|cover| cover.length).sum()
}

#[derive(Debug, Clone)]
enum Piece {
    Old(usize, usize, usize),
    New(Vec<u8>),
    Repeated(u8, usize),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        (any::<usize>(), any::<usize>(), 1_usize..2000)
            .prop_map(|(origin, start, length)| Piece::Old(origin, start, length)),
        prop::collection::vec(any::<u8>(), 0..500).prop_map(Piece::New),
        (0_u8..2, 0_usize..900).prop_map(|(byte, length)| Piece::Repeated(byte, length)),
    ];
    prop::collection::vec(piece, 0..12)
}

fn target_of(origins: &[Vec<u8>], pieces: &[Piece]) -> Vec<u8> {
    let mut target = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Old(origin, start, length) => {
                let origin = &origins[origin % origins.len()];
                let start = start % (origin.len() + 1);
                target.extend(&origin[start..origin.len().min(start + length)]);
            }
            Piece::New(bytes) => target.extend(bytes),
            Piece::Repeated(byte, length) => target.extend(vec![*byte; *length]),
        }
    }
    target
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn covers_are_exact_and_see_long_matches(
        sizes in prop::collection::vec(0_usize..5000, 1..4),
        pieces in pieces(),
        block in 16_u32..300,
    ) {
        let mut origins: Vec<_> = sizes.iter().zip(1..).map(|(&size, seed)| noise(seed, size)).collect();
        origins.push([noise(9, 300), vec![0; 800], noise(8, 300)].concat());
        let target = target_of(&origins, &pieces);
        let covers = covers(&origins, &target, block);
        check(&covers, &origins, &target);

        // Old pieces of noise: a block lies wholly within any that has two blocks' bytes less one.
        let mut end = 0;
        let long_old: usize = pieces.iter().map(|piece| {
            let length = target_of(&origins, std::slice::from_ref(piece)).len();
            end += length;
            let noisy = matches!(piece, Piece::Old(origin, ..) if origin % origins.len() < sizes.len());
            if noisy && length >= 2 * block as usize { length } else { 0 }
        }).sum();
        prop_assert!(covered(&covers) >= long_old as u64, "{} of {long_old}", covered(&covers));
    }

    #[test]
    fn few_letters_are_no_trouble(
        origin in prop::collection::vec(0_u8..2, 0..4000),
        target in prop::collection::vec(0_u8..2, 0..4000),
    ) {
        let origins = [origin];
        check(&covers(&origins, &target, 16), &origins, &target);
    }
}

#[test]
fn a_match_is_extended_to_the_byte_on_both_sides() {
    let origin = noise(1, 5000);
    let target = [b"new".as_slice(), &origin[123..4567], b"end"].concat();
    let expected = Cover { target: 3, length: 4444, origin: OriginId(0), at: 123 };
    let found = covers(&[origin], &target, 512);
    // A byte of what is new may happen to be what stood beside the match.
    assert_eq!(found, [expected]);
}

#[test]
fn a_match_goes_on_behind_a_small_difference() {
    let origin = noise(2, 4096);
    let mut target = origin.clone();
    target[1000..1012].copy_from_slice(b"000012345678");
    target[1050..1054].copy_from_slice(b"ABCD");
    let found = covers(&[origin], &target, 512);
    let ranges = found.iter().map(|cover| (cover.target, cover.at, cover.target_end()));
    let expected = [(0, 0, 1000), (1012, 1012, 1050), (1054, 1054, 4096)];
    assert_eq!(ranges.collect::<Vec<_>>(), expected);
}

#[test]
fn covers_do_not_straddle_origins_or_leave_the_range() {
    let origins = [noise(3, 1000), noise(4, 1000)];
    let target = origins.concat();
    check(&covers(&origins, &target, 64), &origins, &target);
    let dyns: Vec<&dyn ReadAt> = origins.iter().map(|origin| origin as &dyn ReadAt).collect();
    let index = BlockIndex::build(&dyns, &options(64)).unwrap();
    let mut found = Vec::new();
    index.find_covers(&target, 500..1500, &mut |cover| found.push(cover)).unwrap();
    let expected = [(500, OriginId(0), 500, 500), (1000, OriginId(1), 0, 500)];
    let plain = found.iter().map(|c| (c.target, c.origin, c.at, c.length)).collect::<Vec<_>>();
    assert_eq!(plain, expected);
    let error = index.find_covers(&target, 0..2001, &mut |_| {}).unwrap_err();
    assert!(matches!(error, MatchError::Target { source: ReadError::OutOfRange { .. } }));
}

#[test]
fn zeros_are_one_block_and_one_cover() {
    let origin = [noise(5, 700), vec![0; 100_000], noise(6, 700)].concat();
    let dyns: [&dyn ReadAt; 1] = [&origin];
    let index = BlockIndex::build(&dyns, &options(512)).unwrap();
    assert!(index.block_count() < 6);
    let target = vec![0; 90_000];
    let mut found = Vec::new();
    index.find_covers(&target, 0..90_000, &mut |cover| found.push(cover)).unwrap();
    assert_eq!((found.len(), covered(&found)), (1, 90_000));
}

#[test]
fn blocks_grow_until_the_index_fits() {
    let origin = noise(7, 1 << 20);
    let dyns: [&dyn ReadAt; 1] = [&origin];
    let limit = |memory_limit_bytes| BlockIndexOptions { block_size_bytes: 64, memory_limit_bytes };
    for memory_limit_bytes in [1 << 10, 10_000, 100_000, 1 << 20] {
        let index = BlockIndex::build(&dyns, &limit(memory_limit_bytes)).unwrap();
        assert!(index.memory_bytes() <= memory_limit_bytes);
        let mut found = 0;
        let target = &origin[777..];
        index.find_covers(&target, 0..target.size(), &mut |cover| found += cover.length).unwrap();
        assert_eq!(found, target.size(), "{}", index.block_size_bytes());
    }
    let error = BlockIndex::build(&dyns, &limit(70)).map(|_| ()).unwrap_err();
    assert!(matches!(error, MatchError::MemoryLimit { memory_limit_bytes: 70 }));
}

#[test]
fn a_small_difference_is_not_looked_behind_when_a_block_lies_before() {
    // Zeros of the old file go on where the new one has them again, 420 bytes on.
    let origins = [noise(1, 1000), vec![0; 1000]];
    let target = [vec![0; 79], origins[0][100..520].to_vec(), vec![0; 32]].concat();
    let found = covers(&origins, &target, 16);
    check(&found, &origins, &target);
    assert_eq!(covered(&found), target.len() as u64);
}

/// Counts what is read, and fails from an offset on.
struct Watched {
    bytes: Vec<u8>,
    read: AtomicU64,
    bad_from: u64,
}

impl Watched {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, read: AtomicU64::new(0), bad_from: u64::MAX }
    }
}

impl ReadAt for Watched {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        if offset + length > self.bad_from {
            let source = std::io::ErrorKind::InvalidData.into();
            return Err(ReadError::Io { offset, length, source });
        }
        self.read.fetch_add(length, Ordering::Relaxed);
        self.bytes.read_exact_at(buffer, offset)
    }
}

#[test]
fn repetition_costs_no_more_than_a_small_multiple() {
    let size = 400_000;
    let periodic: Vec<u8> = (0..17).cycle().take(size).collect();
    let two_blocks = [noise(1, 64), noise(2, 64)];
    let choose = |seed| {
        let choices = noise(seed, size / 64);
        choices.iter().flat_map(|choice| two_blocks[usize::from(choice & 1)].clone()).collect()
    };
    let zeros_with_dust: Vec<u8> = (0..size).map(|n| u8::from(n % 100 == 0)).collect();
    let pairs: [(Vec<u8>, Vec<u8>); 4] = [
        (periodic.clone(), periodic[5..].to_vec()),
        (choose(3), choose(4)),
        (zeros_with_dust, vec![0; size]),
        (vec![0; size], periodic),
    ];
    for (case, (origin, target)) in pairs.into_iter().enumerate() {
        let (origin, target) = (Watched::new(origin), Watched::new(target));
        let index = BlockIndex::build(&[&origin], &options(64)).unwrap();
        index.find_covers(&target, 0..target.size(), &mut |_| {}).unwrap();
        let read = origin.read.into_inner() + target.read.into_inner();
        assert!(read < 400 * size as u64, "case {case}: {} times", read / size as u64);
    }
}

#[test]
fn a_failed_read_says_which_side() {
    let bytes = noise(1, 10_000);
    let mut origin = Watched::new(bytes.clone());
    origin.bad_from = 9000;
    let good = Watched::new(bytes.clone());
    let error = BlockIndex::build(&[&good, &origin], &options(64)).map(|_| ()).unwrap_err();
    assert!(matches!(error, MatchError::Origin { origin: OriginId(1), .. }));

    let index = BlockIndex::build(&[&good], &options(64)).unwrap();
    let mut target = Watched::new(bytes);
    target.bad_from = 5000;
    let error = index.find_covers(&target, 0..10_000, &mut |_| {}).unwrap_err();
    assert!(matches!(error, MatchError::Target { .. }));
}
