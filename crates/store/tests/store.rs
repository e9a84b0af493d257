//! The store as its callers see it.
#![allow(clippy::print_stderr)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use common::*;
use store::*;
use tarball::{DiffId, Digest};

#[test]
fn a_loaded_image_is_there_after_opening_again() {
    let root = tempfile::tempdir().unwrap();
    let layers = [layer_bytes(1, 200_000), layer_bytes(2, 10), layer_bytes(1, 200_000)];
    let store = create(root.path());
    let mut transaction = store.begin().unwrap();
    layers.iter().for_each(|layer| write_layer(&mut transaction, layer));
    let image = NewImage {
        original_manifest: Some(b"{\"any\": 1}".to_vec()),
        artifact_type: Some("application/x".into()),
        annotations: [("k".to_owned(), "v".to_owned())].into(),
        ..new_image(&layers, &["my-service:old", "also"])
    };
    transaction.commit(vec![image]).unwrap();

    let store = Store::open(root.path(), OpenMode::ReadOnly).unwrap();
    let snapshot = store.snapshot().unwrap();
    let image = snapshot.resolve("my-service:old").unwrap();
    assert_eq!(image.id, image_id(&layers));
    assert_eq!(image.names, [name("also"), name("my-service:old")]);
    assert_eq!(store.read_config(image.id).unwrap(), config(&layers));
    let original = image.original_manifest.unwrap();
    assert_eq!(store.read_manifest(original).unwrap(), b"{\"any\": 1}");
    assert_eq!(image.annotations.len(), 1);
    for (stored, bytes) in image.layers.iter().zip(&layers) {
        let mut found = Vec::new();
        let mut file = store.layer(stored.diff_id).unwrap().unwrap();
        file.file.read_to_end(&mut found).unwrap();
        assert_eq!((found.len() as u64, &found), (stored.size_bytes, bytes));
    }
    assert_eq!(store.layers().unwrap().len(), 2);
    assert_whole(&store);
    assert!(tree(&root.path().join("tmp")).is_empty());
}

#[test]
fn reading_where_there_is_no_store_makes_none() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("silt");
    let store = Store::open(&root, OpenMode::ReadOnly).unwrap();
    assert!(store.snapshot().unwrap().images.is_empty());
    assert!(store.layers().unwrap().is_empty());
    assert_eq!(store.disk_usage().unwrap().layers, FilesUsage::default());
    assert!(store.plan_prune(&PruneOptions::default()).unwrap().images.is_empty());
    let missing = Store::open(&root, OpenMode::ReadWrite);
    assert!(matches!(missing, Err(OpenError::Missing { .. })));
    assert!(!root.exists());
    assert!(matches!(store.begin(), Err(LayerError::ReadOnly { .. })));
}

#[test]
fn directories_of_others_and_newer_stores_are_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis.tex"), "x").unwrap();
    for mode in [OpenMode::Create, OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let refused = Store::open(root.path(), mode);
        assert!(matches!(refused, Err(OpenError::NotAStore { .. })), "{refused:?}");
    }
    assert_eq!(tree(root.path()).len(), 1);

    let root = tempfile::tempdir().unwrap();
    create(root.path());
    fs::write(root.path().join("silt.json"), r#"{"storeVersion":2,"more":[]}"#).unwrap();
    let refused = Store::open(root.path(), OpenMode::ReadOnly);
    assert!(matches!(refused, Err(OpenError::NewerVersion { found: 2, .. })));
    fs::write(root.path().join("silt.json"), "{").unwrap();
    let refused = Store::open(root.path(), OpenMode::ReadOnly);
    assert!(matches!(refused, Err(OpenError::DamagedVersion { .. })));
}

#[test]
fn a_store_whose_making_was_cut_short_is_made_again() {
    for present in 0..=5 {
        let root = tempfile::tempdir().unwrap();
        create(root.path());
        let files = ["silt.json", "index.json", "oci-layout", "lock"];
        for file in files.iter().take(present) {
            fs::remove_file(root.path().join(file)).unwrap();
        }
        if present == 5 {
            fs::remove_dir_all(root.path().join("blobs")).unwrap();
        }
        load(&create(root.path()), &[layer_bytes(1, 5)], &["a"]);
    }
}

