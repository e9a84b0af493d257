//! `image delta`.

use clap::{Args, ValueEnum};
use silt::Name;
use silt::create::{self, DeltaOptions};
use silt::delta_image::DeltaFormat;

use super::CalledAs;
use super::sign::{Seal, SealArgs};
use super::values::{AnyReference, Size};
use crate::commands::{DeltaDestination, DeltaTask, FromTask, MergeTask, SeveralTask, Task};
use crate::error::UsageError;

#[derive(Debug, Args)]
pub(super) struct DeltaArgs {
    /// The image that devices have
    #[arg(value_name = "BASE")]
    base: AnyReference,
    /// The image that they get
    #[arg(value_name = "TARGET", required_unless_present_any = ["from", "from_layers", "merge"])]
    target: Option<AnyReference>,
    /// Instead of BASE: an image that some devices have; any one of them will do (repeatable)
    #[arg(long, value_name = "IMAGE")]
    from: Vec<AnyReference>,
    /// Instead of BASE: what `image layers --json` printed on a device (repeatable)
    #[arg(long, value_name = "FILE")]
    from_layers: Vec<std::path::PathBuf>,
    /// BASE and TARGET are deltas, of which the second goes on where the first ends: make one of both.
    /// What they do not say is taken from --base, or from what is stored
    #[arg(long)]
    merge: bool,
    /// Also for devices that have none of them
    #[arg(long)]
    with_full: bool,
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
    /// How much work goes into it: a delta of `best` also takes longer to apply
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
        let options = DeltaOptions {
            format: format_of(self.format, called_as),
            level: self.level.into(),
            memory_bytes: self.memory.0,
            apply_memory_bytes: self.apply_memory.0,
            jobs: self.jobs.map(std::num::NonZeroUsize::get),
        };
        let (names, is_json) = (self.tags, self.json);
        let destination = match self.output {
            Some(path) => {
                let Seal { output, sign } = self.seal.lower(Some(path), is_json)?;
                DeltaDestination::Archive { output, sign }
            }
            None if self.seal.is_given() => {
                return Err(usage("only a file can be signed or split: name one with -o"));
            }
            None => DeltaDestination::Store,
        };
        if self.merge {
            if self.with_full || !self.from.is_empty() || !self.from_layers.is_empty() {
                return Err(usage("--merge takes two deltas, and neither --from nor --with-full"));
            }
            let Some(second) = self.target else {
                return Err(usage("the second delta is missing"));
            };
            let (first, second) = (self.base.0, second.0);
            let bases = self.more_bases.into_iter().map(|base| base.0).collect();
            let format = self.format.map(|format| format_of(Some(format), called_as));
            let task =
                MergeTask { first, second, bases, format, names, options, destination, is_json };
            return Ok(Task::Merge(task));
        }
        let images = self.from.into_iter().map(|image| FromTask::Image(image.0));
        let mut from: Vec<FromTask> =
            images.chain(self.from_layers.into_iter().map(FromTask::Layers)).collect();
        let (base, target) = match (from.is_empty(), self.target) {
            (true, Some(target)) => (Some(self.base), target),
            (false, None) => (None, self.base),
            (false, Some(_)) => {
                return Err(usage("with --from, there is no BASE: name the TARGET alone"));
            }
            (true, None) => return Err(usage("the TARGET is missing")),
        };
        if base.is_some() && !self.with_full {
            let bases = base.into_iter().chain(self.more_bases);
            let bases = bases.map(|base| base.0).collect();
            let target = target.0;
            let task = DeltaTask { bases, target, names, options, destination, is_json };
            return Ok(Task::Delta(task));
        }
        from.extend(base.map(|base| FromTask::Image(base.0)));
        if !self.more_bases.is_empty() {
            return Err(usage("--base is for one delta, and there are several"));
        }
        if options.format == DeltaFormat::Balena {
            return Err(usage("several deltas in one go are for the format `silt`"));
        }
        let count = from.len() + usize::from(self.with_full);
        let is_stored = matches!(destination, DeltaDestination::Store);
        if is_stored && names.len() != count || !is_stored && !names.is_empty() {
            let message = format!("{count} deltas are stored with {count} --tag, or saved with -o");
            return Err(usage(&message));
        }
        let (target, with_full) = (target.0, self.with_full);
        let task = SeveralTask { from, target, with_full, names, options, destination, is_json };
        Ok(Task::Several(task))
    }
}

fn usage(message: &str) -> UsageError {
    UsageError::Arguments { message: message.to_owned(), hint: None }
}

/// Who calls the program by balenaEngine's name expects what that makes.
fn format_of(given: Option<Format>, called_as: CalledAs) -> DeltaFormat {
    match (given, called_as) {
        (Some(Format::Balena), _) | (None, CalledAs::BalenaEngine) => DeltaFormat::Balena,
        (Some(Format::Silt), _) | (None, _) => DeltaFormat::Silt,
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
