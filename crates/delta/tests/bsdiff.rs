//! Our covers beside bsdiff's: another's patcher applies them, and another's differ judges them.

use delta::Effort;
use delta::byte_match::{ByteCover, match_bytes};
use proptest::prelude::*;

/// The `bsdiff` crate's patch for our covers: control triples, each followed by its differences and
/// its extra bytes.
fn to_patch(old: &[u8], new: &[u8], covers: &[ByteCover]) -> Vec<u8> {
    let mut patch = Vec::new();
    // bsdiff begins with a cover; where ours does not, it is an empty one.
    let nothing = ByteCover { new: 0, old: 0, length: 0 };
    let all: Vec<ByteCover> = std::iter::once(nothing).chain(covers.iter().copied()).collect();
    for (i, cover) in all.iter().enumerate() {
        let end = cover.new + cover.length;
        let next = all.get(i + 1);
        let extra = &new[end..next.map_or(new.len(), |next| next.new)];
        let seek = next.map_or(0, |next| distance(cover.old + cover.length, next.old));
        patch.extend((cover.length as u64).to_le_bytes());
        patch.extend((extra.len() as u64).to_le_bytes());
        patch.extend(sign_and_magnitude(seek));
        let pairs = new[cover.new..end].iter().zip(&old[cover.old..]);
        patch.extend(pairs.map(|(new, old)| new.wrapping_sub(*old)));
        patch.extend(extra);
    }
    patch
}

fn distance(from: usize, to: usize) -> i64 {
    i64::try_from(to).unwrap() - i64::try_from(from).unwrap()
}

fn sign_and_magnitude(value: i64) -> [u8; 8] {
    let sign = if value < 0 { 1 << 63 } else { 0 };
    (value.unsigned_abs() | sign).to_le_bytes()
}

/// Bytes that a patch of bsdiff's carries as they are.
fn extra_bytes(mut patch: &[u8]) -> u64 {
    let mut total = 0;
    while !patch.is_empty() {
        let number = |at: usize| u64::from_le_bytes(patch[at..at + 8].try_into().unwrap());
        let (mixed, extra) = (number(0), number(8));
        total += extra;
        patch = &patch[24 + usize::try_from(mixed + extra).unwrap()..];
    }
    total
}

#[derive(Debug, Clone)]
enum Edit {
    Replace(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Move(usize, usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0usize..20_000;
    prop_oneof![
        6 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => (at.clone(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(a, b)| Edit::Insert(a, b)),
        2 => (at.clone(), 1usize..500).prop_map(|(at, length)| Edit::Remove(at, length)),
        1 => (at.clone(), 1usize..4000, at).prop_map(|(at, length, to)| Edit::Move(at, length, to)),
    ]
}

fn apply(old: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut new = old.to_vec();
    for edit in edits {
        let place = |at: usize, new: &[u8]| at % (new.len() + 1);
        match edit {
            Edit::Replace(at, byte) => {
                let at = place(*at, &new);
                if let Some(old) = new.get_mut(at) {
                    *old = *byte;
                }
            }
            Edit::Insert(at, bytes) => {
                let at = place(*at, &new);
                new.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove(at, length) => {
                let at = place(*at, &new);
                let end = (at + length).min(new.len());
                new.drain(at..end);
            }
            Edit::Move(at, length, to) => {
                let at = place(*at, &new);
                let end = (at + length).min(new.len());
                let piece: Vec<u8> = new.drain(at..end).collect();
                let to = place(*to, &new);
                new.splice(to..to, piece);
            }
        }
    }
    new
}

/// Bytes with some structure: like a program, neither noise nor one line repeated.
fn old_bytes() -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [.., a, b] = state.to_be_bytes()[..4] else { return 0 };
        if a & 3 == 0 { 0x48 } else { b & 0x7f }
    })
    .take(20_000)
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bsdiff_applies_our_covers_and_finds_hardly_more(edits in prop::collection::vec(edit(), 0..40)) {
        let old = old_bytes();
        let new = apply(&old, &edits);
        let covers = match_bytes(&old, &new, Effort::Default).unwrap();

        let mut made = Vec::new();
        bsdiff::patch(&old, &mut to_patch(&old, &new, &covers).as_slice(), &mut made).unwrap();
        prop_assert!(made == new);

        let mut theirs = Vec::new();
        bsdiff::diff(&old, &new, &mut theirs).unwrap();
        let ours: usize = new.len() - covers.iter().map(|cover| cover.length).sum::<usize>();
        // We leave out covers that cost more than their bytes: few, and short.
        let allowed = extra_bytes(&theirs) + 64 + 16 * edits.len() as u64;
        prop_assert!(ours as u64 <= allowed, "{ours} literal bytes, bsdiff has {}", extra_bytes(&theirs));
    }
}
