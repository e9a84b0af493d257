//! `save`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::bench::{Bench, facts, golden, text};

#[test]
fn every_form_loads_again() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let names = ["golden-multi:base", "golden-multi:target"];
    for format in ["docker-archive", "oci-archive"] {
        for compress in ["none", "gzip", "zstd"] {
            let options = ["--format", format, "--compress", compress, "-o", "out.tar"];
            bench.run(&[&["image", "save"], &options[..], &names].concat()).expect(0);
            let other = Bench::with(&[bench.path("out.tar")]);
            for (name, what) in names.iter().zip(["base", "target"]) {
                assert_eq!(other.id(name), facts("multi")[what]["id"], "{format} {compress}");
            }
        }
    }
}

#[test]
fn two_saves_are_the_same_bytes_wherever_they_go() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    let name = "golden-multi:target";
    bench.run(&["save", "-o", "1.tar", name]).expect(0);
    bench.run(&["image", "save", "--output", "2.tar", name]).expect(0);
    let piped = bench.command(&["save", name]).output().unwrap();
    let dashed = bench.command(&["save", "-o", "-", name]).output().unwrap();
    let first = fs::read(bench.path("1.tar")).unwrap();
    assert!(first == fs::read(bench.path("2.tar")).unwrap());
    assert!(first == piped.stdout && first == dashed.stdout);
    let mode = fs::metadata(bench.path("1.tar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
    let left = fs::read_dir(bench.path("")).unwrap().count();
    assert_eq!(left, 3, "the store and two archives");
}

#[test]
fn the_report_for_programs() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    let report = bench.json(&["save", "--json", "-o", "x.tar", "golden-multi:target"]);
    let bytes = fs::metadata(bench.path("x.tar")).unwrap().len();
    let id = facts("multi")["target"]["id"].clone();
    assert_eq!(
        report,
        json!({ "bytes": bytes, "compress": "none", "images": [id], "parts": null })
    );
}

#[test]
fn a_file_that_was_there_stays_when_saving_fails() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    fs::write(bench.path("x.tar"), "before").unwrap();
    let diff_id = facts("multi")["target"]["diff_ids"][2].clone();
    let layer =
        bench.path("store/blobs/sha256").join(&diff_id.as_str().unwrap()["sha256:".len()..]);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[1000] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let run = bench.run(&["save", "-o", "x.tar", "golden-multi:target"]).expect(7);
    assert!(run.stderr.contains(diff_id.as_str().unwrap()), "{}", run.stderr);
    assert_eq!(fs::read_to_string(bench.path("x.tar")).unwrap(), "before");
    assert_eq!(fs::read_dir(bench.path("")).unwrap().count(), 2);
}

#[test]
fn a_reader_that_goes_away_is_told_as_a_failure() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = bench.command(&["-q", "save", "golden-multi:target"]).stdout(full).output().unwrap();
    assert_eq!(run.status.code(), Some(6));
    let file = text(&golden("tiny", "base.tar")).to_owned();
    bench.run(&["save", "-o", &(file + "/x"), "golden-multi:target"]).expect(1);
}
