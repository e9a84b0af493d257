//! Exit codes, and the one line with its hint.

use std::fs;

use crate::bench::{Bench, golden, text};

/// What each command line says on a store with the base of a delta alone.
fn transcript(bench: &Bench, lines: &[&[&str]]) -> String {
    let run =
        |line: &&[&str]| format!("$ silt {}\n{}", line.join(" "), bench.run(line).transcript());
    lines.iter().map(run).collect::<Vec<_>>().join("\n")
}

#[test]
fn wrong_command_lines() {
    let bench = Bench::new();
    insta::assert_snapshot!(transcript(
        &bench,
        &[
            &["image"],
            &["imgae"],
            &["image", "delt"],
            &["image", "delta", "base"],
            &["image", "ls", "--jsn"],
            &["image", "tag", "a", "UPPER"],
            &["image", "load", "-i", "x", "--max-memory", "64Q"],
            &["image", "load", "-i", "x", "--platform", "linux"],
            &["image", "delta", "a", "b", "--format", "oci-delta"],
            &["image", "save", "-o", "x"],
            &["image", "save", "--json", "x"],
            &["image", "rm", ""],
        ]
    ));
    assert!(!bench.path("store").exists());
}

#[test]
fn what_later_versions_will_do() {
    let bench = Bench::new();
    let lines: &[&[&str]] = &[
        &["image", "copy", "a", "docker://r/b"],
        &["image", "verify", "oci:x"],
        &["image", "inspect", "docker://r/x"],
    ];
    for line in lines {
        let run = bench.run(line).expect(2);
        assert!(run.stderr.starts_with("error: "), "{line:?}: {}", run.stderr);
        assert!(run.stderr.contains("not built yet"), "{line:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{line:?}: {}", run.stderr);
    }
    assert!(!bench.path("store").exists());
}

#[test]
fn what_cannot_be_done() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    fs::write(bench.path("text"), "this is no archive\n".repeat(100)).unwrap();
    fs::write(bench.path("empty"), "").unwrap();
    let archive = fs::read(golden("multi", "target.tar")).unwrap();
    fs::write(bench.path("cut.tar"), &archive[..archive.len() / 2]).unwrap();
    fs::copy(golden("tiny", "delta.tar"), bench.path("delta.tar")).unwrap();
    fs::create_dir(bench.path("folder")).unwrap();
    let before = bench.fingerprint();
    insta::assert_snapshot!(transcript(
        &bench,
        &[
            &["image", "inspect", "nothing"],
            &["image", "inspect", "38c53fbc0a41"],
            &["image", "history", "nothing"],
            &["image", "tag", "nothing", "a:b"],
            &["image", "rm", "golden-multi:base", "nothing"],
            &["image", "save", "-o", "x", "nothing"],
            &["image", "delta", "golden-multi:base", "nothing"],
            &["image", "verify", "nothing"],
            &["image", "unpack", "nothing", "directory"],
            &["image", "unpack", "golden-multi:base", "."],
            &["image", "apply", "golden-multi:base"],
            &["-q", "image", "load", "-i", "nothing"],
            &["-q", "image", "load", "-i", "text"],
            &["-q", "image", "load", "-i", "empty"],
            &["-q", "image", "load", "-i", "cut.tar"],
            &["-q", "image", "load", "-i", "folder"],
            &["-q", "image", "load", "-i", "delta.tar"],
            &["--root", "folder/../text", "image", "ls"],
            &["--root", "/", "image", "ls"],
        ]
    ));
    let run =
        bench.run(&["-q", "image", "save", "-o", "no/such/file", "golden-multi:base"]).expect(1);
    assert!(run.stderr.starts_with("error: cannot write no/such/file: No such"), "{}", run.stderr);
    assert!(bench.fingerprint() == before);
}

#[test]
fn an_ambiguous_id_is_no_image() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let id = bench.id("golden-multi:base");
    let digits = &id.as_str().unwrap()["sha256:".len()..];
    bench.run(&["image", "inspect", &digits[..4]]).expect(0);
    bench.run(&["image", "inspect", &digits[..3]]).expect(3);
}

#[test]
fn reading_commands_make_no_store() {
    let bench = Bench::new();
    for line in [
        &["image", "ls"][..],
        &["image", "layers"],
        &["image", "verify"],
        &["system", "df"],
        &["system", "prune"],
        &["system", "prune", "--dry-run"],
        &["system", "check"],
        &["load", "--dry-run", "-i", text(&golden("multi", "base.tar"))],
        &["image", "show", text(&golden("multi", "base.tar"))],
    ] {
        bench.run(line).expect(0);
        assert!(!bench.path("store").exists(), "{line:?}");
    }
    for line in [
        &["image", "inspect", "x"][..],
        &["image", "rm", "x"],
        &["image", "tag", "x", "y"],
        &["image", "delta", "x", "y"],
        &["image", "save", "-o", "f", "x"],
    ] {
        bench.run(line).expect(3);
        assert!(!bench.path("store").exists(), "{line:?}");
    }
    bench.run(&["load", "-i", text(&golden("multi", "delta.tar"))]).expect(4);
    assert!(!bench.path("store").exists());
}

/// The index of a store that somebody damaged.
#[test]
fn a_damaged_index_is_stored_damage() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    fs::write(bench.path("store/index.json"), "{").unwrap();
    for line in [&["image", "ls"][..], &["system", "check"], &["image", "inspect", "x"]] {
        let run = bench.run(line).expect(7);
        assert!(run.stderr.contains("[FOLDER]/store/index.json"), "{}", run.stderr);
    }
}
