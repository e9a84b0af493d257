//! librsync's two formats.

use delta::librsync::{
    ApplyLimits, Signature, SignatureHeader, SignatureLimits, StrongSumKind, WeakSumKind, apply,
    check, delta_from_signature,
};

const BASIS_BYTES: u16 = 40_000;
const LIMITS: ApplyLimits = ApplyLimits { max_output_bytes: 4 << 20 };
const SIGNATURE_LIMITS: SignatureLimits = SignatureLimits { max_blocks: 10_000 };

/// A delta: checking it and applying it come to the same.
pub(crate) fn librsync_delta(data: &[u8]) {
    let basis: Vec<u8> =
        (0..BASIS_BYTES).map(|i| i.wrapping_mul(i >> 3).to_be_bytes()[0]).collect();
    let mut made = Vec::new();
    let applied = apply(data, &basis, &mut made, &LIMITS);
    let checked = check(data, basis.len() as u64, &LIMITS);
    assert_eq!(applied.is_ok(), checked.is_ok(), "{applied:?} {checked:?}");
    if let (Ok(applied), Ok(checked)) = (applied, checked) {
        assert_eq!(applied, checked);
        assert_eq!(applied.output_bytes(), made.len() as u64);
    }
}

/// A signature that says what it wants, and an honest one of bytes that an enemy chose.
///
/// The first bytes are where the input is cut in two and the sizes of the honest signature.
pub(crate) fn librsync_signature(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let cut = usize::from(u16::from_le_bytes([head[0], head[1]])).min(rest.len());
    let (first, target) = rest.split_at(cut);
    if let Ok(signature) = Signature::read(first, &SIGNATURE_LIMITS) {
        let mut delta = Vec::new();
        delta_from_signature(&signature, target, &mut delta).expect("memory takes a delta");
        assert!(signature.block_count() * 5 <= first.len());
    }
    let header = SignatureHeader {
        weak: if head[3] & 1 == 0 { WeakSumKind::Rollsum } else { WeakSumKind::RabinKarp },
        strong: StrongSumKind::Blake2,
        block_size_bytes: u32::from(head[2]) + 1,
        strong_size_bytes: 32,
    };
    let signature = Signature::compute(first, header, &SIGNATURE_LIMITS);
    let Ok(signature) = signature else {
        return;
    };
    let (mut delta, mut made) = (Vec::new(), Vec::new());
    delta_from_signature(&signature, target, &mut delta).expect("memory takes a delta");
    apply(delta.as_slice(), &first, &mut made, &LIMITS).expect("our own delta");
    assert!(made == target, "a delta from a signature makes something else");
}
