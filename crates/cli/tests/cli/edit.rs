//! `tag`, `rm` and `prune`.

use serde_json::json;

use crate::bench::{Bench, facts, golden};
use crate::crafted::Crafted;

#[test]
fn names_come_and_go_as_in_docker() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let id = facts("multi")["base"]["id"].clone();
    assert_eq!(bench.run(&["tag", "golden-multi:base", "x"]).expect(0).stdout, "");
    assert_eq!(bench.id("x:latest"), id);
    let by_id = bench.run(&["rmi", id.as_str().unwrap()]).expect(1);
    assert!(by_id.stderr.contains("hint: remove it all with --force"), "{}", by_id.stderr);
    assert_eq!(bench.run(&["rmi", "x"]).expect(0).stdout, "Untagged: x:latest\n");
    let last = bench.run(&["image", "rm", "golden-multi:base"]).expect(0).stdout;
    assert_eq!(last, format!("Untagged: golden-multi:base\nDeleted: {}\n", id.as_str().unwrap()));
    assert_eq!(bench.json(&["image", "layers", "--json"]), json!([]));
}

#[test]
fn nothing_is_removed_for_a_wrong_name() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    bench.run(&["rmi", "golden-multi:base", "nothing"]).expect(3);
    assert_eq!(bench.id("golden-multi:base"), facts("multi")["base"]["id"]);
}

#[test]
fn forced_by_its_id_an_image_goes_with_all_names() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    bench.run(&["tag", "golden-multi:base", "x"]).expect(0);
    let removed = bench.json(&["image", "rm", "--force", "--json", "e5eabd5c55cd"]);
    assert_eq!(removed[0]["untagged"], json!(["golden-multi:base", "x:latest"]));
    assert_eq!(removed[0]["is_deleted"], true);
    assert!(removed[0]["freed_bytes"].as_u64() > Some(1_157_120));
}

#[test]
fn a_name_that_moves_leaves_its_image_until_it_is_pruned() {
    let bench = Bench::new();
    let first = Crafted::new("app:1");
    let mut second = Crafted::new("app:1");
    second.config["created"] = json!("2002-02-03T04:05:06Z");
    let (first, second) = (first.write(&bench.path("1.tar")), second.write(&bench.path("2.tar")));
    bench.run(&["load", "-i", "1.tar"]).expect(0);
    bench.run(&["load", "-i", "2.tar"]).expect(0);
    assert_eq!((bench.id("app:1"), bench.id(&first)), (json!(second), json!(first)));
    let list = bench.run(&["images"]).expect(0).stdout;
    assert!(list.contains("<none>       <none>"), "{list}");

    let plan = bench.run(&["system", "prune", "--dry-run"]).expect(0).stdout;
    assert!(plan.starts_with(&format!("Would delete image: {first}\n")), "{plan}");
    assert_eq!(bench.id(&first), json!(first));
    let planned = bench.json(&["system", "prune", "--dry-run", "--json"]);
    let done = bench.json(&["system", "prune", "--json"]);
    assert_eq!(planned, done);
    assert_eq!(done["images"], json!([first]));
    assert_eq!((bench.id("app:1"), bench.id(&first)), (json!(second), json!(null)));
    let nothing = bench.run(&["system", "prune"]).expect(0).stdout;
    assert_eq!(nothing, "Total reclaimed space: 0B\n");
}

/// A stored delta is of no use without the layers that it was made against.
#[test]
fn the_base_of_a_delta_outlives_its_name() {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    let base = facts("multi")["base"]["id"].clone();
    bench.run(&["image", "delta", "golden-multi:base", "golden-multi:target", "-t", "d"]).expect(0);
    // Another image takes the name, so that the base has none.
    bench.run(&["tag", "golden-multi:target", "golden-multi:base"]).expect(0);
    let pruned = bench.json(&["system", "prune", "--json"]);
    assert_eq!((&pruned["images"], &pruned["kept_bases"]), (&json!([]), &json!([base])));
    bench.run(&["rmi", "d"]).expect(0);
    let pruned = bench.json(&["system", "prune", "--json"]);
    assert_eq!(pruned["images"], json!([base]));
}
