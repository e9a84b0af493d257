//! Planning what is done for layers that are here and damaged.

use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tarball::DiffId;

use super::LoadError;
use super::health::Health;
use super::plan::{Action, LayerPlan};
use super::planner::{Of, Planner};
use crate::delta_image::DeltaFormat;
use crate::failure::{Failure, FailureKind};
use crate::query::ByteRange;

/// What is done for a layer that is here and damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "repair")]
pub enum Repair {
    /// Its damaged blocks are written in their places.
    Blocks {
        /// The damaged blocks, neighbours joined, as offsets in the layer.
        #[serde(serialize_with = "as_ranges")]
        ranges: Vec<Range<u64>>,
        /// Out of what they are made.
        #[serde(rename = "making")]
        from: Making,
    },
    /// It is written anew, since its block digests are damaged too or it is not there at all.
    Whole {
        /// Out of what it is made.
        #[serde(rename = "making")]
        from: Making,
    },
    /// It is whole, and its block digests are made again.
    Digests,
    /// Nothing: the input cannot make it.
    Impossible {
        /// Why not.
        why: String,
    },
}

/// How a layer is made out of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Making {
    /// Bytes in the input.
    pub stored_bytes: u64,
    /// How the delta is encoded; `None` where the input has the layer itself.
    pub format: Option<DeltaFormat>,
    /// The layers that a delta reads.
    #[serde(serialize_with = "super::plan::as_list")]
    pub origins: Arc<[DiffId]>,
}

impl Repair {
    /// Bytes that are written in the places of damaged ones.
    pub(super) fn mended_bytes(&self) -> u64 {
        match self {
            Self::Blocks { ranges, .. } => ranges.iter().map(|range| range.end - range.start).sum(),
            Self::Whole { .. } | Self::Digests | Self::Impossible { .. } => 0,
        }
    }

    pub(super) fn is_new_file(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }
}

impl Planner<'_> {
    /// What is done for a layer, whose bytes are compared with its digest if it is here.
    pub(super) fn layer_or_repair(&mut self, of: &Of<'_>) -> Result<LayerPlan, LoadError> {
        let diff_id = of.diff_id();
        if !self.known.is_here(diff_id)? && !self.known.is_listed(of.target.id) {
            let layer = self.made_layer(of)?;
            self.known.expect_sound(&layer.kept_layers(), self.progress)?;
            return Ok(layer);
        }
        let health = self.known.health(diff_id, self.progress)?;
        let size_bytes = self.known.full_size(diff_id)?;
        let repair = match health {
            Health::Whole => {
                return Ok(LayerPlan { diff_id, size_bytes, action: Action::Present });
            }
            Health::WithoutDigests => Repair::Digests,
            Health::Damaged(_) | Health::Lost => match self.making(of) {
                Ok((size_bytes, action)) => {
                    let repair = match (health, Making::of(&action)) {
                        // What reads itself would read what is damaged.
                        (Health::Damaged(ranges), Some(from)) if !from.reads(diff_id) => {
                            Repair::Blocks { ranges, from }
                        }
                        (_, Some(from)) => Repair::Whole { from },
                        (_, None) => {
                            return Ok(LayerPlan { diff_id, size_bytes: Some(size_bytes), action });
                        }
                    };
                    let action = Action::Repair(repair);
                    return Ok(LayerPlan { diff_id, size_bytes: Some(size_bytes), action });
                }
                Err(error) => Repair::Impossible { why: why_not(of, error)? },
            },
        };
        Ok(LayerPlan { diff_id, size_bytes, action: Action::Repair(repair) })
    }

    /// How a layer is made, and its size, if all that it is made of is whole.
    fn making(&mut self, of: &Of<'_>) -> Result<(u64, Action), LoadError> {
        let layer = self.made_layer(of)?;
        self.known.expect_sound(&layer.kept_layers(), self.progress)?;
        Ok((layer.size_bytes.unwrap_or(0), layer.action))
    }
}

impl Making {
    /// Whether the layer that is made, `layer`, is read while it is.
    pub(super) fn reads(&self, layer: DiffId) -> bool {
        self.format == Some(DeltaFormat::Silt) && self.origins.contains(&layer)
    }

    /// `None` for a layer that comes from another store.
    fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Write { stored_bytes } => {
                Some(Self { stored_bytes: *stored_bytes, format: None, origins: Vec::new().into() })
            }
            Action::Rebuild { format, stored_bytes, origins } => Some(Self {
                stored_bytes: *stored_bytes,
                format: Some(*format),
                origins: origins.clone(),
            }),
            Action::Present | Action::Copy { .. } | Action::Repair(_) => None,
        }
    }
}

/// Why the input cannot make a layer. That it is damaged itself is a failure of another kind.
fn why_not(of: &Of<'_>, error: LoadError) -> Result<String, LoadError> {
    let is_shared = of.delta.is_some() && of.candidate.diff_id(of.index) == DiffId::EMPTY_LAYER;
    match (&error, error.kind()) {
        _ if is_shared => Ok("the delta leaves it out, since its base has it".to_owned()),
        (LoadError::MissingLayer { .. }, _) => Ok("the input does not have it".to_owned()),
        (_, FailureKind::BaseMissing | FailureKind::StoredDamaged) => Ok(error.to_string()),
        _ => Err(error),
    }
}

fn as_ranges<S: Serializer>(ranges: &[Range<u64>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ranges.iter().cloned().map(ByteRange::from))
}
