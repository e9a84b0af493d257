//! Executables' references: what is predicted comes back exactly, and nothing that an enemy can
//! write makes the predictor fail otherwise than by an error.

use std::sync::atomic::{AtomicU64, Ordering};

use delta::Effort;
use delta::read_at::{ReadAt, ReadError};
use delta::references::{
    self, Machine, Plan, Prediction, Predictor, ReferenceError, RegionCover, Residuals,
};
use proptest::prelude::*;

mod references_support;
use references_support::{ElfBuilder, Section, go};

/// Answers with the bytes of a file, and keeps the residuals.
struct Truth<'a> {
    new: &'a [u8],
    said: Vec<i64>,
}

impl Residuals for Truth<'_> {
    type Error = ReadError;

    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        let width = usize::from(prediction.width);
        self.new.read_exact_at(&mut bytes[..width], prediction.place)?;
        let actual = u64::from_le_bytes(bytes);
        let residual = prediction.residual(actual);
        assert_eq!(prediction.actual(residual), actual, "{prediction:?}");
        self.said.push(residual);
        Ok(actual)
    }
}

struct Said(std::vec::IntoIter<i64>);

impl Residuals for Said {
    type Error = ReadError;

    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        Ok(prediction.actual(self.0.next().expect("as many as were said")))
    }
}

/// Encodes and decodes all covers; how many residuals are not 0, of how many.
fn round_trip(
    machine: Machine,
    old: &[u8],
    new: &[u8],
    parameters: &[u8],
    covers: &[RegionCover],
) -> Result<(usize, usize), ReferenceError> {
    let begin = || {
        let (range, length) = (0..old.len() as u64, new.len() as u64);
        Predictor::new(machine, &old, range, parameters, covers.to_vec(), length)
    };
    let (mut encoder, mut truth) = (begin()?, Truth { new, said: Vec::new() });
    let (mut out, mut pieces) = (Vec::new(), Vec::new());
    while let Some(piece) = encoder.next_piece(&old, &mut truth, &mut out)? {
        assert!(piece.length == out.len() as u64 && !out.is_empty() && out.len() <= 64 << 10);
        let new = &new[usize::try_from(piece.target).unwrap()..][..out.len()];
        let differences: Vec<u8> = new.iter().zip(&out).map(|(a, b)| a.wrapping_sub(*b)).collect();
        pieces.push((piece, differences));
    }
    let wrong = truth.said.iter().filter(|residual| **residual != 0).count();
    let sites = truth.said.len();
    let covered: u64 = pieces.iter().map(|(piece, _)| piece.length).sum();
    assert_eq!(covered, covers.iter().map(|cover| u64::from(cover.length)).sum::<u64>());

    let (mut decoder, mut said) = (begin()?, Said(truth.said.into_iter()));
    for (piece, differences) in pieces {
        assert_eq!(decoder.next_piece(&old, &mut said, &mut out)?, Some(piece));
        let made: Vec<u8> = out.iter().zip(&differences).map(|(a, b)| a.wrapping_add(*b)).collect();
        assert_eq!(made, new[usize::try_from(piece.target).unwrap()..][..made.len()]);
    }
    assert_eq!(decoder.next_piece(&old, &mut said, &mut out)?, None);
    assert!(said.0.next().is_none());
    Ok((wrong, sites))
}

/// The parameters that say: the same segments as the old file has.
fn same_segments(count: u8) -> Vec<u8> {
    let mut parameters = vec![0, count];
    parameters.resize(2 + usize::from(count) * 4, 0);
    parameters
}

fn cover(target: u32, old: u32, length: u32) -> RegionCover {
    RegionCover { target, old, length }
}

/// A call over 0x20 bytes, and the same over 0x28: to a place 0x20 after the call's start or end; and what other
/// code is there. Of ARM first Thumb-2, then A32.
const CALLS: [(Machine, &[u8], &[u8], u8); 4] = [
    (Machine::X86_64, &[0xe8, 0x20, 0, 0, 0], &[0xe8, 0x28, 0, 0, 0], 0x90),
    (Machine::Aarch64, &[8, 0, 0, 0x94], &[10, 0, 0, 0x94], 0x90),
    (Machine::Arm, &[0, 0xf0, 0x0e, 0xf8], &[0, 0xf0, 0x12, 0xf8], 0x90),
    (Machine::Arm, &[6, 0, 0, 0xeb], &[8, 0, 0, 0xeb], 0xe1),
];

