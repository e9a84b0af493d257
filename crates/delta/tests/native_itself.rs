//! Deltas that read what they made before.

// A slice is unsized and cannot become a trait object.
#![allow(clippy::ptr_arg)]

use std::io::{self, Write};
use std::sync::Mutex;

use delta::by_file::{Aim, FileIndex, MatchOptions, match_layer};
use delta::native::{
    Compression, DecodeError, EncodeOptions, LayerDecoder, Limits, Origin, encode,
};
use delta::read_at::{ReadAt, ReadError};
use delta::region::Content;
use delta::{Cover, Effort, OriginId};
use proptest::prelude::*;

mod noise_support;
use noise_support::noise;

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 64 << 20 };
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/silt-1");

/// What is written can be read.
struct Tape {
    bytes: Mutex<Vec<u8>>,
    /// What it is to hold in the end.
    size: u64,
}

impl ReadAt for Tape {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.bytes.lock().unwrap().read_exact_at(buffer, offset)
    }
}

impl Write for &Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A delta of contents that read nothing but the target.
fn delta_of(target: &Vec<u8>, content: &Content, preset: u32) -> Vec<u8> {
    let origins = [(itself(target), target as &dyn ReadAt)];
    let options = EncodeOptions {
        compression: Compression::Lzma2 { preset },
        memory_bytes: 16 << 20,
        compress_memory_bytes: 256 << 20,
    };
    let mut delta = Vec::new();
    encode(target, [7; 32], &origins, content, &options, &mut delta).unwrap();
    delta
}

fn itself(target: &[u8]) -> Origin {
    Origin::Itself { diff_id: [7; 32], size: target.len() as u64 }
}

fn apply(delta: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = LayerDecoder::new(delta, &LIMITS)?;
    let tape = Tape { bytes: Mutex::default(), size: decoder.needs().output_bytes };
    let origins = vec![&tape as &dyn ReadAt; decoder.needs().origins.len()];
    while decoder.next_frame(&origins, &mut &tape)?.is_some() {}
    Ok(tape.bytes.into_inner().unwrap())
}

fn matched(target: &Vec<u8>, base: &Vec<u8>, effort: Effort) -> Content {
    let index = FileIndex::build(&[base], &[target]).unwrap();
    let aim = Aim::Differences;
    let options = MatchOptions {
        memory_bytes: 64 << 20,
        aim,
        region_bytes: 5 << 20,
        largest_region_bytes: 5 << 20,
        effort,
    };
    match_layer(target, &index, &options).unwrap()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, name, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Two programs that are nearly one, of which each has an ancestor by name that is less like it.
fn twins() -> (Vec<u8>, Vec<u8>) {
    let (old, new) = (noise(1, 200_000), noise(2, 200_000));
    let old = [&new[..100_000], &old[100_000..]].concat();
    let mut twin = new.clone();
    (0..twin.len()).step_by(10_000).for_each(|at| twin[at] ^= 0x55);
    let base = tar_of(&[("bin/one", &old), ("bin/two", &old)]);
    (base, tar_of(&[("bin/one", &new), ("bin/two", &twin)]))
}

#[test]
fn a_file_that_is_like_another_new_one_is_made_of_that() {
    let (base, target) = twins();
    let content = matched(&target, &base, Effort::Default);
    let second = content.covers.iter().filter(|cover| cover.target > 201_000);
    let from_itself: u64 =
        second.filter(|cover| cover.origin == OriginId(1)).map(|cover| cover.length).sum();
    assert!(from_itself > 190_000, "{from_itself}");
    // Who wants it fast gets what has the name.
    let fast = matched(&target, &base, Effort::Fast);
    assert!(fast.covers.iter().all(|cover| cover.origin == OriginId(0)));
}

#[test]
fn what_is_of_no_counterpart_by_name_is_found_by_contents() {
    let old = noise(3, 120_000);
    let mut new = old.clone();
    (0..new.len()).step_by(5_000).for_each(|at| new[at] ^= 0x55);
    let base = tar_of(&[("lib/other", &noise(4, 120_000)), ("lib/libold-1f3a.so", &old)]);
    let target = tar_of(&[("lib/new-name.so", &new)]);
    let content = matched(&target, &base, Effort::Default);
    let covered: u64 = content.covers.iter().map(|cover| cover.length).sum();
    // As differences, not only as equal blocks.
    assert!(content.covers.len() < 6 && covered > 119_000, "{} of {covered}", content.covers.len());
}

#[test]
fn reading_ahead_of_what_is_made_is_refused() {
    let target = noise(5, 4096);
    for (at, to) in [(100, 100), (100, 2000), (1000, 900)] {
        // The encoder says it, since it has all of the target.
        let cover = Cover { target: to, length: 500, origin: OriginId(0), at: at + 100 };
        let content = Content { covers: vec![cover], ..Content::default() };
        let delta = delta_of(&target, &content, 0);
        match (apply(&delta), cover.origin_end() <= to) {
            (Ok(made), true) => assert!(made == target),
            (Err(DecodeError::Origin { source: ReadError::OutOfRange { .. }, .. }), false) => {}
            (found, _) => panic!("{found:?} for {cover:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Pieces of what came before, far and near, equal and not.
    #[test]
    fn what_reads_itself_comes_back(
        pieces in prop::collection::vec((0usize..60_000, 1usize..30_000, any::<bool>()), 1..30),
        preset in 0u32..7,
    ) {
        let (mut target, mut covers) = (noise(6, 5000), Vec::new());
        for (back, length, is_changed) in pieces {
            let end = target.len() - back.min(target.len() - 1);
            let start = end.saturating_sub(length);
            let mut piece = target[start..end].to_vec();
            if is_changed {
                piece.iter_mut().step_by(700).for_each(|byte| *byte ^= 3);
            }
            let (to, length) = (target.len() as u64, piece.len() as u64);
            covers.push(Cover { target: to, length, origin: OriginId(0), at: start as u64 });
            target.extend(piece);
            target.extend(noise(to, 20));
        }
        let content = Content { covers, ..Content::default() };
        let delta = delta_of(&target, &content, preset);
        prop_assert!(apply(&delta).unwrap() == target);
    }
}

#[test]
fn the_vector_of_the_specification_is_read() {
    let read = |name: &str| std::fs::read(format!("{FOLDER}/{name}")).unwrap();
    let delta = read("itself-delta.silt");
    let decoder = LayerDecoder::new(delta.as_slice(), &LIMITS).unwrap();
    assert!(decoder.needs().reads_itself());
    assert!(apply(&delta).unwrap() == read("itself-target"));
}

/// Writes the vector anew: only for a new version of the format.
#[test]
#[ignore = "writes testdata"]
fn write_the_vector() {
    let text: Vec<u8> = (0..40u8).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    let mut changed = text.clone();
    (0..changed.len()).step_by(50).for_each(|at| changed[at] ^= 0x20);
    let target = [&text[..], &changed, &text].concat();
    let length = text.len() as u64;
    let cover =
        |number: u64, at| Cover { target: number * length, length, origin: OriginId(0), at };
    let content = Content { covers: vec![cover(1, 0), cover(2, 0)], ..Content::default() };
    let delta = delta_of(&target, &content, 0);
    std::fs::write(format!("{FOLDER}/itself-delta.silt"), delta).unwrap();
    std::fs::write(format!("{FOLDER}/itself-target"), target).unwrap();
}
