//! A signed file has no byte that could be another.

mod common;

use std::fs;
use std::sync::Arc;

use silt::load::{Input, LoadOptions, open_input, plan_load};
use silt::save::{
    ArchiveFormat, Output, SaveOptions, SignWith, Signing, save_images, sign_archive,
};
use silt::signing::{PublicKey, SecretKeyFile};
use silt::trust::{Demand, Trust};
use silt::{Failure, FailureKind, NoProgress, OpenMode, Store};

fn signing() -> Signing {
    let file = SecretKeyFile::parse(include_bytes!("../../../testdata/signing/test.key")).unwrap();
    let key = Arc::new(file.unlock(None).unwrap());
    Signing { key, comment: Signing::DEFAULT_COMMENT.into() }
}

fn options(demand: Demand) -> LoadOptions {
    let key = PublicKey::parse(include_bytes!("../../../testdata/signing/test.pub")).unwrap();
    LoadOptions { trust: Trust { keys: vec![key], demand }, ..LoadOptions::default() }
}

/// Whether a file would be loaded into an empty store; the kind of failure where not.
fn judge(path: &std::path::Path, options: &LoadOptions) -> Option<FailureKind> {
    let store = Store::open(&path.with_extension("store"), OpenMode::ReadOnly).unwrap();
    let input = Input::Path(path.to_owned());
    let planned = open_input(&input, &store, options, &NoProgress);
    assert!(!store.root().exists(), "the store was touched");
    planned.err().map(|error| error.kind())
}

#[test]
fn every_changed_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), OpenMode::Create).unwrap();
    let golden = "../../testdata/golden/tiny/target.tar";
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    let all = LoadOptions::default();
    let opened = open_input(&Input::Path(golden), &store, &all, &NoProgress).unwrap();
    let plan = plan_load(&opened, &store, &all, &NoProgress).unwrap();
    silt::load::load(&opened, &plan, &store, &NoProgress).unwrap();
    for format in [ArchiveFormat::DockerArchive, ArchiveFormat::OciArchive] {
        let path = folder.path().join("signed.tar");
        let save = SaveOptions { format, sign: Some(signing()), ..SaveOptions::default() };
        let output = Output::Path(path.clone());
        save_images(&store, &["golden-tiny:target"], &save, &output, &NoProgress).unwrap();
        let bytes = fs::read(&path).unwrap();
        for demand in [Demand::Signed, Demand::IfSigned] {
            let options = options(demand);
            assert_eq!(judge(&path, &options), None);
            // Each of them once, and some of them in the other ways.
            let is_first = format == ArchiveFormat::DockerArchive && demand == Demand::IfSigned;
            for at in (0..bytes.len()).step_by(if is_first { 1 } else { 211 }) {
                let mut changed = bytes.clone();
                changed[at] ^= if at % 2 == 0 { 1 } else { 0x20 };
                fs::write(&path, &changed).unwrap();
                let found = judge(&path, &options);
                let is_refused =
                    matches!(found, Some(FailureKind::Damaged | FailureKind::Signature));
                assert!(is_refused, "byte {at}: {found:?}");
            }
            // Nothing can be added or left out either.
            for other in [
                &bytes[..bytes.len() - 1],
                &bytes[..bytes.len() - 512],
                &[&bytes[..], b"\0"].concat(),
                &[&bytes[..], &[0; 10_240]].concat(),
                &bytes[1024..],
            ] {
                fs::write(&path, other).unwrap();
                let found = judge(&path, &options);
                let is_refused =
                    matches!(found, Some(FailureKind::Damaged | FailureKind::Signature));
                assert!(is_refused, "{} bytes: {found:?}", other.len());
            }
            fs::write(&path, &bytes).unwrap();
        }
    }
}

/// The vector of `docs/formats/signed.md`: what is accepted, and made again byte for byte.
#[test]
fn the_vector_is_what_is_written() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../testdata/signing/signed.tar");
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), OpenMode::ReadOnly).unwrap();
    let options = options(Demand::Signed);
    let opened = open_input(&Input::Path(path.clone()), &store, &options, &NoProgress).unwrap();
    let signer = opened.signer.clone().unwrap();
    assert!(signer.is_trusted);
    assert_eq!(signer.comment, Signing::DEFAULT_COMMENT);
    let copy = folder.path().join("copy.tar");
    let with = SignWith::Key(signing());
    sign_archive(&opened, &with, &Output::Path(copy.clone()), &NoProgress).unwrap();
    assert!(fs::read(copy).unwrap() == fs::read(path).unwrap());
}
