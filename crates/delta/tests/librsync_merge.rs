//! Two librsync deltas merged: the same bytes as one after the other.

use delta::librsync::merge::{CommandMap, MergeError, Source, merge};
use delta::librsync::{ApplyLimits, DeltaWriter, apply};
use delta::read_at::ReadAt;
use proptest::prelude::*;

/// A command: a copy of a range of the basis, or as many bytes as they are.
#[derive(Debug, Clone)]
enum Said {
    Copy(usize, usize),
    Literal(Vec<u8>),
}

fn commands() -> impl Strategy<Value = Vec<Said>> {
    let copy = (0usize..1000, 1usize..200).prop_map(|(at, length)| Said::Copy(at, length));
    let literal = prop::collection::vec(any::<u8>(), 1..40).prop_map(Said::Literal);
    prop::collection::vec(prop_oneof![copy, literal], 1..20)
}

/// The delta that says this, with copies that lie within a basis of so many bytes.
fn delta_of(commands: &[Said], basis_bytes: usize) -> Vec<u8> {
    let mut writer = DeltaWriter::new(Vec::new()).unwrap();
    for command in commands {
        match command {
            Said::Literal(bytes) => writer.literal(bytes).unwrap(),
            Said::Copy(at, length) => {
                let at = at % basis_bytes;
                let length = (*length).min(basis_bytes - at);
                writer.copy(at as u64, length as u64).unwrap();
            }
        }
    }
    writer.finish().unwrap().0
}

fn applied(delta: &[u8], basis: &dyn ReadAt) -> Vec<u8> {
    let mut made = Vec::new();
    apply(delta, basis, &mut made, &ApplyLimits { max_output_bytes: 1 << 20 }).unwrap();
    made
}

proptest! {
    #[test]
    fn copies_of_copies_are_copies(
        first in commands(),
        second in commands(),
        shared in 0usize..100,
    ) {
        // The first bytes of the basis are those of a layer that both images have.
        let a: Vec<u8> = (0u16..700).map(|i| (i * 31 % 251).to_le_bytes()[0]).collect();
        let first = delta_of(&first, a.len());
        let b = [&a[..shared], &applied(&first, &a)].concat();
        let second = delta_of(&second, b.len());
        let c = applied(&second, &b);

        let (mut literals, mut literal_bytes) = (Vec::new(), 0);
        let read = CommandMap::read(first.as_slice(), &mut literals, &mut literal_bytes, 1 << 20);
        let map = read.unwrap();
        prop_assert_eq!(literal_bytes, literals.len() as u64);
        prop_assert_eq!(map.size, (b.len() - shared) as u64);
        let shared = shared as u64;
        let find = |offset: u64| match offset < shared {
            true => Some(Source::Basis { end: shared }),
            false => Some(Source::Made { map: &map, start: shared }),
        };
        let mut merged = Vec::new();
        let report = merge(second.as_slice(), &find, &literals, &mut merged).unwrap();
        prop_assert_eq!(report.output_bytes(), c.len() as u64);
        prop_assert!(applied(&merged, &a) == c);
    }
}

#[test]
fn what_the_first_does_not_make_cannot_be_copied() {
    let first = delta_of(&[Said::Literal(vec![7; 10])], 1);
    let mut literals = Vec::new();
    let map = CommandMap::read(first.as_slice(), &mut literals, &mut 0, 1 << 20).unwrap();
    let find = |_| Some(Source::Made { map: &map, start: 0 });
    for (at, length) in [(0, 11), (10, 1), (1 << 40, 1)] {
        let mut writer = DeltaWriter::new(Vec::new()).unwrap();
        writer.copy(at, length).unwrap();
        let second = writer.finish().unwrap().0;
        let error = merge(second.as_slice(), &find, &literals, std::io::sink()).unwrap_err();
        assert!(matches!(error, MergeError::CopyPastEnd { .. }), "{error}");
    }
    for cut in 1..first.len() {
        let read = CommandMap::read(&first[..cut], &mut std::io::sink(), &mut 0, 1 << 20);
        assert!(matches!(read, Err(MergeError::Delta(_))), "{cut}");
    }
    let read = CommandMap::read(first.as_slice(), &mut std::io::sink(), &mut 0, 10);
    assert!(matches!(read, Err(MergeError::Memory { limit_bytes: 10 })));
}
