//! Two deltas merged: what comes out is what a delta from the first image to the last makes.

mod common;

use proptest::prelude::*;
use silt::create::{DeltaOptions, MergeError, MergedDelta, merge_deltas};
use silt::delta_image::DeltaFormat;
use silt::place::SourceImage;
use silt::save::ArchiveFormat;
use silt::{Failure, FailureKind, NoProgress};

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
