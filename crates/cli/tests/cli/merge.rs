//! `image delta --merge`.

use std::fs;

use crate::bench::{Bench, golden, text};

const IMAGES: [&str; 3] = ["golden-multi:base", "golden-multi:target", "golden-gnu:base"];

/// A build machine with three images, and the deltas between them in files and in the store.
fn maker(format: &str) -> Bench {
    let files = [("multi", "base.tar"), ("multi", "target.tar"), ("gnu", "base.tar")];
    let bench = Bench::with(&files.map(|(set, file)| golden(set, file)));
    for (i, name) in ["d:1", "d:2"].into_iter().enumerate() {
        let line = ["image", "delta", "--format", format, IMAGES[i], IMAGES[i + 1], "-t", name];
        bench.run(&line).expect(0);
        let file = format!("{}.tar", &name[2..]);
        bench.run(&["save", "-o", &file, name]).expect(0);
    }
    bench
}

#[test]
fn two_deltas_become_one() {
    for format in ["silt", "balena"] {
        let maker = maker(format);
        let line = ["image", "delta", "--merge", "d:1", "d:2"];
        let run = maker.run(&[&line[..], &["-o", "merged.tar"]].concat()).expect(0);
        assert!(run.stdout.starts_with("Both deltas: "), "{}", run.stdout);
        assert!(run.stdout.contains("composed: "), "{}", run.stdout);
        let report = maker.json(&[&line[..], &["-t", "d:merged", "--json"]].concat());
        assert_eq!(report["target"], maker.id(IMAGES[2]));
        assert_eq!(report["base"][0], maker.id(IMAGES[0]));
        assert_eq!(report["delta"], maker.id("d:merged"));
        assert_eq!(report["format"], format);
        let merge = &report["merge"];
        assert!(merge["composed_layers"].as_u64() > Some(0), "{merge}");

        let device = Bench::with(&[golden("multi", "base.tar")]);
        device.run(&["load", "-i", text(&maker.path("merged.tar"))]).expect(0);
        assert_eq!(device.id(&report["target"].as_str().unwrap()[..20]), report["target"]);
        device.run(&["image", "verify"]).expect(0);
    }
}

#[test]
fn what_is_missing_is_named_and_can_be_given() {
    let maker = maker("silt");
    let file = |name: &str| format!("docker-archive:{}", text(&maker.path(name)));
    let (first, second) = (file("1.tar"), file("2.tar"));
    let line = ["image", "delta", "--merge", &first, &second, "-o", "merged.tar"];
    maker.run(&line).expect(0);
    let elsewhere = Bench::new();
    let run = elsewhere.run(&line).expect(4);
    assert!(run.stderr.contains("--base"), "{}", run.stderr);
    assert!(!elsewhere.path("store").exists() && !elsewhere.path("merged.tar").exists());
    let base = format!("docker-archive:{}", text(&golden("multi", "base.tar")));
    elsewhere.run(&[&line[..], &["--base", &base]].concat()).expect(0);
    let bytes = |bench: &Bench| fs::read(bench.path("merged.tar")).unwrap();
    assert!(bytes(&elsewhere) == bytes(&maker));
}

#[test]
fn damaged_deltas_are_refused() {
    let maker = maker("silt");
    let file = |name: &str| format!("docker-archive:{}", text(&maker.path(name)));
    let whole = fs::read(maker.path("2.tar")).unwrap();
    let line = ["image", "delta", "--merge", "d:1", &file("bad.tar"), "-o", "merged.tar"];
    for at in (1..20).map(|i| whole.len() / 20 * i) {
        fs::write(maker.path("bad.tar"), &whole[..at]).unwrap();
        maker.run(&line).expect(5);
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(maker.path("bad.tar"), changed).unwrap();
        // A changed byte may be one that no format looks at.
        let run = maker.run(&line);
        assert!(run.code == 5 || run.code == 0, "{at}: {} {}", run.code, run.stderr);
    }
}

#[test]
fn what_is_not_two_deltas_is_a_usage_error() {
    let maker = maker("silt");
    maker
        .run(&["image", "delta", "--format", "balena", IMAGES[1], IMAGES[2], "-t", "d:3"])
        .expect(0);
    for (line, words) in [
        (&["d:1", "d:3"][..], "format"),
        (&["d:2", "d:1"], "second needs"),
        (&["d:1", IMAGES[0]], "is not a delta"),
        (&["d:1"], "second delta is missing"),
        (&["d:1", "d:2", "--from", IMAGES[0]], "neither --from"),
        (&["d:1", "d:2", "--format", "balena"], "are of the format silt"),
    ] {
        let run = maker.run(&[&["image", "delta", "--merge"], line].concat()).expect(2);
        assert!(run.stderr.contains(words), "{line:?}: {}", run.stderr);
    }
    maker.run(&["image", "delta", "--merge", "d:1", "d:none"]).expect(3);
}
