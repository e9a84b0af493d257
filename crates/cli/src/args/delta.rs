//! `image delta`.

use clap::{Args, ValueEnum};
use silt::Name;
use silt::create::{self, DeltaOptions};
use silt::delta_image::DeltaFormat;

use super::CalledAs;
use super::later::{self, refuse};
use super::sign::{Seal, SealArgs};
use super::values::{AnyReference, Size};
use crate::commands::{DeltaDestination, DeltaTask, Task};
use crate::error::UsageError;

#[derive(Debug, Args)]
pub(super) struct DeltaArgs {
    /// The image that devices have
    #[arg(value_name = "BASE")]
    base: AnyReference,
    /// The image that they get
    #[arg(value_name = "TARGET")]
    target: AnyReference,
    /// What the delta is called (repeatable)
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<Name>,
    /// Write the delta straight into an archive; nothing is stored
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// How the delta is encoded: `silt` is smallest, balenaEngine loads `balena`
    /// [default: silt; as `balena-engine`: balena]
    #[arg(long)]
    format: Option<Format>,
    /// A further base; the device needs all of them (repeatable)
    #[arg(long = "base", value_name = "IMAGE")]
    more_bases: Vec<AnyReference>,
    /// How much work goes into it
    #[arg(long, default_value = "default")]
    level: Level,
    /// Memory that making it may take
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: Size,
    /// Memory that the device is promised to need at most
    #[arg(long, value_name = "SIZE", default_value = "16M")]
    apply_memory: Size,
    /// Threads [default: one for each core]; the delta is the same
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,

    // These two stand instead of BASE, so they are refused before that is missed.
    #[arg(long, hide = true, value_name = "IMAGE", value_parser = later::value)]
    from: Vec<String>,
    #[arg(long, hide = true, value_name = "FILE", value_parser = later::value)]
    from_layers: Option<String>,
    #[arg(long, hide = true)]
    merge: bool,
    #[arg(long, hide = true)]
    with_full: bool,
    #[command(flatten)]
    seal: SealArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Silt,
    Balena,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Fast,
    Default,
    Best,
}

impl DeltaArgs {
    pub(super) fn lower(self, called_as: CalledAs) -> Result<Task, UsageError> {
        self.refuse_later()?;
        let mut bases = vec![self.base];
        bases.extend(self.more_bases);
        let options = DeltaOptions {
            format: format_of(self.format, called_as),
            level: self.level.into(),
            memory_bytes: self.memory.0,
            apply_memory_bytes: self.apply_memory.0,
            jobs: self.jobs.map(std::num::NonZeroUsize::get),
        };
        let destination = match self.output {
            Some(path) => {
                let Seal { output, sign } = self.seal.lower(Some(path), self.json)?;
                DeltaDestination::Archive { output, sign }
            }
            None if self.seal.is_given() => {
                let message = "only a file can be signed or split: name one with -o";
                return Err(UsageError::Arguments { message: message.to_owned(), hint: None });
            }
            None => DeltaDestination::Store,
        };
        Ok(Task::Delta(DeltaTask {
            bases: bases.into_iter().map(|base| base.0).collect(),
            target: self.target.0,
            names: self.tags,
            options,
            destination,
            is_json: self.json,
        }))
    }

    fn refuse_later(&self) -> Result<(), UsageError> {
        refuse(&[
            ("--from", !self.from.is_empty()),
            ("--from-layers", self.from_layers.is_some()),
            ("--merge", self.merge),
            ("--with-full", self.with_full),
        ])
    }
}

/// Who calls the program by balenaEngine's name expects what that makes.
fn format_of(given: Option<Format>, called_as: CalledAs) -> DeltaFormat {
    match (given, called_as) {
        (Some(Format::Balena), _) | (None, CalledAs::BalenaEngine) => DeltaFormat::Balena,
        (Some(Format::Silt), _) | (None, CalledAs::Silt | CalledAs::Docker) => DeltaFormat::Silt,
    }
}

impl From<Level> for create::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Fast => Self::Fast,
            Level::Default => Self::Default,
            Level::Best => Self::Best,
        }
    }
}
