//! The librsync codec against the two others: Debian's rdiff and the crate `librsync_oxide`.

mod librsync_support;

use delta::librsync::{Signature, WeakSumKind, delta_from_signature, write_signature};
use librsync_support::*;
use proptest::prelude::*;

const WEAK_SUMS: [(WeakSumKind, &str); 2] =
    [(WeakSumKind::Rollsum, "rollsum"), (WeakSumKind::RabinKarp, "rabinkarp")];

fn few_cases() -> ProptestConfig {
    // Each case starts processes.
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn rdiff_and_oxide_apply_our_deltas((basis, pieces) in basis_and_pieces()) {
        let target = target_of(&basis, &pieces);
        let (delta, _) = write_pieces(&pieces);
        let mut by_oxide = Vec::new();
        librsync_oxide::apply(&basis, &delta, &mut by_oxide).unwrap();
        prop_assert!(by_oxide == target);
        if let Some(rdiff) = rdiff() {
            prop_assert!(rdiff.patch(&basis, &delta).unwrap() == target);
        }
    }

    #[test]
    fn signatures_are_rdiffs_to_the_byte(
        (basis, _) in basis_and_pieces(),
        block in prop_oneof![Just(512_u32), 1_u32..3000],
        strong in prop_oneof![Just(32_u32), 8_u32..=32],
    ) {
        let Some(rdiff) = rdiff() else { return Ok(()) };
        for (weak, rollsum) in WEAK_SUMS {
            let by_rdiff = rdiff.signature(&basis, rollsum, block, strong);
            let header = blake2_header(weak, block, strong);
            let mut streamed = Vec::new();
            let blocks = write_signature(basis.as_slice(), header, &mut streamed).unwrap();
            prop_assert_eq!(blocks, basis.len().div_ceil(block as usize) as u64);
            prop_assert!(streamed == by_rdiff);

            let computed =
                Signature::compute(basis.as_slice(), header, &SIGNATURE_LIMITS).unwrap();
            let read = Signature::read(by_rdiff.as_slice(), &SIGNATURE_LIMITS).unwrap();
            prop_assert_eq!(&computed, &read);
            let mut written = Vec::new();
            read.write(&mut written).unwrap();
            prop_assert!(written == by_rdiff);
        }
    }

    #[test]
    fn deltas_and_signatures_cross_over(
        (basis, pieces) in basis_and_pieces(),
        block in 1_u32..300,
    ) {
        let Some(rdiff) = rdiff() else { return Ok(()) };
        let target = target_of(&basis, &pieces);
        for (weak, rollsum) in WEAK_SUMS {
            let header = blake2_header(weak, block, 32);
            let mut ours = Vec::new();
            write_signature(basis.as_slice(), header, &mut ours).unwrap();
            let by_rdiff = rdiff.delta(&ours, &target);
            let (made, rdiffs_report) = apply_to_vec(&by_rdiff, &basis).unwrap();
            prop_assert!(made == target, "rdiff's delta of our signature");

            let theirs = rdiff.signature(&basis, rollsum, block, 32);
            let signature = Signature::read(theirs.as_slice(), &SIGNATURE_LIMITS).unwrap();
            let mut delta = Vec::new();
            let report = delta_from_signature(&signature, target.as_slice(), &mut delta).unwrap();
            prop_assert!(rdiff.patch(&basis, &delta).unwrap() == target, "our delta of theirs");
            // Both take the first block that fits as soon as one does.
            prop_assert_eq!(report.copied_bytes, rdiffs_report.copied_bytes);
            prop_assert!(delta.len() <= by_rdiff.len());
        }
    }

    #[test]
    fn oxide_deltas_are_applied((basis, pieces) in basis_and_pieces(), block in 1_u32..300) {
        let target = target_of(&basis, &pieces);
        let options = librsync_oxide::SignatureOptions {
            block_size: block,
            crypto_hash_size: 32,
            signature_type: librsync_oxide::SignatureType::Blake2,
        };
        let signature = librsync_oxide::Signature::calculate(&basis, options);
        let mut delta = Vec::new();
        librsync_oxide::diff(&signature.index(), &target, &mut delta).unwrap();
        prop_assert!(apply_to_vec(&delta, &basis).unwrap().0 == target);
    }
}

#[test]
fn rdiffs_default_signature_is_read() {
    let Some(rdiff) = rdiff() else { return };
    let basis: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(n).to_be_bytes()).collect();
    let bytes = rdiff.signature_by_default(&basis);
    let signature = Signature::read(bytes.as_slice(), &SIGNATURE_LIMITS).unwrap();
    assert_eq!(signature.header().weak, WeakSumKind::RabinKarp);
    let mut delta = Vec::new();
    let report = delta_from_signature(&signature, &basis[1000..], &mut delta).unwrap();
    assert!(report.literal_bytes < u64::from(signature.header().block_size_bytes));
    assert_eq!(rdiff.patch(&basis, &delta).unwrap(), basis[1000..]);
}

#[test]
fn what_rdiff_refuses_is_refused() {
    let Some(rdiff) = rdiff() else { return };
    let basis = b"0123456789".as_slice();
    let deltas: [&[u8]; 6] = [
        b"rs\x02\x36\x45\x08\x03\0", // a copy past the end
        b"rs\x02\x36\x45\x08\x00\0", // a copy of nothing
        b"rs\x02\x36\x41\x00\0",     // a literal of nothing
        b"rs\x02\x36\x05abc",        // a literal cut off
        b"rs\x02\x36\x01a",          // no END
        b"rs\x02\x36\x55\0",         // no command
    ];
    for delta in deltas {
        assert!(rdiff.patch(basis, delta).is_err(), "{delta:x?}");
        assert!(apply_to_vec(delta, basis).is_err(), "{delta:x?}");
    }
}
