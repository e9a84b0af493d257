//! Vectors of formats that span more than one stream: what deltas share (`docs/formats/silt-1.md`, "Shared
//! literals") and the list of parts (`docs/formats/parts.md`).

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use delta::native::{LayerDecoder, Limits};
use serde_json::Value;
use silt::create::{DeltaOptions, From, create_deltas};
use silt::place::SourceImage;
use silt::save::{Output, SaveOptions, save_deltas};
use silt::{Digest, NoProgress, PlatformChoice};
use tarball::{Archive, ReadLimits};

use common::content::content;
use common::{Device, Image, legacy_archive, tars};

const PART_BYTES: u64 = 3000;
const TAGS: [&str; 3] = ["vector:a", "vector:b", "vector:c"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors").join(name)
}

/// Two images that devices have, and the one that they get, of which the half is new to both.
fn images() -> [Image; 3] {
    [(1, 3), (2, 4), (1, 5)].map(|(old, new)| {
        let mut tar = Vec::new();
        tars::append_file(&mut tar, "srv/old", &content(old, 3000));
        tars::append_file(&mut tar, "srv/new", &content(new, 3000));
        tars::end(&mut tar);
        Image::of_layers(vec![tar])
    })
}

#[test]
fn what_deltas_share_is_read() {
    let [a, b, target] = images();
    for (base, tag) in [(&a, TAGS[0]), (&b, TAGS[1])] {
        let device = Device::holding(&[&legacy_archive(base, tag)]);
        device.load_path(&folder("shared").join("update.tar")).unwrap();
        device.assert_holds(&target);
    }
    let without = Device::new();
    assert!(without.load_path(&folder("shared").join("update.tar")).is_err());
}

#[test]
fn shared_bytes_are_made_out_of_nothing_and_have_their_digest() {
    let path = folder("shared").join("update.tar");
    let file = fs::File::open(&path).unwrap();
    let choice = PlatformChoice::Host;
    let archive = Archive::open_file(file, &path, &choice, &ReadLimits::default()).unwrap();
    assert_eq!(archive.images().len(), 2);
    let mut layers = HashSet::new();
    for image in archive.images() {
        let shared: Vec<Digest> =
            serde_json::from_str(&image.config.labels["io.silt.delta.shared"]).unwrap();
        assert_eq!((shared.len(), image.layers.len()), (1, 2));
        let layer = &image.layers[1];
        layers.insert(layer.diff_id);
        let mut tar = Vec::new();
        std::io::copy(&mut archive.open_layer(layer).unwrap(), &mut tar).unwrap();
        assert_eq!(&tar[..11], b"delta.silt\0");
        let size = u64::from_str_radix(str::from_utf8(&tar[124..135]).unwrap(), 8).unwrap();
        let stream = &tar[512..512 + usize::try_from(size).unwrap()];
        let limits = Limits { memory_bytes: 6 << 20, output_bytes: 1 << 20 };
        let mut decoder = LayerDecoder::new(stream, &limits).unwrap();
        assert!(decoder.needs().origins.is_empty());
        let mut made = Vec::new();
        while decoder.next_frame(&[], &mut made).unwrap().is_some() {}
        assert_eq!(Digest::of(&made), shared[0]);
        assert_eq!(made, content(5, 3000));
    }
    // The same blob, which is there once.
    assert_eq!(layers.len(), 1);
}

#[test]
fn the_list_of_parts_is_that_of_the_parts() {
    let folder = folder("parts");
    let list = fs::read(folder.join("update.tar-parts.json")).unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let mut whole = Vec::new();
    for (number, part) in list["parts"].as_array().unwrap().iter().enumerate() {
        let name = format!("update.tar.{number:03}");
        assert_eq!(part["file"], name);
        let bytes = fs::read(folder.join(name)).unwrap();
        assert_eq!(part["bytes"], bytes.len());
        assert_eq!(part["digest"], Digest::of(&bytes).to_string());
        whole.extend(bytes);
    }
    assert_eq!((&list["version"], &list["bytes"]), (&1.into(), &whole.len().into()));
    assert!(list["parts"].as_array().unwrap().len() > 1);
    assert!(whole == fs::read(self::folder("shared").join("update.tar")).unwrap());
    let [a, _, target] = images();
    let device = Device::holding(&[&legacy_archive(&a, TAGS[0])]);
    device.load_path(&folder.join("update.tar.000")).unwrap();
    device.assert_holds(&target);
}

/// Writes the vectors anew: only for a new version of the formats.
#[test]
#[ignore = "writes testdata"]
fn write_the_vectors() {
    let device = Device::new();
    for (image, tag) in images().iter().zip(TAGS) {
        device.load(&legacy_archive(image, tag)).unwrap();
    }
    let open = |tag: &str| SourceImage::of_store(&device.store, tag).unwrap();
    let from = TAGS[..2].iter().map(|tag| From::Image(Box::new(open(tag)))).collect();
    let options = DeltaOptions::default();
    let target = open(TAGS[2]);
    let store = &device.store;
    let deltas = create_deltas(from, &target, false, store, &options, &NoProgress).unwrap();
    let (whole, parts) = (folder("shared"), folder("parts"));
    fs::create_dir_all(&whole).unwrap();
    fs::create_dir_all(&parts).unwrap();
    let options = SaveOptions::default();
    let in_parts = Output::Parts { path: parts.join("update.tar"), part_bytes: PART_BYTES };
    for output in [Output::Path(whole.join("update.tar")), in_parts] {
        save_deltas(store, &deltas, &options, &output, &NoProgress).unwrap();
    }
}
