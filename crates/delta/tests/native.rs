//! The native stream, end to end: whatever goes in comes back, and nothing that is damaged or made
//! by an enemy does harm.

// A slice is unsized and cannot become a trait object.
#![allow(clippy::ptr_arg)]

use delta::Effort;
use delta::by_file::{Aim, FileIndex, MatchOptions, match_layer};
use delta::exact::{ExactOptions, encode_exact};
use delta::librsync::{self, ApplyLimits};
use delta::native::{
    Compression, DecodeError, EncodeOptions, LayerDecoder, Limits, Origin, encode,
};
use delta::read_at::{Concat, ReadAt};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 1 << 20 };

/// A member of a made-up tar: a name out of few, so that bases and targets share some, and contents
/// that are pieces of a common text, so that they are like one another.
#[derive(Debug, Clone)]
struct Member {
    name: u8,
    is_folder: bool,
    is_long: bool,
    mtime: u64,
    start: usize,
    length: usize,
    edits: Vec<(usize, u8)>,
}

fn member() -> impl Strategy<Value = Member> {
    let edits = prop::collection::vec((0usize..3000, any::<u8>()), 0..6);
    let place = (0usize..4000, 0usize..3000);
    (0u8..6, any::<(bool, bool)>(), 0u64..3, place, edits).prop_map(
        |(name, (folder, long), mtime, (start, length), edits)| Member {
            name,
            is_folder: folder && name % 3 == 0,
            is_long: long && name % 4 == 0,
            mtime: 1_700_000_000 + mtime,
            start,
            length,
            edits,
        },
    )
}

/// Bytes that repeat nothing, for contents (xorshift).
fn text() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0] & 0x3f
    };
    std::iter::repeat_with(&mut next).take(8000).collect()
}

