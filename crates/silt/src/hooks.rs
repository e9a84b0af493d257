//! Programs of the device's owner that run before and after a load.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::{Failure, FailureKind};

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookMoment {
    /// After the plan was made, before anything is written. A hook that fails prevents the load.
    PreLoad,
    /// In the end, whatever it is.
    PostLoad,
}

/// A hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The folder of hooks could not be read.
    #[error("cannot read the hooks in {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A hook could not be run.
    #[error("cannot run the hook {}", path.display())]
    Run {
        /// The hook.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A hook says no.
    #[error("the hook {} says no: {status}", path.display())]
    Refused {
        /// The hook.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
}

impl HookMoment {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::PreLoad => "pre-load",
            Self::PostLoad => "post-load",
        }
    }
}

/// What hooks are told.
#[derive(Debug, Clone, Default)]
pub struct HookInput {
    /// Variables of their environment, beside those of the caller.
    pub variables: Vec<(&'static str, String)>,
    /// A document for their standard input.
    pub document: String,
}

/// The longest variable: Linux takes 128 KiB, its name included.
const MAX_VARIABLE_BYTES: usize = 100 << 10;

/// Runs the programs in `FOLDER/MOMENT.d` in the order of their names, until one fails. What they print
/// goes to standard error.
pub fn run_hooks(folder: &Path, moment: HookMoment, input: &HookInput) -> Result<(), HookError> {
    let folder = folder.join(format!("{}.d", moment.word()));
    for path in programs(&folder)? {
        let run_error = |source| HookError::Run { path: path.clone(), source };
        let status = run(&path, moment, input).map_err(run_error)?;
        if !status.success() {
            return Err(HookError::Refused { path, status });
        }
    }
    Ok(())
}

/// As run-parts(8): hidden files and those that nobody may execute are no hooks.
fn programs(folder: &Path) -> Result<Vec<PathBuf>, HookError> {
    let error = |source| HookError::Folder { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    let mut programs = Vec::new();
    for entry in entries {
        let path = entry.map_err(error)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_hidden = name.is_none_or(|name| name.starts_with('.') || name.ends_with('~'));
        let found = path.metadata().map_err(error)?;
        if found.is_file() && !is_hidden && found.permissions().mode() & 0o111 != 0 {
            programs.push(path);
        }
    }
    programs.sort();
    Ok(programs)
}

fn run(path: &Path, moment: HookMoment, input: &HookInput) -> io::Result<ExitStatus> {
    let mut command = Command::new(path);
    command.env("SILT_HOOK", moment.word());
    for (name, value) in &input.variables {
        // A NUL can stand in no variable; what is too long would keep the hook from running at all.
        match value.len() <= MAX_VARIABLE_BYTES && !value.contains('\0') {
            true => command.env(name, value),
            false => command.env_remove(name),
        };
    }
    let mut child = command.stdin(Stdio::piped()).stdout(io::stderr()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read what it is told.
        match stdin.write_all(input.document.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait()
}

impl Failure for HookError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Folder { .. } | Self::Run { .. } => FailureKind::Other,
            Self::Refused { .. } => FailureKind::Forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(folder: &Path, name: &str, mode: u32, script: &str) {
        let path = folder.join("pre-load.d").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn hooks_run_in_order_until_one_says_no() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let log = at.join("log");
        let input = HookInput {
            variables: vec![
                ("LOG", log.display().to_string()),
                ("HUGE", "x".repeat(200_000)),
                ("SILT_RESULT", "fine".into()),
            ],
            document: "{}".repeat(100_000),
        };
        run_hooks(at, HookMoment::PreLoad, &input).unwrap();
        let say = "echo $SILT_HOOK $SILT_RESULT ${HUGE-none} $(basename $0) $(wc -c) >> $LOG";
        hook(at, "20-b", 0o755, say);
        hook(at, "10-a", 0o755, &say.replace("$(wc -c)", "-"));
        hook(at, "00-not-executable", 0o644, say);
        hook(at, ".hidden", 0o755, say);
        hook(at, "15-old~", 0o755, say);
        run_hooks(at, HookMoment::PreLoad, &input).unwrap();
        run_hooks(at, HookMoment::PostLoad, &input).unwrap();
        let expected = "pre-load fine none 10-a -\npre-load fine none 20-b 200000\n";
        assert_eq!(fs::read_to_string(&log).unwrap(), expected);
        hook(at, "11-no", 0o755, "exit 3");
        let error = run_hooks(at, HookMoment::PreLoad, &input).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Forbidden);
        assert!(error.to_string().contains("11-no"), "{error}");
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 3);
    }
}
