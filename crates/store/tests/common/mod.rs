//! Small images for the tests of the store.
#![allow(dead_code, unreachable_pub, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store::{CommitReport, NewImage, OpenMode, Snapshot, Store, Transaction};
use tarball::{DiffId, Digest, ImageId, Name};

pub fn create(root: &Path) -> Store {
    Store::open(root, OpenMode::Create).unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Bytes that differ from one number to the next.
pub fn layer_bytes(number: u8, length: usize) -> Vec<u8> {
    (0..=250_u8)
        .cycle()
        .map(|byte| byte.wrapping_mul(number.wrapping_mul(2) | 1))
        .take(length)
        .collect()
}

pub fn diff_id(bytes: &[u8]) -> DiffId {
    DiffId(Digest::of(bytes))
}

pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("\"{}\"", diff_id(layer))).collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
    .into_bytes()
}

pub fn image_id(layers: &[Vec<u8>]) -> ImageId {
    ImageId(Digest::of(&config(layers)))
}

pub fn new_image(layers: &[Vec<u8>], names: &[&str]) -> NewImage {
    NewImage {
        config: config(layers),
        names: names.iter().map(|text| name(text)).collect(),
        ..NewImage::default()
    }
}

pub fn write_layer(transaction: &mut Transaction, bytes: &[u8]) {
    let mut writer = transaction.layer(diff_id(bytes), Some(bytes.len() as u64)).unwrap();
    writer.write_bytes(bytes).unwrap();
    transaction.finish_layer(writer).unwrap();
}

/// Loads an image as a caller does: only layers that are missing are written.
pub fn load(store: &Store, layers: &[Vec<u8>], names: &[&str]) -> CommitReport {
    let mut transaction = store.begin().unwrap();
    for layer in layers {
        if transaction.pin(&[diff_id(layer)]).unwrap().held.is_empty() {
            write_layer(&mut transaction, layer);
        }
    }
    transaction.commit(vec![new_image(layers, names)]).unwrap()
}

/// Which name means which image.
pub fn names(snapshot: &Snapshot) -> BTreeMap<String, ImageId> {
    let images = snapshot.images.iter();
    images.flat_map(|image| image.names.iter().map(|name| (name.to_string(), image.id))).collect()
}

/// All files under a directory with their bytes.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => drop(files.insert(path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    files
}

/// Every listed image is whole, and nothing else is wrong.
pub fn assert_whole(store: &Store) {
    let report = store.verify(&[], &mut |_| Ok(())).unwrap();
    assert!(report.is_whole(), "{report:#?}");
}

/// Makes a test that starts processes wait for the others that do: between its fork and the start of
/// its program a child holds copies of all open files, and so the locks of other tests' layers.
pub fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `tool` runs; a test that needs it returns where it does not.
pub fn has_tool(tool: &str, arguments: &[&str]) -> bool {
    let runs = Command::new(tool).args(arguments).output().is_ok_and(|out| out.status.success());
    if !runs {
        assert!(
            std::env::var_os("SILT_REQUIRE_TOOLS").is_none_or(|value| value != "1"),
            "{tool} is missing or does not run"
        );
        eprintln!("skipped: {tool} {} does not run here", arguments.join(" "));
    }
    runs
}
