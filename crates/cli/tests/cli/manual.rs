//! The manual, `docs/cli.md`, against the program.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::bench::{Bench, golden, text};
use crate::help::{COMMANDS, help};

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_manual_has_every_command_and_flag() {
    let manual = manual();
    let bench = Bench::new();
    for command in COMMANDS {
        let name = format!("silt {}", command.join(" "));
        assert!(manual.contains(name.trim()), "docs/cli.md lacks `{name}`");
        let help = help(&bench, command);
        let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
        for flag in flags.map(|flag| flag.trim_end_matches([',', ']', '.', ':'])) {
            assert!(manual.contains(flag), "docs/cli.md lacks {flag} of `{name}`");
        }
    }
}

#[test]
fn the_manual_has_every_field() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let delta = golden("multi", "delta.tar");
    let delta = text(&delta);
    let names = ["golden-multi:base", "golden-multi:target"];
    let base_alone = Bench::with(&[golden("multi", "base.tar")]);
    let reports = [
        bench.json(&["image", "delta", names[0], names[1], "--json", "-o", "x.tar"]),
        bench.json(&["image", "delta", names[0], names[1], "--json", "--tag", "d:1"]),
        bench.json(&["image", "delta", "--from", names[0], names[1], "--json", "-o", "z.tar"]),
        bench.json(&["image", "delta", names[1], names[0], "--json", "--tag", "d:2"]),
        bench.json(&["image", "delta", "--merge", "d:1", "d:2", "--json", "-o", "m.tar"]),
        bench.json(&["image", "save", "--json", "-o", "y.tar", "d:1"]),
        base_alone.json(&["load", "--dry-run", "--json", "-i", delta]),
        base_alone.json(&["image", "show", "--json", delta]),
        base_alone.json(&["load", "--json", "-i", delta, "--report", "r.json"]),
        serde_json::from_slice(&std::fs::read(base_alone.path("r.json")).unwrap()).unwrap(),
        bench.json(&["trust", "ls", "--json"]),
        bench.json(&["image", "apply", "--json", "d:1"]),
        bench.json(&["image", "ls", "--json"]),
        without_config(bench.json(&["image", "inspect", "d:1"])),
        bench.json(&["image", "history", "--json", names[1]]),
        bench.json(&["image", "layers", "--json"]),
        bench.json(&["image", "verify", "--json"]),
        bench.json(&["image", "unpack", "--json", names[1], "files"]),
        bench.json(&["system", "df", "--json"]),
        bench.json(&["system", "check", "--json"]),
        bench.json(&["image", "rm", "--json", names[1]]),
        bench.json(&["system", "prune", "--json"]),
    ];
    let manual = manual();
    let words: BTreeSet<&str> = manual.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut keys = BTreeSet::new();
    reports.iter().for_each(|report| collect_keys(report, &mut keys));
    let missing: Vec<&String> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/cli.md lacks {missing:?}");
}

/// What an image's own config has is none of ours.
fn without_config(mut images: Value) -> Value {
    images[0]["Config"] = Value::Null;
    images
}

fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            keys.insert(key.clone());
            collect_keys(value, keys);
        }),
        _ => {}
    }
}
