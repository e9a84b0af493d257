//! `image sign`, and the keys that `--sign` names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use silt::load::{Input, LoadOptions, open_input};
use silt::save::{Output, SignWith, Signing, read_secret_key, sign_archive};
use silt::trust::{Demand, Trust};
use silt::{Failure, FailureKind, OpenMode};

use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::password;

/// A secret key, and what is said beside its signature.
pub(crate) struct SignKey {
    pub(crate) path: PathBuf,
    pub(crate) comment: String,
    pub(crate) password_file: Option<PathBuf>,
}

pub(crate) struct SignTask {
    pub(crate) input: PathBuf,
    pub(crate) source: SignSource,
    pub(crate) output: Output,
}

pub(crate) enum SignSource {
    Key(SignKey),
    /// A file with a signature that was made elsewhere.
    Signature(PathBuf),
}

/// A key could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot use the key {}: {why}", path.display())]
    Locked { path: PathBuf, why: silt::signing::UnlockError },
    #[error("cannot read the password of the key")]
    Password(#[source] std::io::Error),
    #[error("cannot read the signature {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a signature: {why}", path.display())]
    NotASignature { path: PathBuf, why: silt::signing::ParseError },
}

impl Failure for KeyError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NotASignature { .. } => FailureKind::Damaged,
            _ => FailureKind::Other,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Locked { why: silt::signing::UnlockError::NoPassword, .. } => {
                Some("--password-file names a file with the password".into())
            }
            _ => None,
        }
    }
}

pub(super) fn run(context: &Context, task: &SignTask) -> CommandResult {
    let with = match &task.source {
        SignSource::Key(key) => SignWith::Key(signing(key)?),
        SignSource::Signature(path) => SignWith::Signature(read_signature(path)?),
    };
    let store = context.open_store(OpenMode::ReadOnly)?;
    let progress = context.reporter();
    let trust = Trust { keys: Vec::new(), demand: Demand::Look };
    let options = LoadOptions { trust, ..LoadOptions::default() };
    let input = Input::Path(task.input.clone());
    let opened = open_input(&input, &store, &options, progress.as_ref())?;
    let report = sign_archive(&opened, &with, &task.output, progress.as_ref())?;
    drop(progress);
    match task.output {
        Output::Stdout | Output::Layout(_) => Ok(()),
        _ => output::print(&format!("Signed: {}\n", output::exact_size(report.bytes))),
    }
}

/// Reads and unlocks the key that should sign.
pub(super) fn signing(key: &SignKey) -> Result<Signing, CommandError> {
    let file = read_secret_key(&key.path)?;
    let password = match file.is_encrypted() {
        true => {
            password::find(key.password_file.as_deref(), &key.path).map_err(KeyError::Password)?
        }
        false => None,
    };
    let secret = file.unlock(password.as_deref());
    let secret = secret.map_err(|why| KeyError::Locked { path: key.path.clone(), why })?;
    Ok(Signing { key: Arc::new(secret), comment: key.comment.clone() })
}

fn read_signature(path: &Path) -> Result<silt::signing::Signature, CommandError> {
    let text = fs::read(path);
    let text = text.map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    let signature = silt::signing::Signature::parse(&text);
    Ok(signature.map_err(|why| KeyError::NotASignature { path: path.to_owned(), why })?)
}
