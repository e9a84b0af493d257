//! Faults: a process that is killed at every system call that changes the disk, a full disk, two
//! processes at once, and random histories against a model.
#![allow(clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::*;
use proptest::prelude::*;
use store::*;
use tarball::ImageId;

/// Tells this test binary, run again as a child, which store to work on.
const CHILD_ROOT: &str = "STORE_TEST_CHILD_ROOT";

fn layers(kind: u8) -> Vec<Vec<u8>> {
    match kind {
        0 => vec![layer_bytes(1, 150_000), layer_bytes(2, 1000)],
        1 => vec![layer_bytes(1, 150_000), layer_bytes(3, 8_500_000), layer_bytes(4, 2000)],
        _ => vec![layer_bytes(1, 150_000), layer_bytes(kind + 10, 80_000)],
    }
}

/// What the child does: load a new image under the old one's name, rename, remove, prune.
#[test]
#[ignore = "runs as the child of the tests below"]
fn child() {
    let root = std::env::var_os(CHILD_ROOT).expect("the parent sets the root");
    let Ok(store) = Store::open(Path::new(&root), OpenMode::Create) else {
        std::process::exit(3);
    };
    let mut transaction = store.begin().unwrap();
    for layer in layers(1) {
        if transaction.pin(&[diff_id(&layer)]).unwrap().held.is_empty() {
            let writer = transaction.layer(diff_id(&layer), Some(layer.len() as u64));
            let written = writer.and_then(|mut writer| {
                writer.write_bytes(&layer)?;
                transaction.finish_layer(writer)
            });
            if written.is_err() {
                drop(transaction);
                std::process::exit(4);
            }
        }
    }
    if transaction.commit(vec![new_image(&layers(1), &["app"])]).is_err() {
        std::process::exit(4);
    }
    let tagged = store.tag("app", &name("second"));
    let removed = store.remove("gone", RemoveOptions::default());
    let pruned = store.prune(&PruneOptions::default());
    let is_done = tagged.is_ok() && removed.is_ok() && pruned.is_ok();
    std::process::exit(if is_done { 0 } else { 4 });
}

fn child_command(strace: &[String], root: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]).args(strace);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--test-threads=1"]).env(CHILD_ROOT, root);
    command
}

/// Runs the child again and again, each time with the fault at a later call of `syscall`, until it
/// gets through, and calls `check` after each run. Returns how many calls there were.
fn at_every_call(syscall: &str, fault: &str, check: &dyn Fn(&Store)) -> usize {
    // Most writes are of layers, and one is like the next.
    let step = if syscall.contains("write") { 7 } else { 1 };
    for when in (1..400).step_by(step) {
        let root = tempfile::tempdir().unwrap();
        let store = create(root.path());
        load(&store, &layers(2), &["gone"]);
        load(&store, &layers(3), &["app"]);
        load(&store, &layers(0), &["app", "old"]);
        let inject = format!("inject={syscall}:{fault}:when={when}");
        let out = child_command(&["-e".into(), inject], root.path()).output().unwrap();
        check(&store);
        if out.status.success() {
            return when - 1;
        }
    }
    panic!("{syscall} is called too often");
}

/// The old image is whole, the new one whole or absent, and everything can be done afterwards.
fn assert_survived(store: &Store) {
    let snapshot = store.snapshot().unwrap();
    assert_whole(store);
    let found = names(&snapshot);
    let [old, new, gone, unnamed] = [0, 1, 2, 3].map(|kind| image_id(&layers(kind)));
    assert_eq!(found.get("old:latest"), Some(&old));
    assert!(found.get("gone:latest").is_none_or(|image| *image == gone));
    let app = found["app:latest"];
    assert!(app == old || app == new);
    assert!(snapshot.images.iter().all(|image| [old, new, gone, unnamed].contains(&image.id)));
    load(store, &layers(1), &["app"]);
    if found.contains_key("gone:latest") {
        store.remove("gone", RemoveOptions::default()).unwrap();
    }
    store.prune(&PruneOptions::default()).unwrap();
    assert_whole(store);
    assert!(tree(&store.root().join("tmp")).is_empty());
    assert_eq!(tree(&store.root().join("blobs")).len(), 8);
    // Two layers have one block.
    assert_eq!(tree(&store.root().join("blocks")).len(), 2);
}

/// The calls with which files change, by all the names that they have on one machine or another.
/// `write` of the test harness itself is among them.
const RENAMES: [&str; 3] = ["?rename", "?renameat", "?renameat2"];
const REMOVALS: [&str; 2] = ["?unlink", "?unlinkat"];
const OTHERS: [&str; 5] = ["write", "?pwrite64", "fsync", "fallocate", "flock"];

