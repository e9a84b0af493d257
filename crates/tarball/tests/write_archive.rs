//! What is written is read back the same, by this crate and by others.

mod common;

use std::io::Read;
use std::path::Path;
use std::process::Command;

use common::{COMPRESSIONS, ReadImage, compress, golden, has_tool, read_all, run};
use proptest::prelude::*;
use serde_json::Value;
use tarball::write::{ManifestToWrite, OpenBlob, plan_archive};
use tarball::{
    Archive, ArchiveFormat, BlobToWrite, Compression, Digest, ImageConfig, ImageToWrite, Name,
    WriteError, write_archive,
};

const FORMATS: [ArchiveFormat; 2] = [ArchiveFormat::DockerArchive, ArchiveFormat::OciArchive];

fn blob(bytes: &[u8], compression: Compression) -> BlobToWrite<'_> {
    let open: OpenBlob<'_> = Box::new(move || Ok(Box::new(bytes)));
    BlobToWrite { digest: Digest::of(bytes), size: bytes.len() as u64, compression, open }
}

fn image<'a>(
    config: &'a ImageConfig,
    names: &'a [Name],
    layers: &'a [Vec<u8>],
) -> ImageToWrite<'a> {
    let layers = layers.iter().map(|layer| blob(layer, Compression::None));
    ImageToWrite { config, names, layers: layers.collect(), manifest: ManifestToWrite::default() }
}

fn opens<'a>(bytes: Vec<u8>) -> OpenBlob<'a> {
    Box::new(move || Ok(Box::new(std::io::Cursor::new(bytes.clone()))))
}

fn write(format: ArchiveFormat, images: &[ImageToWrite<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let bytes = write_archive(format, images, &mut out).unwrap();
    assert_eq!(bytes, out.len() as u64);
    out
}

fn of_golden(format: ArchiveFormat, read: &[ReadImage]) -> Vec<u8> {
    let images: Vec<_> =
        read.iter().map(|(found, layers)| image(&found.config, &found.names, layers)).collect();
    write(format, &images)
}

fn member_names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn every_golden_image_survives_both_formats() {
    for set in common::GOLDEN {
        for file in ["base.tar", "target.tar", "delta.tar"] {
            let read = read_all(&golden(set, file)).unwrap();
            for format in FORMATS {
                let written = of_golden(format, &read);
                assert_eq!(written, of_golden(format, &read), "the same bytes again");
                let again = read_all(&written).unwrap();
                assert_eq!(again[0].0.config, read[0].0.config);
                assert_eq!(again[0].0.names, read[0].0.names);
                assert_eq!(again[0].1, read[0].1);
                assert!(again[0].0.manifest.is_some());
            }
        }
    }
}

#[test]
fn documents_come_first_and_each_blob_once() {
    let read = read_all(&golden("multi", "base.tar")).unwrap();
    let (first, layers) = &read[0];
    let names: Vec<Name> = vec!["a:1".parse().unwrap(), "b/c:2".parse().unwrap()];
    let images = [image(&first.config, &names, layers), image(&first.config, &[], layers)];
    let written = write(ArchiveFormat::DockerArchive, &images);
    let members = member_names(&written);
    assert_eq!(members[..3], ["oci-layout", "index.json", "manifest.json"]);
    assert_eq!(members.len(), 3 + 2 + layers.len());
    let blob_name = |layer: &Vec<u8>| format!("blobs/sha256/{}", Digest::of(layer).hex());
    let of_layers: Vec<_> = layers.iter().map(blob_name).collect();
    assert_eq!(members[5..], of_layers[..]);
    let again = read_all(&written).unwrap();
    assert_eq!(again.len(), 1, "one image, however often it is listed");
    assert_eq!(again[0].0.names, names);
}

#[test]
fn names_are_annotated_as_engines_expect() {
    let read = read_all(&golden("tiny", "base.tar")).unwrap();
    let (found, layers) = &read[0];
    let names: Vec<Name> = vec!["my-service:old".parse().unwrap()];
    for (format, reference) in
        [(ArchiveFormat::DockerArchive, "old"), (ArchiveFormat::OciArchive, "my-service:old")]
    {
        let written = write(format, &[image(&found.config, &names, layers)]);
        let mut archive = tar::Archive::new(&written[..]);
        let mut index = archive.entries().unwrap().nth(1).unwrap().unwrap();
        let mut text = String::new();
        index.read_to_string(&mut text).unwrap();
        let index: Value = serde_json::from_str(&text).unwrap();
        let notes = &index["manifests"][0]["annotations"];
        assert_eq!(notes["org.opencontainers.image.ref.name"], reference);
        let full = "docker.io/library/my-service:old";
        assert_eq!(notes["io.containerd.image.name"], full);
    }
}

#[test]
fn an_exact_manifest_keeps_its_digest() {
    let read = read_all(&golden("multi", "base.tar")).unwrap();
    let (found, layers) = &read[0];
    let first = write(ArchiveFormat::OciArchive, &[image(&found.config, &[], layers)]);
    let manifest = read_all(&first).unwrap()[0].0.manifest.clone().unwrap();
    // Other bytes, the same meaning.
    let raw = [&b" \n"[..], &manifest.raw[..]].concat();
    let mut exact = image(&found.config, &[], layers);
    exact.manifest = ManifestToWrite::Exact(&raw);
    let again = read_all(&write(ArchiveFormat::DockerArchive, &[exact])).unwrap();
    assert_eq!(again[0].0.manifest.as_ref().unwrap().raw, raw);

    let other = read_all(&golden("multi", "target.tar")).unwrap();
    let mut wrong = image(&other[0].0.config, &[], &other[0].1);
    wrong.manifest = ManifestToWrite::Exact(&raw);
    let error = write_archive(ArchiveFormat::OciArchive, &[wrong], &mut Vec::new());
    assert!(matches!(error, Err(WriteError::WrongManifest { .. })));
}

#[test]
fn compressed_layers_keep_their_bytes() {
    let read = read_all(&golden("multi", "base.tar")).unwrap();
    let (found, layers) = &read[0];
    for compression in COMPRESSIONS {
        let stored: Vec<_> = layers.iter().map(|layer| compress(layer, compression)).collect();
        let to_write = ImageToWrite {
            config: &found.config,
            names: &[],
            layers: stored.iter().map(|layer| blob(layer, compression)).collect(),
            manifest: ManifestToWrite::default(),
        };
        let mut out = Vec::new();
        let result = write_archive(ArchiveFormat::DockerArchive, &[to_write], &mut out);
        if matches!(compression, Compression::Bzip2 | Compression::Xz) {
            assert!(matches!(result, Err(WriteError::LayerCompression { .. })));
            continue;
        }
        let archive = common::open(&out).unwrap();
        let again = &archive.images()[0];
        assert_eq!(&common::read_layers(&archive, again).unwrap(), layers);
        for (layer, stored) in again.layers.iter().zip(&stored) {
            assert_eq!(layer.stored.unwrap().compression, compression);
            let mut bytes = Vec::new();
            archive.open_stored(layer).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(&bytes, stored);
        }
    }
}

#[test]
fn wrong_layers_are_refused_before_or_while_they_are_written() {
    let read = read_all(&golden("multi", "base.tar")).unwrap();
    let (found, layers) = &read[0];
    let spoil = |change: &dyn Fn(&mut ImageToWrite<'_>)| {
        let mut to_write = image(&found.config, &[], layers);
        change(&mut to_write);
        write_archive(ArchiveFormat::OciArchive, &[to_write], &mut Vec::new()).unwrap_err()
    };
    let mut flipped = layers[1].clone();
    flipped[700] ^= 1;
    let longer = [&layers[1][..], b"x"].concat();
    let shorter = layers[1][1..].to_vec();
    assert!(matches!(
        spoil(&|image| image.layers[1].open = opens(flipped.clone())),
        WriteError::LayerDigest { .. }
    ));
    for wrong in [longer, shorter] {
        assert!(matches!(
            spoil(&|image| image.layers[1].open = opens(wrong.clone())),
            WriteError::LayerSize { .. }
        ));
    }
    assert!(matches!(spoil(&|image| image.layers.swap(0, 1)), WriteError::WrongLayer { .. }));
    assert!(matches!(
        spoil(&|image| drop(image.layers.pop())),
        WriteError::LayerCount { layers: 1, diff_ids: 2, .. }
    ));
}

#[test]
fn the_plan_knows_the_size_of_what_is_too_large_to_try() {
    let layer = common::layer("x");
    let config = ImageConfig::parse(common::config(&[&layer], "linux/amd64")).unwrap();
    let size = |size: u64| {
        let mut huge = image(&config, &[], std::slice::from_ref(&layer));
        huge.layers[0].size = size;
        plan_archive(ArchiveFormat::OciArchive, &[huge]).unwrap().bytes
    };
    // One digit more in the manifest stays within its block.
    assert_eq!(size(9 << 33) - size(8 << 33), 1 << 33);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_layers_come_back(layers in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..2000), 0..6)) {
        let views: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let config = ImageConfig::parse(common::config(&views, "linux/amd64")).unwrap();
        for format in FORMATS {
            let written = write(format, &[image(&config, &[], &layers)]);
            let again = read_all(&written).unwrap();
            prop_assert_eq!(&again[0].1, &layers);
        }
    }
}

