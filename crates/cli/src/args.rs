//! From the command line to options, in two steps: clap's structs are what was typed, and `lower`
//! makes of them what is meant, or says why that cannot be.
//!
//! Flags and commands that the manual keeps for later versions are known, and say so.

mod delta;
mod edit;
mod load;
mod look;
mod plugin;
mod save;
mod sign;
mod system;
mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use silt::place::EngineKind;

use crate::commands::Task;
use crate::context::{Context, ProgressStyle};
use crate::error::{CommandError, UsageError};

pub(crate) use values::{default_root, variable};

/// What is to be done, and where.
pub(crate) struct Invocation {
    pub(crate) context: Context,
    pub(crate) task: Task,
}

/// The name by which the program was called decides its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalledAs {
    Silt,
    /// Takes Docker's place.
    Docker,
    /// Takes balenaEngine's place: bare names are the engine's, and deltas are `balena` ones.
    BalenaEngine,
    /// Called by Docker, as `docker silt`: bare names are Docker's.
    DockerPlugin,
}

/// Small deltas between container images, for devices that are offline, slow and short of memory.
#[derive(Debug, Parser)]
#[command(name = "silt", version, disable_help_subcommand = false, propagate_version = false)]
pub(crate) struct Arguments {
    #[command(flatten)]
    everywhere: EverywhereArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct EverywhereArgs {
    /// The store [env: SILT_ROOT] [default: /var/lib/silt for root, else $XDG_DATA_HOME/silt]
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Where bare names live [env: SILT_ENGINE] [default: store]
    #[arg(long, global = true, hide_possible_values = true)]
    engine: Option<Engine>,
    /// How progress is shown, on standard error
    #[arg(long, value_name = "STYLE", global = true, default_value = "auto")]
    progress: ProgressStyle,
    /// Print results alone
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Store,
    Docker,
    Podman,
    Containerd,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work with images and deltas
    #[command(subcommand, arg_required_else_help = true)]
    Image(ImageCommand),
    /// Work with the store as a whole
    #[command(subcommand, arg_required_else_help = true)]
    System(system::SystemCommand),
    /// Short for `image save`
    Save(save::SaveArgs),
    /// Short for `image load`
    Load(load::LoadArgs),
    /// Short for `image ls`
    Images(look::LsArgs),
    /// Short for `image tag`
    Tag(edit::TagArgs),
    /// Short for `image rm`
    Rmi(edit::RmArgs),
    /// Print a script that completes commands for a shell
    Completion(system::CompletionArgs),
    /// Write manual pages into a directory
    #[command(hide = true)]
    Man(system::ManArgs),
    /// Say whose signatures count
    #[command(subcommand, arg_required_else_help = true)]
    Trust(sign::TrustCommand),
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Make a delta that turns one image into another
    Delta(delta::DeltaArgs),
    /// Write images or deltas to an archive
    Save(save::SaveArgs),
    /// Load what an archive or layout holds: images, or deltas of any format
    Load(load::LoadArgs),
    /// Apply a delta that is in the store
    Apply(load::ApplyArgs),
    /// List images
    #[command(visible_alias = "list")]
    Ls(look::LsArgs),
    /// Show all that is known of images, as JSON
    Inspect(look::InspectArgs),
    /// Show how an image came into being
    History(look::HistoryArgs),
    /// List the layers that are here
    Layers(look::LayersArgs),
    /// Give an image one more name
    Tag(edit::TagArgs),
    /// Remove names, and images with their last name
    #[command(visible_alias = "remove")]
    Rm(edit::RmArgs),
    /// Check every stored byte against its digest
    Verify(look::VerifyArgs),
    /// Show what an archive or a delta holds, and what it needs; nothing is changed
    Show(load::ShowArgs),
    /// Write the root file system of an image into a directory
    Unpack(edit::UnpackArgs),
    /// Copy an image from one place to another, as it is
    Copy(edit::CopyArgs),
    /// Sign an archive, for devices that trust the key
    Sign(sign::SignArgs),
}

/// Reads the command line. Help and version are tasks like others.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Invocation, CommandError> {
    let (called_as, arguments, docker_host) = match plugin::of(arguments) {
        plugin::Call::Other(arguments) => (CalledAs::of(arguments.first()), arguments, None),
        plugin::Call::Metadata => {
            let task = Task::Print(plugin::metadata());
            return Ok(Invocation { context: Context::default(), task });
        }
        plugin::Call::Plugin { arguments, docker_host } => {
            (CalledAs::DockerPlugin, arguments, docker_host)
        }
    };
    let parsed = command(called_as).try_get_matches_from(arguments);
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => {
            let mut invocation = arguments.lower(called_as)?;
            invocation.context.docker_host = docker_host;
            Ok(invocation)
        }
        Err(error) if !error.use_stderr() => Ok(Invocation {
            context: Context::default(),
            task: Task::Print(error.render().to_string()),
        }),
        Err(error) => Err(values::usage_error(&error).into()),
    }
}

