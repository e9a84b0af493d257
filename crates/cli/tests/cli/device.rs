//! What keeps a device running: `--delete-base`, `system check`, `df` and `prune`, also on a full disk.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bench::{Bench, command_of, facts, golden, has_tool, text};
use crate::crafted::Crafted;

const BASE: &str = "golden-multi:base";

#[test]
fn the_base_goes_when_its_target_is_there() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let (base, target) =
        (facts("multi")["base"]["id"].clone(), facts("multi")["target"]["id"].clone());
    bench.run(&["image", "tag", BASE, "second:name"]).expect(0);
    let delta = golden("multi", "delta.tar");
    let line = ["load", "-i", text(&delta), "--delete-base"];
    let plan = bench.json(&[&line[..], &["--dry-run", "--json"]].concat());
    assert_eq!(plan["deletes"], json!([base]));
    // Until the target is there, the base is: what it takes is no room for the load.
    let without = bench.json(&["load", "--dry-run", "--json", "-i", text(&delta)]);
    assert_eq!(plan["room"]["needed_bytes"], without["room"]["needed_bytes"]);
    let run = bench.run(&[&["-q"], &line[..]].concat()).expect(0);
    let expected = format!(
        "Loaded image: golden-multi:delta\nUntagged: {BASE}\nUntagged: second:name\nDeleted: {}\n",
        base.as_str().unwrap()
    );
    assert_eq!(run.stdout, expected);
    assert_eq!(bench.id("golden-multi:delta"), target);
    assert_eq!(bench.run(&["image", "ls", "-q"]).expect(0).stdout.lines().count(), 1);
    bench.run(&["image", "verify"]).expect(0);
    // Its data is gone with it, but for what the target shares.
    assert_eq!(bench.json(&["system", "prune", "--dry-run", "--json"])["freed_bytes"], 0);
    assert_eq!(bench.json(&["system", "df", "--json"])["unreachable"]["files"], 0);
    // Once more, there is nothing to do.
    let again = bench.json(&[&line[..], &["--json"]].concat());
    assert_eq!((&again["deleted"], &again["written_bytes"]), (&json!([]), &json!(0)));
}

/// A load that was killed between the two steps is completed by the next.
#[test]
fn a_base_that_is_still_there_is_removed_though_the_target_is_present() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "delta.tar")]);
    let target = facts("multi")["target"]["diff_ids"][1].clone();
    let digits = target.as_str().unwrap()["sha256:".len()..].to_owned();
    let path = bench.path("store/blobs/sha256").join(&digits);
    let delta = golden("multi", "delta.tar");
    let line = ["-q", "load", "-i", text(&delta), "--delete-base"];
    // Not while the target is damaged: the base may be all that is left.
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[300_000] ^= 1;
    fs::write(&path, damaged).unwrap();
    let run = bench.run(&line).expect(7);
    assert!(run.stderr.contains(&digits), "{}", run.stderr);
    assert_eq!(bench.id(BASE), facts("multi")["base"]["id"]);
    bench.run(&[&line[..], &["--repair"]].concat()).expect(0);
    assert_eq!(bench.id(BASE), json!(null));
    assert!(fs::read(&path).unwrap() == whole);
    bench.run(&["image", "verify"]).expect(0);
}

/// What a name meant before is there for going back, until a prune.
#[test]
fn what_a_name_meant_before_is_kept_until_it_is_pruned() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    bench.run(&["image", "tag", BASE, "app:current"]).expect(0);
    bench.run(&["rmi", BASE]).expect(0);
    let before = bench.id("app:current");
    let delta = golden("multi", "delta.tar");
    bench.run(&["load", "-i", text(&delta), "--tag", "app:current"]).expect(0);
    assert_eq!(bench.id("app:current"), facts("multi")["target"]["id"]);
    let id = before.as_str().unwrap().to_owned();
    bench.run(&["image", "verify", &id]).expect(0);
    // Back, and forth again.
    bench.run(&["image", "tag", &id, "app:current"]).expect(0);
    assert_eq!(bench.id("app:current"), before);
    bench.run(&["load", "-i", text(&delta), "--tag", "app:current"]).expect(0);
    let planned = bench.json(&["system", "prune", "--dry-run", "--json"]);
    assert_eq!(planned["images"], json!([id]));
    assert_eq!(bench.id(&id), before);
    assert_eq!(bench.json(&["system", "prune", "--json"]), planned);
    assert_eq!(bench.id(&id), json!(null));
    bench.run(&["image", "verify"]).expect(0);
}

