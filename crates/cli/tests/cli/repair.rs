//! `load --repair`, `--verify-base` and `--base-root`.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bench::{Bench, command_of, facts, golden, has_tool, text};

/// Both images, and native and `balena` deltas between them beside the store.
fn with_deltas() -> Bench {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let names = ["golden-multi:base", "golden-multi:target"];
    for format in ["silt", "balena"] {
        let line = ["-q", "image", "delta", names[0], names[1], "--format", format, "-o", format];
        bench.run(&line).expect(0);
    }
    bench
}

fn layer(image: &str, number: usize) -> String {
    facts("multi")[image]["diff_ids"][number].as_str().unwrap()["sha256:".len()..].to_owned()
}

fn blob(bench: &Bench, digits: &str) -> PathBuf {
    bench.path("store/blobs/sha256").join(digits)
}

fn flip(path: &PathBuf, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn every_kind_of_input_mends_only_what_is_damaged() {
    let bench = with_deltas();
    let (full, engine) = (golden("multi", "target.tar"), golden("multi", "delta.tar"));
    // It gives the image one more name.
    bench.run(&["-q", "load", "-i", text(&engine)]).expect(0);
    let whole = bench.fingerprint();
    let digits = layer("target", 1);
    for input in [text(&full), "silt", "balena", text(&engine)] {
        bench.run(&["-q", "load", "-i", input, "--repair"]).expect(0);
        flip(&blob(&bench, &digits), 200_000);
        flip(&blob(&bench, &digits), 819_199);
        let loaded = bench.run(&["load", "-i", input]).expect(0);
        assert!(loaded.stderr.contains("note: what was here already was not read"), "{input}");
        let plan = bench.json(&["load", "--dry-run", "--json", "-i", input, "--repair"]);
        assert_eq!(plan["images"][0]["layers"][1]["action"], "repair", "{plan}");
        assert_eq!(plan["images"][0]["layers"][1]["repair"], "blocks");
        assert_eq!(plan["room"]["mended_bytes"], 131_072 - 32_768);
        bench.run(&["image", "verify"]).expect(7);
        let report = bench.json(&["load", "--json", "-i", input, "--repair"]);
        let expected = json!([{"diff_id": format!("sha256:{digits}"), "written_bytes": 98_304}]);
        assert_eq!(report["repaired"], expected, "{input}");
        assert_eq!(report["written_bytes"], 98_304);
        assert!(bench.fingerprint() == whole, "{input}");
        let again = bench.run(&["load", "-i", input, "--repair"]).expect(0);
        assert!(!again.stdout.contains("Repaired"), "{}", again.stdout);
    }
}

#[test]
fn whatever_is_missing_or_cut_is_put_back() {
    let bench = with_deltas();
    let whole = bench.fingerprint();
    let digits = layer("target", 1);
    let (blob, blocks) = (blob(&bench, &digits), bench.path("store/blocks").join(&digits));
    let remove = |path: &PathBuf| fs::remove_file(path).unwrap();
    let cut = |path: &PathBuf, length: u64| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    };
    let full = golden("multi", "target.tar");
    for input in [text(&full), "silt", "balena"] {
        let damages: &[(&dyn Fn(), u64)] = &[
            (&|| remove(&blob), 819_200),
            (&|| remove(&blocks), 0),
            (&|| flip(&blocks, 60), 0),
            (&|| cut(&blob, 300_000), 819_200 - 262_144),
            (&|| cut(&blob, 900_000), 0),
            (&|| (remove(&blob), remove(&blocks)).0, 819_200),
            (&|| (flip(&blob, 5), flip(&blocks, 60)).0, 819_200),
        ];
        for (number, (damage, written_bytes)) in damages.iter().enumerate() {
            damage();
            bench.run(&["image", "verify"]).expect(7);
            let report = bench.json(&["load", "--json", "-i", input, "--repair"]);
            assert_eq!(report["repaired"][0]["written_bytes"], *written_bytes, "{number} {input}");
            assert!(bench.fingerprint() == whole, "{number} {input}");
        }
    }
    let id = facts("multi")["target"]["id"].clone();
    let config = &id.as_str().unwrap()["sha256:".len()..];
    flip(&bench.path("store/blobs/sha256").join(config), 9);
    bench.run(&["image", "verify"]).expect(7);
    bench.run(&["-q", "load", "-i", "silt", "--repair"]).expect(0);
    assert!(bench.fingerprint() == whole);
}

