//! Several deltas, and several images, in one file.

use std::fs;

use serde_json::json;

use crate::bench::{Bench, Ended, facts, golden, text};

const TARGET: &str = "golden-multi:target";

/// A build machine with the images of two golden sets.
fn maker() -> Bench {
    let files = [
        ("multi", "base.tar"),
        ("multi", "target.tar"),
        ("tiny", "base.tar"),
        ("tiny", "target.tar"),
        ("gnu", "base.tar"),
    ];
    Bench::with(&files.map(|(set, file)| golden(set, file)))
}

fn load(device: &Bench, file: &str) -> Ended {
    device.run(&["load", "-i", file]).expect(0)
}

#[test]
fn any_base_will_do_and_none_too() {
    let maker = maker();
    let from = ["--from", "golden-multi:base", "--from", "golden-gnu:base", "--with-full"];
    let line = [&["image", "delta"][..], &from, &[TARGET, "-o", "up.tar", "--json"]].concat();
    let report = maker.json(&line);
    assert_eq!(report["deltas"].as_array().map(Vec::len), Some(3), "{report}");
    assert!(report["shared_bytes"].as_u64().unwrap() > 1000, "{report}");
    assert_eq!(report["deltas"][2]["is_full"], true);
    let file = text(&maker.path("up.tar")).to_owned();
    let target = facts("multi")["target"]["id"].clone();
    let base = facts("multi")["base"]["id"].as_str().unwrap().to_owned();
    for (set, how) in [
        (Some("multi"), format!("by a silt delta to {base}")),
        // Nothing there is like the target.
        (Some("gnu"), "in full".to_owned()),
        (Some("tiny"), "in full".to_owned()),
        (None, "in full".to_owned()),
    ] {
        let device = match set {
            Some(set) => Bench::with(&[golden(set, "base.tar")]),
            None => Bench::new(),
        };
        let plan = device.json(&["load", "--dry-run", "--json", "-i", &file]);
        assert_eq!(plan["images"].as_array().map(Vec::len), Some(1));
        assert_eq!(plan["images"][0]["left_out"], 2);
        let run = load(&device, &file);
        assert!(run.stderr.contains(&format!("{TARGET}: {how}")), "{set:?}: {}", run.stderr);
        assert_eq!(device.id(TARGET), target);
        device.run(&["image", "verify"]).expect(0);
        assert_eq!(device.run(&["system", "prune", "--dry-run", "--json"]).expect(0).code, 0);
        let tagged = ["load", "-i", &file, "--tag", "other:name"];
        device.run(&tagged).expect(0);
        assert_eq!(device.id("other:name"), target);
        // What is there already needs nothing.
        assert!(load(&device, &file).stderr.contains("is here already"));
    }
    // The same bytes again.
    maker.run(&line).expect(0);
    let first = fs::read(&file).unwrap();
    maker.run(&[&line[..], &["--jobs", "1"]].concat()).expect(0);
    assert!(fs::read(&file).unwrap() == first);
}

/// Stored deltas of two targets go into one file; one target may be the basis of the next.
#[test]
fn several_targets_are_all_loaded_or_none() {
    let maker = maker();
    let delta = |line: &[&str]| maker.run(&[&["-q", "image", "delta"], line].concat()).expect(0);
    delta(&[
        "--from",
        "golden-multi:base",
        "--from",
        "golden-gnu:base",
        TARGET,
        "-t",
        "d:1",
        "-t",
        "d:2",
    ]);
    delta(&["golden-tiny:base", "golden-tiny:target", "-t", "e:1"]);
    maker
        .run(&["save", "-o", "up.tar", "d:1", TARGET, "golden-multi:base", "d:2", "e:1"])
        .expect(0);
    let file = text(&maker.path("up.tar")).to_owned();
    let device = Bench::with(&[golden("tiny", "base.tar")]);
    let run = load(&device, &file);
    for name in [TARGET, "golden-tiny:target", "golden-multi:base"] {
        assert_eq!(device.id(name), maker.id(name), "{}", run.stderr);
    }
    // Cheaper than in full was to make it out of the base, which had to be made before.
    let how = format!("{TARGET}: by a silt delta to");
    assert!(run.stderr.contains(&how), "{}", run.stderr);
    let without = Bench::with(&[golden("multi", "base.tar")]);
    let before = without.fingerprint();
    without.run(&["-q", "load", "-i", &file]).expect(4);
    assert!(without.fingerprint() == before);
}

#[test]
fn a_list_of_layers_stands_for_an_image() {
    let maker = maker();
    let device = Bench::with(&[golden("multi", "base.tar")]);
    let layers = device.run(&["image", "layers", "--json"]).expect(0).stdout;
    fs::write(maker.path("layers.json"), layers).unwrap();
    let line = ["image", "delta", "--from-layers", "layers.json", TARGET, "-o", "up.tar"];
    let run = maker.run(&line).expect(0);
    assert!(run.stdout.contains("from the listed layers"), "{}", run.stdout);
    let file = maker.path("up.tar");
    let size = fs::metadata(&file).unwrap().len();
    let straight = ["image", "delta", "golden-multi:base", TARGET, "-o", "straight.tar"];
    maker.run(&straight).expect(0);
    let straight = fs::metadata(maker.path("straight.tar")).unwrap().len();
    assert!(size < straight + 1000, "{size}, {straight}");
    load(&device, text(&file));
    assert_eq!(device.id(TARGET), facts("multi")["target"]["id"]);
    fs::write(maker.path("layers.json"), "[]").unwrap();
    let run =
        maker.run(&["-q", "image", "delta", "--from-layers", "layers.json", TARGET, "-o", "x"]);
    assert!(run.code == 1 && run.stderr.contains("none of the 0 listed"), "{}", run.stderr);
    fs::write(maker.path("layers.json"), "{}").unwrap();
    maker.run(&["image", "delta", "--from-layers", "layers.json", TARGET, "-o", "x"]).expect(5);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let maker = Bench::new();
    for line in [
        &["--from", "a", "b", "c", "-o", "x"][..],
        &["--from", "a", "b", "-t", "n:1", "-t", "n:2"],
        &["--from", "a", "--from", "b", "c", "-t", "n:1"],
        &["--from", "a", "--from", "b", "c", "-t", "n:1", "-o", "x"],
        &["--from", "a", "--from", "b", "c", "-o", "x", "--format", "balena"],
        &["--from", "a", "--from", "b", "c", "-o", "x", "--base", "d"],
        &["--from", "a"],
        &["a", "--with-full"],
    ] {
        maker.run(&[&["image", "delta"], line].concat()).expect(2);
    }
    assert_eq!(json!(null), maker.id("x"));
}
