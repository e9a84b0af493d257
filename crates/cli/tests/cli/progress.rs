//! What is said while it runs, on standard error.

use serde_json::{Value, json};

use crate::bench::{Bench, facts, golden, text};

#[test]
fn elsewhere_than_on_a_terminal_each_step_is_a_line() {
    let bench = Bench::new();
    let run = bench.run(&["load", "-i", text(&golden("multi", "base.tar"))]).expect(0);
    insta::assert_snapshot!(run.stderr);
    let delta = text(&golden("multi", "delta.tar")).to_owned();
    let plain = bench.run(&["--progress", "plain", "load", "-i", &delta]).expect(0);
    insta::assert_snapshot!(plain.stderr);
}

#[test]
fn for_programs_each_line_is_an_object() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let delta = golden("multi", "delta.tar");
    let run = bench.run(&["load", "--progress", "json", "-i", text(&delta)]).expect(0);
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let events: Vec<Value> = run.stderr.lines().map(parse).collect();
    let begun: Vec<&Value> = events.iter().filter(|event| event["event"] == "begin").collect();
    let ended = events.iter().filter(|event| event["event"] == "end").count();
    assert_eq!(begun.len(), ended);
    let layer = begun.iter().find(|event| event["step"] == "layer").unwrap();
    assert_eq!(layer["total_bytes"], 819_200);
    let diff_id = &facts("multi")["target"]["diff_ids"][1];
    let expected =
        json!({ "number": 2, "count": 3, "diff_id": diff_id, "action": layer["layer"]["action"] });
    assert_eq!(layer["layer"], expected);
}

#[test]
fn nothing_is_nothing() {
    for style in [&["--progress", "none"][..], &["-q"]] {
        let bench = Bench::new();
        let base = golden("multi", "base.tar");
        let run = bench.run(&[style, &["load", "-i", text(&base)]].concat()).expect(0);
        assert_eq!(run.stderr, "", "{style:?}");
    }
}
