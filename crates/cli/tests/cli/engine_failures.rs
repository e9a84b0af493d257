//! What was seen to go wrong with balenaEngine 20.10 (`docs/formats/balena.md`), and cannot happen here.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{Bench, facts, golden, text};
use crate::crafted::add;

const COPY_N8_N4: u8 = 0x53;
const LITERAL_N1: u8 = 0x41;

/// A `balena` delta of one layer against the golden base, made of these commands.
fn write_delta(path: &Path, target_layer: &[u8], commands: &[u8]) -> String {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "delta", &[&[0x72, 0x73, 0x02, 0x36], commands, &[0]].concat());
    let layer = layer.into_inner().unwrap();
    let config_of = |layer: &[u8], labels: Value| {
        let diff_id = silt::DiffId(silt::Digest::of(layer)).to_string();
        json!({
            "os": "linux", "architecture": "amd64", "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        })
        .to_string()
    };
    let target = config_of(target_layer, json!({}));
    let labels = json!({
        "io.resin.delta.base": facts("multi")["base"]["id"], "io.resin.delta.config": target,
    });
    let config = config_of(&layer, labels);
    let name = format!("{}.json", silt::Digest::of(config.as_bytes()).hex());
    let manifest = json!([{ "Config": name, "RepoTags": ["made:1"], "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, "layer.tar", &layer);
    add(&mut archive, &name, config.as_bytes());
    add(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    fs::write(path, archive.into_inner().unwrap()).unwrap();
    silt::Digest::of(target.as_bytes()).to_string()
}

fn copy(offset: u64, length: u32) -> Vec<u8> {
    [&[COPY_N8_N4][..], &offset.to_be_bytes(), &length.to_be_bytes()].concat()
}

/// The layers of the golden base, one after the other: what a `balena` delta addresses.
fn base_bytes(bench: &Bench) -> Vec<u8> {
    let layers = facts("multi")["base"]["diff_ids"].clone();
    let blobs = bench.path("store/blobs/sha256");
    let read = |id: &Value| fs::read(blobs.join(&id.as_str().unwrap()["sha256:".len()..])).unwrap();
    layers.as_array().unwrap().iter().flat_map(read).collect()
}

/// There it spins for ever.
#[test]
fn a_copy_past_the_end_of_a_base_of_several_layers_is_refused() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let base = base_bytes(&bench);
    let end = base.len() as u64;
    let before = bench.fingerprint();
    for commands in [
        copy(end - 10, 11),
        copy(end, 1),
        copy(end + 1, 1),
        copy(u64::MAX - 1, 4),
        copy(0, u32::MAX),
        [copy(307_000, 1000), copy(end - 1, 2)].concat(),
    ] {
        write_delta(&bench.path("delta.tar"), b"whatever", &commands);
        let start = Instant::now();
        for line in [&["-q", "load", "-i", "delta.tar"][..], &["image", "show", "delta.tar"]] {
            let run = bench.run(line).expect(5);
            assert!(run.stderr.starts_with("error: ") || line[0] == "image", "{}", run.stderr);
        }
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(bench.fingerprint() == before);
    }
    // Up to the end, and across the border of two layers, is as it should be.
    let commands = [copy(307_000, 1000), copy(end - 10, 10), vec![LITERAL_N1, 1, b'x']].concat();
    let target = [&base[307_000..308_000], &base[base.len() - 10..], b"x"].concat();
    let id = write_delta(&bench.path("delta.tar"), &target, &commands);
    bench.run(&["-q", "load", "-i", "delta.tar"]).expect(0);
    assert_eq!(bench.id("made:1"), json!(id));
}

/// There another image is loaded, with exit code 0.
#[test]
fn one_changed_byte_in_the_config_of_the_target_is_damage() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let names = ["golden-multi:base", "golden-multi:target"];
    for (format, archive, file) in [
        ("silt", "docker-archive", "a"),
        ("silt", "oci-archive", "b"),
        ("balena", "docker-archive", "c"),
    ] {
        bench
            .run(&["-q", "image", "delta", names[0], names[1], "--format", format, "-t", file])
            .expect(0);
        let line =
            ["-q", "image", "save", "--compress", "none", "--format", archive, "-o", file, file];
        bench.run(&line).expect(0);
    }
    fs::copy(golden("multi", "delta.tar"), bench.path("d")).unwrap();
    for file in ["a", "b", "c", "d"] {
        let device = Bench::with(&[golden("multi", "base.tar")]);
        let before = device.fingerprint();
        let bytes = fs::read(bench.path(file)).unwrap();
        // In the target's config, which is text in a label: what it runs. An engine's archive has that
        // a second time, in a member that nobody reads.
        let places = bytes.windows(6).enumerate().filter(|(_, window)| *window == b"/bin/y");
        let mut refused = 0;
        for (found, _) in places {
            let mut changed = bytes.clone();
            changed[found + 5] = b'z';
            fs::write(device.path("changed"), changed).unwrap();
            let code = device.run(&["-q", "load", "-i", "changed"]).code;
            let from_pipe = device.run_with_input(&["-q", "load"], &device.path("changed")).code;
            assert_eq!(code, from_pipe);
            match code {
                5 => refused += 1,
                code => {
                    assert_eq!((code, file), (0, "d"));
                    let ids = [
                        facts("multi")["base"]["id"].clone(),
                        facts("multi")["target"]["id"].clone(),
                    ];
                    for image in device.json(&["image", "ls", "--json"]).as_array().unwrap() {
                        assert!(ids.contains(&image["id"]), "{image}");
                    }
                    device.run(&["image", "rm", "golden-multi:delta"]).expect(0);
                }
            }
        }
        assert_eq!(refused, 1, "{file}");
        let names_of = |files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
            files.into_iter().map(|(path, _)| path).collect()
        };
        assert_eq!(names_of(device.fingerprint()), names_of(before), "{file}");
        fs::write(device.path("whole"), bytes).unwrap();
        device.run(&["-q", "load", "-i", "whole"]).expect(0);
    }
}

/// There what comes after it is passed over.
#[test]
fn a_target_that_is_there_does_not_hide_the_rest_of_the_file() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    bench.run(&["-q", "load", "-i", text(&golden("tiny", "target.tar"))]).expect(0);
    let names = ["golden-multi:base", "golden-multi:target"];
    for format in ["silt", "balena"] {
        let delta = format!("delta:{format}");
        bench
            .run(&["-q", "image", "delta", names[0], names[1], "--format", format, "-t", &delta])
            .expect(0);
        for order in [[&delta, "golden-tiny:target"], ["golden-tiny:target", &delta]] {
            bench.run(&[&["-q", "image", "save", "-o", "both.tar"][..], &order].concat()).expect(0);
            let device = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
            fs::copy(bench.path("both.tar"), device.path("both.tar")).unwrap();
            let report = device.json(&["load", "--json", "-i", "both.tar"]);
            let were_there: Vec<&Value> = report["images"]
                .as_array()
                .unwrap()
                .iter()
                .map(|image| &image["was_present"])
                .collect();
            assert_eq!(
                were_there.iter().filter(|was| **was == &json!(true)).count(),
                1,
                "{report}"
            );
            assert_eq!(device.id("golden-tiny:target"), facts("tiny")["target"]["id"]);
            device.run(&["image", "verify"]).expect(0);
        }
    }
}

/// There images without a name are left. The manifest of an engine's archive is its last member.
#[test]
fn a_file_that_is_cut_before_its_manifest_leaves_nothing() {
    for file in ["delta.tar", "target.tar"] {
        let device = Bench::with(&[golden("multi", "base.tar")]);
        let before = device.fingerprint();
        let bytes = fs::read(golden("multi", file)).unwrap();
        let manifest = bytes.windows(13).rposition(|window| window == b"manifest.json").unwrap();
        for length in [512, bytes.len() / 2, manifest - 1, manifest, manifest + 512, manifest + 600]
        {
            fs::write(device.path("cut.tar"), &bytes[..length]).unwrap();
            device.run(&["-q", "load", "-i", "cut.tar"]).expect(5);
            device.run_with_input(&["-q", "load"], &device.path("cut.tar")).expect(5);
            assert!(device.fingerprint() == before, "{file} cut to {length}");
        }
    }
}
