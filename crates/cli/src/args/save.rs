//! `image save`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use silt::save::{ArchiveFormat, Compress, Output, SaveOptions};

use super::later::refuse;
use super::values::{Reference, texts};
use crate::commands::{SaveTask, Task};
use crate::error::UsageError;

#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<Reference>,
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

    #[arg(long, hide = true, value_name = "KEY")]
    sign: Option<String>,
    #[arg(long, hide = true, value_name = "SIZE")]
    split: Option<String>,
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
        refuse(&[("--sign", self.sign.is_some()), ("--split", self.split.is_some())])?;
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
        };
        let output = output_of(self.output, self.json)?;
        Ok(Task::Save(SaveTask { images: texts(self.images), options, output, is_json: self.json }))
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
