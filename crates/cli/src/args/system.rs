//! Commands about the store as a whole, and about the program itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::CalledAs;
use crate::commands::{CheckOptions, DfOptions, EnginesOptions, PruneOptions, Task, VerifyOptions};
use crate::error::UsageError;

#[derive(Debug, Subcommand)]
pub(super) enum SystemCommand {
    /// Show what the store takes, and what is free
    Df(DfArgs),
    /// Free what no name and no delta needs
    Prune(PruneArgs),
    /// Look quickly whether the store is in order
    Check(CheckArgs),
    /// List the engines that can be reached
    Engines(EnginesArgs),
}

#[derive(Debug, Args)]
pub(super) struct DfArgs {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Only say what would be freed
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Read every byte, as `image verify` does
    #[arg(long)]
    deep: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct EnginesArgs {
    /// Print an array of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl SystemCommand {
    pub(super) fn lower(self) -> Result<Task, UsageError> {
        Ok(match self {
            Self::Df(DfArgs { json }) => Task::Df(DfOptions { is_json: json }),
            Self::Prune(PruneArgs { dry_run, json }) => {
                Task::Prune(PruneOptions { is_dry_run: dry_run, is_json: json })
            }
            Self::Check(CheckArgs { deep: true, json }) => {
                Task::Verify(VerifyOptions { images: Vec::new(), is_json: json })
            }
            Self::Check(CheckArgs { deep: false, json }) => {
                Task::Check(CheckOptions { is_json: json })
            }
            Self::Engines(EnginesArgs { json }) => Task::Engines(EnginesOptions { is_json: json }),
        })
    }
}

impl CompletionArgs {
    /// The script is made here, where the command line is described.
    pub(super) fn lower(self, called_as: CalledAs) -> Task {
        let mut script = Vec::new();
        let mut command = super::command(called_as);
        clap_complete::generate(self.shell, &mut command, called_as.program(), &mut script);
        Task::Print(String::from_utf8_lossy(&script).into_owned())
    }
}

impl ManArgs {
    pub(super) fn lower(self) -> Task {
        Task::Man(self.directory)
    }
}
