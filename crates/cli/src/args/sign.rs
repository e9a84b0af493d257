//! Signatures: flags of what writes archives, `image sign` and `trust`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use silt::save::{Output, Signing};

use super::save::output_of;
use super::values::Size;
use crate::commands::{SignKey, SignSource, SignTask, Task, TrustTask};
use crate::error::UsageError;

/// Of every command that writes an archive.
#[derive(Debug, Args)]
pub(super) struct SealArgs {
    /// Sign the archive with this secret key of minisign's; it is then not compressed as a whole
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    how: SignHowArgs,
    /// Write parts of at most this size, FILE.000, FILE.001, …: FAT takes no file of 4G
    #[arg(long, value_name = "SIZE")]
    split: Option<Size>,
}

#[derive(Debug, Args)]
struct SignHowArgs {
    /// What is signed beside the archive, for those who look at it
    #[arg(long, value_name = "TEXT")]
    sign_comment: Option<String>,
    /// The key's password is the first line of this file
    /// [default: asked for on the terminal; env: SILT_KEY_PASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// The archive, which is replaced by a signed one
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// The secret key [env: SILT_SIGN_KEY] [default: ~/.minisign/minisign.key]
    #[arg(short, long, value_name = "KEY", conflicts_with = "signature")]
    key: Option<PathBuf>,
    /// A signature of the archive's index.json that was made elsewhere
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    how: SignHowArgs,
    /// Write the signed archive here instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TrustCommand {
    /// Trust a public key from now on
    Add(TrustAddArgs),
    /// List the keys that are trusted
    #[command(visible_alias = "list")]
    Ls(TrustLsArgs),
    /// Trust a key no longer
    #[command(visible_alias = "remove")]
    Rm(TrustRmArgs),
}

#[derive(Debug, Args)]
pub(super) struct TrustAddArgs {
    /// A file of minisign's, or the key itself, in base64
    #[arg(value_name = "FILE|KEY")]
    key: String,
    /// What is shown beside the key [default: what its file says]
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct TrustLsArgs {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TrustRmArgs {
    /// The ID of the key
    #[arg(value_name = "KEY-ID")]
    key: String,
}

/// Where an archive goes, and what signs it.
pub(super) struct Seal {
    pub(super) output: Output,
    pub(super) sign: Option<SignKey>,
}

impl SealArgs {
    pub(super) fn is_given(&self) -> bool {
        self.sign.is_some() || self.split.is_some()
    }

    pub(super) fn lower(self, path: Option<PathBuf>, is_json: bool) -> Result<Seal, UsageError> {
        let output = match (output_of(path, is_json)?, self.split) {
            (output, None) => output,
            (_, Some(Size(0))) => return Err(usage("parts of 0 bytes hold nothing")),
            (Output::Path(path), Some(Size(part_bytes))) => Output::Parts { path, part_bytes },
            (_, Some(_)) => return Err(usage("--split needs a file: name one with -o")),
        };
        let how = self.how;
        Ok(Seal { output, sign: self.sign.map(|path| how.lower(path)) })
    }
}

impl SignHowArgs {
    fn lower(self, path: PathBuf) -> SignKey {
        let comment = self.sign_comment.unwrap_or_else(|| Signing::DEFAULT_COMMENT.to_owned());
        SignKey { path, comment, password_file: self.password_file }
    }
}

impl SignArgs {
    pub(super) fn lower(self) -> Result<Task, UsageError> {
        let output = self.output.unwrap_or_else(|| self.input.clone());
        let source = match self.signature {
            Some(path) => SignSource::Signature(path),
            None => {
                let key = self
                    .key
                    .or_else(|| super::values::variable("SILT_SIGN_KEY").map(PathBuf::from));
                let key =
                    key.or_else(minisign_key).ok_or_else(|| usage("name a key with --key"))?;
                SignSource::Key(self.how.lower(key))
            }
        };
        let output = output_of(Some(output), false)?;
        Ok(Task::Sign(SignTask { input: self.input, source, output }))
    }
}

/// Where minisign keeps its key.
fn minisign_key() -> Option<PathBuf> {
    let home = super::values::variable("HOME")?;
    Some(Path::new(&home).join(".minisign/minisign.key"))
}

impl TrustCommand {
    pub(super) fn lower(self) -> Task {
        Task::Trust(match self {
            Self::Add(args) => TrustTask::Add { key: args.key, comment: args.comment },
            Self::Ls(args) => TrustTask::Ls { is_json: args.json },
            Self::Rm(args) => TrustTask::Rm { key: args.key },
        })
    }
}

fn usage(message: &str) -> UsageError {
    UsageError::Arguments { message: message.to_owned(), hint: None }
}