/// clap's description of the whole command line.
pub(crate) fn command(called_as: CalledAs) -> clap::Command {
    Arguments::command().bin_name(called_as.program())
}

impl CalledAs {
    /// Where bare names live if nobody says.
    fn engine(self) -> Engine {
        match self {
            Self::Silt | Self::Docker => Engine::Store,
            Self::BalenaEngine | Self::DockerPlugin => Engine::Docker,
        }
    }

    fn of(program: Option<&OsString>) -> Self {
        let name = program.and_then(|program| Path::new(program).file_name());
        match name.and_then(|name| name.to_str()) {
            Some("docker") => Self::Docker,
            Some("balena-engine") => Self::BalenaEngine,
            _ => Self::Silt,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Silt => "silt",
            Self::Docker => "docker",
            Self::BalenaEngine => "balena-engine",
            Self::DockerPlugin => "docker silt",
        }
    }
}

impl Arguments {
    fn lower(self, called_as: CalledAs) -> Result<Invocation, UsageError> {
        let context = self.everywhere.lower(called_as)?;
        let task = match self.command {
            Command::Image(command) => command.lower(called_as)?,
            Command::System(command) => command.lower()?,
            Command::Save(args) => args.lower()?,
            Command::Load(args) => args.lower()?,
            Command::Images(args) => args.lower(),
            Command::Tag(args) => args.lower(),
            Command::Rmi(args) => args.lower(),
            Command::Completion(args) => args.lower(called_as),
            Command::Man(args) => args.lower(),
            Command::Trust(command) => command.lower(),
        };
        Ok(Invocation { context, task })
    }
}

impl ImageCommand {
    fn lower(self, called_as: CalledAs) -> Result<Task, UsageError> {
        Ok(match self {
            Self::Delta(args) => args.lower(called_as)?,
            Self::Save(args) => args.lower()?,
            Self::Load(args) => args.lower()?,
            Self::Apply(args) => args.lower()?,
            Self::Ls(args) => args.lower(),
            Self::Inspect(args) => args.lower(),
            Self::History(args) => args.lower(),
            Self::Layers(args) => args.lower(),
            Self::Tag(args) => args.lower(),
            Self::Rm(args) => args.lower(),
            Self::Verify(args) => args.lower(),
            Self::Show(args) => args.lower()?,
            Self::Unpack(args) => args.lower(),
            Self::Copy(args) => args.lower(),
            Self::Sign(args) => args.lower()?,
        })
    }
}

impl EverywhereArgs {
    fn lower(self, called_as: CalledAs) -> Result<Context, UsageError> {
        let engine = match (self.engine, values::variable("SILT_ENGINE")) {
            (Some(engine), _) => engine,
            (None, Some(name)) => Engine::from_variable(&name)?,
            (None, None) => called_as.engine(),
        };
        let engine = match engine {
            Engine::Store => None,
            Engine::Docker => Some(EngineKind::Docker),
            Engine::Podman => Some(EngineKind::Podman),
            Engine::Containerd => Some(EngineKind::Containerd),
        };
        let progress = if self.quiet { ProgressStyle::None } else { self.progress };
        let root = self.root.or_else(|| values::variable("SILT_ROOT").map(PathBuf::from));
        Ok(Context { root, engine, docker_host: None, progress, is_quiet: self.quiet })
    }
}

impl Engine {
    fn from_variable(name: &std::ffi::OsStr) -> Result<Self, UsageError> {
        let name = name.to_string_lossy();
        Self::from_str(&name, false).map_err(|_| UsageError::Arguments {
            message: format!("SILT_ENGINE is {name:?}, which is no engine"),
            hint: None,
        })
    }
}
