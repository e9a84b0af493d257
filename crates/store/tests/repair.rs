//! Mending what is damaged, block by block.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use store::*;
use tarball::Digest;

fn blob(root: &Path, bytes: &[u8]) -> PathBuf {
    root.join("blobs/sha256").join(Digest::of(bytes).hex())
}

fn blocks(root: &Path, bytes: &[u8]) -> PathBuf {
    root.join("blocks").join(Digest::of(bytes).hex())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn repair(store: &Store, layer: &[u8], bytes: &[u8]) -> Result<u64, LayerError> {
    let mut transaction = store.begin().unwrap();
    let mut repair = transaction.repair_layer(diff_id(layer)).unwrap();
    bytes.chunks(1000).try_for_each(|chunk| repair.write_bytes(chunk))?;
    transaction.finish_repair(repair, &mut |_| Ok(()))
}

#[test]
fn only_damaged_blocks_are_written() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layer = layer_bytes(1, 300_000);
    load(&store, std::slice::from_ref(&layer), &["a"]);
    let path = blob(root.path(), &layer);
    assert_eq!(repair(&store, &layer, &layer).unwrap(), 0);
    flip(&path, 70_000);
    flip(&path, 299_999);
    assert_eq!(repair(&store, &layer, &layer).unwrap(), 65_536 + 300_000 - 262_144);
    assert_whole(&store);
    // Too short, and too long.
    fs::write(&path, &layer[..140_000]).unwrap();
    assert_eq!(store.layer_size(diff_id(&layer)).unwrap(), None);
    assert_eq!(repair(&store, &layer, &layer).unwrap(), 300_000 - 131_072);
    assert_whole(&store);
    fs::write(&path, [&layer[..], b"more"].concat()).unwrap();
    assert_eq!(repair(&store, &layer, &layer).unwrap(), 0);
    assert_whole(&store);
}

/// Bytes that are not the layer's change nothing that was right, and nothing that was wrong.
#[test]
fn wrong_bytes_are_not_written() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layer = layer_bytes(1, 300_000);
    load(&store, std::slice::from_ref(&layer), &["a"]);
    flip(&blob(root.path(), &layer), 70_000);
    let damaged = tree(root.path());
    for wrong in [layer_bytes(2, 300_000), layer_bytes(1, 299_999), layer_bytes(2, 5)] {
        let refused = repair(&store, &layer, &wrong);
        assert!(matches!(refused, Err(LayerError::WrongDigest { .. })), "{refused:?}");
        let (mut left, mut before) = (tree(root.path()), damaged.clone());
        // The layer that is a byte too short has the right bytes for the damaged block.
        let path = blob(root.path(), &layer);
        let (left, before) = (left.remove(&path).unwrap(), before.remove(&path).unwrap());
        assert!(left == before || left == layer);
        fs::write(&path, before).unwrap();
    }
    let long = repair(&store, &layer, &layer_bytes(1, 300_001));
    assert!(matches!(long, Err(LayerError::WrongSize { .. })), "{long:?}");
}

#[test]
fn a_layer_without_block_digests_gets_them_or_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layer = layer_bytes(1, 300_000);
    load(&store, std::slice::from_ref(&layer), &["a"]);
    let expected = fs::read(blocks(root.path(), &layer)).unwrap();
    fs::remove_file(blocks(root.path(), &layer)).unwrap();
    let mut transaction = store.begin().unwrap();
    let refused = transaction.repair_layer(diff_id(&layer)).map(drop);
    assert!(matches!(refused, Err(LayerError::NoBlockDigests { .. })));
    transaction.renew_blocks(diff_id(&layer), &mut |_| Ok(())).unwrap();
    drop(transaction);
    assert_eq!(fs::read(blocks(root.path(), &layer)).unwrap(), expected);

    flip(&blob(root.path(), &layer), 5);
    flip(&blocks(root.path(), &layer), 60);
    let mut transaction = store.begin().unwrap();
    assert!(matches!(
        transaction.renew_blocks(diff_id(&layer), &mut |_| Ok(())),
        Err(LayerError::StillDamaged { .. })
    ));
    transaction.replace_layer(diff_id(&layer));
    write_layer(&mut transaction, &layer);
    transaction.commit(Vec::new()).unwrap();
    assert_whole(&store);
}

