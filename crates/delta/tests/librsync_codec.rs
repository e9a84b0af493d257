//! The librsync codec by itself: round trips, limits, damaged deltas and signatures.

mod librsync_support;

use std::io::Write;

use delta::librsync::{
    ApplyError, ApplyLimits, Command, DeltaError, DeltaReader, DeltaWriteError, DeltaWriter,
    LITERAL_BYTES_MAX, Signature, SignatureError, SignatureLimits, WeakSumKind, apply,
    delta_from_signature,
};
use librsync_support::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_written_is_applied((basis, pieces) in basis_and_pieces()) {
        let target = target_of(&basis, &pieces);
        let (delta, written) = write_pieces(&pieces);
        let (made, applied) = apply_to_vec(&delta, &basis).unwrap();
        prop_assert!(made == target);
        prop_assert_eq!(written, applied);
        prop_assert_eq!(applied.commands(), commands(&delta).len() as u64);
        let merged = commands(&delta).windows(2).all(|pair| match *pair {
            [Command::Literal { .. }, Command::Literal { .. }] => false,
            [Command::Copy { offset, length }, Command::Copy { offset: next, .. }] => {
                offset + length != next
            }
            _ => true,
        });
        prop_assert!(merged, "neighbours that continue each other are one");
    }

    #[test]
    fn damage_is_an_error_or_other_bytes_but_never_a_panic(
        (basis, pieces) in basis_and_pieces(),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let (mut delta, report) = write_pieces(&pieces);
        let place = place.index(delta.len());
        delta[place] ^= flip;
        let limits = ApplyLimits { max_output_bytes: report.output_bytes() };
        let mut out = Vec::new();
        // Whatever comes of it, the output keeps to its limit.
        let _ = apply(delta.as_slice(), &basis, &mut out, &limits);
        prop_assert!(out.len() as u64 <= limits.max_output_bytes);
        if place < 4 {
            prop_assert!(apply_to_vec(&delta, &basis).is_err());
        }
    }

    #[test]
    fn anything_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let delta = [b"rs\x02\x36".as_slice(), &bytes].concat();
        let _ = apply_to_vec(&delta, &bytes);
        for magic in [0x37, 0x47] {
            let signature = [&[0x72, 0x73, 0x01, magic], bytes.as_slice()].concat();
            let _ = Signature::read(signature.as_slice(), &SIGNATURE_LIMITS);
        }
    }

    #[test]
    fn a_delta_from_a_signature_makes_the_target(
        (basis, pieces) in basis_and_pieces(),
        block in 1_u32..2000,
        weak in prop_oneof![Just(WeakSumKind::Rollsum), Just(WeakSumKind::RabinKarp)],
    ) {
        let target = target_of(&basis, &pieces);
        let header = blake2_header(weak, block, 32);
        let signature = Signature::compute(basis.as_slice(), header, &SIGNATURE_LIMITS).unwrap();
        let mut delta = Vec::new();
        delta_from_signature(&signature, target.as_slice(), &mut delta).unwrap();
        prop_assert!(apply_to_vec(&delta, &basis).unwrap().0 == target);
    }
}

/// A small delta that has every kind of command, and its basis.
fn small_delta() -> (Vec<u8>, Vec<u8>) {
    let basis: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let long = vec![7; 300];
    let pieces = [
        Piece::Literal(b"start".to_vec()),
        Piece::Copy(3, 200),
        Piece::Copy(400, 300),
        Piece::Literal(long),
        Piece::Copy(900, 100),
    ];
    (write_pieces(&pieces).0, basis)
}

#[test]
fn a_truncated_delta_is_an_error_at_every_length() {
    let (delta, basis) = small_delta();
    for length in 0..delta.len() {
        match apply_to_vec(&delta[..length], &basis) {
            Err(ApplyError::Delta(DeltaError::Truncated { end, .. })) => {
                assert_eq!(end, length as u64);
            }
            Err(ApplyError::Delta(DeltaError::MissingEnd { offset })) => {
                assert_eq!(offset, length as u64);
            }
            other => panic!("{length}: {other:?}"),
        }
    }
    assert!(apply_to_vec(&delta, &basis).is_ok());
}