#[test]
fn a_call_over_inserted_code_is_predicted() {
    for (machine, call, moved, filler) in CALLS {
        let mut text = vec![filler; 0x100];
        text[0x20..0x20 + call.len()].copy_from_slice(call);
        let old = ElfBuilder::new(machine).section(Section::code(text)).build();
        let at = old.find(call);
        let mut new = old.bytes.clone();
        new[at..at + call.len()].copy_from_slice(moved);
        new.splice(at + 0x10..at + 0x10, [0xcc; 8]);

        let start = u32::try_from(at + 0x10).unwrap();
        let covers = [cover(start - 0x10, start - 0x10, 0x10), cover(start + 8, start, 0x80)];
        let count = |covers| round_trip(machine, &old.bytes, &new, &same_segments(1), covers);
        assert_eq!(count(&covers).unwrap(), (0, 1), "{machine:?}");
        // Without the second cover, the target is thought to have stayed.
        assert_eq!(count(&covers[..1]).unwrap(), (1, 1), "{machine:?}");
    }
}

/// Counts the bytes that are read of it.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.bytes.read_exact_at(buffer, offset)
    }
}

#[test]
fn a_table_for_unwinding_without_contents_is_not_read_for_each_cover() {
    // A common record, and end marks.
    let record = [&[12, 0, 0, 0][..], &[0; 12]].concat();
    let table = [&record[..], &vec![0; 1 << 20]].concat();
    let old = ElfBuilder::new(Machine::X86_64).section(Section::of_kind(4, table)).build();
    let start = u32::try_from(old.find(&record)).unwrap() + (1 << 19);
    let covers: Vec<_> = (0..1000).map(|i| cover(start + 8 * i, start + 8 * i, 8)).collect();
    let old = Counted { bytes: old.bytes, read: AtomicU64::new(0) };
    let (range, parameters) = (0..old.size(), same_segments(1));
    let mut predictor =
        Predictor::new(Machine::X86_64, &old, range, &parameters, covers, old.size()).unwrap();
    let mut truth = Truth { new: &old.bytes, said: Vec::new() };
    let mut out = Vec::new();
    while predictor.next_piece(&old, &mut truth, &mut out).unwrap().is_some() {}
    let read = old.read.into_inner();
    // The whole of it once, and then what lies between two checkpoints.
    assert!(read < 2 * old.bytes.size() + 1000 * (12 << 10), "{read}");
}

/// The plan of two files of which one is like the other.
fn planned(old: &[u8], new: &[u8]) -> (Plan, Vec<RegionCover>) {
    let plan = references::plan(old, new, 1 << 20, Effort::Default).expect("it gains");
    let part = |n: usize| u32::try_from(n).unwrap();
    let covers = plan.covers.iter().map(|c| cover(part(c.new), part(c.old), part(c.length)));
    let covers = covers.collect();
    (plan, covers)
}

#[test]
fn real_modules_are_predicted() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/modules/");
    for version in ["3.7", "3.9", "3.11", "3.13"] {
        let read = |name: &str| std::fs::read(format!("{directory}{version}.{name}.pyc")).unwrap();
        let (old, new) = (read("old"), read("new"));
        let (plan, covers) = planned(&old, &new);
        assert_eq!(plan.machine, Machine::Python);
        let parameters = &plan.parameters;
        let (wrong, sites) = round_trip(plan.machine, &old, &new, parameters, &covers).unwrap();
        // Of all references and lines but a few that are where something changed, less than a sixth is wrong …
        assert!(sites > 130 && wrong * 6 < sites, "{version}: {wrong} of {sites}");
        // … where most are not what they were.
        let unequal = |c: &RegionCover| {
            let (old, new) = (&old[c.old as usize..], &new[c.target as usize..]);
            let (old, new) = (&old[..c.length as usize], &new[..c.length as usize]);
            old.iter().zip(new).filter(|(a, b)| a != b).count()
        };
        let changed: usize = covers.iter().map(unequal).sum();
        assert!(changed > wrong * 4, "{version}: {wrong} wrong, {changed} bytes changed");
        let refused = round_trip(plan.machine, &old, &new, &same_segments(3), &covers);
        assert!(matches!(refused, Err(ReferenceError::Parameters)), "a module has none");
    }
}

