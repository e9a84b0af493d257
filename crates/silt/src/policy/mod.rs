//! What a device lets in: rules that the images of an input must keep.
//!
//! A policy is a file of the device's owner. It says nothing about how an image is made, only about
//! which may be there; so it is judged before a load is planned.

mod file;
mod rules;
mod version;

use serde::Serialize;
use tarball::{ImageId, Name, Platform};

use crate::failure::{Failure, FailureKind};
use crate::trust::Signer;

pub use file::{Policy, PolicyFileError, REQUIRE_KEY};
pub(crate) use rules::{Current, Incoming, judge};

/// A rule of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Whether the file must be signed.
    Signature,
    /// The repositories that names may be of.
    Repository,
    /// The platforms that images may be for.
    Platform,
    /// The type of device that an image must name.
    DeviceType,
    /// That nothing is older than what its name has now.
    Downgrade,
}

/// What a rule said of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The rule.
    pub rule: Rule,
    /// The image; `None` where it is about the file.
    pub image: Option<ImageId>,
    /// The name that it is about, where it is about one.
    pub name: Option<Name>,
    /// Whether the image keeps the rule.
    pub is_kept: bool,
    /// Whether it does not, and was let in by the user's wish.
    pub is_overridden: bool,
    /// Why.
    pub why: String,
}

/// A policy does not let an image in.
#[derive(Debug, thiserror::Error)]
#[error("the policy forbids it: {}", describe(verdicts))]
pub struct PolicyError {
    /// The rules that are not kept.
    pub verdicts: Vec<Verdict>,
}

impl Verdict {
    /// Whether the image may come in as far as this rule goes.
    pub fn is_allowed(&self) -> bool {
        self.is_kept || self.is_overridden
    }
}

impl Rule {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Repository => "repository",
            Self::Platform => "platform",
            Self::DeviceType => "device-type",
            Self::Downgrade => "downgrade",
        }
    }
}

/// Fails where one of the rules is not kept.
pub(crate) fn enforce(verdicts: &[Verdict]) -> Result<(), PolicyError> {
    let broken = verdicts.iter().filter(|verdict| !verdict.is_allowed()).cloned();
    let verdicts: Vec<Verdict> = broken.collect();
    match verdicts.is_empty() {
        true => Ok(()),
        false => Err(PolicyError { verdicts }),
    }
}

/// What the rule about signatures says of a file that was let in.
pub(crate) fn verdict_of_signer(policy: &Policy, signer: Option<&Signer>) -> Option<Verdict> {
    let why = match signer {
        Some(signer) if signer.is_trusted => {
            let comment = signer.key_comment.as_deref().unwrap_or_default();
            format!("signed with trusted key {} ({comment})", signer.key_id)
        }
        Some(signer) => format!("signed with key {}, which is not trusted here", signer.key_id),
        None => "not signed".to_owned(),
    };
    let is_kept = signer.is_some_and(|signer| signer.is_trusted);
    policy.require.then_some(Verdict {
        rule: Rule::Signature,
        image: None,
        name: None,
        is_kept,
        is_overridden: false,
        why,
    })
}

fn describe(verdicts: &[Verdict]) -> String {
    let texts = verdicts.iter().map(|verdict| format!("{}: {}", verdict.rule.word(), verdict.why));
    texts.collect::<Vec<_>>().join("; ")
}

impl Failure for PolicyError {
    fn kind(&self) -> FailureKind {
        FailureKind::Forbidden
    }

    fn hint(&self) -> Option<String> {
        let is_downgrade = self.verdicts.iter().all(|verdict| verdict.rule == Rule::Downgrade);
        is_downgrade.then(|| "--allow-downgrade lets it in".into())
    }
}

/// What an image says of its platform, for messages.
pub(crate) fn platform_text(platform: &Platform) -> String {
    match (&platform.os, &platform.architecture) {
        (Some(_), Some(_)) => platform.to_string(),
        _ => "a platform that it does not name".to_owned(),
    }
}
