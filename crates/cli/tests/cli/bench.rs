//! A folder with a store, and the command run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder that goes away with its test.
pub(crate) struct Bench {
    folder: TempDir,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A store that holds these archives.
    pub(crate) fn with(archives: &[PathBuf]) -> Self {
        let bench = Self::new();
        for archive in archives {
            bench.run(&["load", "-q", "-i", text(archive)]).expect(0);
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line in the folder, with a store in it and nothing of the caller's environment that
    /// could matter.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_of(Path::new(env!("CARGO_BIN_EXE_silt")));
        command.current_dir(self.folder.path()).env("SILT_ROOT", self.path("store"));
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().unwrap(), self.folder.path())
    }

    /// Runs a command whose standard input is a file.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &Path) -> Ended {
        let input = fs::File::open(input).unwrap();
        ended(self.command(arguments).stdin(input).output().unwrap(), self.folder.path())
    }

    /// The JSON that a command prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments).expect(0).stdout).unwrap()
    }

    /// The ID of an image, or `null`.
    pub(crate) fn id(&self, reference: &str) -> Value {
        let run = self.run(&["image", "inspect", reference]);
        match run.code {
            0 => serde_json::from_str::<Value>(&run.stdout).unwrap()[0]["Id"].clone(),
            _ => Value::Null,
        }
    }

    /// Every file of the store by content.
    pub(crate) fn fingerprint(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.path("store"), &mut files);
        files.sort();
        files
    }
}

impl Ended {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }

    /// Code, output and messages, for a snapshot.
    pub(crate) fn transcript(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The program, with an environment of its own.
pub(crate) fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("COLUMNS", "100");
    command.stdin(Stdio::null());
    command
}

pub(crate) fn ended(output: Output, folder: &Path) -> Ended {
    let shown = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        without_ages(&text.replace(text_of_folder(folder), "[FOLDER]"))
    };
    Ended {
        code: output.status.code().unwrap(),
        stdout: shown(&output.stdout),
        stderr: without_foreign_platform(&shown(&output.stderr)),
    }
}

/// The images here are for amd64, and that this machine is another is said of each.
fn without_foreign_platform(text: &str) -> String {
    if cfg!(target_arch = "x86_64") {
        return text.to_owned();
    }
    let is_warning =
        |line: &str| line.starts_with("warning: the image is for linux/amd64, and this");
    text.split_inclusive('\n').filter(|line| !is_warning(line)).collect()
}

fn text_of_folder(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

/// How long ago an image was made changes as time goes by.
fn without_ages(text: &str) -> String {
    let is_age = |words: &[&str]| words[0].parse::<u32>().is_ok() && words[1] == "years";
    let mut text = text.to_owned();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    for window in words.windows(3) {
        let window: Vec<&str> = window.iter().map(String::as_str).collect();
        if is_age(&window) && window[2] == "ago" {
            text = text.replace(&window.join(" "), "[AGO]");
        }
    }
    text
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            let bytes = fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
}

/// A file of the golden data.
pub(crate) fn golden(set: &str, file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    folder.join(set).join(file).canonicalize().unwrap()
}

/// What is known of a golden set without Silt.
pub(crate) fn facts(set: &str) -> Value {
    serde_json::from_slice(&fs::read(golden(set, "manifest.json")).unwrap()).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whether a program runs here; a test that needs it returns where it does not.
#[allow(clippy::print_stderr)]
pub(crate) fn has_tool(tool: &str, arguments: &[&str]) -> bool {
    let runs = Command::new(tool).args(arguments).output().is_ok_and(|out| out.status.success());
    if !runs {
        assert!(
            std::env::var_os("SILT_REQUIRE_TOOLS").is_none_or(|value| value != "1"),
            "{tool} is missing or does not run"
        );
        eprintln!("skipped: {tool} {} does not run here", arguments.join(" "));
    }
    runs
}
