//! What all commands share: which store, and how much is said.

use std::path::PathBuf;

use silt::{OpenError, OpenMode, Progress, Store};

use crate::args::default_root;
use crate::error::{CommandError, UsageError};
use crate::output;
use crate::pace::Paced;
use crate::progress;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ProgressStyle {
    // Bars on a terminal, lines elsewhere. (No doc comments: clap would make a page of them.)
    #[default]
    Auto,
    // One line for each step.
    Plain,
    // One JSON object in each line.
    Json,
    None,
}

/// What all commands share.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// The store, where the user named one.
    pub(crate) root: Option<PathBuf>,
    pub(crate) progress: ProgressStyle,
    pub(crate) is_quiet: bool,
}

impl Context {
    pub(crate) fn open_store(&self, mode: OpenMode) -> Result<Store, CommandError> {
        Ok(Store::open(&self.store_root()?, mode)?)
    }

    /// The store for changing what is there; `None` where there is no store.
    pub(crate) fn open_existing_store(&self) -> Result<Option<Store>, CommandError> {
        match Store::open(&self.store_root()?, OpenMode::ReadWrite) {
            Ok(store) => Ok(Some(store)),
            Err(OpenError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn store_root(&self) -> Result<PathBuf, UsageError> {
        self.root.clone().map_or_else(default_root, Ok)
    }

    /// Who is told about progress, and says when to stop.
    pub(crate) fn reporter(&self) -> Box<dyn Progress> {
        self.paced_reporter(None)
    }

    /// The same, letting through so many bytes a second.
    pub(crate) fn paced_reporter(&self, bytes_per_second: Option<u64>) -> Box<dyn Progress> {
        Box::new(Paced::new(progress::reporter(self.progress), bytes_per_second))
    }

    /// Tells the user something that is no result, unless results alone are wanted.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_quiet {
            output::note(text);
        }
    }
}
