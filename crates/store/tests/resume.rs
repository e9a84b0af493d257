//! A load that goes on where an earlier one was interrupted.

mod common;

use std::fs;
use std::path::PathBuf;

use common::*;
use store::*;

const BLOCK: usize = 64 * 1024;

/// What happens to the part of a layer that was left.
type Damage = fn(&mut Vec<u8>);

/// Bytes no block of which is like another.
fn long_layer(blocks: usize) -> Vec<u8> {
    let numbers = 0..u32::try_from(blocks * BLOCK / 4).unwrap();
    numbers.flat_map(|number| number.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect()
}

/// Writes the first bytes of `layer` and is interrupted.
fn interrupt(store: &Store, layer: &[u8], length: usize) {
    let mut transaction = store.begin().unwrap();
    let mut writer = transaction.layer(diff_id(layer), Some(layer.len() as u64)).unwrap();
    writer.write_bytes(&layer[..length]).unwrap();
    transaction.set_aside(writer);
    transaction.suspend();
}

fn left(store: &Store) -> Vec<PathBuf> {
    tree(&store.root().join("tmp")).into_keys().collect()
}

/// Loads `layer` as an image; gives the bytes that were written of the layer.
fn load_layer(store: &Store, layer: &[u8]) -> u64 {
    let mut transaction = store.begin().unwrap();
    write_layer(&mut transaction, layer);
    let written = transaction.written_bytes() - blocks_file_size_bytes(layer.len() as u64);
    transaction.commit(vec![new_image(&[layer.to_vec()], &["app"])]).unwrap();
    assert_whole(store);
    assert!(left(store).is_empty());
    written
}

#[test]
fn what_was_written_is_not_written_again() {
    let layer = long_layer(40);
    for (length, missing_blocks) in
        [(0, 40), (BLOCK - 1, 40), (17 * BLOCK + 5, 23), (40 * BLOCK, 0)]
    {
        let root = tempfile::tempdir().unwrap();
        let store = create(root.path());
        interrupt(&store, &layer, length);
        assert_eq!(left(&store).len(), 1);
        assert!(store.snapshot().unwrap().images.is_empty());
        assert_eq!(load_layer(&store, &layer), missing_blocks * BLOCK as u64, "{length}");
    }
}

#[test]
fn what_was_damaged_meanwhile_is_written_again_and_no_more() {
    let layer = long_layer(20);
    let damages: [(Damage, u64); 5] = [
        (|left| left[3 * BLOCK + 7] ^= 1, 11),
        (|left| left.truncate(4 * BLOCK - 1), 17),
        (|left| left[2 * BLOCK..].fill(0), 18),
        (|left| left.clear(), 20),
        // A leftover may also be longer than the layer.
        (|left| left.resize(30 * BLOCK, 1), 10),
    ];
    for (damage, missing_blocks) in damages {
        let root = tempfile::tempdir().unwrap();
        let store = create(root.path());
        interrupt(&store, &layer, 10 * BLOCK);
        let path = &left(&store)[0];
        let mut bytes = fs::read(path).unwrap();
        damage(&mut bytes);
        fs::write(path, bytes).unwrap();
        assert_eq!(load_layer(&store, &layer), missing_blocks * BLOCK as u64);
    }
}

#[test]
fn whole_layers_of_an_interrupted_load_stay() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let (small, large) = (layer_bytes(1, 1000), long_layer(130));
    let mut transaction = store.begin().unwrap();
    write_layer(&mut transaction, &large);
    write_layer(&mut transaction, &small);
    transaction.suspend();
    let mut transaction = store.begin().unwrap();
    assert_eq!(transaction.pin(&[diff_id(&large)]).unwrap().held.len(), 1);
    write_layer(&mut transaction, &small);
    assert_eq!(transaction.written_bytes(), blocks_file_size_bytes(1000));
    transaction.commit(vec![new_image(&[large, small], &["app"])]).unwrap();
    assert_whole(&store);
}

#[test]
fn a_load_that_fails_leaves_nothing_of_what_it_took_up() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layer = long_layer(10);
    interrupt(&store, &layer, 5 * BLOCK);
    let transaction = &mut store.begin().unwrap();
    let mut writer = transaction.layer(diff_id(&layer), Some(layer.len() as u64)).unwrap();
    writer.write_bytes(&layer[1..]).unwrap();
    let error = transaction.finish_layer(writer).unwrap_err();
    assert!(matches!(error, LayerError::WrongSize { .. }), "{error}");
    assert!(left(&store).is_empty());
}

#[test]
fn two_that_take_up_the_same_layer_do_not_meet() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layer = long_layer(30);
    interrupt(&store, &layer, 20 * BLOCK);
    let images = [vec![layer.clone()], vec![layer.clone(), layer_bytes(1, 100)]];
    let written: Vec<u64> = std::thread::scope(|scope| {
        let loads: Vec<_> = images
            .iter()
            .map(|layers| {
                scope.spawn(|| {
                    let mut transaction = store.begin().unwrap();
                    layers.iter().for_each(|layer| write_layer(&mut transaction, layer));
                    let written = transaction.written_bytes();
                    transaction.commit(vec![new_image(layers, &[])]).unwrap();
                    written
                })
            })
            .collect();
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    assert!(written.iter().any(|bytes| *bytes < 12 * BLOCK as u64), "{written:?}");
    assert_eq!(store.snapshot().unwrap().images.len(), 2);
    assert_whole(&store);
    assert!(left(&store).is_empty());
}

#[test]
fn a_prune_frees_what_was_left_but_not_what_is_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    let layer = long_layer(10);
    interrupt(&store, &layer, 5 * BLOCK);
    assert!(store.left_bytes(diff_id(&layer)).unwrap() >= 5 * BLOCK as u64);
    let mut transaction = store.begin().unwrap();
    let mut writer = transaction.layer(diff_id(&layer), Some(layer.len() as u64)).unwrap();
    writer.write_bytes(&layer).unwrap();
    assert_eq!(store.prune(&PruneOptions::default()).unwrap().held.len(), 1);
    assert_eq!(store.left_bytes(diff_id(&layer)).unwrap(), 0);
    transaction.set_aside(writer);
    transaction.suspend();
    let pruned = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!((pruned.leftovers.len(), pruned.freed_bytes), (1, 10 * BLOCK as u64));
    assert!(left(&store).is_empty());
}

#[test]
fn what_was_flushed_can_be_read_while_more_is_written() {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    let layer = long_layer(3);
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    interrupt(&store, &layer, BLOCK + 9);
    let mut transaction = store.begin().unwrap();
    let mut writer = transaction.layer(diff_id(&layer), Some(layer.len() as u64)).unwrap();
    let (file, size) = writer.read_back().unwrap();
    assert_eq!(size, layer.len() as u64);
    let mut taken = 0;
    for length in [1, BLOCK - 1, 5, 0, BLOCK, 100] {
        writer.write_all(&layer[taken..taken + length]).unwrap();
        writer.flush().unwrap();
        taken += length;
        let mut found = vec![0; taken];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == layer[..taken], "{taken}");
    }
    writer.write_all(&layer[taken..]).unwrap();
    transaction.finish_layer(writer).unwrap();
    transaction.commit(vec![new_image(std::slice::from_ref(&layer), &["app"])]).unwrap();
    assert_whole(&store);
}