fn tar_of(members: &[Member]) -> Vec<u8> {
    let text = text();
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut contents = text[member.start..member.start + member.length].to_vec();
        for (at, byte) in &member.edits {
            if let Some(place) = contents.get_mut(*at) {
                *place = *byte;
            }
        }
        let folder = if member.is_long { "long/".repeat(30) } else { String::new() };
        let name = format!("{folder}file-{}.1.{}", member.name, member.mtime % 10);
        let mut header = tar::Header::new_gnu();
        header.set_mtime(member.mtime);
        header.set_mode(0o644);
        if member.is_folder {
            header.set_entry_type(tar::EntryType::Directory);
            contents.clear();
        }
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, name, contents.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn make_delta(bases: &[Vec<u8>], target: &Vec<u8>) -> Vec<u8> {
    coded(bases, target, Compression::Lzma2 { preset: 1 })
}

fn coded(bases: &[Vec<u8>], target: &Vec<u8>, compression: Compression) -> Vec<u8> {
    let origins: Vec<&dyn ReadAt> = bases.iter().map(|base| base as &dyn ReadAt).collect();
    let index = FileIndex::build(&origins, &[target]).unwrap();
    let options = MatchOptions {
        memory_bytes: 64 << 20,
        aim: Aim::Differences,
        region_bytes: 5 << 20,
        largest_region_bytes: 5 << 20,
        effort: Effort::Default,
    };
    let matched = match_layer(target, &index, &options).unwrap();
    let mut listed: Vec<_> = origins.iter().enumerate().map(|(i, o)| (origin(i, *o), *o)).collect();
    listed.push((Origin::Itself { diff_id: [7; 32], size: target.size() }, target));
    let options =
        EncodeOptions { compression, memory_bytes: 16 << 20, compress_memory_bytes: 256 << 20 };
    let mut delta = Vec::new();
    encode(target, [7; 32], &listed, &matched, &options, &mut delta).unwrap();
    delta
}

/// The number of an origin stands in for its digest.
fn origin(number: usize, bytes: &dyn ReadAt) -> Origin {
    let mut diff_id = [0; 32];
    diff_id[0] = u8::try_from(number).unwrap();
    Origin::Layer { diff_id, size: bytes.size() }
}

fn apply(delta: &[u8], bases: &[Vec<u8>]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = LayerDecoder::new(delta, &LIMITS)?;
    let listed = decoder.needs().origins.clone();
    let empty = Vec::new();
    let find = |o: &Origin| bases.get(usize::from(o.diff_id()[0])).unwrap_or(&empty) as &dyn ReadAt;
    let origins: Vec<&dyn ReadAt> = listed.iter().map(find).collect();
    let mut made = Vec::new();
    while decoder.next_frame(&origins, &mut made)?.is_some() {}
    Ok(made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn tars_come_back_in_both_formats(
        bases in prop::collection::vec(prop::collection::vec(member(), 0..8), 0..3),
        target in prop::collection::vec(member(), 0..8),
    ) {
        let bases: Vec<Vec<u8>> = bases.iter().map(|members| tar_of(members)).collect();
        let target = tar_of(&target);
        let delta = make_delta(&bases, &target);
        prop_assert!(apply(&delta, &bases).unwrap() == target);
        let mixed = coded(&bases, &target, Compression::Mixed { preset: 1 });
        prop_assert!(apply(&mixed, &bases).unwrap() == target);
        prop_assert!(exact_round_trip(&bases, &target) == target);
    }

    #[test]
    fn bytes_that_are_no_tar_come_back(
        base in prop::collection::vec(0u8..4, 0..3000),
        target in prop::collection::vec(0u8..4, 0..3000),
    ) {
        let delta = make_delta(std::slice::from_ref(&base), &target);
        prop_assert!(apply(&delta, &[base]).unwrap() == target);
    }

    /// Frames whose digests are right and whose contents are anything: an enemy's.
    #[test]
    fn an_enemys_frames_do_no_harm(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let (base, target) = sample();
        let mut delta = make_delta(std::slice::from_ref(&base), &target);
        let start = frame_start(&delta);
        let end = delta.len();
        // Behind the two digests and the lengths, so that the frame is still one.
        let place = start + 24 + at.index(end - start - 24);
        let length = bytes.len().min(end - place);
        delta[place..place + length].copy_from_slice(&bytes[..length]);
        seal(&mut delta[start..]);
        match apply(&delta, &[base]) {
            Ok(made) => prop_assert!(made == target),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

/// A tar may end anywhere: in a header, in contents, or where padding should be.
#[test]
fn tars_that_are_cut_off_come_back_in_both_formats() {
    let (base, target) = sample();
    for cut in (0..target.len()).step_by(67) {
        let cut_target = target[..cut].to_vec();
        // The second base has files with the same contents, so that these are not matched but known.
        for base in [&base, &target] {
            let bases = std::slice::from_ref(base);
            let delta = make_delta(bases, &cut_target);
            assert!(apply(&delta, bases).unwrap() == cut_target, "{cut}");
            assert!(exact_round_trip(bases, &cut_target) == cut_target, "{cut}");
        }
    }
}

fn exact_round_trip(bases: &[Vec<u8>], target: &Vec<u8>) -> Vec<u8> {
    let origins: Vec<&dyn ReadAt> = bases.iter().map(|base| base as &dyn ReadAt).collect();
    let index = FileIndex::build(&origins, &[target]).unwrap();
    let options = MatchOptions {
        memory_bytes: 64 << 20,
        aim: Aim::ExactRuns,
        region_bytes: 0,
        largest_region_bytes: 0,
        effort: Effort::Default,
    };
    let matched = match_layer(target, &index, &options).unwrap();
    let starts: Vec<u64> =
        (0..bases.len()).map(|i| bases[..i].iter().map(|base| base.len() as u64).sum()).collect();
    let basis = Concat::new(origins);
    let options = ExactOptions::default();
    let (delta, _) =
        encode_exact(target, &basis, &starts, &matched.covers, &options, Vec::new()).unwrap();
    let mut made = Vec::new();
    let limits = ApplyLimits { max_output_bytes: 1 << 20 };
    librsync::apply(delta.as_slice(), &basis, &mut made, &limits).unwrap();
    made
}

/// A base and a target with everything that operations are for.
fn sample() -> (Vec<u8>, Vec<u8>) {
    let plain = |name, mtime, start, length| Member {
        name,
        is_folder: false,
        is_long: name == 4,
        mtime,
        start,
        length,
        edits: Vec::new(),
    };
    let base = [plain(1, 5, 0, 2000), plain(2, 5, 2000, 1500), plain(4, 5, 100, 900)];
    let mut target = base.to_vec();
    target.iter_mut().for_each(|member| member.mtime = 15);
    target[0].edits = vec![(50, 1), (51, 2), (700, 3)];
    target.push(plain(5, 15, 5000, 1200));
    (tar_of(&base), tar_of(&target))
}

/// Where the one frame of a small delta starts: after the header and its digest.
fn frame_start(delta: &[u8]) -> usize {
    let payload = u32::from_le_bytes(delta[10..14].try_into().unwrap());
    14 + usize::try_from(payload).unwrap() + 8
}

/// Makes the stored digest of a frame right again.
fn seal(frame: &mut [u8]) {
    let digest = xxh3_64(&frame[8..]).to_le_bytes();
    frame[..8].copy_from_slice(&digest);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (base, target) = sample();
    let delta = make_delta(std::slice::from_ref(&base), &target);
    for bit in 0..delta.len() * 8 {
        let mut damaged = delta.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(apply(&damaged, std::slice::from_ref(&base)).is_err(), "bit {bit}");
    }
}

#[test]
fn every_cut_is_noticed_and_so_is_more() {
    let (base, target) = sample();
    let mut delta = make_delta(std::slice::from_ref(&base), &target);
    for end in 0..delta.len() {
        let error = apply(&delta[..end], std::slice::from_ref(&base)).unwrap_err();
        assert!(
            matches!(error, DecodeError::Truncated { offset } if offset == end as u64),
            "{end}"
        );
    }
    delta.push(0);
    let error = apply(&delta, &[base]).unwrap_err();
    assert!(matches!(error, DecodeError::TrailingBytes { .. }), "{error}");
}

#[test]
fn a_damaged_base_is_blamed() {
    let (mut base, target) = sample();
    let delta = make_delta(std::slice::from_ref(&base), &target);
    base[600] ^= 1;
    let error = apply(&delta, &[base.clone()]).unwrap_err();
    assert!(matches!(error, DecodeError::OutputWrong { frame: 0, .. }), "{error}");
    base.pop();
    let error = apply(&delta, &[base]).unwrap_err();
    assert!(matches!(error, DecodeError::OriginSize { .. }), "{error}");
}

#[test]
fn more_than_the_limits_is_refused_before_the_first_frame() {
    let (base, target) = sample();
    let delta = make_delta(&[base], &target);
    for limits in
        [Limits { memory_bytes: 100_000, ..LIMITS }, Limits { output_bytes: 10, ..LIMITS }]
    {
        let error = LayerDecoder::new(&delta[..frame_start(&delta)], &limits).err().unwrap();
        assert!(matches!(error, DecodeError::Limit { .. }), "{error}");
    }
}

#[test]
fn other_versions_and_unknown_features_are_refused_by_name() {
    let (base, target) = sample();
    let mut delta = make_delta(std::slice::from_ref(&base), &target);
    delta[8] = 9;
    let error = apply(&delta, std::slice::from_ref(&base)).unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");
    delta[8] = 1;
    // The payload begins with the feature bits, a number of one byte.
    delta[14] = 4;
    let end = frame_start(&delta) - 8;
    let digest = xxh3_64(&delta[..end]).to_le_bytes();
    delta[end..end + 8].copy_from_slice(&digest);
    let error = apply(&delta, &[base]).unwrap_err();
    assert!(matches!(error, DecodeError::Features { unknown: 4 }), "{error}");
}

#[test]
fn threads_do_not_change_a_byte() {
    let (base, target) = sample();
    let once = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make_delta(std::slice::from_ref(&base), &target))
    };
    assert!(once(1) == once(4));
}

#[test]
fn the_vector_of_the_specification_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/silt-1");
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
    let made = apply(&read("delta.silt"), &[read("base.tar")]).unwrap();
    assert!(made == read("target.tar"));
}

/// Writes the vector anew: only for a new version of the format.
#[test]
#[ignore = "writes testdata"]
fn write_the_vector() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/silt-1");
    std::fs::create_dir_all(folder).unwrap();
    let (base, target) = sample();
    let delta = make_delta(std::slice::from_ref(&base), &target);
    for (name, bytes) in [("base.tar", base), ("target.tar", target), ("delta.silt", delta)] {
        std::fs::write(format!("{folder}/{name}"), bytes).unwrap();
    }
}