#[test]
fn a_kill_at_any_system_call_loses_nothing() {
    let _alone = alone();
    if !has_tool("strace", &["-V"]) {
        return;
    }
    let kill_at_every = |syscall: &str| at_every_call(syscall, "signal=KILL", &assert_survived);
    let renames: usize = RENAMES.into_iter().map(kill_at_every).sum();
    let removals: usize = REMOVALS.into_iter().map(kill_at_every).sum();
    let others = OTHERS.map(kill_at_every);
    // Layers with their blocks, documents, indexes; a layer with its blocks and documents, twice.
    assert!(renames >= 9 && removals >= 8, "{renames} renames, {removals} removals");
    assert!(others.iter().all(|calls| *calls > 0), "{others:?}");
}

#[test]
fn an_error_of_any_system_call_loses_nothing() {
    let _alone = alone();
    if !has_tool("strace", &["-V"]) {
        return;
    }
    let errors =
        [("write", "ENOSPC"), ("?pwrite64", "ENOSPC"), ("fallocate", "ENOSPC"), ("fsync", "EIO")];
    for (syscall, error) in errors.into_iter().chain(RENAMES.map(|rename| (rename, "EIO"))) {
        at_every_call(syscall, &format!("error={error}"), &|store| {
            // A process that lives to see the error takes back what it wrote.
            let left = store.plan_prune(&PruneOptions::default()).unwrap();
            assert!(left.leftovers.is_empty(), "{syscall}: {left:?}");
            let new_layer = diff_id(&layers(1)[1]).0;
            let snapshot = store.snapshot().unwrap();
            if snapshot.get(image_id(&layers(1))).is_none() {
                assert!(
                    left.blobs.iter().all(|(blob, _)| *blob != new_layer),
                    "{syscall}: {left:?}"
                );
            }
            assert_survived(store);
        });
    }
}

#[test]
fn the_making_of_a_store_can_be_cut_anywhere() {
    let _alone = alone();
    if !has_tool("strace", &["-V"]) {
        return;
    }
    for (syscall, calls) in [("?mkdir", 6), ("?rename", 4), ("?renameat", 4), ("fsync", 8)] {
        for when in 1..calls {
            let parent = tempfile::tempdir().unwrap();
            let root = parent.path().join("a/silt");
            let inject = format!("inject={syscall}:signal=KILL:when={when}");
            child_command(&["-e".into(), inject], &root).output().unwrap();
            let view = Store::open(&root, OpenMode::ReadOnly).unwrap();
            assert!(view.snapshot().unwrap().broken.is_empty());
            load(&create(&root), &layers(0), &["app"]);
            assert_whole(&create(&root));
        }
    }
}

