//! Help, completion, manual pages.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::bench::{Bench, command_of, ended, golden};

pub(crate) const COMMANDS: [&[&str]; 29] = [
    &[],
    &["image"],
    &["image", "delta"],
    &["image", "save"],
    &["image", "load"],
    &["image", "apply"],
    &["image", "ls"],
    &["image", "inspect"],
    &["image", "history"],
    &["image", "layers"],
    &["image", "tag"],
    &["image", "rm"],
    &["image", "verify"],
    &["image", "show"],
    &["image", "unpack"],
    &["image", "copy"],
    &["image", "sign"],
    &["trust"],
    &["trust", "add"],
    &["trust", "ls"],
    &["trust", "rm"],
    &["system"],
    &["system", "df"],
    &["system", "prune"],
    &["system", "check"],
    &["system", "engines"],
    &["completion"],
    &["rmi"],
    &["load"],
];

pub(crate) fn help(bench: &Bench, command: &[&str]) -> String {
    let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    bench.run(&arguments).expect(0).stdout
}

#[test]
fn what_help_says() {
    let bench = Bench::new();
    let all =
        COMMANDS.map(|command| format!("$ silt {}\n{}", command.join(" "), help(&bench, command)));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn no_command_is_a_usage_error_with_a_hint() {
    let run = Bench::new().run(&[]).expect(2);
    assert_eq!(run.stderr, "error: a command is missing\nhint: silt --help\n");
}

#[test]
fn shells_can_complete_commands() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = bench.run(&["completion", shell]).expect(0).stdout;
        for word in ["delta", "inspect", "apply-memory"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let bench = Bench::new();
    bench.run(&["man", "pages"]).expect(0);
    let page = std::fs::read_to_string(bench.path("pages/silt-image-delta.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("apply"));
    assert!(bench.path("pages/silt.1").exists());
}

#[test]
fn the_program_name_decides_the_defaults() {
    let bench = Bench::with(&[golden("tiny", "base.tar"), golden("tiny", "target.tar")]);
    for (program, format) in [("docker", "silt"), ("balena-engine", "balena")] {
        let link = bench.path(program);
        symlink(env!("CARGO_BIN_EXE_silt"), &link).unwrap();
        let mut command = command_of(&link);
        command.env("SILT_ROOT", bench.path("store")).env("SILT_ENGINE", "store");
        let base_and_target = ["golden-tiny:base", "golden-tiny:target", "--json"];
        command.args(["image", "delta"]).args(base_and_target);
        let made = ended(command.output().unwrap(), &bench.path("")).expect(0);
        let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(made["format"], format, "as {program}");
        let help = command_of(&link).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains(&format!("Usage: {program} ")), "{help}");
    }
    // Its bare names are the engine's, which is not there.
    let mut command = command_of(&bench.path("balena-engine"));
    command.env("DOCKER_HOST", "unix:///nowhere/engine.sock").args(["image", "ls"]);
    let failed = ended(command.output().unwrap(), &bench.path("")).expect(11);
    assert!(failed.stderr.contains("/nowhere/engine.sock"), "{}", failed.stderr);
}

/// `silt completion bash | head -1`: whoever reads may stop.
#[test]
fn a_closed_pipe_is_no_failure() {
    let bench = Bench::new();
    let script = format!(
        "{{ {} completion bash; echo $? > code; }} | head -c 10 > /dev/null",
        env!("CARGO_BIN_EXE_silt")
    );
    let mut bash = Command::new("bash");
    let run = bash.args(["-c", &script]).current_dir(bench.path("")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stderr), "");
    assert_eq!(std::fs::read_to_string(bench.path("code")).unwrap(), "0\n");
}

#[test]
fn standard_output_that_is_full_is_a_failure() {
    let bench = Bench::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = bench.command(&["completion", "bash"]).stdout(full).output().unwrap();
    let run = ended(run, &bench.path("")).expect(1);
    let message = "error: cannot write to standard output: No space left on device (os error 28)\n";
    assert_eq!(run.stderr, message);
}