/// A layer of one block has no file of digests: what is damaged in it is told by its diffID, and a
/// load that makes it replaces it.
#[test]
fn a_layer_of_one_block_needs_no_digests_beside_its_own() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layers = [layer_bytes(1, 65_536), layer_bytes(2, 1000), Vec::new()];
    load(&store, &layers, &["a"]);
    assert!(tree(&root.path().join("blocks")).is_empty());
    assert_whole(&store);
    assert!(store.check().unwrap().is_whole());
    let before = tree(root.path());
    for (layer, damage) in [(0, 65_535), (1, 0), (1, 999)] {
        let path = blob(root.path(), &layers[layer]);
        flip(&path, damage);
        let report = store.verify(&[], &mut |_| Ok(())).unwrap();
        let found = &report.damaged_layers[0];
        assert_eq!(found.diff_id, diff_id(&layers[layer]));
        let whole = 0..layers[layer].len() as u64;
        assert_eq!(found.damage.ranges(), std::slice::from_ref(&whole));
        let mut transaction = store.begin().unwrap();
        let refused = transaction.repair_layer(diff_id(&layers[layer])).map(drop);
        assert!(matches!(refused, Err(LayerError::NoBlockDigests { .. })));
        write_layer(&mut transaction, &layers[layer]);
        transaction.commit(Vec::new()).unwrap();
        assert!(tree(root.path()) == before);
    }
}

/// No image lists it, and no block digests tell its size: only its bytes do.
#[test]
fn a_small_layer_that_is_damaged_is_not_taken_for_one_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layers = [layer_bytes(1, 5000)];
    let image = || vec![new_image(&layers, &["a"])];
    for damaged in [&b""[..], &layers[0][..4096], &layer_bytes(2, 5000)] {
        fs::write(blob(root.path(), &layers[0]), damaged).unwrap();
        let refused = store.begin().unwrap().commit(image());
        assert!(matches!(refused, Err(CommitError::MissingLayer { .. })), "{refused:?}");
    }
    let mut transaction = store.begin().unwrap();
    write_layer(&mut transaction, &layers[0]);
    transaction.commit(image()).unwrap();
    assert_whole(&store);
}

/// A layer whose bytes are the config of another image: absurd, and possible.
#[test]
fn a_document_may_be_a_layer_too() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    // Its config has more than one block, so that as a layer it has digests.
    let first: Vec<_> = (0..900).map(|number| layer_bytes(1, 70_000 + number)).collect();
    let digests_of_layers = first.len();
    assert!(config(&first).len() > 65_536);
    load(&store, &first, &["first"]);
    let second = [first[0].clone(), config(&first)];
    load(&store, &second, &["second"]);
    assert_whole(&store);
    assert_eq!(tree(&root.path().join("blocks")).len(), digests_of_layers + 1);
    store.remove("second", RemoveOptions::default()).unwrap();
    store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(tree(&root.path().join("blocks")).len(), digests_of_layers);
    assert_whole(&store);
    load(&store, &second, &["second"]);
    store.remove("first", RemoveOptions::default()).unwrap();
    assert_whole(&store);
}

/// Loading an image that is there mends its documents, and writes nothing where they are whole.
#[test]
fn a_damaged_config_is_written_again() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layers = [layer_bytes(1, 1000)];
    let image = || NewImage {
        original_manifest: Some(b"{\"any\": 1}".to_vec()),
        ..new_image(&layers, &["a"])
    };
    let mut transaction = store.begin().unwrap();
    write_layer(&mut transaction, &layers[0]);
    transaction.commit(vec![image()]).unwrap();
    let before = tree(root.path());
    assert_eq!(store.begin().unwrap().commit(vec![image()]).unwrap().written_bytes, 0);
    for document in [config(&layers), b"{\"any\": 1}".to_vec()] {
        flip(&blob(root.path(), &document), 3);
        let report = store.begin().unwrap().commit(vec![image()]).unwrap();
        assert_eq!(report.written_bytes, document.len() as u64);
        assert!(report.images[0].was_there);
        assert!(tree(root.path()) == before);
    }
}