#[test]
fn two_processes_load_at_once() {
    let _alone = alone();
    let root = tempfile::tempdir().unwrap();
    let store = create(root.path());
    for _ in 0..5 {
        let threads: Vec<_> = (0..4)
            .map(|number: u8| {
                let store = store.clone();
                std::thread::spawn(move || {
                    let shared = layer_bytes(9, 5_000_000);
                    let own = layer_bytes(20 + number, 3000);
                    load(&store, &[shared, own], &[&format!("app:{number}")]);
                })
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            store.prune(&PruneOptions::default()).unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(store.snapshot().unwrap().images.len(), 4);
        assert_whole(&store);
        for number in 0..4 {
            store.remove(&format!("app:{number}"), RemoveOptions::default()).unwrap();
        }
        assert!(tree(&root.path().join("blobs")).is_empty());
        assert!(tree(&root.path().join("tmp")).is_empty());
    }
}

/// Runs as the child inside a mount namespace of its own, on a tmpfs of 1 MiB.
#[test]
#[ignore = "runs as the child of the test below"]
fn full_disk_child() {
    let root = std::env::var_os(CHILD_ROOT).expect("the parent sets the root");
    let root = Path::new(&root);
    let store = create(root);
    load(&store, &layers(0), &["app", "old"]);
    let before = tree(root);
    let mut transaction = store.begin().unwrap();
    let bytes = layer_bytes(5, 4_000_000);
    for size in [Some(bytes.len() as u64), None] {
        let writer = transaction.layer(diff_id(&bytes), size);
        let full = writer.and_then(|mut writer| writer.write_bytes(&bytes));
        let Err(LayerError::Write(WriteError::NoSpace(no_space))) = full else {
            panic!("{full:?}");
        };
        assert_eq!(no_space.lacking, Lacking::Space);
        assert_eq!(no_space.mount_point, root);
    }
    drop(transaction);
    assert!(tree(root) == before);
    load(&store, &layers(0)[..1], &["app"]);
    store.remove("old", RemoveOptions::default()).unwrap();
    load(&store, &layers(0), &["unnamed"]);
    load(&store, &layers(0)[..1], &["unnamed"]);

    // Not a byte and not an inode is left, and still what nobody needs can go.
    let mut fillers = 0;
    while fs::write(root.join(format!("tmp/{fillers}")), vec![0; 4096]).is_ok() {
        fillers += 1;
    }
    let _held: Vec<_> = (0..=fillers)
        .filter_map(|filler| fs::File::open(root.join(format!("tmp/{filler}"))).ok())
        .map(|file| file.lock_shared().map(|()| file).unwrap())
        .collect();
    let full = store.tag("app", &name("other")).unwrap_err();
    assert!(matches!(full, EditError::Write(WriteError::NoSpace(_))), "{full:?}");
    assert_eq!(store.prune(&PruneOptions::default()).unwrap().images.len(), 1);
    store.tag("app", &name("other")).unwrap();
    assert_whole(&store);
}

#[test]
fn a_full_disk_is_named_and_can_be_pruned() {
    let _alone = alone();
    let mount = ["-m", "mount", "-t", "tmpfs", "-o"];
    if !has_tool("unshare", &[&mount[..], &["size=4k", "x", "/mnt"]].concat()) {
        return;
    }
    for limits in ["size=1m", "size=64m,nr_inodes=40"] {
        let root = tempfile::tempdir().unwrap();
        let script =
            format!("mount -t tmpfs -o {limits} x {} && exec \"$@\"", root.path().display());
        let test = if limits.contains("inodes") { "few_inodes_child" } else { "full_disk_child" };
        let out = Command::new("unshare")
            .args(["-m", "sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(CHILD_ROOT, root.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{limits}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
#[ignore = "runs as the child of the test above"]
fn few_inodes_child() {
    let root = std::env::var_os(CHILD_ROOT).expect("the parent sets the root");
    let store = create(Path::new(&root));
    let mut transaction = store.begin().unwrap();
    for number in 0..50 {
        let bytes = layer_bytes(number, 10);
        let written = transaction.layer(diff_id(&bytes), None).and_then(|mut writer| {
            writer.write_bytes(&bytes)?;
            transaction.finish_layer(writer)
        });
        if let Err(LayerError::Write(WriteError::NoSpace(no_space))) = written {
            assert_eq!(no_space.lacking, Lacking::Inodes);
            return;
        }
    }
    panic!("there were 50 inodes");
}

#[derive(Debug, Clone)]
enum Step {
    Load { image: u8, name: u8 },
    Tag { from: u8, to: u8 },
    Remove { name: u8 },
    Prune,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, 0..4_u8).prop_map(|(image, name)| Step::Load { image, name }),
        2 => (0..4_u8, 0..4_u8).prop_map(|(from, to)| Step::Tag { from, to }),
        2 => (0..4_u8).prop_map(|name| Step::Remove { name }),
        1 => Just(Step::Prune),
    ]
}

/// Images overlap in their layers, so that removing one must spare what another needs.
fn model_layers(image: u8) -> Vec<Vec<u8>> {
    (image..image + 3).map(|number| layer_bytes(number, 100 + usize::from(number))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_history_keeps_what_names_say(steps in prop::collection::vec(step(), 1..20)) {
        let root = tempfile::tempdir().unwrap();
        let store = create(root.path());
        let mut model: BTreeMap<String, ImageId> = BTreeMap::new();
        let tag = |name: u8| format!("n{name}:latest");
        for step in steps {
            match step {
                Step::Load { image, name } => {
                    load(&store, &model_layers(image), &[&tag(name)]);
                    model.insert(tag(name), image_id(&model_layers(image)));
                }
                Step::Tag { from, to } => {
                    let done = store.tag(&tag(from), &name(&tag(to)));
                    prop_assert_eq!(done.is_ok(), model.contains_key(&tag(from)));
                    if let Some(image) = model.get(&tag(from)).copied() {
                        model.insert(tag(to), image);
                    }
                }
                Step::Remove { name } => {
                    let done = store.remove(&tag(name), RemoveOptions::default());
                    prop_assert_eq!(done.is_ok(), model.remove(&tag(name)).is_some());
                }
                Step::Prune => {
                    store.prune(&PruneOptions::default()).unwrap();
                    let again = store.plan_prune(&PruneOptions::default()).unwrap();
                    prop_assert_eq!(again.freed_bytes, 0);
                }
            }
            prop_assert_eq!(&names(&store.snapshot().unwrap()), &model);
            assert_whole(&store);
            prop_assert!(tree(&root.path().join("tmp")).is_empty());
        }
    }
}