#[test]
fn wrong_layers_are_refused_and_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let before = tree(root.path());
    let bytes = layer_bytes(1, 3_000_000);
    let mut transaction = store.begin().unwrap();

    let mut writer = transaction.layer(DiffId::EMPTY_LAYER, None).unwrap();
    writer.write_all(&bytes).unwrap();
    let wrong = transaction.finish_layer(writer);
    assert!(
        matches!(wrong, Err(LayerError::WrongDigest { found, .. }) if found == diff_id(&bytes))
    );

    let mut writer = transaction.layer(diff_id(&bytes), Some(3_000_001)).unwrap();
    writer.write_all(&bytes).unwrap();
    let short = transaction.finish_layer(writer);
    assert!(matches!(short, Err(LayerError::WrongSize { found_bytes: 3_000_000, .. })));

    let mut writer = transaction.layer(diff_id(&bytes), Some(2_999_999)).unwrap();
    let long = writer.write_all(&bytes).unwrap_err().downcast::<LayerError>();
    assert!(matches!(long, Ok(LayerError::WrongSize { at_least: true, .. })));
    drop(writer);

    write_layer(&mut transaction, &layer_bytes(2, 6_000_000));
    let missing = transaction.commit(vec![new_image(&[bytes], &["a"])]);
    assert!(matches!(missing, Err(CommitError::MissingLayer { .. })));
    assert!(tree(root.path()) == before);
}

#[test]
fn documents_are_checked_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let before = tree(root.path());
    let commit = |images| store.begin().unwrap().commit(images);
    let bad = NewImage { config: b"{}".to_vec(), ..NewImage::default() };
    assert!(matches!(commit(vec![bad]), Err(CommitError::NotAConfig { .. })));
    let large = NewImage { config: vec![b' '; 9 << 20], ..NewImage::default() };
    assert!(matches!(commit(vec![large]), Err(CommitError::DocumentTooLarge { .. })));
    let layers = [layer_bytes(1, 1)];
    let twice = vec![new_image(&[], &["a"]), new_image(&layers, &["a"])];
    assert!(matches!(commit(twice), Err(CommitError::NameTwice { .. })));
    assert!(tree(root.path()) == before);
}

#[test]
fn a_second_load_of_the_same_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layers = [layer_bytes(1, 100_000)];
    assert!(!load(&store, &layers, &["a"]).images[0].was_there);
    let before = tree(root.path());
    let report = load(&store, &layers, &["a"]);
    assert!(report.images[0].was_there);
    assert_eq!(report.written_bytes, 0);
    assert!(tree(root.path()) == before);
    load(&store, &layers, &["b"]);
    assert_eq!(names(&store.snapshot().unwrap()).len(), 2);
}

#[test]
fn a_layer_is_readable_before_the_commit_and_invisible_to_others() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    for length in [10, 5_000_000] {
        let bytes = layer_bytes(3, length);
        let mut transaction = store.begin().unwrap();
        write_layer(&mut transaction, &bytes);
        let mut found = vec![0; length];
        let layer = transaction.open_layer(diff_id(&bytes)).unwrap().unwrap();
        layer.file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == bytes);
        assert!(store.snapshot().unwrap().images.is_empty());
        assert!(store.layers().unwrap().is_empty());
    }
    let mut scratch = store.begin().unwrap().scratch_file().unwrap();
    scratch.write_all(b"x").unwrap();
    assert!(tree(&root.path().join("tmp")).is_empty());
}