/// A delta cannot mend the layers that it reads or leaves out; the image that has them can.
#[test]
fn what_cannot_be_mended_is_named_and_the_rest_is_mended() {
    let bench = with_deltas();
    let whole = bench.fingerprint();
    let (shared, base, target) = (layer("base", 0), layer("base", 1), layer("target", 1));
    for input in ["silt", "balena"] {
        // The shared layer is left out, and what the other one is made of is damaged.
        flip(&blob(&bench, &shared), 1000);
        flip(&blob(&bench, &base), 500_000);
        flip(&blob(&bench, &target), 500_000);
        let before = bench.fingerprint();
        let run = bench.run(&["-q", "load", "-i", input, "--repair"]).expect(7);
        // A `balena` delta reads both, and one that is damaged is enough.
        assert!(run.stderr.contains(&shared) && run.stderr.contains(&target), "{}", run.stderr);
        assert!(input == "balena" || run.stderr.contains(&base), "{}", run.stderr);
        assert!(run.stderr.contains("the delta leaves it out"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: "), "{}", run.stderr);
        assert!(bench.fingerprint() == before);
        // The base alone, from its own archive; then only the shared layer cannot be mended… but was.
        let archive = golden("multi", "base.tar");
        let run = bench.run(&["-q", "load", "-i", text(&archive), "--repair"]).expect(0);
        assert_eq!(run.stdout.matches("Repaired layer: ").count(), 2, "{}", run.stdout);
        flip(&blob(&bench, &shared), 1000);
        if input == "silt" {
            let run = bench.run(&["-q", "load", "-i", input, "--repair"]).expect(7);
            assert!(run.stdout.contains(&target), "{}", run.stdout);
            assert!(!run.stderr.contains(&target), "{}", run.stderr);
        }
        bench.run(&["-q", "load", "-i", text(&archive), "--repair"]).expect(0);
        bench.run(&["-q", "load", "-i", input, "--repair"]).expect(0);
        assert!(bench.fingerprint() == whole);
    }
}

#[test]
fn a_damaged_input_mends_nothing() {
    let bench = with_deltas();
    let full = golden("multi", "target.tar");
    flip(&blob(&bench, &layer("target", 1)), 500_000);
    let before = bench.fingerprint();
    for input in [text(&full), "silt", "balena"] {
        let input = bench.path(input);
        let mut bytes = fs::read(&input).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(bench.path("damaged"), bytes).unwrap();
        bench.run(&["-q", "load", "-i", "damaged", "--repair"]).expect(5);
        assert!(bench.fingerprint() == before, "{}", input.display());
    }
}

#[test]
fn a_damaged_base_is_found_before_anything_is_written_or_at_the_frame() {
    let bench = with_deltas();
    bench.run(&["rmi", "golden-multi:target"]).expect(0);
    for (number, at) in [(0, 1000), (1, 500_000)] {
        let digits = layer("base", number);
        flip(&blob(&bench, &digits), at);
        let before = bench.fingerprint();
        for input in ["silt", "balena"] {
            let run = bench.run(&["-q", "load", "-i", input, "--verify-base"]).expect(7);
            assert!(run.stderr.contains(&digits), "{}", run.stderr);
            let run =
                bench.run(&["-q", "load", "-i", input, "--verify-base", "--dry-run"]).expect(7);
            assert!(run.stderr.contains(&digits), "{}", run.stderr);
            assert!(bench.fingerprint() == before);
            // Of a layer that is only kept, a load without the flag knows nothing.
            if number == 1 {
                let run = bench.run(&["-q", "load", "-i", input]).expect(7);
                assert!(run.stderr.contains(&digits), "{}", run.stderr);
                assert!(bench.fingerprint() == before);
            }
        }
        flip(&blob(&bench, &digits), at);
    }
    bench.run(&["-q", "load", "-i", "silt", "--verify-base"]).expect(0);
}

/// The running system's store has the base, the inactive one's nothing.
#[test]
fn base_layers_are_read_from_another_store() {
    let running = with_deltas();
    running.run(&["rmi", "golden-multi:target"]).expect(0);
    let root = running.path("store");
    let before = running.fingerprint();
    let shared = layer("base", 0);
    let engine = golden("multi", "delta.tar");
    for input in [running.path("silt"), running.path("balena"), engine] {
        let inactive = Bench::new();
        let input = text(&input);
        inactive.run(&["-q", "load", "-i", input]).expect(4);
        let line = ["load", "-i", input, "--base-root", text(&root)];
        let plan = inactive.json(&[&line[..], &["--dry-run", "--json"]].concat());
        let layers = &plan["images"][0]["layers"];
        assert_eq!(layers[0]["action"], "copy");
        assert_eq!(layers[0]["from"], text(&root));
        assert_eq!(layers[0]["diff_id"], format!("sha256:{shared}"));
        let sizes: u64 = (0..3).map(|number| layers[number]["size_bytes"].as_u64().unwrap()).sum();
        assert!(plan["room"]["needed_bytes"].as_u64().unwrap() > sizes, "{plan}");
        assert!(!inactive.path("store").exists());
        let report = inactive.json(&[&line[..], &["--json", "--verify-base"]].concat());
        assert_eq!(report["images"][0]["id"], facts("multi")["target"]["id"]);
        assert!(report["written_bytes"].as_u64().unwrap() > sizes);
        inactive.run(&["image", "verify"]).expect(0);
        assert_eq!(inactive.run(&["image", "ls", "-q"]).expect(0).stdout.lines().count(), 1);
        assert!(running.fingerprint() == before);
        // With all its layers here, the image does not need the other store any more.
        inactive.run(&["load", "-i", input]).expect(0);
    }
}

#[test]
fn another_store_that_is_damaged_or_absent_is_named() {
    let running = with_deltas();
    let root = running.path("store");
    let inactive = Bench::new();
    let input = running.path("silt");
    let line = ["-q", "load", "-i", text(&input), "--base-root"];
    let run = inactive.run(&[&line[..], &["nowhere"]].concat()).expect(1);
    assert!(run.stderr.contains("nowhere") && run.stderr.contains("hint: "), "{}", run.stderr);
    let shared = layer("base", 0);
    flip(&blob(&running, &shared), 1000);
    for flags in [&[][..], &["--verify-base"], &["--repair"]] {
        let run = inactive.run(&[&line[..], &[text(&root)], flags].concat()).expect(7);
        assert!(run.stderr.contains(&shared), "{}", run.stderr);
        assert!(
            !inactive.path("store/index.json").exists()
                || inactive.id("golden-multi:target") == json!(null)
        );
    }
}

/// Nothing is made in the other store, be it that nothing can be.
#[test]
fn another_store_may_be_closed_to_writing() {
    let running = with_deltas();
    let root = running.path("store");
    let folders = ["", "blobs", "blobs/sha256", "blocks", "tmp"].map(|folder| root.join(folder));
    let set = |mode| {
        for folder in &folders {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o555);
    let inactive = Bench::new();
    let input = running.path("balena");
    let run = inactive.run(&["-q", "load", "-i", text(&input), "--base-root", text(&root)]);
    set(0o755);
    run.expect(0);
    inactive.run(&["image", "verify"]).expect(0);
}

/// Blocks in several places of two layers, and the repair killed at each call that writes, and failing
/// at each: what is damaged afterwards was damaged before, and the next repair completes the work.
#[test]
fn a_repair_may_be_cut_short_anywhere() {
    if !has_tool("strace", &["-V"]) {
        return;
    }
    let bench = with_deltas();
    let whole = bench.fingerprint();
    let places =
        [(layer("target", 1), [5, 300_000, 819_000]), (layer("target", 2), [9, 70_000, 1])];
    for (call, fault) in [
        ("pwrite64", "signal=KILL"),
        ("pwrite64", "error=EIO"),
        ("pwrite64", "error=ENOSPC"),
        ("fsync", "signal=KILL"),
        ("fsync", "error=EIO"),
        ("?rename,?renameat,?renameat2", "signal=KILL"),
        ("write", "signal=KILL"),
    ] {
        let mut calls = 0;
        for when in 1.. {
            places.iter().for_each(|(digits, offsets)| {
                offsets.iter().for_each(|at| flip(&blob(&bench, digits), *at));
            });
            let damaged = bench.fingerprint();
            let inject = format!("inject={call}:{fault}:when={when}");
            let mut traced = command_of(Path::new("strace"));
            traced.args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &inject,
                env!("CARGO_BIN_EXE_silt"),
            ]);
            traced.args(["-q", "load", "-i", text(&bench.path("silt")), "--repair"]);
            traced.env("SILT_ROOT", bench.path("store"));
            let ended = traced.output().unwrap();
            for (((path, now), (_, before)), (_, right)) in bench
                .fingerprint()
                .iter()
                .filter(|(path, _)| !path.starts_with(bench.path("store/tmp")))
                .zip(&damaged)
                .zip(&whole)
            {
                let blocks =
                    now.chunks(65_536).zip(before.chunks(65_536)).zip(right.chunks(65_536));
                let is_safe = now.len() == right.len()
                    && blocks
                        .into_iter()
                        .all(|((now, before), right)| now == before || now == right);
                assert!(is_safe, "{call} {fault} {when}: {}", path.display());
            }
            bench.run(&["-q", "load", "-i", "silt", "--repair"]).expect(0);
            bench.run(&["system", "prune"]).expect(0);
            assert!(bench.fingerprint() == whole, "{call} {fault} {when}");
            if ended.status.success() {
                break;
            }
            calls += 1;
        }
        // Five blocks, and each layer is synced; nothing else of the store is written.
        let expected = match call {
            "pwrite64" => 5,
            "fsync" => 2,
            _ => 0,
        };
        assert!(calls >= expected, "{call} {fault}: {calls}");
    }
}
