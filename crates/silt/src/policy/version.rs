//! Which of two images is older.

use std::cmp::Ordering;

use jiff::Timestamp;
use semver::Version;
use tarball::ImageConfig;

/// When an image was made, as a label.
const CREATED: &str = "org.opencontainers.image.created";

/// How an image is dated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Date {
    Version(Version),
    Created(Timestamp),
}

impl Date {
    /// By the label with a version where there is one, else by when it was made; else why not.
    pub(super) fn of(config: &ImageConfig, version_label: Option<&str>) -> Result<Self, String> {
        match version_label {
            Some(label) => {
                let text = config.labels.get(label).ok_or(format!("has no label {label}"))?;
                let version = Version::parse(text.strip_prefix('v').unwrap_or(text));
                version
                    .map(Self::Version)
                    .map_err(|_| format!("has version {text:?}, which is none"))
            }
            None => {
                let label = config.labels.get(CREATED).or(config.created.as_ref());
                let text = label.ok_or("does not say when it was made")?;
                let created = text.parse();
                created
                    .map(Self::Created)
                    .map_err(|_| format!("was made at {text:?}, which is no time"))
            }
        }
    }

    /// Whether this is older than `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let order = match (self, other) {
            // Build metadata is no matter of age.
            (Self::Version(a), Self::Version(b)) => a.cmp_precedence(b),
            (Self::Created(a), Self::Created(b)) => a.cmp(b),
            _ => Ordering::Equal,
        };
        order == Ordering::Less
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::Created(created) => write!(f, "made at {created}"),
        }
    }
}