/// Fifty images: the watchdog's question opens nothing for writing, and does not read the layers.
#[test]
fn the_health_check_is_light() {
    let bench = Bench::new();
    for number in 0..50 {
        let mut image = Crafted::new("unused");
        image.config["number"] = json!(number);
        image.names.clear();
        image.write(&bench.path("image.tar"));
        let tag = format!("image:{number}");
        bench.run(&["load", "-q", "-i", "image.tar", "--tag", &tag]).expect(0);
    }
    let check = bench.run(&["system", "check"]).expect(0);
    assert_eq!((check.stdout.as_str(), check.stderr.as_str()), ("ok: 50 images, 1 layers\n", ""));
    let calls = bench.path("calls");
    let mut traced = command_of(Path::new("strace"));
    traced.args([
        "-f",
        "-o",
        text(&calls),
        "-e",
        "trace=openat,open,creat,flock,write,fsync,unlink",
    ]);
    traced.arg(env!("CARGO_BIN_EXE_silt")).args(["system", "check"]);
    traced.env("SILT_ROOT", bench.path("store"));
    if !has_tool("strace", &["-V"]) {
        return;
    }
    assert!(traced.output().unwrap().status.success());
    let calls = fs::read_to_string(&calls).unwrap();
    let store = bench.path("store");
    let in_store: Vec<&str> = calls.lines().filter(|line| line.contains(text(&store))).collect();
    assert!(in_store.len() > 50, "{calls}");
    assert!(in_store.iter().all(|line| line.contains("O_RDONLY")), "{in_store:?}");
    assert!(!calls.contains("flock(") && !calls.contains("fsync("), "{calls}");
    // What is open is an index, 50 manifests and four small files, and no layer.
    assert!(in_store.len() < 80, "{in_store:#?}");
}

#[test]
fn the_health_check_sees_what_is_missing_or_cut() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    bench.run(&["system", "check"]).expect(0);
    for (path, bytes) in bench.fingerprint() {
        let is_of_image = path.to_str().is_some_and(|path| !path.ends_with("/lock"));
        if !is_of_image || path.ends_with("silt.json") {
            continue;
        }
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let run = bench.run(&["system", "check"]).expect(7);
        assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1);
        fs::write(&path, bytes).unwrap();
    }
    // One bit is not seen without reading; `--deep` reads.
    let layer = facts("multi")["target"]["diff_ids"][1].clone();
    let path = bench.path("store/blobs/sha256").join(&layer.as_str().unwrap()["sha256:".len()..]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    bench.run(&["system", "check"]).expect(0);
    let deep = bench.run(&["system", "check", "--deep"]).expect(7);
    assert_eq!(deep.stdout, bench.run(&["image", "verify"]).expect(7).stdout);
}

/// A file system without one free block: a prune says what it will free, and frees it.
#[test]
fn a_prune_works_on_a_full_disk() {
    let bench = Bench::new();
    let (base, delta) = (golden("multi", "base.tar"), golden("multi", "delta.tar"));
    let silt = env!("CARGO_BIN_EXE_silt");
    let script = format!(
        r#"set -e
        mkdir disk && mount -t tmpfs -o size=4m none disk
        export SILT_ROOT=$PWD/disk/store
        {silt} -q load -i {base} --tag app:current >&2
        {silt} -q load -i {delta} --tag app:current >&2
        dd if=/dev/zero of=disk/filler bs=4k 2>/dev/null || true
        if echo x >disk/more 2>/dev/null; then exit 90; fi
        {silt} -q system df --json
        echo ---
        {silt} -q system prune --dry-run --json
        echo ---
        {silt} -q system prune --json
        echo ---
        {silt} -q image verify
        {silt} -q image ls --json"#,
        base = text(&base),
        delta = text(&delta),
    );
    let mut command = command_of(Path::new("unshare"));
    command.args(["-m", "sh", "-c", &script]).current_dir(bench.path(""));
    if !has_tool("unshare", &["-m", "mount", "-t", "tmpfs", "none", "/mnt"]) {
        return;
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} {stderr}", output.status);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<serde_json::Value> =
        stdout.split("---\n").map(|part| serde_json::from_str(part).unwrap()).collect();
    let [usage, planned, done, images] = &parts[..] else { panic!("{stdout}") };
    assert_eq!(usage["free_bytes"], 0);
    assert!(usage["mount_point"].as_str().unwrap().ends_with("/disk"), "{usage}");
    assert_eq!(planned["images"], json!([facts("multi")["base"]["id"]]));
    assert_eq!(planned, done);
    assert!(done["freed_bytes"].as_u64().unwrap() > 800_000, "{done}");
    assert_eq!(images[0]["id"], facts("multi")["target"]["id"]);
    assert_eq!(images.as_array().unwrap().len(), 1);
}