#[test]
fn names_move_and_removing_frees_what_nothing_needs() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let (base, a, b) = (layer_bytes(1, 200_000), layer_bytes(2, 70_000), layer_bytes(3, 1000));
    let (old, new) = ([base.clone(), a.clone()], [base.clone(), b.clone()]);
    load(&store, &old, &["app:1", "app:latest"]);
    let report = load(&store, &new, &["app:2", "app:latest"]);
    assert_eq!(report.images[0].moved_names, [(name("app:latest"), image_id(&old))]);

    let several = store.remove(&image_id(&new).to_string(), RemoveOptions::default());
    assert!(matches!(several, Err(EditError::SeveralNames { .. })));
    let report = store.remove("app:latest", RemoveOptions::default()).unwrap();
    assert!(!report.is_deleted && report.freed_bytes == 0);
    let report = store.remove("app:1", RemoveOptions::default()).unwrap();
    assert!(report.is_deleted && report.freed_bytes > 70_000 && report.freed_bytes < 200_000);
    assert!(store.layer(diff_id(&a)).unwrap().is_none());
    assert!(store.layer(diff_id(&base)).unwrap().is_some());
    assert_whole(&store);
    store.tag("app:2", &name("third")).unwrap();
    let options = RemoveOptions { force: true };
    store.remove(&image_id(&new).0.hex()[..12], options).unwrap();
    assert!(tree(&root.path().join("blobs")).is_empty());
    assert!(tree(&root.path().join("blocks")).is_empty());
    let gone = store.remove("app:2", options);
    assert!(matches!(gone, Err(EditError::Resolve(ResolveError::NotFound { .. }))));
}

#[test]
fn prune_keeps_what_is_named_pinned_or_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let images: Vec<[Vec<u8>; 1]> = (1..4).map(|number| [layer_bytes(number, 80_000)]).collect();
    images.iter().for_each(|layers| drop(load(&store, layers, &["app"])));
    fs::write(root.path().join("tmp/left-over"), [0; 77]).unwrap();
    let mut loading = store.begin().unwrap();
    loading.pin(&[diff_id(&images[0][0])]).unwrap();
    let mut writer = loading.layer(DiffId::EMPTY_LAYER, None).unwrap();
    writer.write_bytes(&[0; 1024]).unwrap();

    let keep = PruneOptions { keep: vec![image_id(&images[1])] };
    let planned = store.plan_prune(&keep).unwrap();
    let done = store.prune(&keep).unwrap();
    assert_eq!(planned.images, [image_id(&images[0])]);
    assert_eq!(planned.freed_bytes, done.freed_bytes);
    assert_eq!(done.leftovers.len(), 1);
    assert!(store.layer(diff_id(&images[0][0])).unwrap().is_some(), "pinned");
    loading.finish_layer(writer).unwrap();
    drop(loading);
    store.prune(&PruneOptions::default()).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.images.len(), 1);
    assert_eq!(tree(&root.path().join("blobs")).len(), 3);
    assert_eq!(tree(&root.path().join("blocks")).len(), 1);
    assert_whole(&store);
}

#[test]
fn the_space_is_accounted_for_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    load(&store, &[layer_bytes(1, 70_000)], &["a"]);
    load(&store, &[layer_bytes(2, 80_000)], &["a"]);
    fs::write(root.path().join("tmp/left-over"), [0; 77]).unwrap();
    let usage = store.disk_usage().unwrap();
    let kinds =
        [usage.layers, usage.documents, usage.bookkeeping, usage.unreachable, usage.temporary];
    let sum: u64 = kinds.iter().map(|kind| kind.size_bytes).sum();
    let files = tree(root.path());
    assert_eq!(sum, files.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    assert_eq!(usage.layers, FilesUsage { count: 2, size_bytes: 150_000 });
    assert_eq!(usage.temporary, FilesUsage { count: 1, size_bytes: 77 });
    assert_eq!((usage.named_images, usage.unnamed_images), (1, 1));
    let freed = store.prune(&PruneOptions::default()).unwrap().freed_bytes;
    assert_eq!(freed, usage.reclaimable_bytes);
}

