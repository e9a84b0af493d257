//! Deltas that others made: balenaEngine's delta images, and the vectors of `docs/formats`.

mod librsync_support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use delta::librsync::{
    Command, DeltaError, DeltaReader, Signature, SignatureError, SignatureHeader, StrongSumKind,
    WeakSumKind, delta_from_signature, write_signature,
};
use librsync_support::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn balena_engines_deltas_give_the_targets() {
    for name in ["gnu", "multi", "tiny"] {
        let folder = testdata().join("golden").join(name);
        let golden = json(&folder.join("manifest.json"));
        let basis = base_layers(&folder.join("base.tar")).concat();
        assert_eq!(digest(&basis), golden["base_concat_sha256"], "{name}");
        let archive = Archive::read(&folder.join("delta.tar"));
        let mut applied = 0;
        for layer in layers_of(&golden) {
            // The layers that both images have say nothing of a delta.
            if layer["ops"].is_u64() {
                check_delta(&archive, layer, &basis);
                applied += 1;
            }
        }
        assert!(applied > 0, "{name}");
    }
}

fn layers_of(golden: &Value) -> &Vec<Value> {
    golden["delta"]["layers"].as_array().unwrap()
}

fn check_delta(archive: &Archive, layer: &Value, basis: &[u8]) {
    let tar = archive.file(layer["layer_in_delta_tar"].as_str().unwrap());
    let delta = member(tar, "delta");
    assert_eq!(delta.len() as u64, layer["delta_bytes"]);
    let (target, report) = apply_to_vec(&delta, basis).unwrap();
    // The manifest counts END as an operation.
    assert_eq!(report.commands() + 1, layer["ops"]);
    assert_eq!(report.literal_commands, layer["lit_ops"]);
    assert_eq!(report.copy_commands, layer["copy_ops"]);
    assert_eq!(report.literal_bytes, layer["lit_bytes"]);
    assert_eq!(report.copied_bytes, layer["copy_bytes"]);
    assert_eq!(digest(&target), layer["target_diff_id"]);
}

#[test]
fn vectors_decode_as_they_say() {
    let vectors = json(&testdata().join("vectors/librsync/decode.json"));
    for vector in vectors.as_array().unwrap() {
        let delta = from_hex(vector["delta"].as_str().unwrap());
        let decoded = decode(&delta);
        match vector["commands"].as_array() {
            Some(expected) => {
                let expected = expected.iter().map(command).collect::<Vec<_>>();
                assert_eq!(decoded.unwrap(), expected, "{vector}");
            }
            None => assert_eq!(error_name(&decoded.unwrap_err()), vector["error"], "{vector}"),
        }
    }
}

fn decode(delta: &[u8]) -> Result<Vec<Command>, DeltaError> {
    let mut reader = DeltaReader::new(delta)?;
    let mut commands = Vec::new();
    while let Some(command) = reader.next_command()? {
        commands.push(command);
    }
    Ok(commands)
}

fn command(value: &Value) -> Command {
    match value["literal"].as_u64() {
        Some(length) => Command::Literal { length },
        None => Command::Copy {
            offset: value["copy"][0].as_u64().unwrap(),
            length: value["copy"][1].as_u64().unwrap(),
        },
    }
}

fn error_name(error: &DeltaError) -> &'static str {
    match error {
        DeltaError::Io { .. } => "io",
        DeltaError::BadMagic { .. } => "bad magic",
        DeltaError::UnknownCommand { .. } => "unknown command",
        DeltaError::ZeroLength { .. } => "zero length",
        DeltaError::RangeOverflow { .. } => "range overflow",
        DeltaError::Truncated { .. } => "truncated",
        DeltaError::MissingEnd { .. } => "missing end",
        DeltaError::TrailingBytes { .. } => "trailing bytes",
    }
}

#[test]
fn signature_vectors_are_made_and_used() {
    let folder = testdata().join("vectors/librsync");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let (basis, target) = (read("basis"), read("target"));
    let vectors = [
        ("rollsum-blake2.signature", WeakSumKind::Rollsum, 512, 32),
        ("rabinkarp-blake2.signature", WeakSumKind::RabinKarp, 512, 32),
        ("rollsum-blake2-short.signature", WeakSumKind::Rollsum, 37, 8),
    ];
    for (name, weak, block, strong) in vectors {
        let bytes = read(name);
        let mut made = Vec::new();
        let header = blake2_header(weak, block, strong);
        write_signature(basis.as_slice(), header, &mut made).unwrap();
        assert!(made == bytes, "{name}");
        let signature = Signature::read(bytes.as_slice(), &SIGNATURE_LIMITS).unwrap();
        assert_eq!(signature.header(), header);
        let mut delta = Vec::new();
        let report = delta_from_signature(&signature, target.as_slice(), &mut delta).unwrap();
        assert!(report.copied_bytes > 2000, "{name}");
        assert!(apply_to_vec(&delta, &basis).unwrap().0 == target, "{name}");
    }
    assert!(apply_to_vec(&read("rdiff.delta"), &basis).unwrap().0 == target);
}

#[test]
fn md4_signatures_are_known_and_refused() {
    for (name, weak) in [
        ("rollsum-md4.signature", WeakSumKind::Rollsum),
        ("rabinkarp-md4.signature", WeakSumKind::RabinKarp),
    ] {
        let bytes = fs::read(testdata().join("vectors/librsync").join(name)).unwrap();
        let header = SignatureHeader::read(bytes.as_slice()).unwrap();
        assert_eq!((header.weak, header.strong), (weak, StrongSumKind::Md4));
        let error = Signature::read(bytes.as_slice(), &SIGNATURE_LIMITS).unwrap_err();
        let kind = StrongSumKind::Md4;
        assert!(matches!(error, SignatureError::UnsupportedStrongSum { kind: k } if k == kind));
    }
}

/// The files of a tar, and where its symbolic links point.
struct Archive {
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
}

impl Archive {
    fn read(path: &Path) -> Self {
        let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
        let mut tar = tar::Archive::new(fs::File::open(path).unwrap());
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            if let Some(link) = entry.link_name().unwrap() {
                // Always to another layer's folder beside this one.
                let link = link.to_str().unwrap().trim_start_matches("../").to_owned();
                links.insert(name, link);
            } else {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                files.insert(name, bytes);
            }
        }
        Self { files, links }
    }

    fn file(&self, name: &str) -> &[u8] {
        let name = self.links.get(name).map_or(name, String::as_str);
        &self.files[name]
    }
}

fn base_layers(archive: &Path) -> Vec<Vec<u8>> {
    let archive = Archive::read(archive);
    let manifest: Value = serde_json::from_slice(archive.file("manifest.json")).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap().iter();
    layers.map(|name| archive.file(name.as_str().unwrap()).to_vec()).collect()
}

fn member(tar: &[u8], name: &str) -> Vec<u8> {
    let mut tar = tar::Archive::new(tar);
    let mut entries = tar.entries().unwrap().map(Result::unwrap);
    let mut entry = entries.find(|entry| entry.path().unwrap() == Path::new(name)).unwrap();
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).unwrap();
    bytes
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
