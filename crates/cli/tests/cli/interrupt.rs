//! SIGINT and SIGTERM while something else than a plain load runs: the exit code, and nothing half-made.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::{Bench, command_of, facts, golden, has_tool, text};

const NAMES: [&str; 2] = ["golden-multi:base", "golden-multi:target"];

/// Both images of a pair, and an empty folder.
fn bench() -> Bench {
    let bench = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
    fs::create_dir(bench.path("out")).unwrap();
    bench
}

/// Runs a command each of whose `call`s takes its time, and sends `signal` when it tells of a step with
/// this word. Gives the exit code, and what was said after that.
fn interrupted(
    bench: &Bench,
    line: &[&str],
    slow: &str,
    step: &str,
    signal: &str,
) -> (Option<i32>, String) {
    let mut command = command_of(Path::new("strace"));
    // With -D the process that is started is the command, and strace is its grandchild.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", slow, env!("CARGO_BIN_EXE_silt")]);
    command.args(["--progress", "plain"]).args(line);
    command.env("SILT_ROOT", bench.path("store")).current_dir(bench.path(""));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains(step) {
        text.clear();
        assert!(said.read_line(&mut text).unwrap() > 0, "no step {step:?}: {line:?}");
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

const SLOW_READS: &str = "inject=pread64:delay_exit=150000";
const SLOW_WRITES: &str = "inject=write:delay_exit=150000";
/// Longer than the operation is waited for.
const HANGING_SYNC: &str = "inject=fsync:delay_exit=20000000";

#[test]
fn what_reads_the_store_stops_and_leaves_nothing_half_made() {
    if !has_tool("strace", &["-V"]) {
        return;
    }
    let bench = bench();
    let before = bench.fingerprint();
    let cases: [(&[&str], &str, &str); 8] = [
        (&["image", "verify"], SLOW_READS, "Verifying"),
        (&["system", "check", "--deep"], SLOW_READS, "Verifying"),
        (&["image", "unpack", NAMES[1], "out"], SLOW_READS, "Unpacking"),
        (&["image", "unpack", NAMES[1], "out/new"], SLOW_READS, "Unpacking"),
        (&["image", "save", NAMES[1], "-o", "out/image.tar"], SLOW_WRITES, "Saving"),
        (&["image", "save", NAMES[1], "-o", "out/image.tar"], HANGING_SYNC, "Saving"),
        (&["image", "delta", NAMES[0], NAMES[1], "-o", "out/delta.tar"], SLOW_READS, "Layer 2/3"),
        (&["image", "delta", NAMES[0], NAMES[1], "-o", "out/delta.tar"], HANGING_SYNC, "Saving"),
    ];
    for (line, slow, step) in cases {
        for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
            let (ended, said) = interrupted(&bench, line, slow, step, signal);
            assert_eq!(ended, Some(code), "{line:?} {slow}: {said}");
            assert_eq!(said.matches("error: ").count(), 1, "{line:?}: {said}");
            for left in fs::read_dir(bench.path("out")).unwrap() {
                let left = left.unwrap().path();
                // It may have come as far as the sync of the folder: then the file is there, and whole.
                let is_named = line.iter().any(|word| bench.path(word) == left);
                assert!(slow == HANGING_SYNC && is_named, "{line:?} {slow} left {left:?}");
                bench.run(&["-q", "load", "--dry-run", "-i", text(&left)]).expect(0);
                fs::remove_file(left).unwrap();
            }
            assert!(bench.fingerprint() == before, "{line:?}");
        }
    }
}

/// Each of its three passes can be stopped; what was damaged and is not mended yet stays damaged, and the
/// next repair mends it.
#[test]
fn a_repair_stops_in_any_pass() {
    if !has_tool("strace", &["-V"]) {
        return;
    }
    let bench = bench();
    let whole = bench.fingerprint();
    let digits =
        facts("multi")["target"]["diff_ids"][1].as_str().unwrap()["sha256:".len()..].to_owned();
    let path = bench.path("store/blobs/sha256").join(digits);
    let image = golden("multi", "target.tar");
    let line = ["load", "--repair", "-i", text(&image)];
    for step in ["Checking what is made", "Repairing", "Reading again"] {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"damaged", 400_000).unwrap();
        let (ended, said) = interrupted(&bench, &line, SLOW_READS, step, "-INT");
        assert_eq!(ended, Some(130), "{step}: {said}");
        bench.run(&["-q", "load", "--repair", "-i", text(&image)]).expect(0);
        assert!(bench.fingerprint() == whole, "{step}");
    }
}
