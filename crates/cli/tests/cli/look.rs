//! `ls`, `inspect`, `history`, `layers`, `verify`, `df`, `check`, `unpack`.

use std::fs;
use std::os::unix::fs::FileExt;

use serde_json::json;

use crate::bench::{Bench, facts, golden, text};
use crate::crafted::Crafted;

fn with_delta() -> Bench {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let names = ["golden-multi:base", "golden-multi:target"];
    bench.run(&["image", "delta", names[0], names[1], "--format", "balena"]).expect(0);
    bench.run(&["image", "delta", names[0], names[1], "-t", "a/b:silt"]).expect(0);
    bench.run(&["image", "tag", "golden-multi:base", "localhost:5000/x"]).expect(0);
    bench
}

#[test]
fn lists_are_those_of_docker() {
    let bench = with_delta();
    let list = bench.run(&["image", "ls"]).expect(0);
    // What a delta weighs, and so its ID, changes with the encoder.
    let columns = list.stdout.lines().map(|line| {
        let is_delta = line.ends_with("delta");
        let words: Vec<&str> = line.split("   ").map(str::trim).filter(|w| !w.is_empty()).collect();
        let shown = |(i, word): (usize, &&str)| match i {
            2 | 4 if is_delta => "…".to_owned(),
            _ => (*word).to_owned(),
        };
        words.iter().enumerate().map(shown).collect::<Vec<_>>().join(" | ")
    });
    insta::assert_snapshot!(columns.collect::<Vec<_>>().join("\n"));
    assert_eq!(bench.run(&["images"]).expect(0).stdout, list.stdout);
    let ids = bench.run(&["image", "ls", "-q", "--no-trunc"]).expect(0).stdout;
    assert_eq!(ids.lines().count(), 4);
    assert!(ids.lines().all(|id| id.len() == "sha256:".len() + 64), "{ids}");
    let one = bench.run(&["image", "ls", "golden-multi", "-q"]).expect(0).stdout;
    assert_eq!(one, "e5eabd5c55cd\n38c53fbc0a40\n");
    let one = bench.run(&["image", "ls", "golden-multi:base", "-q"]).expect(0).stdout;
    assert_eq!(one, "e5eabd5c55cd\n");
}

#[test]
fn an_empty_store_has_an_empty_list() {
    let bench = Bench::new();
    assert_eq!(bench.json(&["image", "ls", "--json"]), json!([]));
    assert_eq!(bench.json(&["image", "layers", "--json"]), json!([]));
    assert_eq!(bench.run(&["image", "ls", "-q"]).expect(0).stdout, "");
}

#[test]
fn lists_for_programs() {
    let bench = with_delta();
    let (base, target) = (&facts("multi")["base"], &facts("multi")["target"]);
    let images = bench.json(&["image", "ls", "--json"]);
    let images = images.as_array().unwrap();
    let of = |id: &serde_json::Value| images.iter().find(|image| image["id"] == *id).unwrap();
    let expected = json!({
        "id": base["id"], "names": ["golden-multi:base", "localhost:5000/x:latest"],
        "kind": "image", "created": "2024-01-01T00:00:00Z", "size_bytes": 1_157_120, "layers": 2,
        "platform": { "os": "linux", "architecture": "amd64" },
    });
    let mut found = of(&base["id"]).clone();
    found["created"] = expected["created"].clone();
    assert_eq!(found, expected);
    let deltas: Vec<_> = images.iter().filter(|image| image["kind"] == "delta").collect();
    for (delta, format) in [(deltas[0], "silt"), (deltas[1], "balena")] {
        assert_eq!(
            delta["delta"],
            json!({ "format": format, "base": base["id"], "target": target["id"] })
        );
    }
    let layers = bench.json(&["image", "layers", "--json"]);
    let shared =
        layers.as_array().unwrap().iter().find(|layer| layer["diff_id"] == base["diff_ids"][0]);
    let shared = shared.unwrap();
    assert_eq!(shared["size_bytes"], 307_200);
    assert_eq!(shared["images"].as_array().unwrap().len(), 2);
}

#[test]
fn inspecting_is_as_docker_does_it() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    insta::assert_snapshot!(
        bench.run(&["image", "inspect", "golden-multi:target"]).expect(0).stdout
    );
    let both = bench.json(&["image", "inspect", "--json", "38c5", "golden-multi:base"]);
    assert_eq!(both[0]["Id"], facts("multi")["target"]["id"]);
    assert_eq!(both[1]["RootFS"]["Layers"], facts("multi")["base"]["diff_ids"]);
}

#[test]
fn history_is_as_docker_shows_it() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    insta::assert_snapshot!(
        bench.run(&["image", "history", "golden-multi:target"]).expect(0).stdout
    );
    let steps = bench.json(&["image", "history", "--json", "golden-multi:target"]);
    let diff_ids: Vec<_> = steps.as_array().unwrap().iter().map(|step| &step["diff_id"]).collect();
    let expected = facts("multi")["target"]["diff_ids"].clone();
    assert!(diff_ids.into_iter().rev().eq(expected.as_array().unwrap()));
}

