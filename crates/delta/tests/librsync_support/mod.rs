//! What the tests of the librsync codec share.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::print_stderr, reason = "a test that skips says so")]

use std::path::{Path, PathBuf};
use std::process::Command;

use delta::librsync::{
    ApplyError, ApplyLimits, DeltaReader, DeltaReport, DeltaWriter, SignatureHeader,
    SignatureLimits, StrongSumKind, WeakSumKind, apply,
};
use proptest::prelude::*;

pub(crate) const LIMITS: ApplyLimits = ApplyLimits { max_output_bytes: 1 << 26 };
pub(crate) const SIGNATURE_LIMITS: SignatureLimits = SignatureLimits { max_blocks: 1 << 20 };

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

pub(crate) fn blake2_header(weak: WeakSumKind, block: u32, strong_size: u32) -> SignatureHeader {
    SignatureHeader {
        weak,
        strong: StrongSumKind::Blake2,
        block_size_bytes: block,
        strong_size_bytes: strong_size,
    }
}

pub(crate) fn apply_to_vec(
    delta: &[u8],
    basis: &[u8],
) -> Result<(Vec<u8>, DeltaReport), ApplyError> {
    let mut out = Vec::new();
    let report = apply(delta, &basis, &mut out, &LIMITS)?;
    Ok((out, report))
}

pub(crate) fn commands(delta: &[u8]) -> Vec<delta::librsync::Command> {
    let mut reader = DeltaReader::new(delta).unwrap();
    std::iter::from_fn(|| reader.next_command().unwrap()).collect()
}

/// A piece of a target that a test makes: from the basis, or of its own.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Copy(usize, usize),
    Literal(Vec<u8>),
}

/// A basis, and pieces whose ranges are within it.
pub(crate) fn basis_and_pieces() -> impl Strategy<Value = (Vec<u8>, Vec<Piece>)> {
    // Few letters, so that blocks repeat and sums collide now and then.
    let basis = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..6000),
        prop::collection::vec(0_u8..3, 1..6000),
    ];
    basis.prop_flat_map(|basis| {
        let size = basis.len();
        let copy = (0..size).prop_flat_map(move |start| {
            (Just(start), 1..=size - start).prop_map(|(start, length)| Piece::Copy(start, length))
        });
        let literal = prop::collection::vec(any::<u8>(), 0..700).prop_map(Piece::Literal);
        let pieces = prop::collection::vec(prop_oneof![copy, literal], 0..12);
        (Just(basis), pieces)
    })
}

pub(crate) fn target_of(basis: &[u8], pieces: &[Piece]) -> Vec<u8> {
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Copy(start, length) => &basis[*start..start + length],
        Piece::Literal(bytes) => bytes,
    });
    bytes.collect::<Vec<_>>().concat()
}

pub(crate) fn write_pieces(pieces: &[Piece]) -> (Vec<u8>, DeltaReport) {
    let mut writer = DeltaWriter::new(Vec::new()).unwrap();
    for piece in pieces {
        match piece {
            Piece::Copy(start, length) => writer.copy(*start as u64, *length as u64).unwrap(),
            Piece::Literal(bytes) => writer.literal(bytes).unwrap(),
        }
    }
    writer.finish().unwrap()
}

/// A folder to call rdiff in, or nothing when there is no rdiff and none is required.
pub(crate) fn rdiff() -> Option<Rdiff> {
    let found = Command::new("rdiff").arg("--version").output().is_ok();
    let required = std::env::var_os("SILT_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(found || !required, "rdiff is not installed (Debian package rdiff)");
    if !found {
        eprintln!("skipped: rdiff is not installed (Debian package rdiff)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    Some(Rdiff { folder })
}

pub(crate) struct Rdiff {
    folder: tempfile::TempDir,
}

impl Rdiff {
    pub(crate) fn signature(
        &self,
        basis: &[u8],
        rollsum: &str,
        block: u32,
        strong: u32,
    ) -> Vec<u8> {
        let (block, strong) = (block.to_string(), strong.to_string());
        let options = ["-H", "blake2", "-R", rollsum, "-b", &block, "-S", &strong, "signature"];
        self.run(&options, &[basis]).unwrap()
    }

    pub(crate) fn signature_by_default(&self, basis: &[u8]) -> Vec<u8> {
        self.run(&["signature"], &[basis]).unwrap()
    }

    pub(crate) fn delta(&self, signature: &[u8], target: &[u8]) -> Vec<u8> {
        self.run(&["delta"], &[signature, target]).unwrap()
    }

    pub(crate) fn patch(&self, basis: &[u8], delta: &[u8]) -> Result<Vec<u8>, String> {
        self.run(&["patch"], &[basis, delta])
    }

    fn run(&self, options: &[&str], inputs: &[&[u8]]) -> Result<Vec<u8>, String> {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("rdiff");
        command.arg("--force").args(options);
        for (name, bytes) in ["first", "second"].iter().zip(inputs) {
            std::fs::write(path(name), bytes).unwrap();
            command.arg(path(name));
        }
        let output = command.arg(path("out")).output().unwrap();
        match output.status.success() {
            true => Ok(std::fs::read(path("out")).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
