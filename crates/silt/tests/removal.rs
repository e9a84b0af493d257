//! The base of a delta is removed while a load reads it.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use silt::load::{Input, LoadError, LoadOptions, load, open_input, plan_load};
use silt::{Failure, FailureKind, NoProgress, Progress, RemoveOptions, Step, Store};
use tarball::Compression;

use common::content::content;
use common::{Device, FORMATS, Image, layout_archive, tars};

/// Removes and prunes at the beginning of each step of a load.
struct Remover<'a> {
    store: &'a Store,
    steps: AtomicUsize,
}

impl Progress for Remover<'_> {
    fn begin(&self, step: &Step<'_>, _: Option<u64>) {
        if matches!(step, Step::Layer { .. }) {
            let removed = self.store.remove("app:old", RemoveOptions::default());
            assert_eq!(removed.is_ok(), self.steps.fetch_add(1, Ordering::Relaxed) == 0);
            silt::query::prune(self.store).unwrap();
        }
    }

    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

fn layer(seed: u8, edit: u8) -> Vec<u8> {
    let mut bytes = content(seed, 200_000);
    bytes[100_000] ^= edit;
    let mut tar = Vec::new();
    tars::append_file(&mut tar, "file", &bytes);
    tars::end(&mut tar);
    tar
}

fn images() -> [Image; 2] {
    let old = vec![layer(1, 0), layer(2, 0), layer(3, 0)];
    // The first layer is shared, and no base of the others.
    let new = vec![layer(1, 0), layer(2, 7), layer(3, 7)];
    [Image::of_layers(old), Image::of_layers(new)]
}

fn archives() -> [Vec<u8>; 2] {
    let [old, new] = images();
    [
        layout_archive(&old, "app:old", Compression::None),
        layout_archive(&new, "app:new", Compression::None),
    ]
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_base_that_is_removed_while_it_is_read_stays_readable_and_leaks_nothing() {
    let [old, new] = archives();
    for format in FORMATS {
        let builder = Device::holding(&[&old, &new]);
        builder.keep_delta("app:old", "app:new", format, "app:delta");
        let delta = builder.save(&["app:delta"], silt::save::ArchiveFormat::DockerArchive);
        let device = Device::holding(&[&old]);
        let path = device.path("delta.tar");
        std::fs::write(&path, delta).unwrap();
        let options = LoadOptions::default();
        let input = open_input(&Input::Path(path), &device.store, &options, &NoProgress).unwrap();
        let plan = plan_load(&input, &device.store, &options, &NoProgress).unwrap();
        let remover = Remover { store: &device.store, steps: AtomicUsize::new(0) };
        load(&input, &plan, &device.store, &remover).unwrap();
        assert!(remover.steps.load(Ordering::Relaxed) > 0);
        let [old_image, new_image] = images();
        device.assert_lacks(&old_image);
        device.assert_holds(&new_image);

        silt::query::prune(&device.store).unwrap();
        let store = device.path("store");
        assert_eq!(files(&store.join("blocks")).len(), new_image.layers.len());
        // The layers, a config, a manifest, and maybe the record of the one that it came with.
        let stored = device.store.snapshot().unwrap().images[0].clone();
        let documents = 2 + usize::from(stored.original_manifest.is_some());
        assert_eq!(files(&store.join("blobs/sha256")).len(), new_image.layers.len() + documents);
        assert!(files(&store.join("tmp")).is_empty());
    }
}

#[test]
fn a_base_that_is_removed_before_it_is_held_is_told_and_leaves_nothing() {
    let [old, new] = archives();
    for format in FORMATS {
        let builder = Device::holding(&[&old, &new]);
        builder.keep_delta("app:old", "app:new", format, "app:delta");
        let delta = builder.save(&["app:delta"], silt::save::ArchiveFormat::DockerArchive);
        let device = Device::holding(&[&old]);
        let path = device.path("delta.tar");
        std::fs::write(&path, delta).unwrap();
        let options = LoadOptions::default();
        let input = open_input(&Input::Path(path), &device.store, &options, &NoProgress).unwrap();
        let plan = plan_load(&input, &device.store, &options, &NoProgress).unwrap();
        device.store.remove("app:old", RemoveOptions::default()).unwrap();
        let error = load(&input, &plan, &device.store, &NoProgress).unwrap_err();
        assert!(matches!(error, LoadError::LayerGone { .. }), "{error}");
        assert_eq!(error.kind(), FailureKind::Other);
        let store = device.path("store");
        for folder in ["blocks", "blobs/sha256", "tmp"] {
            assert!(files(&store.join(folder)).is_empty(), "{folder}");
        }
    }
}

/// A layer that the delta reads comes later in the target, which shares it with the base: where the base
/// is not here it is missing, and the delta is not at fault.
#[test]
fn a_base_that_is_not_here_is_missing_also_where_its_layer_comes_later() {
    let old = Image::of_layers(vec![layer(1, 0), layer(2, 0)]);
    let new = Image::of_layers(vec![layer(2, 7), layer(2, 0)]);
    let old = layout_archive(&old, "app:old", Compression::None);
    let new = layout_archive(&new, "app:new", Compression::None);
    for format in FORMATS {
        let builder = Device::holding(&[&old, &new]);
        builder.keep_delta("app:old", "app:new", format, "app:delta");
        let delta = builder.save(&["app:delta"], silt::save::ArchiveFormat::DockerArchive);
        let error = Device::new().load(&delta).unwrap_err();
        assert_eq!(error.kind(), FailureKind::BaseMissing, "{error}");
        Device::holding(&[&old]).load(&delta).unwrap();
    }
}