#[test]
fn skopeo_and_umoci_read_what_is_written() {
    if !has_tool("skopeo") || !has_tool("umoci") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    for file in ["base.tar", "target.tar", "delta.tar"] {
        let read = read_all(&golden("multi", file)).unwrap();
        for (format, transport) in [
            (ArchiveFormat::DockerArchive, "docker-archive"),
            (ArchiveFormat::OciArchive, "oci-archive"),
        ] {
            std::fs::write(at("image.tar"), of_golden(format, &read)).unwrap();
            let source = format!("{transport}:{}", at("image.tar"));
            run(Command::new("skopeo").args(["inspect", &source]));
            let config =
                run(Command::new("skopeo").args(["inspect", "--config", "--raw", &source]));
            assert_eq!(config.as_bytes(), read[0].0.config.raw);
            let layout = at(&format!("{file}.{transport}"));
            let target = format!("oci:{layout}:copy");
            run(Command::new("skopeo").args(["copy", "-q", &source, &target]));
            let copied = open_directory(&layout);
            assert_eq!(copied.images()[0].config.diff_ids, read[0].0.config.diff_ids);
            let stat = ["stat", "--json", "--image", &format!("{layout}:copy")].map(str::to_owned);
            run(Command::new("umoci").args(stat));
        }
    }
}

fn open_directory(path: &str) -> Archive {
    let (choice, limits) = Default::default();
    Archive::open_directory(Path::new(path), &choice, &limits).unwrap()
}

/// An opaque layer may begin with anything: its digest, not its first bytes, says what it is.
#[test]
fn a_layer_that_begins_like_a_compressed_one_is_itself() {
    for compression in COMPRESSIONS {
        let layer = compress(b"not the layer, but what the layer holds", compression);
        let raw = common::config(&[&layer], "linux/amd64");
        let config = ImageConfig::parse(raw).unwrap();
        let layers = [layer.clone()];
        for format in FORMATS {
            let written = write(format, &[image(&config, &[], &layers)]);
            let again = read_all(&written).unwrap();
            assert_eq!(again[0].1, layers, "{compression}");
        }
    }
}
