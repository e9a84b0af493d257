//! Layers of which a file is made out of another one of the same layer.

mod common;

use std::fs;

use silt::delta_image::DeltaFormat;
use silt::load::{Action, Input, LoadOptions, load, open_input, plan_load};
use silt::save::ArchiveFormat;
use silt::{Failure, NoProgress};
use tarball::{Compression, Digest};

use common::content::noise;
use common::{Device, Image, layout_archive, tars};

/// The new image has two files that are nearly one; what was by their names before is less like them.
fn images() -> [Image; 2] {
    let (before, now) = (noise(1, 200_000), noise(2, 200_000));
    let old = [&now[..90_000], &before[90_000..]].concat();
    let mut twin = now.clone();
    (0..twin.len()).step_by(9_000).for_each(|at| twin[at] ^= 0x55);
    let layer = |one: &[u8], two: &[u8]| {
        let mut tar = Vec::new();
        tars::append_file(&mut tar, "bin/one", one);
        tars::append_file(&mut tar, "bin/two", two);
        tars::end(&mut tar);
        Image::of_layers(vec![tar])
    };
    [layer(&old, &old), layer(&now, &twin)]
}

/// The saved delta, and the images.
fn delta() -> (Vec<u8>, [Image; 2]) {
    let images = images();
    let archive = |i: usize, tag| layout_archive(&images[i], tag, Compression::None);
    let builder = Device::holding(&[&archive(0, "old:1"), &archive(1, "new:1")]);
    builder.keep_delta("old:1", "new:1", DeltaFormat::Silt, "delta:1");
    (builder.save(&["delta:1"], ArchiveFormat::DockerArchive), images)
}

#[test]
fn a_twin_costs_little_and_comes_back() {
    let (delta, images) = delta();
    // One of the two alone takes 110,000 bytes that no other file has.
    assert!(delta.len() < 130_000, "{}", delta.len());
    let device = Device::holding(&[&layout_archive(&images[0], "old:1", Compression::None)]);
    device.load(&delta).unwrap();
    device.assert_holds(&images[1]);
}

#[test]
fn an_interrupted_load_goes_on_and_reads_what_was_left() {
    let (delta, images) = delta();
    for cut in [3, 2] {
        let device = Device::holding(&[&layout_archive(&images[0], "old:1", Compression::None)]);
        // What an earlier load has left of the layer, with a byte that is wrong.
        let layer = &images[1].layers[0];
        let mut left = layer[..layer.len() * (cut - 1) / cut].to_vec();
        left[70_000] ^= 1;
        let name = format!("{}.layer.left", Digest::of(layer).hex());
        fs::write(device.store.root().join("tmp").join(name), left).unwrap();
        let report = device.load(&delta).unwrap();
        assert!(report.resumed_bytes > 0);
        device.assert_holds(&images[1]);
    }
}

#[test]
fn a_damaged_layer_is_written_anew_and_not_read() {
    let (delta, images) = delta();
    let archives = [0, 1].map(|i| layout_archive(&images[i], "app:1", Compression::None));
    let device = Device::holding(&[&archives[0], &archives[1]]);
    let layer = &images[1].layers[0];
    let path = device.store.root().join("blobs/sha256").join(Digest::of(layer).hex());
    let mut bytes = fs::read(&path).unwrap();
    // What the second file is made of.
    bytes[10_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let input = device.path("delta.tar");
    fs::write(&input, delta).unwrap();
    let options = LoadOptions { repair: true, ..LoadOptions::default() };
    let input = open_input(&Input::Path(input), &device.store, &options, &NoProgress).unwrap();
    let plan = plan_load(&input, &device.store, &options, &NoProgress).unwrap();
    let action = &plan.images[0].layers[0].action;
    assert!(matches!(action, Action::Repair(silt::load::Repair::Whole { .. })), "{action:?}");
    load(&input, &plan, &device.store, &NoProgress).unwrap();
    device.assert_holds(&images[1]);
}

#[test]
fn without_the_base_it_is_the_base_that_is_missing() {
    let (delta, images) = delta();
    let error = Device::new().load(&delta).unwrap_err();
    assert_eq!(error.kind(), silt::FailureKind::BaseMissing, "{error}");
    let [base, target] = [0, 1].map(|i| images[i].diff_ids()[0].to_string());
    assert!(error.to_string().contains(&base) && !error.to_string().contains(&target), "{error}");
}
