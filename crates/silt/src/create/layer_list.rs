//! The list of layers that `silt image layers --json` writes on a device: what stands for an old image
//! where nobody knows which one a device has.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tarball::DiffId;

use crate::failure::{Failure, FailureKind};

/// No list is longer.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// A list of layers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LayerListError {
    /// The system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what `silt image layers --json` writes.
    #[error("{} is no list of layers", path.display())]
    Parse {
        /// The list.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Listed {
    diff_id: DiffId,
}

/// Reads a list.
pub fn read_layer_list(path: &Path) -> Result<Vec<DiffId>, LayerListError> {
    let error = |source| LayerListError::Io { path: path.to_owned(), source };
    let mut text = Vec::new();
    fs::File::open(path)
        .map_err(error)?
        .take(MAX_LIST_BYTES)
        .read_to_end(&mut text)
        .map_err(error)?;
    let listed: Vec<Listed> = serde_json::from_slice(&text)
        .map_err(|source| LayerListError::Parse { path: path.to_owned(), source })?;
    Ok(listed.into_iter().map(|layer| layer.diff_id).collect())
}

impl Failure for LayerListError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Io { .. } => FailureKind::Other,
            Self::Parse { .. } => FailureKind::Damaged,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Parse { .. } => {
                Some("`silt image layers --json` writes one on the device".into())
            }
        }
    }
}
