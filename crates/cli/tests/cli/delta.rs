//! `delta`, then `save`, then `load` where only the base is.

use serde_json::json;

use crate::bench::{Bench, facts, golden};

const BASE: &str = "golden-multi:base";
const TARGET: &str = "golden-multi:target";

fn build() -> Bench {
    Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")])
}

#[test]
fn what_is_said_is_what_the_engine_says() {
    let bench = build();
    for (format, tag) in [("silt", "d:silt"), ("balena", "d:balena")] {
        let run =
            bench.run(&["image", "delta", BASE, TARGET, "--format", format, "-t", tag]).expect(0);
        let lines: Vec<&str> = run.stdout.lines().collect();
        let id = bench.id(tag);
        assert!(lines[0].starts_with("Normal size: 1.311MB, Delta size: "), "{}", lines[0]);
        assert!(lines[0].ends_with("x improvement"), "{}", lines[0]);
        assert_eq!(lines[1], format!("Created delta: {}", id.as_str().unwrap()));
        assert_eq!(lines[2..], [format!("Successfully tagged {tag}")]);
        let again =
            bench.run(&["-q", "image", "delta", BASE, TARGET, "--format", format]).expect(0);
        assert_eq!((again.stdout.trim(), again.stderr.as_str()), (id.as_str().unwrap(), ""));
    }
}

/// The three commands of the README.
#[test]
fn what_is_saved_makes_the_target_elsewhere() {
    let bench = build();
    let target = facts("multi")["target"]["id"].clone();
    for (format, name) in [("silt", TARGET), ("balena", "d:balena")] {
        let (tag, file) = (format!("d:{format}"), format!("{format}.tar"));
        bench.run(&["image", "delta", BASE, TARGET, "--format", format, "-t", &tag]).expect(0);
        bench.run(&["image", "save", "-o", &file, &tag]).expect(0);
        let device = Bench::with(&[golden("multi", "base.tar")]);
        let run = device.run(&["load", "-i", bench.path(&file).to_str().unwrap()]).expect(0);
        assert_eq!(run.stdout, format!("Loaded image: {name}\n"));
        assert_eq!(device.id(name), target);
        device.run(&["image", "verify"]).expect(0);
    }
}

#[test]
fn straight_into_a_file_it_is_the_same_and_nothing_is_stored() {
    let bench = build();
    bench.run(&["image", "delta", BASE, TARGET, "-t", "d:1"]).expect(0);
    bench.run(&["image", "save", "-o", "stored.tar", "d:1"]).expect(0);
    bench.run(&["rmi", "d:1"]).expect(0);
    let before = bench.fingerprint();
    let run =
        bench.run(&["image", "delta", BASE, TARGET, "-t", "d:1", "-o", "direct.tar"]).expect(0);
    assert!(run.stdout.contains("Created delta: "), "{}", run.stdout);
    let piped = bench.command(&["image", "delta", BASE, TARGET, "-t", "d:1", "-o", "-"]).output();
    let piped = piped.unwrap();
    assert!(piped.status.success());
    assert!(bench.fingerprint() == before);
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    assert!(read("direct.tar") == read("stored.tar"));
    assert!(read("direct.tar") == piped.stdout);
}

#[test]
fn the_report_for_programs() {
    let bench = build();
    let facts = facts("multi");
    let report = bench.json(&["image", "delta", BASE, TARGET, "-t", "d:1", "--json"]);
    assert_eq!(report["target"], facts["target"]["id"]);
    assert_eq!(report["base"], json!([facts["base"]["id"]]));
    assert_eq!((&report["format"], &report["names"]), (&json!("silt"), &json!(["d:1"])));
    assert_eq!(report["normal_bytes"], 1_310_720);
    assert_eq!(report["delta"], bench.id("d:1"));
    let layers = report["layers"].as_array().unwrap();
    let is_shared: Vec<_> = layers.iter().map(|layer| layer["is_shared"] == json!(true)).collect();
    assert_eq!(is_shared, [true, false, false]);
    for layer in layers.iter().filter(|layer| layer["is_shared"] == json!(false)) {
        let parts = [
            "copied_bytes",
            "added_bytes",
            "header_bytes",
            "recompressed_bytes",
            "padding_bytes",
            "literal_bytes",
        ];
        let sum: u64 = parts.iter().map(|part| layer[part].as_u64().unwrap()).sum();
        assert_eq!(layer["size_bytes"], sum, "{layer}");
    }
}

#[test]
fn several_bases_are_for_native_deltas() {
    let bench = build();
    bench.run(&["load", "-q", "-i", golden("tiny", "base.tar").to_str().unwrap()]).expect(0);
    let base = ["image", "delta", BASE, TARGET, "--base", "golden-tiny:base"];
    bench.run(&[&base[..], &["-o", "both.tar"]].concat()).expect(0);
    let refused = bench.run(&[&base[..], &["--format", "balena"]].concat()).expect(2);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    let device = Bench::with(&[golden("multi", "base.tar"), golden("tiny", "base.tar")]);
    device.run(&["load", "-i", bench.path("both.tar").to_str().unwrap()]).expect(0);
    assert_eq!(device.id(TARGET), facts("multi")["target"]["id"]);
}

#[test]
fn a_delta_of_a_delta_is_refused_with_advice() {
    let bench = build();
    bench.run(&["image", "delta", BASE, TARGET, "-t", "d:1"]).expect(0);
    let run = bench.run(&["image", "delta", BASE, "d:1"]).expect(2);
    assert!(run.stderr.contains("is a delta itself"), "{}", run.stderr);
}
