//! The file that a policy stands in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use tarball::Platform;

use crate::failure::{Failure, FailureKind};

/// The key of the rule about signatures.
pub const REQUIRE_KEY: &str = "require";
/// No policy is longer.
const MAX_POLICY_BYTES: u64 = 1 << 20;

/// What a device lets in. Every part that is not there lets everything in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Whether only what a trusted key signed is loaded.
    pub require: bool,
    /// The repositories that names may be of. A `*` at the end stands for anything.
    pub repositories: Option<Vec<String>>,
    /// The platforms that images may be for.
    #[serde(deserialize_with = "platforms")]
    pub platforms: Option<Vec<Platform>>,
    /// What the label must say that names the type of device an image is for.
    pub device_type: Option<String>,
    /// That label; [`Policy::DEVICE_TYPE_LABEL`] where it is not there.
    pub device_type_label: Option<String>,
    /// Whether nothing may be older than what its name has now.
    pub no_downgrade: bool,
    /// The label with a version that decides what is older. Else it is when an image was made.
    pub version_label: Option<String>,
}

/// A policy could not be read. Nothing is loaded without it.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The system refused.
    #[error("cannot read the policy {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a policy is.
    #[error("{} is not a policy: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why not, in one line.
        why: String,
    },
}

impl Policy {
    /// The label that names the type of device, unless the policy names another.
    pub const DEVICE_TYPE_LABEL: &str = "io.silt.device-type";

    /// Reads a policy; `None` where there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>, PolicyFileError> {
        let error = |source| PolicyFileError::Io { path: path.to_owned(), source };
        let bytes = match fs::metadata(path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(error)?.len(),
        };
        if bytes > MAX_POLICY_BYTES {
            return Err(error(io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read_to_string(path).map_err(error)?;
        match Self::parse(&text) {
            Ok(policy) => Ok(Some(policy)),
            Err(why) => Err(PolicyFileError::Parse { path: path.to_owned(), why }),
        }
    }

    /// Reads the text of a policy; the error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].lines().count().max(1));
            let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
            format!("{}{line}", error.message())
        })
    }

    /// The label that names the type of device.
    pub fn type_label(&self) -> &str {
        self.device_type_label.as_deref().unwrap_or(Self::DEVICE_TYPE_LABEL)
    }
}

fn platforms<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<Platform>>, D::Error> {
    let texts = Vec::<String>::deserialize(input)?;
    let platforms = texts.iter().map(|text| match text.as_str() {
        "host" => Ok(Platform::host()),
        text => text.parse().map_err(D::Error::custom),
    });
    platforms.collect::<Result<_, _>>().map(Some)
}

impl Failure for PolicyFileError {
    fn kind(&self) -> FailureKind {
        FailureKind::Other
    }

    fn hint(&self) -> Option<String> {
        Some("nothing is loaded until the policy can be read".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_strictly() {
        let policy = Policy::parse(
            "require = true\nrepositories = ['a/*']\nplatforms = ['linux/arm/v7', 'host']\n\
             device-type = 'x'\nno-downgrade = true\nversion-label = 'v'\n",
        )
        .unwrap();
        assert!(policy.require && policy.no_downgrade);
        assert_eq!(policy.platforms.as_ref().map(Vec::len), Some(2));
        assert_eq!(policy.type_label(), Policy::DEVICE_TYPE_LABEL);
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
        for bad in ["requires = true", "require = 'yes'", "platforms = ['arm']", "x"] {
            let why = Policy::parse(bad).unwrap_err();
            assert!(why.contains("line 1") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_policy() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Policy::read(&folder.path().join("absent")).unwrap(), None);
        assert!(Policy::read(folder.path()).is_err());
    }
}
