//! What the manual keeps for later versions.

use crate::error::UsageError;

/// Anything at all: the command is refused whatever follows.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct LaterArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<std::ffi::OsString>,
}

/// Refuses the first flag that was given.
pub(super) fn refuse(flags: &[(&str, bool)]) -> Result<(), UsageError> {
    match flags.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(UsageError::NotBuilt { what: (*flag).to_owned() }),
        None => Ok(()),
    }
}

/// The refusal of a whole command.
pub(super) fn command(name: &str) -> UsageError {
    UsageError::NotBuilt { what: format!("the command `{name}`") }
}