#[test]
fn a_publisher_waits_and_then_says_so() {
    let root = tempfile::tempdir().unwrap();
    let mut store = create(root.path());
    store.set_lock_wait(Duration::from_millis(1));
    let lock = fs::File::open(root.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let busy = store.begin().unwrap().commit(vec![new_image(&[], &["a"])]);
    assert!(matches!(busy, Err(CommitError::Busy(_))), "{busy:?}");
    assert!(matches!(store.prune(&PruneOptions::default()), Err(EditError::Busy(_))));
    assert!(store.snapshot().unwrap().images.is_empty());
    lock.unlock().unwrap();
    load(&store, &[], &["a"]);
}

#[test]
fn damage_is_found_and_named() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layers = [layer_bytes(1, 300_000), layer_bytes(2, 5000), layer_bytes(3, 70_000)];
    load(&store, &layers, &["a"]);
    let blob = |layer: &Vec<u8>| root.path().join("blobs/sha256").join(Digest::of(layer).hex());
    flip(&blob(&layers[0]), 70_000);
    flip(&blob(&layers[0]), 140_000);
    flip(&blob(&layers[0]), 299_999);
    fs::remove_file(blob(&layers[1])).unwrap();
    flip(&root.path().join("blocks").join(Digest::of(&layers[2]).hex()), 50);
    flip(&blob(&config(&layers)), 3);
    let report = store.verify(&[], &mut |_| Ok(())).unwrap();
    let layer = |bytes: &Vec<u8>| {
        let found = report.damaged_layers.iter().find(|layer| layer.diff_id == diff_id(bytes));
        &found.unwrap().damage
    };
    let LayerDamage::Bytes { ranges, unreadable: None } = layer(&layers[0]) else {
        panic!("{report:?}");
    };
    assert_eq!(*ranges, [65_536..196_608, 262_144..300_000]);
    assert!(matches!(layer(&layers[1]), LayerDamage::Missing));
    assert!(matches!(report.damaged_blocks[..], [(BlocksError::Damaged { .. }, _)]));
    assert_eq!(report.damaged_documents[0].image, image_id(&layers));

    // A layer of the wrong length is replaced by a load that writes it.
    fs::write(blob(&layers[1]), b"short").unwrap();
    let mut transaction = store.begin().unwrap();
    write_layer(&mut transaction, &layers[1]);
    transaction.commit(vec![new_image(&layers, &[])]).unwrap();
    assert_eq!(store.verify(&[], &mut |_| Ok(())).unwrap().damaged_layers.len(), 1);
}

#[test]
fn a_damaged_manifest_stops_pruning_until_its_image_is_removed_or_loaded_again() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let (a, b) = ([layer_bytes(1, 1000)], [layer_bytes(2, 1000)]);
    load(&store, &a, &["a"]);
    load(&store, &b, &["b"]);
    let manifest = store.snapshot().unwrap().resolve("a").unwrap().manifest;
    let path = root.path().join("blobs/sha256").join(manifest.hex());
    flip(&path, 30);
    let snapshot = store.snapshot().unwrap();
    assert!(matches!(snapshot.resolve("a"), Err(ResolveError::Broken { .. })));
    assert_eq!(snapshot.resolve("b").unwrap().id, image_id(&b));
    let report = store.remove("b", RemoveOptions::default()).unwrap();
    assert!(report.is_blocked && report.freed_bytes == 0);
    let plan = store.prune(&PruneOptions::default()).unwrap();
    assert!(plan.blobs.is_empty() && plan.blocked_by.len() == 1);
    load(&store, &a, &["again"]);
    assert_eq!(names(&store.snapshot().unwrap()).len(), 2);
    assert_whole(&store);
    flip(&path, 30);
    store.remove("again", RemoveOptions::default()).unwrap();
    store.remove("a", RemoveOptions::default()).unwrap();
    store.prune(&PruneOptions::default()).unwrap();
    assert!(tree(&root.path().join("blobs")).is_empty());
}

#[test]
fn a_damaged_index_is_an_error_and_never_an_empty_store() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    load(&store, &[layer_bytes(1, 1000)], &["a"]);
    let before = tree(&root.path().join("blobs"));
    fs::write(root.path().join("index.json"), "{\"manifests\":").unwrap();
    assert!(matches!(store.snapshot(), Err(ReadError::DamagedIndex { .. })));
    let pruned = store.prune(&PruneOptions::default());
    assert!(matches!(pruned, Err(EditError::Read(ReadError::DamagedIndex { .. }))));
    assert!(tree(&root.path().join("blobs")) == before);
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}