/// An image that would take over the terminal of whoever looks at it.
#[test]
fn images_cannot_write_to_the_terminal() {
    let bench = Bench::new();
    let mut evil = Crafted::new("evil:1");
    let escape = "\u{1b}[2J\u{9b}31m\nerror: forged";
    evil.config["history"] = json!([{ "created_by": escape, "comment": escape }]);
    evil.config["os"] = json!(escape);
    evil.config["config"] = json!({ "Cmd": [escape], "Labels": { escape: escape } });
    evil.write(&bench.path("evil.tar"));
    let load = bench.run(&["load", "-i", "evil.tar"]).expect(0);
    let lines: &[&[&str]] = &[
        &["image", "show", "evil.tar"],
        &["load", "--dry-run", "-i", "evil.tar"],
        &["image", "history", "evil:1"],
        &["image", "history", "--no-trunc", "evil:1"],
        &["image", "inspect", "evil:1"],
        &["image", "ls", "--json"],
    ];
    let runs = lines.iter().map(|line| bench.run(line).expect(0));
    for run in runs.chain([load]) {
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("error:")), "{text}");
        }
    }
    let config = bench.json(&["image", "inspect", "evil:1"])[0]["Config"].clone();
    assert_eq!(config["Cmd"][0], escape);
}

#[test]
fn verifying_finds_one_bit() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let whole = bench.run(&["image", "verify"]).expect(0);
    assert_eq!(whole.stdout, "");
    let diff_ids = facts("multi")["target"]["diff_ids"].clone();
    let layer = diff_ids[1].as_str().unwrap();
    let path = bench.path("store/blobs/sha256").join(&layer["sha256:".len()..]);
    let mut byte = [0];
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.read_exact_at(&mut byte, 200_000).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 200_000).unwrap();
    insta::assert_snapshot!(bench.run(&["image", "verify"]).expect(7).transcript());
    bench.run(&["image", "verify", "golden-multi:base"]).expect(0);
    let found: serde_json::Value =
        serde_json::from_str(&bench.run(&["-q", "image", "verify", "--json"]).expect(7).stdout)
            .unwrap();
    assert_eq!(found["damage"][0]["digest"], diff_ids[1]);
    assert_eq!(found["damage"][0]["ranges"], json!([{ "start": 196_608, "end": 262_144 }]));
    let files = found["damage"][0]["files"].as_array().unwrap();
    let holds = |file: &&serde_json::Value| {
        let at = |field: &str| file[field].as_u64().unwrap();
        (at("layer_offset")..at("layer_offset") + at("end") - at("start")).contains(&200_000)
    };
    assert_eq!(files.iter().filter(holds).count(), 1, "{files:?}");
    // The quick check does not read layers.
    bench.run(&["system", "check"]).expect(0);
    file.set_len(100).unwrap();
    insta::assert_snapshot!(bench.run(&["system", "check"]).expect(7).transcript());
}

/// Whatever file of the store a bit flips in, and wherever.
#[test]
fn verifying_finds_every_flipped_bit() {
    let bench = Bench::with(&[golden("tiny", "base.tar"), golden("tiny", "target.tar")]);
    bench.run(&["image", "verify"]).expect(0);
    for (path, bytes) in bench.fingerprint() {
        let offsets = [0, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(2)];
        for at in offsets.into_iter().filter(|at| *at < bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let run = bench.run(&["-q", "image", "verify"]).expect(7);
            let file = path.file_name().and_then(|name| name.to_str()).unwrap();
            let text = run.stdout + &run.stderr;
            assert!(text.contains(file), "{file}, {at}: {text}");
        }
        fs::write(&path, bytes).unwrap();
    }
    bench.run(&["image", "verify"]).expect(0);
}

/// Damage in a file's bytes is found by the digest, and in a header by the parser first.
#[test]
fn a_damaged_layer_is_not_unpacked_in_silence() {
    for offset in [0, 200_000] {
        let bench = Bench::with(&[golden("multi", "target.tar")]);
        let layer = facts("multi")["target"]["diff_ids"][1].clone();
        let digits = &layer.as_str().unwrap()["sha256:".len()..];
        let path = bench.path("store/blobs/sha256").join(digits);
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset] ^= 1;
        fs::write(&path, bytes).unwrap();
        let run = bench.run(&["-q", "image", "unpack", "golden-multi:target", "files"]).expect(7);
        assert!(run.stderr.contains(digits), "{}", run.stderr);
    }
}

#[test]
fn usage_accounts_for_every_file() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let usage = bench.json(&["system", "df", "--json"]);
    let kinds = ["layers", "documents", "bookkeeping", "unreachable", "temporary"];
    let sum =
        |field: &str| kinds.iter().map(|kind| usage[kind][field].as_u64().unwrap()).sum::<u64>();
    let files = bench.fingerprint();
    assert_eq!(sum("files"), files.len() as u64);
    assert_eq!(sum("size_bytes"), files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert_eq!(usage["layers"], json!({ "files": 2, "size_bytes": 1_157_120 }));
    let shown = bench.run(&["system", "df"]).expect(0).stdout;
    assert!(shown.contains("1 images with a name, 0 without"), "{shown}");
    let check = bench.run(&["system", "check"]).expect(0).stdout;
    assert_eq!(check, "ok: 1 images, 2 layers\n");
}

#[test]
fn a_root_file_system_comes_out() {
    let bench = Bench::with(&[golden("tiny", "target.tar")]);
    let unpacked = bench.json(&["-q", "image", "unpack", "--json", "golden-tiny:target", "files"]);
    assert_eq!(unpacked["id"], facts("tiny")["target"]["id"]);
    let names = fs::read_dir(bench.path("files")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.count() > 0);
    let again = bench.run(&["image", "unpack", "golden-tiny:target", text(&bench.path("files"))]);
    assert!(again.expect(1).stderr.contains("hint: name a directory that is empty"));
}
