//! How a command ends that could not do what it was asked: one line, a hint, an exit code.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use silt::{Failure, FailureKind};

use crate::interrupt;
use crate::output::one_line;

/// Why a command ended early.
pub(crate) enum CommandError {
    /// It failed.
    Failed(Box<dyn Failure>),
    /// Whoever read standard output has heard enough, which is no failure.
    ReaderGone,
}

pub(crate) type CommandResult = Result<(), CommandError>;

/// What each kind of failure is to a script. `docs/cli.md` has this table in words.
pub(crate) fn exit_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Other => 1,
        FailureKind::Usage => 2,
        FailureKind::NoSuchImage => 3,
        FailureKind::BaseMissing => 4,
        FailureKind::Damaged => 5,
        FailureKind::NoRoom => 6,
        FailureKind::StoredDamaged => 7,
        FailureKind::Signature => 8,
        FailureKind::Busy => 9,
        FailureKind::Forbidden => 10,
        FailureKind::EngineUnreachable => 11,
    }
}

impl CommandError {
    /// Says on standard error what failed, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let Self::Failed(failure) = self else {
            return ExitCode::SUCCESS;
        };
        // What failed then did so because it was told to.
        if let Some(signal) = interrupt::signal() {
            let _ = io::stderr().write_all(interrupt::message(signal).as_bytes());
            return ExitCode::from(interrupt::exit_code(signal));
        }
        let mut text = format!("error: {}\n", one_line(&with_causes(failure.as_ref())));
        if let Some(hint) = failure.hint() {
            text += &format!("hint: {}\n", one_line(&hint));
        }
        // Where standard error is closed, the exit code is all that can be said.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(exit_code(failure.kind()))
    }
}

/// An error and all that caused it.
pub(crate) fn with_causes(failure: &dyn Failure) -> String {
    let mut text = failure.to_string();
    let mut cause: Option<&dyn Error> = failure.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl<F: Failure + 'static> From<F> for CommandError {
    fn from(failure: F) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// The command line asks for something that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// The arguments are not those of any command.
    #[error("{message}")]
    Arguments { message: String, hint: Option<String> },
    /// It stands in the manual for a later version.
    #[error("{what} is not built yet")]
    NotBuilt { what: String },
    /// Nowhere to keep images.
    #[error("there is no home directory to keep images in")]
    NoRoot,
    /// An archive would garble the terminal.
    #[error("cowardly refusing to save to a terminal. Use the -o flag or redirect")]
    SaveToTerminal,
    /// Two results in one stream are none.
    #[error("--json needs standard output, and that is where the archive goes")]
    JsonBesideArchive,
    /// Nobody types an archive.
    #[error("nothing to load: standard input is a terminal")]
    LoadFromTerminal,
}

impl Failure for UsageError {
    fn kind(&self) -> FailureKind {
        FailureKind::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Arguments { hint, .. } => hint.clone(),
            Self::NoRoot => Some("name a directory with --root".to_owned()),
            Self::LoadFromTerminal => Some("name a file with -i".to_owned()),
            Self::JsonBesideArchive => Some("name a file with -o".to_owned()),
            Self::NotBuilt { .. } | Self::SaveToTerminal => None,
        }
    }
}

/// A result could not be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Standard output is closed, or where it leads is full.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// A report has no JSON.
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
    /// A manual page could not be written.
    #[error("cannot write manual pages to {}", directory.display())]
    Manual { directory: PathBuf, source: io::Error },
}

impl Failure for OutputError {
    fn kind(&self) -> FailureKind {
        FailureKind::Other
    }
}