#[test]
fn a_real_library_is_predicted() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/executables/");
    let read = |name: &str| std::fs::read(format!("{directory}{name}")).unwrap();
    let (old, new) = (read("x86_64.old"), read("x86_64.new"));
    let (plan, covers) = planned(&old, &new);
    let counts = round_trip(plan.machine, &old, &new, &plan.parameters, &covers);
    let (wrong, sites) = counts.unwrap();
    // Rows of its table are like rows before: what refers to those is wrong.
    assert!(sites > 700 && wrong * 16 <= sites, "{wrong} of {sites}");

    for name in ["armv6", "armv7-thumb", "armv6-fixed", "armv7-fixed", "armv7-thumb-fixed"] {
        let (old, new) = (read(&format!("{name}.old")), read(&format!("{name}.new")));
        let (plan, covers) = planned(&old, &new);
        let counts = round_trip(plan.machine, &old, &new, &plan.parameters, &covers);
        let (wrong, sites) = counts.unwrap();
        assert!(sites > 390 && wrong * 16 <= sites, "{name}: {wrong} of {sites}");
    }

    let little = references::plan(&old, &new, 1 << 10, Effort::Default);
    assert_eq!(little, None, "it takes more memory");
    let other = references::plan(b"#!/bin/sh", &new, 1 << 20, Effort::Default);
    assert!(other.is_none(), "no executable");
    let refused = round_trip(Machine::Aarch64, &old, &new, &plan.parameters, &covers);
    assert!(matches!(refused, Err(ReferenceError::Machine)));
}

#[test]
fn functions_of_go_are_predicted() {
    let function = |seed: u32| go::Function { seed, length: 100 + seed as usize * 37 % 300 };
    let old: Vec<_> = (0..300).map(function).collect();
    // Some are new, one is gone, one is longer.
    let mut new = old.clone();
    new.splice(20..20, [function(1000), function(1001)]);
    new.remove(150);
    new.insert(250, function(1002));
    new[100].length += 64;
    for version in go::Version::ALL {
        let (old, new) = (go::program(version, &old), go::program(version, &new));
        let (plan, covers) = planned(&old, &new);
        let counts = round_trip(plan.machine, &old, &new, &plan.parameters, &covers).unwrap();
        let (wrong, sites) = counts;
        // In the index two for each, and seven in the function itself, of 299 that both have. All but twenty moved.
        assert!(sites > 290 * 9 && wrong * 10 < sites, "{version:?}: {wrong} of {sites}");
    }
}

#[test]
fn what_is_not_possible_is_refused() {
    let old = ElfBuilder::new(Machine::X86_64).section(Section::code(vec![0x90; 64])).build().bytes;
    let refuse = |covers: &[RegionCover], parameters: &[u8]| {
        round_trip(Machine::X86_64, &old, &old, parameters, covers).unwrap_err()
    };
    let good = same_segments(1);
    let covers = |error| matches!(error, ReferenceError::Covers);
    assert!(covers(refuse(&[cover(0, 0, 0)], &good)));
    assert!(covers(refuse(&[cover(0, 0, 9), cover(8, 20, 9)], &good)));
    assert!(covers(refuse(&[cover(0, u32::MAX, 9)], &good)));
    assert!(covers(refuse(&[cover(u32::MAX, 0, 9)], &good)));
    let parameters = |error| matches!(error, ReferenceError::Parameters);
    // None are those of the same segments.
    assert_eq!(round_trip(Machine::X86_64, &old, &old, &[], &[]).unwrap(), (0, 0));
    assert!(parameters(refuse(&[], &[0])));
    assert!(parameters(refuse(&[], &[1, 0])));
    assert!(parameters(refuse(&[], &[0, 33])));
    assert!(parameters(refuse(&[], &[&good[..], &[0]].concat())));
    let range = 0..old.len() as u64 + 1;
    let error = Predictor::new(Machine::X86_64, &old, range, &good, Vec::new(), 1);
    assert!(matches!(error, Err(ReferenceError::Old)));
    let error = round_trip(Machine::X86_64, b"#!/bin/sh", &old, &good, &[]);
    assert!(matches!(error, Err(ReferenceError::Machine)));
}

fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    // Small numbers make references that go somewhere.
    let byte = prop_oneof![
        3 => Just(0u8), 2 => 0u8..16, 1 => any::<u8>(),
        1 => proptest::sample::select(vec![0xe8, 0x0f, 0x84, 0x8d, 0x05, 0x48, 0xff, 0x1b]),
    ];
    proptest::collection::vec(byte, length)
}

/// What `marshal` writes, mostly.
fn bytes_of_objects(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![9 => 0u32..40, 1 => any::<u32>()];
    let with_number = |kinds: &'static [u8]| {
        (proptest::sample::select(kinds), number())
            .prop_map(|(kind, number)| [&[kind][..], &number.to_le_bytes()].concat())
    };
    let object = prop_oneof![
        8 => with_number(b"rri"),
        2 => with_number(b"sa\xf3(l"),
        2 => proptest::sample::select(&b"cc\xe3NT\x81"[..]).prop_map(|kind| vec![kind]),
        1 => (proptest::sample::select(&b"zZ)\xa9"[..]), 0u8..9).prop_map(|(kind, n)| vec![kind, n]),
    ];
    proptest::collection::vec(object, length / 6).prop_map(move |objects| {
        objects.concat().into_iter().chain(std::iter::repeat(b'N')).take(length).collect()
    })
}

prop_compose! {
    /// Covers in order, within both files.
    fn covers(old: u32, new: u32)(
        parts in proptest::collection::vec((0u32..40, 0..old, 1u32..1500), 0..30),
    ) -> Vec<RegionCover> {
        let mut covers = Vec::new();
        let mut end = 0;
        for (gap, from, length) in parts {
            let target = end + gap;
            let length = length.min(old - from).min(new.saturating_sub(target));
            if length > 0 {
                covers.push(cover(target, from, length));
                end = target + length;
            }
        }
        covers
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_old_file_gives_the_new_one_back(
        contents in proptest::collection::vec(bytes(512), Section::KINDS),
        new in bytes(6 << 10),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        covers in covers(6 << 10, 6 << 10),
        parameters in proptest::collection::vec(any::<u8>(), 0..8),
        machine in 1u8..4,
    ) {
        let Some(machine) = Machine::of_id(machine) else { return Ok(()) };
        let mut builder = ElfBuilder::new(machine);
        for (kind, contents) in contents.into_iter().enumerate() {
            builder = builder.section(Section::of_kind(kind, contents));
        }
        let built = builder.build();
        let mut old = built.bytes;
        // Most damage goes to the headers, which direct everything else.
        for (i, (at, byte)) in damage.into_iter().enumerate() {
            let headers = built.headers[i % built.headers.len()].clone();
            let at = headers.start + at.index(headers.len());
            old[at] = byte;
        }
        old.resize(6 << 10, 0);
        let mut said = vec![0, 1, parameters.first().map_or(0, |byte| byte & 0x7f), 0];
        said.resize(6, 0);
        match round_trip(machine, &old, &new, &said, &covers) {
            Ok(_) | Err(ReferenceError::Machine) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_program_of_go_gives_the_new_one_back(
        version in proptest::sample::select(&go::Version::ALL[..]),
        lengths in proptest::collection::vec(0usize..200, 1..40),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        new in bytes(6 << 10),
        covers in covers(6 << 10, 6 << 10),
    ) {
        let function = |(seed, length)| go::Function { seed, length };
        let functions: Vec<_> = (0..).zip(lengths).map(function).collect();
        let mut old = go::program(version, &functions);
        for (at, byte) in damage {
            let at = at.index(old.len());
            old[at] = byte;
        }
        old.resize(6 << 10, 0);
        match round_trip(Machine::X86_64, &old, &new, &[], &covers) {
            Ok(_) | Err(ReferenceError::Machine) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_module_gives_the_new_one_back(
        objects in bytes_of_objects(6 << 10),
        new in bytes(6 << 10),
        magic in 3390u16..3700,
        covers in covers(6 << 10, 6 << 10),
    ) {
        let old = [&magic.to_le_bytes()[..], b"\r\n", &[0; 12], b"(\xff\xff\xff\x7f", &objects].concat();
        let outcome = round_trip(Machine::Python, &old, &new, &[], &covers);
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
    }
}
