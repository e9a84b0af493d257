//! Every input of `fuzz/corpus` and `fuzz/regressions` through its target: what the fuzzer found once
//! is not found again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzzing::TARGETS;

/// All corpora together; who wants a larger one keeps it elsewhere.
const MAX_CORPUS_BYTES: u64 = 1 << 20;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

#[test]
fn every_input_is_survived() {
    let mut failures = Vec::new();
    for target in TARGETS {
        let corpus = files(&fuzz_folder().join("corpus").join(target.name));
        assert!(!corpus.is_empty(), "{} has no seeds", target.name);
        let regressions = files(&fuzz_folder().join("regressions").join(target.name));
        for path in corpus.iter().chain(&regressions) {
            let data = fs::read(path).unwrap();
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&data))).is_err() {
                failures.push(path.clone());
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

/// A few bytes that no seed begins with, for what a target does before it looks.
#[test]
fn short_inputs_are_survived() {
    for target in TARGETS {
        for length in 0..20 {
            for byte in [0, 0xff, b'=', b'{'] {
                (target.run)(&vec![byte; length]);
            }
        }
    }
}

#[test]
fn each_target_has_its_program_and_its_folders() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let programs = files(&fuzz_folder().join("fuzz_targets"));
    let programs: Vec<&str> = programs.iter().map(|p| name_of(p)).collect();
    let expected: Vec<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(programs, expected);
    for kind in ["corpus", "regressions"] {
        for folder in files(&fuzz_folder().join(kind)) {
            assert!(names.contains(&name_of(&folder)), "{}", folder.display());
        }
    }
}

#[test]
fn the_corpora_are_small() {
    let folders = files(&fuzz_folder().join("corpus"));
    let inputs = folders.iter().flat_map(|folder| files(folder));
    let bytes: u64 = inputs.map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= MAX_CORPUS_BYTES, "{bytes}");
}
