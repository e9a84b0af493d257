//! Two deltas merged: what comes out is what a delta from the first image to the last makes.

mod common;

use std::io::Write;

use proptest::prelude::*;
use silt::create::{DeltaOptions, From, MergeError, MergedDelta, create_deltas, merge_deltas};
use silt::delta_image::DeltaFormat;
use silt::place::SourceImage;
use silt::save::ArchiveFormat;
use silt::{Failure, FailureKind, NoProgress};

use common::content::noise;
use common::random::pair;
use common::{Device, FORMATS, Image, legacy_archive, tars};

const TAGS: [&str; 3] = ["app:a", "app:b", "app:c"];
const DELTAS: [&str; 2] = ["delta:a-b", "delta:b-c"];

fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if default.cases == 256 { 48 } else { default.cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// A device with three images, and the two deltas between them.
fn maker(images: &[Image; 3], format: DeltaFormat) -> Device {
    let device = Device::new();
    for (image, tag) in images.iter().zip(TAGS) {
        device.load(&legacy_archive(image, tag)).unwrap();
    }
    device.keep_delta(TAGS[0], TAGS[1], format, DELTAS[0]);
    device.keep_delta(TAGS[1], TAGS[2], format, DELTAS[1]);
    device
}

fn merge_on(device: &Device, bases: &[&str]) -> Result<MergedDelta, MergeError> {
    let open = |reference: &&str| SourceImage::of_store(&device.store, reference).unwrap();
    let bases = bases.iter().map(open).collect();
    let [first, second] = DELTAS.each_ref().map(open);
    merge_deltas(first, second, bases, &device.store, &DeltaOptions::default(), &NoProgress)
}

fn bytes_of(device: &Device, merged: &MergedDelta) -> Vec<u8> {
    device.save_delta(&merged.delta, "delta:a-c")
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_merged_delta_makes_the_last_image_of_the_first(pair in pair()) {
        let images = pair.three_images();
        for format in FORMATS {
            let device = maker(&images, format);
            let merged = merge_on(&device, &[]).unwrap();
            prop_assert_eq!(merged.delta.report().target, images[2].id());
            let archive = bytes_of(&device, &merged);
            let target = Device::holding(&[&legacy_archive(&images[0], TAGS[0])]);
            target.load(&archive).unwrap();
            target.assert_holds(&images[2]);

            // With the deltas alone it is the same, or says what it needs.
            let poor = Device::new();
            let deltas = device.save(&DELTAS, ArchiveFormat::DockerArchive);
            copy_deltas(&device, &poor);
            match merge_on(&poor, &[]) {
                Ok(again) => prop_assert!(bytes_of(&poor, &again) == archive),
                Err(error) => prop_assert_eq!(error.kind(), FailureKind::BaseMissing, "{}", error),
            }
            // So it is with a base that is named, and a second time.
            let named = merge_on(&device, &[TAGS[0]]).unwrap();
            prop_assert!(bytes_of(&device, &named) == archive);
            prop_assert!(!deltas.is_empty());
        }
    }
}

/// Puts the deltas into another store as they are.
fn copy_deltas(from: &Device, to: &Device) {
    for delta in DELTAS {
        let image = SourceImage::of_store(&from.store, delta).unwrap();
        let names = [common::name(delta)];
        silt::load::copy(image, &names, &to.store, &Default::default(), &NoProgress).unwrap();
    }
}

fn images(texts: [&str; 3]) -> [Image; 3] {
    texts.map(|text| Image::of_layers(vec![tars::one_file(text)]))
}

#[test]
fn deltas_that_do_not_follow_one_another_are_refused() {
    let images = images(["one", "two", "three"]);
    let device = maker(&images, DeltaFormat::Silt);
    let open = |reference: &str| SourceImage::of_store(&device.store, reference).unwrap();
    let merge = |first: &str, second: &str| {
        let options = DeltaOptions::default();
        merge_deltas(open(first), open(second), vec![], &device.store, &options, &NoProgress)
    };
    let error = merge(DELTAS[1], DELTAS[0]).err().unwrap();
    assert!(matches!(error, MergeError::NotNeighbours { .. }), "{error}");
    let error = merge(TAGS[0], DELTAS[0]).err().unwrap();
    assert!(matches!(error, MergeError::NotADelta { .. }), "{error}");
    device.keep_delta(TAGS[1], TAGS[2], DeltaFormat::Balena, "delta:balena");
    let error = merge(DELTAS[0], "delta:balena").err().unwrap();
    assert!(matches!(error, MergeError::Formats { .. }), "{error}");
    assert_eq!(error.kind(), FailureKind::Usage);
}

fn testdata(path: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
    std::fs::read(format!("{folder}/{path}")).unwrap()
}

/// Merges the two deltas between images of one layer that has these two files.
fn merged_files(versions: [(&str, &[u8]); 3]) -> MergedDelta {
    let images = versions.map(|(text, file)| {
        let mut tar = Vec::new();
        tars::append_file(&mut tar, "etc/text", text.as_bytes());
        tars::append_file(&mut tar, "usr/bin/file", file);
        tars::end(&mut tar);
        Image::of_layers(vec![tar])
    });
    let device = maker(&images, DeltaFormat::Silt);
    let merged = merge_on(&device, &[]).unwrap();
    let target = Device::holding(&[&legacy_archive(&images[0], TAGS[0])]);
    target.load(&bytes_of(&device, &merged)).unwrap();
    target.assert_holds(&images[2]);
    merged
}

#[test]
fn executables_that_changed_once_are_taken_over_and_others_matched_anew() {
    let (old, new) = (testdata("executables/x86_64.old"), testdata("executables/x86_64.new"));
    let mut newer = new.clone();
    newer[9000..9004].copy_from_slice(b"abcd");
    for (files, carried, rematched) in [
        ([&old, &new, &new], 1, 0),
        ([&old, &old, &new], 1, 0),
        ([&old, &new, &newer], 0, 1),
        ([&old, &old, &old], 0, 0),
    ] {
        let texts = ["some text", "other text", "more text"];
        let [a, b, c] = [0, 1, 2].map(|i| (texts[i], files[i].as_slice()));
        let counts = merged_files([a, b, c]).counts;
        assert_eq!((counts.carried_regions, counts.rematched_files), (carried, rematched));
        assert_eq!(counts.composed_layers, 1);
        // Nothing of the executable is carried as it is.
        assert!(counts.literal_bytes < 4000, "{counts:?}");
    }
}

/// A gzip file of some lines, of which one is `changed`.
fn zipped(changed: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for line in 0..4000 {
        let text = if line == 2000 { changed.to_owned() } else { format!("line {}", line * 7919) };
        writeln!(encoder, "{text}").unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn so_are_compressed_members() {
    let [one, two, three] = ["first", "another", "the last of all"].map(zipped);
    for (files, carried, rematched) in
        [([&one, &two, &two], 1, 0), ([&one, &one, &two], 1, 0), ([&one, &two, &three], 0, 1)]
    {
        let texts = ["some text", "other text", "more text"];
        let [a, b, c] = [0, 1, 2].map(|i| (texts[i], files[i].as_slice()));
        let counts = merged_files([a, b, c]).counts;
        assert_eq!((counts.carried_regions, counts.rematched_files), (carried, rematched));
        assert!(counts.literal_bytes < 1000, "{counts:?}");
    }
}

#[test]
fn a_way_back_is_a_delta_too() {
    let texts = ["one", "two"].map(|text| text.repeat(300));
    let [a, b] = texts.each_ref().map(|text| Image::of_layers(vec![tars::one_file(text)]));
    for format in FORMATS {
        let device = maker(&[a.clone(), b.clone(), a.clone()], format);
        let merged = merge_on(&device, &[]).unwrap();
        let target = Device::holding(&[&legacy_archive(&a, TAGS[0])]);
        target.load(&bytes_of(&device, &merged)).unwrap();
        target.assert_holds(&a);
    }
}

#[test]
fn a_layer_that_comes_back_is_missed_with_its_base() {
    let lines =
        |word: &str| (0..3000).map(|i| format!("{word} {}\n", i * 7919)).collect::<String>();
    let (old, new) = (lines("old"), lines("new"));
    let [a, b, c] = [old.clone(), old + &new, new + "more"].map(|text| tars::one_file(&text));
    // The second delta makes the base's layer again out of what the first makes of it.
    let images = [vec![a.clone()], vec![b], vec![a, c]].map(Image::of_layers);
    let device = maker(&images, DeltaFormat::Silt);
    let merged = merge_on(&device, &[]).unwrap();
    assert_eq!(merged.counts.composed_layers, 1);

    let poor = Device::new();
    copy_deltas(&device, &poor);
    let error = merge_on(&poor, &[]).err().unwrap();
    assert!(matches!(error, MergeError::NoBase { .. }), "{error}");
    assert_eq!(error.kind(), FailureKind::BaseMissing);
}

#[test]
fn what_layers_do_not_read_of_each_other_needs_no_base() {
    let layer = |text: &str| tars::one_file(&text.repeat(200));
    let image = |texts: [&str; 2]| Image::of_layers(texts.map(layer).to_vec());
    let images = [image(["a", "one"]), image(["b", "one"]), image(["b", "two"])];
    let device = maker(&images, DeltaFormat::Silt);
    let poor = Device::new();
    copy_deltas(&device, &poor);
    let merged = merge_on(&poor, &[]).unwrap();
    assert_eq!((merged.counts.carried_layers, merged.counts.composed_layers), (2, 0));
    let target = Device::holding(&[&legacy_archive(&images[0], TAGS[0])]);
    target.load(&bytes_of(&poor, &merged)).unwrap();
    target.assert_holds(&images[2]);
}

/// Deltas that share bytes with others can be merged: what is shared is then their own.
#[test]
fn what_is_shared_with_other_deltas_is_carried() {
    let texts = ["one ", "two ", "three ", "other "].map(|text| text.repeat(500));
    let images = texts.each_ref().map(|text| Image::of_layers(vec![tars::one_file(text)]));
    let [a, b, c, other] = &images;
    let device = maker(&[a.clone(), b.clone(), c.clone()], DeltaFormat::Silt);
    device.load(&legacy_archive(other, "app:other")).unwrap();
    let open = |reference: &str| SourceImage::of_store(&device.store, reference).unwrap();
    let from = [TAGS[1], "app:other"].map(|tag| From::Image(Box::new(open(tag)))).into();
    let options = DeltaOptions::default();
    let target = open(TAGS[2]);
    let deltas = create_deltas(from, &target, false, &device.store, &options, &NoProgress);
    let delta = deltas.unwrap().swap_remove(0);
    assert_eq!(delta.shared_layers().len(), 1);
    let second = delta.keep(&device.store, &[], &NoProgress).unwrap();
    let (first, second) = (open(DELTAS[0]), open(&second.to_string()));
    let merged = merge_deltas(first, second, vec![], &device.store, &options, &NoProgress).unwrap();
    assert_eq!(merged.delta.shared_layers().len(), 0);
    let target = Device::holding(&[&legacy_archive(a, TAGS[0])]);
    target.load(&bytes_of(&device, &merged)).unwrap();
    target.assert_holds(c);
}

/// Layers that read themselves, in the first delta, the second, and both.
#[test]
fn layers_of_which_files_are_like_one_another_come_back() {
    let image = |now: &[u8], before: &[u8]| {
        let mut twin = now.to_vec();
        (0..twin.len()).step_by(9_000).for_each(|at| twin[at] ^= 0x55);
        let mut tar = Vec::new();
        tars::append_file(&mut tar, "bin/one", &[&now[..60_000], before].concat());
        tars::append_file(&mut tar, "bin/two", &[&twin[..60_000], before].concat());
        tars::end(&mut tar);
        Image::of_layers(vec![tar])
    };
    let [a, b, c, d] = [1, 2, 3, 4].map(|seed| noise(seed, 120_000));
    let images = [image(&a, &d), image(&b, &d), image(&c, &d)];
    let half = [images[0].clone(), images[1].clone(), images[0].clone()];
    for images in [images, half] {
        let device = maker(&images, DeltaFormat::Silt);
        for bases in [&[][..], &[TAGS[0]]] {
            let merged = merge_on(&device, bases).unwrap();
            let archive = bytes_of(&device, &merged);
            let direct = device.delta(TAGS[0], TAGS[2], &DeltaOptions::default());
            assert!(archive.len() < bytes_of_direct(&device, &direct) + 5_000, "{}", archive.len());
            let target = Device::holding(&[&legacy_archive(&images[0], TAGS[0])]);
            target.load(&archive).unwrap();
            target.assert_holds(&images[2]);
        }
    }
}

fn bytes_of_direct(device: &Device, delta: &silt::create::CreatedDelta) -> usize {
    device.save_delta(delta, "delta:direct").len()
}
