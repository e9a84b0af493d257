//! `image save`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use silt::save::{ArchiveFormat, Compress, Output, SaveOptions};

use super::sign::{Seal, SealArgs};
use super::values::{AnyReference, any_texts};
use crate::commands::{SaveTask, Task};
use crate::error::UsageError;

#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<AnyReference>,
    /// Where the archive goes; `-` or nothing for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// `docker-archive` is what engines load; OCI tools read both
    #[arg(long, default_value = "docker-archive")]
    format: Format,
    /// Of the whole archive; no engine loads `zstd` [default: gzip for deltas where smaller, else none]
    #[arg(long)]
    compress: Option<Compression>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    seal: SealArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl SaveArgs {
    pub(super) fn lower(self) -> Result<Task, UsageError> {
        let options = SaveOptions {
            format: match self.format {
                Format::DockerArchive => ArchiveFormat::DockerArchive,
                Format::OciArchive => ArchiveFormat::OciArchive,
            },
            compress: self.compress.map(|compression| match compression {
                Compression::None => Compress::None,
                Compression::Gzip => Compress::Gzip,
                Compression::Zstd => Compress::Zstd,
            }),
            sign: None,
        };
        let Seal { output, sign } = self.seal.lower(self.output, self.json)?;
        if sign.is_some() && !matches!(options.compress, None | Some(Compress::None)) {
            let message = "a signed archive is not compressed as a whole: leave out --compress";
            return Err(UsageError::Arguments { message: message.to_owned(), hint: None });
        }
        let images = any_texts(self.images);
        Ok(Task::Save(SaveTask { images, options, output, sign, is_json: self.json }))
    }
}

/// Where an archive goes; never to a terminal.
pub(super) fn output_of(path: Option<PathBuf>, is_json: bool) -> Result<Output, UsageError> {
    match path {
        Some(path) if path != Path::new("-") => Ok(Output::Path(path)),
        _ if is_json => Err(UsageError::JsonBesideArchive),
        _ if io::stdout().is_terminal() => Err(UsageError::SaveToTerminal),
        _ => Ok(Output::Stdout),
    }
}
