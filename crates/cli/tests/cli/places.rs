//! Images that a transport says the place of, in every command that reads one.

use std::fs;

use serde_json::json;

use crate::bench::{Bench, facts, golden, text};

/// Archives as they were, written again.
#[test]
fn what_reads_the_store_reads_other_places_too() {
    let stored = Bench::with(&[golden("multi", "target.tar")]);
    let bench = Bench::new();
    let archive = golden("multi", "target.tar");
    let place = format!("docker-archive:{}", text(&archive));
    stored.run(&["-q", "image", "save", "-o", "saved.tar", "golden-multi:target"]).expect(0);
    bench.run(&["-q", "image", "save", "-o", "saved.tar", &place]).expect(0);
    assert!(
        fs::read(stored.path("saved.tar")).unwrap() == fs::read(bench.path("saved.tar")).unwrap()
    );
    // By its ID it has no name.
    let id = facts("multi")["target"]["id"].as_str().unwrap().to_owned();
    bench.run(&["-q", "image", "save", "-o", "id.tar", &format!("{place}:{id}")]).expect(0);
    let by_id = fs::read(bench.path("id.tar")).unwrap();
    assert!(by_id.windows(15).any(|window| window == b"\"RepoTags\":null"));
    // Twice is once, and a store's image goes along.
    bench.run(&["-q", "load", "-i", text(&golden("tiny", "target.tar"))]).expect(0);
    let line = ["-q", "image", "save", "-o", "both.tar", &place, &place, "golden-tiny:target"];
    bench.run(&line).expect(0);
    let shown = bench.json(&["image", "show", "--json", "both.tar"]);
    assert_eq!(shown["images"].as_array().unwrap().len(), 2, "{shown}");

    let history = |bench: &Bench, image: &str| bench.json(&["image", "history", "--json", image]);
    assert_eq!(history(&bench, &place), history(&stored, "golden-multi:target"));
    let unpacked = bench.json(&["-q", "image", "unpack", "--json", &place, "files"]);
    let from_store =
        stored.json(&["-q", "image", "unpack", "--json", "golden-multi:target", "files"]);
    assert_eq!(unpacked, from_store);
    let inspected = bench.json(&["image", "inspect", &place, "golden-tiny:target"]);
    let mut expected = stored.json(&["image", "inspect", "golden-multi:target"]);
    // It is the store that has a manifest of its own.
    expected[0].as_object_mut().unwrap().remove("Descriptor");
    assert_eq!(inspected[0], expected[0]);
    assert_eq!(inspected[1]["Id"], facts("tiny")["target"]["id"]);
    for line in [
        &["image", "save", "-o", "x", "oci-archive:absent.tar"][..],
        &["image", "history", "docker-archive:absent.tar"],
        &["image", "unpack", "oci:absent", "new"],
    ] {
        assert!(bench.run(line).expect(1).stderr.contains("absent"), "{line:?}");
    }
}

#[test]
fn a_layout_gets_images_beside_those_that_it_has() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let (base, target) = (facts("multi")["base"].clone(), facts("multi")["target"].clone());
    let copied = bench.json(&["image", "copy", "--json", "golden-multi:base", "oci:layout"]);
    assert_eq!(copied["images"], json!([base["id"]]));
    bench.run(&["-q", "image", "copy", "golden-multi:target", "oci:layout:other:1"]).expect(0);
    // The same again changes nothing.
    let index = fs::read(bench.path("layout/index.json")).unwrap();
    bench.run(&["-q", "image", "copy", "golden-multi:target", "oci:layout:other:1"]).expect(0);
    assert_eq!(fs::read(bench.path("layout/index.json")).unwrap(), index);
    let device = Bench::new();
    device.run(&["-q", "load", "-i", text(&bench.path("layout"))]).expect(0);
    assert_eq!(device.id("golden-multi:base"), base["id"]);
    assert_eq!(device.id("other:1"), target["id"]);
    device.run(&["image", "verify"]).expect(0);
    let from = format!("oci:{}:other:1", text(&bench.path("layout")));
    device.run(&["-q", "image", "copy", &from, "third:3"]).expect(0);
    assert_eq!(device.id("third:3"), target["id"]);

    // A name that is there moves to the new image, and other folders are none of ours.
    bench.run(&["-q", "image", "copy", "golden-multi:base", "oci:layout:other:1"]).expect(0);
    let device = Bench::new();
    device.run(&["-q", "load", "-i", text(&bench.path("layout"))]).expect(0);
    assert_eq!(device.id("other:1"), base["id"]);
    let refused = bench.run(&["image", "copy", "golden-multi:base", "oci:."]).expect(1);
    assert!(refused.stderr.contains("neither empty nor an OCI layout"), "{}", refused.stderr);
}
