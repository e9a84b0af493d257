//! What the manual keeps for later versions.

use crate::error::UsageError;

/// Refuses the first flag that was given.
pub(super) fn refuse(flags: &[(&str, bool)]) -> Result<(), UsageError> {
    match flags.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(UsageError::NotBuilt { what: (*flag).to_owned() }),
        None => Ok(()),
    }
}
