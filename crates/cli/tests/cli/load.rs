//! `load`, `apply` and `show`.

use std::fs;

use serde_json::json;

use crate::bench::{Bench, facts, golden, text};
use crate::crafted::Crafted;

#[test]
fn the_lines_that_scripts_read() {
    let bench = Bench::new();
    let base = golden("multi", "base.tar");
    let run = bench.run(&["load", "-i", text(&base)]).expect(0);
    assert_eq!(run.stdout, "Loaded image: golden-multi:base\n");
    // Once more, from standard input, quietly: the result alone.
    for arguments in [&["load", "-q"][..], &["image", "load", "-q", "-i", "-"]] {
        let run = bench.run_with_input(arguments, &base).expect(0);
        let result = ("Loaded image: golden-multi:base\n", "");
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), result);
    }
    let mut unnamed = Crafted::new("unused");
    unnamed.names.clear();
    let id = unnamed.write(&bench.path("unnamed.tar"));
    let run = bench.run(&["load", "-q", "-i", "unnamed.tar"]).expect(0);
    assert_eq!((run.stdout, run.stderr), (format!("Loaded image ID: {id}\n"), String::new()));
    let several = Crafted { names: vec!["two:a", "two:b"], ..Crafted::new("unused") };
    several.write(&bench.path("several.tar"));
    let run = bench.run(&["load", "-i", "several.tar"]).expect(0);
    assert_eq!(run.stdout, "Loaded image: two:a\nLoaded image: two:b\n");
    let run = bench.run(&["load", "-i", "several.tar", "--tag", "three"]).expect(0);
    assert_eq!(run.stdout, "Loaded image: three:latest\n");
}

/// What balenaEngine made, on a store that has only the base.
#[test]
fn deltas_of_the_engine_make_their_targets() {
    for set in ["tiny", "multi", "gnu", "same-layers"] {
        let facts = facts(set);
        let bench = Bench::with(&[golden(set, "base.tar")]);
        let delta = golden(set, "delta.tar");
        let report = bench.json(&["load", "--json", "-i", text(&delta)]);
        assert_eq!(report["images"][0]["id"], facts["target"]["id"], "{set}");
        assert_eq!(report["images"][0]["was_present"], false, "{set}");
        assert_eq!(
            bench.id(facts["delta"]["repo_tags"][0].as_str().unwrap()),
            facts["target"]["id"]
        );
        bench.run(&["image", "verify"]).expect(0);
        let again = bench.json(&["load", "--json", "-i", text(&delta)]);
        assert_eq!(
            (&again["images"][0]["was_present"], &again["written_bytes"]),
            (&json!(true), &json!(0))
        );
    }
}

#[test]
fn a_dry_run_says_all_and_changes_nothing() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let before = bench.fingerprint();
    let delta = golden("multi", "delta.tar");
    let run = bench.run(&["load", "--dry-run", "-i", text(&delta)]).expect(0);
    let without_room = run.stdout.rsplit_once("Writes ").unwrap().0;
    insta::assert_snapshot!(without_room);
    let plan = bench.json(&["load", "--dry-run", "--json", "-i", text(&delta)]);
    assert_eq!(plan["images"][0]["id"], facts("multi")["target"]["id"]);
    let actions = plan["images"][0]["layers"].as_array().unwrap().iter();
    let actions: Vec<_> = actions.map(|layer| layer["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["present", "rebuild", "rebuild"]);
    bench.run_with_input(&["load", "--dry-run"], &delta).expect(0);
    assert!(bench.fingerprint() == before);
}

#[test]
fn showing_a_file_says_what_it_is_and_whether_it_fits() {
    let delta = golden("multi", "delta.tar");
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let before = bench.fingerprint();
    let shown = bench.run(&["-q", "image", "show", text(&delta)]).expect(0).stdout;
    // Wherever the checkout is.
    let shown = shown.replace(text(delta.parent().unwrap()), "FOLDER");
    insta::assert_snapshot!(shown.rsplit_once("Writes ").unwrap().0);
    let shown = bench.json(&["image", "show", "--json", text(&delta)]);
    assert_eq!(shown["images"][0]["delta"]["base"], facts("multi")["base"]["id"]);
    assert_eq!(shown["problem"], json!(null));
    assert!(bench.fingerprint() == before);

    let elsewhere = Bench::new();
    let shown = elsewhere.run(&["-q", "image", "show", text(&delta)]).expect(0).stdout;
    assert!(shown.contains("Here: cannot be loaded: the base of delta "), "{shown}");
    let shown = elsewhere.json(&["image", "show", "--json", text(&delta)]);
    assert_eq!(shown["plan"], json!(null));
}

#[test]
fn applying_is_loading_from_the_store() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let target = facts("multi")["target"]["id"].clone();
    let names = ["golden-multi:base", "golden-multi:target"];
    bench.run(&["image", "delta", names[0], names[1], "-t", "d:1"]).expect(0);
    bench.run(&["rmi", names[1]]).expect(0);
    assert_eq!(bench.id(names[1]), json!(null));
    let before = bench.fingerprint();
    bench.run(&["image", "apply", "--dry-run", "d:1"]).expect(0);
    assert!(bench.fingerprint() == before);
    let run = bench.run(&["image", "apply", "d:1"]).expect(0);
    assert_eq!(run.stdout, "Loaded image: golden-multi:target\n");
    assert_eq!(bench.id(names[1]), target);
    let run = bench.run(&["image", "apply", "-q", "d:1", "--tag", "other"]).expect(0);
    assert_eq!(run.stdout, "Loaded image: other:latest\n");
}

#[test]
fn a_foreign_platform_is_a_warning() {
    let bench = Bench::new();
    let mut foreign = Crafted::new("foreign:1");
    foreign.config["architecture"] = json!("s390x");
    let id = foreign.write(&bench.path("foreign.tar"));
    let run = bench.run(&["load", "-i", "foreign.tar"]).expect(0);
    let warnings: Vec<_> = run.stderr.lines().filter(|x| x.starts_with("warning: ")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("s390x"), "{}", run.stderr);
    assert_eq!(bench.id("foreign:1"), json!(id));
    let run = bench.run(&["load", "-i", "foreign.tar", "--platform", "linux/arm64"]).expect(3);
    assert!(run.stderr.contains("hint: "), "{}", run.stderr);
}

#[test]
fn the_root_is_found_in_the_environment() {
    let bench = Bench::new();
    let base = golden("tiny", "base.tar");
    let mut command = bench.command(&["load", "-q", "-i", text(&base)]);
    // An empty variable is none.
    command.env("SILT_ROOT", "").env("SILT_ENGINE", "").env("HOME", "/nowhere");
    command.env("XDG_DATA_HOME", bench.path("data"));
    let is_root = fs::metadata("/proc/self").is_ok_and(|found| {
        use std::os::unix::fs::MetadataExt;
        found.uid() == 0
    });
    if !is_root {
        assert!(command.status().unwrap().success());
        assert!(bench.path("data/silt/silt.json").exists());
    }
    let elsewhere = bench.path("elsewhere");
    let root = text(&elsewhere);
    bench.run(&["--root", root, "load", "-q", "-i", text(&base)]).expect(0);
    assert!(elsewhere.join("silt.json").exists() && !bench.path("store").exists());
}
