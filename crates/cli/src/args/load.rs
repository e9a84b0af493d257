//! `image load`, `apply` and `show`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use silt::load::{Input, LoadOptions};
use silt::{Name, Platform, PlatformChoice};

use super::values::{AnyReference, Rate, Size};
use crate::commands::{ApplyTask, LoadTask, Manner, ShowTask, Task};
use crate::error::UsageError;

#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// An archive or a directory with an OCI layout; `-` or nothing for standard input
    #[arg(short, long, value_name = "FILE|DIR")]
    input: Option<PathBuf>,
    /// Which image of several platforms [default: the machine's own]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A delta
    #[arg(value_name = "IMAGE")]
    image: AnyReference,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// An archive or a directory with an OCI layout; `-` for standard input
    #[arg(value_name = "FILE|DIR")]
    input: PathBuf,
    /// Which image of several platforms [default: the machine's own]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Memory that decompressing and decoding may take
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    max_memory: Size,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// What the image is called, whatever the input says
    #[arg(long, value_name = "NAME")]
    tag: Option<Name>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Memory that decompressing and decoding may take
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    max_memory: Size,
    /// Compare all layers that are read or kept with their digests before anything is written
    #[arg(long)]
    verify_base: bool,
    /// Compare the images' layers that are here with their digests, and mend what is damaged
    #[arg(long)]
    repair: bool,
    /// Another store, from which layers of the base may be read; nothing is written there (repeatable)
    #[arg(long, value_name = "DIR")]
    base_root: Vec<PathBuf>,
    /// Remove the base of a delta once its target is there
    #[arg(long)]
    delete_base: bool,
    /// Let through at most so many bytes a second
    #[arg(long, value_name = "BYTES/s")]
    throttle: Option<Rate>,
    /// Load also what is older than what its name has now, which the policy may forbid
    #[arg(long)]
    allow_downgrade: bool,
    /// Write a record of the load, however it goes; in a folder it gets a name of its own
    #[arg(long, value_name = "FILE|DIR")]
    report: Option<PathBuf>,
}

impl LoadArgs {
    pub(super) fn lower(self) -> Result<Task, UsageError> {
        let manner = self.how.manner();
        let input = input_of(self.input.as_deref())?;
        let options = self.how.lower(self.platform);
        Ok(Task::Load(LoadTask { input, options, manner }))
    }
}

impl ApplyArgs {
    pub(super) fn lower(self) -> Result<Task, UsageError> {
        let manner = self.how.manner();
        let (image, options) = (self.image.0, self.how.lower(None));
        Ok(Task::Apply(ApplyTask { image, options, manner }))
    }
}

impl ShowArgs {
    pub(super) fn lower(self) -> Result<Task, UsageError> {
        let options = LoadOptions {
            tag: None,
            platform: choice_of(self.platform),
            max_memory_bytes: self.max_memory.0,
            ..LoadOptions::default()
        };
        let input = input_of(Some(&self.input))?;
        Ok(Task::Show(ShowTask { input, options, is_json: self.json }))
    }
}

impl HowArgs {
    fn manner(&self) -> Manner {
        Manner {
            bytes_per_second: self.throttle.map(|rate| rate.0),
            is_dry_run: self.dry_run,
            is_json: self.json,
            report: self.report.clone(),
        }
    }

    fn lower(self, platform: Option<Platform>) -> LoadOptions {
        LoadOptions {
            tag: self.tag,
            platform: choice_of(platform),
            max_memory_bytes: self.max_memory.0,
            verify_base: self.verify_base,
            repair: self.repair,
            base_roots: self.base_root,
            delete_base: self.delete_base,
            allow_downgrade: self.allow_downgrade,
            is_dry_run: self.dry_run,
            ..LoadOptions::default()
        }
    }
}

fn choice_of(platform: Option<Platform>) -> PlatformChoice {
    platform.map_or(PlatformChoice::Host, PlatformChoice::Only)
}

fn input_of(path: Option<&Path>) -> Result<Input, UsageError> {
    match path {
        Some(path) if path != Path::new("-") => Ok(Input::Path(path.to_owned())),
        _ if io::stdin().is_terminal() => Err(UsageError::LoadFromTerminal),
        _ => Ok(Input::Stdin),
    }
}
