//! What the policy says of the images of an input.

use tarball::{ImageConfig, Name};

use super::destination::Destination;
use super::planner::names_of;
use super::{Candidates, From, LoadError, LoadOptions};
use crate::delta_image::DeltaImage;
use crate::policy::{Current, Incoming, Verdict, enforce, judge, verdict_of_signer};

/// The verdicts on all images. Where a rule is not kept that is an error, unless the plan is for
/// looking alone.
pub(super) fn judge_all(
    candidates: &Candidates<'_>,
    deltas: &[Option<DeltaImage>],
    destination: &Destination<'_>,
    options: &LoadOptions,
    from: &From,
) -> Result<Vec<Verdict>, LoadError> {
    let Some(policy) = &options.policy else { return Ok(Vec::new()) };
    let mut verdicts: Vec<Verdict> =
        verdict_of_signer(policy, from.signer.as_ref()).into_iter().collect();
    for (candidate, delta) in candidates.iter().zip(deltas) {
        let names = names_of(options, candidate, delta.as_ref());
        let current = current_images(destination, &names)?;
        let config = delta.as_ref().map_or(&candidate.config, |delta| &delta.target);
        let image = Incoming { config, names: &names, current };
        for verdict in judge(policy, &image, options.allow_downgrade) {
            // Several deltas of one file make the same image.
            if !verdicts.contains(&verdict) {
                verdicts.push(verdict);
            }
        }
    }
    if !options.is_dry_run {
        enforce(&verdicts)?;
    }
    Ok(verdicts)
}

/// What the names mean now. An image whose config cannot be read is there without one.
fn current_images(
    destination: &Destination<'_>,
    names: &[Name],
) -> Result<Vec<Current>, LoadError> {
    let mut current = Vec::new();
    for name in names {
        if let Some(raw) = destination.config_of(name)? {
            let config = raw.and_then(|raw| ImageConfig::parse(raw).ok());
            current.push(Current { name: name.clone(), config });
        }
    }
    Ok(current)
}