#[test]
fn every_flipped_bit_is_survived() {
    let (delta, basis) = small_delta();
    let limits = ApplyLimits { max_output_bytes: 905 };
    for place in 0..delta.len() {
        for bit in 0..8 {
            let mut damaged = delta.clone();
            damaged[place] ^= 1 << bit;
            let mut out = Vec::new();
            let _ = apply(damaged.as_slice(), &basis, &mut out, &limits);
            assert!(out.len() <= 905, "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn a_short_basis_is_refused_at_the_command_that_needs_it() {
    let (delta, basis) = small_delta();
    let error = apply_to_vec(&delta, &basis[..950]).unwrap_err();
    let expected = delta.len() as u64 - 1 - 4;
    match error {
        ApplyError::CopyPastEnd { command_offset, offset, length, basis_size } => {
            assert_eq!((offset, length, basis_size), (900, 100, 950));
            assert_eq!(command_offset, expected);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_output_limit_is_exact() {
    let (delta, basis) = small_delta();
    let size = apply_to_vec(&delta, &basis).unwrap().1.output_bytes();
    for (max_output_bytes, fits) in [(size, true), (size - 1, false), (0, false)] {
        let limits = ApplyLimits { max_output_bytes };
        let result = apply(delta.as_slice(), &basis, &mut Vec::new(), &limits);
        assert_eq!(result.is_ok(), fits);
        if let Err(error) = result {
            assert!(matches!(error, ApplyError::OutputLimit { .. }), "{error}");
        }
    }
}

#[test]
fn a_copy_of_petabytes_ends_at_the_limit() {
    let mut writer = DeltaWriter::new(Vec::new()).unwrap();
    writer.copy(0, 1 << 50).unwrap();
    let (delta, _) = writer.finish().unwrap();
    let error = apply_to_vec(&delta, b"small").unwrap_err();
    assert!(matches!(error, ApplyError::OutputLimit { .. }), "{error}");
}

#[test]
fn a_million_tiny_commands_make_few_writes() {
    struct Counting(u64, u64);
    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += 1;
            self.1 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut delta = b"rs\x02\x36".to_vec();
    delta.extend([0x01, b'x', 0x45, 0, 1].repeat(500_000));
    delta.push(0);
    let mut out = Counting(0, 0);
    let report = apply(delta.as_slice(), &b"basis".as_slice(), &mut out, &LIMITS).unwrap();
    assert_eq!((report.commands(), out.1), (1_000_000, 1_000_000));
    assert!(out.0 < 10, "{} writes", out.0);
}

#[test]
fn failures_of_the_output_are_noticed() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (delta, basis) = small_delta();
    let error = apply(delta.as_slice(), &basis, &mut Full, &LIMITS).unwrap_err();
    assert!(matches!(error, ApplyError::Write { output_offset: 0, .. }), "{error}");
    let error = DeltaWriter::new(Full).map(|_| ()).unwrap_err();
    assert!(matches!(error, DeltaWriteError::Write { .. }), "{error}");
}

#[test]
fn literals_are_cut_at_the_same_places_however_they_come() {
    let bytes: Vec<u8> = (0..=250).cycle().take(2 * LITERAL_BYTES_MAX + 5).collect();
    let write = |pieces: &mut dyn FnMut(&mut DeltaWriter<Vec<u8>>)| {
        let mut writer = DeltaWriter::new(Vec::new()).unwrap();
        writer.copy(0, 1).unwrap();
        pieces(&mut writer);
        writer.finish().unwrap().0
    };
    let whole = write(&mut |writer| writer.literal(&bytes).unwrap());
    let in_pieces = write(&mut |writer| {
        for piece in bytes.chunks(70_001) {
            writer.literal(piece).unwrap();
        }
    });
    let from_stream = write(&mut |writer| {
        writer.literal_from(bytes.len() as u64, bytes.as_slice()).unwrap();
    });
    assert!(whole == in_pieces && whole == from_stream);
    let lengths = commands(&whole).iter().skip(1).map(Command::length).collect::<Vec<_>>();
    assert_eq!(lengths, [LITERAL_BYTES_MAX as u64, LITERAL_BYTES_MAX as u64, 5]);
}

#[test]
fn a_literal_that_ends_early_is_an_error_with_its_place() {
    let mut writer = DeltaWriter::new(Vec::new()).unwrap();
    writer.literal(b"12345").unwrap();
    match writer.literal_from(10, b"678".as_slice()) {
        Err(DeltaWriteError::ReadLiteral { target_offset, source }) => {
            assert_eq!(target_offset, 8);
            assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_that_overflows_is_not_written() {
    let mut writer = DeltaWriter::new(Vec::new()).unwrap();
    let error = writer.copy(u64::MAX, 1).unwrap_err();
    assert!(matches!(error, DeltaWriteError::RangeOverflow { offset: u64::MAX, length: 1 }));
}

#[test]
fn literals_are_read_in_pieces_and_skipped() {
    let (delta, _) = small_delta();
    let mut reader = DeltaReader::new(delta.as_slice()).unwrap();
    assert_eq!(reader.next_command().unwrap(), Some(Command::Literal { length: 5 }));
    let mut buffer = [0; 3];
    assert_eq!((reader.read_literal(&mut buffer).unwrap(), &buffer), (3, b"sta"));
    assert_eq!(reader.next_command().unwrap(), Some(Command::Copy { offset: 3, length: 200 }));
    assert_eq!(reader.command_offset(), 10);
    assert_eq!(reader.read_literal(&mut buffer).unwrap(), 0);
}

#[test]
fn a_signature_with_too_many_blocks_is_refused() {
    let header = blake2_header(WeakSumKind::Rollsum, 1, 8);
    let basis = [1; 5].as_slice();
    for (max_blocks, fits) in [(5, true), (4, false)] {
        let limits = SignatureLimits { max_blocks };
        let computed = Signature::compute(basis, header, &limits);
        assert_eq!(computed.is_ok(), fits);
        let mut bytes = Vec::new();
        let signature = Signature::compute(basis, header, &SIGNATURE_LIMITS).unwrap();
        signature.write(&mut bytes).unwrap();
        match Signature::read(bytes.as_slice(), &limits) {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(matches!(error, SignatureError::TooManyBlocks { max_blocks: 4 }));
            }
        }
    }
}

#[test]
fn a_truncated_signature_is_an_error_within_a_block() {
    let header = blake2_header(WeakSumKind::RabinKarp, 2, 8);
    let signature = Signature::compute([1; 5].as_slice(), header, &SIGNATURE_LIMITS).unwrap();
    let mut bytes = Vec::new();
    signature.write(&mut bytes).unwrap();
    for length in 0..=bytes.len() {
        let read = Signature::read(&bytes[..length], &SIGNATURE_LIMITS);
        // A signature has no end of its own, so it is whole after any block.
        match length >= 12 && (length - 12) % 12 == 0 {
            true => assert_eq!(read.unwrap().block_count(), (length - 12) / 12),
            false => {
                let error = read.unwrap_err();
                let end = length as u64;
                assert!(matches!(error, SignatureError::Truncated { end: at } if at == end));
            }
        }
    }
}

#[test]
fn a_signature_that_collides_everywhere_costs_no_more_than_the_budget() {
    // The weak sum of zeros with a wrong strong sum: every window of zeros is a candidate.
    let header = blake2_header(WeakSumKind::Rollsum, 1 << 20, 32);
    let zeros = vec![0; 1 << 20];
    let honest = Signature::compute(zeros.as_slice(), header, &SIGNATURE_LIMITS).unwrap();
    let mut bytes = Vec::new();
    honest.write(&mut bytes).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let signature = Signature::read(bytes.as_slice(), &SIGNATURE_LIMITS).unwrap();
    let target = vec![0; 3 << 20];
    let mut delta = Vec::new();
    // Unbounded, this would hash two terabytes.
    let report = delta_from_signature(&signature, target.as_slice(), &mut delta).unwrap();
    assert_eq!(report.literal_bytes, 3 << 20);
}
