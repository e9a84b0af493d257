//! What all commands share: which store, and how much is said.

use std::path::PathBuf;

use silt::place::EngineKind;
use silt::policy::Policy;
use silt::trust::{Demand, Trust, TrustDirectory};
use silt::{OpenError, OpenMode, Progress, Store};

use crate::args::{default_root, variable};
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
    /// The engine in which bare names live; `None` for the store.
    pub(crate) engine: Option<EngineKind>,
    /// Where Docker is, if its own command line said so.
    pub(crate) docker_host: Option<String>,
    pub(crate) progress: ProgressStyle,
    pub(crate) is_quiet: bool,
}

impl Context {
    /// The store, for a command that knows no other place.
    pub(crate) fn open_store(&self, mode: OpenMode) -> Result<Store, CommandError> {
        match self.engine {
            None => self.open_scratch_store(mode),
            Some(engine) => {
                let what = format!("this command with --engine {engine}");
                Err(UsageError::NotBuilt { what }.into())
            }
        }
    }

    /// The store, for whatever else a command with an engine needs.
    pub(crate) fn open_scratch_store(&self, mode: OpenMode) -> Result<Store, CommandError> {
        Ok(Store::open(&self.store_root()?, mode)?)
    }

    /// The store for changing what is there; `None` where there is no store.
    pub(crate) fn open_existing_store(&self) -> Result<Option<Store>, CommandError> {
        if self.engine.is_some() {
            return self.open_store(OpenMode::ReadWrite).map(Some);
        }
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

    /// The keys that are trusted here.
    pub(crate) fn trust_directory(&self) -> TrustDirectory {
        TrustDirectory::new(&configured("SILT_TRUST_DIR", "/etc/silt/trust.d"))
    }

    /// What may be loaded here.
    pub(crate) fn policy(&self) -> Result<Option<Policy>, CommandError> {
        Ok(Policy::read(&configured("SILT_POLICY", "/etc/silt/policy.toml"))?)
    }

    /// Whose signatures count, and whether there must be one.
    pub(crate) fn trust(&self, policy: Option<&Policy>) -> Result<Trust, CommandError> {
        let keys = self.trust_directory().keys()?.into_iter().map(|key| key.key).collect();
        let is_required = policy.is_some_and(|policy| policy.require);
        let demand = if is_required { Demand::Signed } else { Demand::IfSigned };
        Ok(Trust { keys, demand })
    }

    /// Where hooks are.
    pub(crate) fn hooks_folder(&self) -> PathBuf {
        configured("SILT_HOOKS_DIR", "/etc/silt/hooks.d")
    }

    /// What the device is called in reports.
    pub(crate) fn device_name(&self) -> String {
        let name = variable("SILT_DEVICE").map(|name| name.to_string_lossy().into_owned());
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        name.unwrap_or_else(host)
    }

    /// Tells the user something that is no result, unless results alone are wanted.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_quiet {
            output::note(text);
        }
    }
}

/// A path of the device's configuration, which an environment variable may put elsewhere.
fn configured(name: &str, default: &str) -> PathBuf {
    variable(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
}
