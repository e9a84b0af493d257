//! `trust`: the keys whose signatures count.

use std::path::Path;

use silt::signing::PublicKey;
use silt::trust::TrustError;

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, Table, one_line};

pub(crate) enum TrustTask {
    Add { key: String, comment: Option<String> },
    Ls { is_json: bool },
    Rm { key: String },
}

pub(super) fn run(context: &Context, task: &TrustTask) -> CommandResult {
    let directory = context.trust_directory();
    match task {
        TrustTask::Add { key, comment } => {
            let mut key = read_key(key)?;
            if let Some(comment) = comment {
                key.comment = one_line(comment);
            }
            let added = directory.add(key)?;
            output::print(&format!("Trusted: {} ({})\n", added.key_id, one_line(&added.comment)))
        }
        TrustTask::Ls { is_json } => {
            let keys = directory.keys()?;
            if *is_json {
                return output::print_json(&keys);
            }
            let mut table = Table::new(&["KEY ID", "COMMENT", "FILE"]);
            for key in keys {
                let path = one_line(&key.path.display().to_string());
                table.row([key.key_id.to_string(), one_line(&key.comment), path]);
            }
            output::print(&table.to_text())
        }
        TrustTask::Rm { key } => {
            let removed = directory.remove(key)?;
            let lines = removed.iter().map(|key| format!("No longer trusted: {}\n", key.key_id));
            output::print(&lines.collect::<String>())
        }
    }
}

/// A file, or the key itself.
fn read_key(text: &str) -> Result<PublicKey, TrustError> {
    let path = Path::new(text);
    if !path.exists()
        && let Ok(key) = PublicKey::parse(text.as_bytes())
    {
        return Ok(key);
    }
    let bytes = std::fs::read(path);
    let bytes =
        bytes.map_err(|source| TrustError::Io { what: "read", path: path.into(), source })?;
    let not_a_key = |source| TrustError::NotAKey { path: path.into(), source };
    PublicKey::parse(&bytes).map_err(not_a_key)
}
