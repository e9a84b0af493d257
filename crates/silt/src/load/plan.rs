//! What a load will do, for each image and each of its layers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tarball::{DiffId, ImageId, Name, Platform};

use super::bases::BaseStores;
use super::repair::Repair;
use super::room::Room;
use crate::delta_image::DeltaFormat;
use crate::policy::Verdict;
use crate::trust::Signer;

/// What a load will do.
#[derive(Debug, Clone, Serialize)]
pub struct LoadPlan {
    /// The images, in the order of the input.
    pub images: Vec<ImagePlan>,
    /// What it takes, and what there is.
    pub room: Room,
    /// Of the input, bytes that had to be copied because it was a pipe.
    pub spooled_bytes: u64,
    /// Who signed the input, where it is signed.
    pub signer: Option<Signer>,
    /// What the rules of the policy say.
    pub policy: Vec<Verdict>,
    /// Bases that are removed in the end.
    pub deletes: Vec<ImageId>,
    /// The limit that was planned with holds when the input is read again.
    #[serde(skip)]
    pub(super) max_memory_bytes: u64,
    #[serde(skip)]
    pub(super) bases: BaseStores,
    /// The candidates that are taken, one for each image.
    #[serde(skip)]
    pub(super) taken: Vec<usize>,
    /// Bytes that deltas read and the input has: no layers, and nowhere but there.
    #[serde(skip)]
    pub(super) shared: HashSet<DiffId>,
    /// The numbers of the images in the order in which they are made: each after its base.
    #[serde(skip)]
    pub(super) order: Vec<usize>,
}

/// What will be done for one image.
#[derive(Debug, Clone, Serialize)]
pub struct ImagePlan {
    /// The image that will be there.
    pub id: ImageId,
    /// The names that it will have, beside those that it has.
    pub names: Vec<Name>,
    /// Where it comes from.
    pub how: How,
    /// What it is for, as `OS/ARCH[/VARIANT]`.
    #[serde(serialize_with = "display")]
    pub platform: Platform,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerPlan>,
    /// What a user should know before.
    pub warnings: Vec<String>,
    /// Other ways to the same image that the input has, and that were not taken.
    pub left_out: usize,
    #[serde(skip)]
    pub(super) config: Vec<u8>,
    #[serde(skip)]
    pub(super) manifest: Option<Vec<u8>>,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum How {
    /// It is there already.
    Present,
    /// The input holds it.
    Full,
    /// The input holds a delta.
    Delta {
        /// Of which format.
        format: DeltaFormat,
        /// The image that it was made against, where it says.
        base: Option<ImageId>,
    },
}

/// What will be done for one layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerPlan {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of its uncompressed tar; `None` where it is there and was not looked at.
    pub size_bytes: Option<u64>,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// What is done for a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "action")]
pub enum Action {
    /// Nothing: it is there, or an earlier part of this load makes it.
    Present,
    /// It is copied from another store.
    Copy {
        /// The root of that store.
        #[serde(serialize_with = "display_path")]
        from: PathBuf,
    },
    /// It is here and damaged.
    Repair(Repair),
    /// It is written as the input holds it.
    Write {
        /// Bytes in the input.
        stored_bytes: u64,
    },
    /// It is made out of a delta and other layers.
    Rebuild {
        /// How the delta is encoded.
        format: DeltaFormat,
        /// Bytes of the delta layer in the input.
        stored_bytes: u64,
        /// The layers that are read: in order, those that the delta addresses.
        #[serde(serialize_with = "as_list")]
        origins: Arc<[DiffId]>,
    },
}

impl LoadPlan {
    /// Fails where a rule of the policy is not kept, which a plan for looking alone tells.
    pub fn enforce_policy(&self) -> Result<(), crate::policy::PolicyError> {
        crate::policy::enforce(&self.policy)
    }
}

impl LayerPlan {
    /// Whether the layer can be counted on once this was done.
    pub(super) fn will_be_whole(&self) -> bool {
        !matches!(self.action, Action::Repair(Repair::Impossible { .. }))
    }

    /// Whether the layer is written as a file of its own.
    pub(super) fn is_new_file(&self) -> bool {
        match &self.action {
            Action::Present => false,
            Action::Repair(repair) => repair.is_new_file(),
            Action::Copy { .. } | Action::Write { .. } | Action::Rebuild { .. } => true,
        }
    }

    /// The layers that a delta of this one reads, without what it reads of itself. The base of a
    /// `balena` delta may have the very layer, on others.
    pub(super) fn read_layers(&self) -> Vec<DiffId> {
        let (format, origins) = match &self.action {
            Action::Rebuild { format, origins, .. } => (Some(*format), origins),
            Action::Repair(Repair::Blocks { from, .. } | Repair::Whole { from }) => {
                (from.format, &from.origins)
            }
            _ => return Vec::new(),
        };
        let may_be_itself = format == Some(DeltaFormat::Silt);
        let is_other = |origin: &DiffId| !may_be_itself || *origin != self.diff_id;
        origins.iter().copied().filter(is_other).collect()
    }

    /// Whether it is read again while it is made.
    pub(super) fn reads_itself(&self) -> bool {
        match &self.action {
            Action::Rebuild { format: DeltaFormat::Silt, origins, .. } => {
                origins.contains(&self.diff_id)
            }
            Action::Repair(Repair::Whole { from }) => from.reads(self.diff_id),
            _ => false,
        }
    }

    /// The layers that must be whole for this one to come out right, itself among them if it is kept.
    pub(super) fn kept_layers(&self) -> Vec<DiffId> {
        match &self.action {
            Action::Present | Action::Copy { .. } => vec![self.diff_id],
            Action::Rebuild { .. } => self.read_layers(),
            Action::Write { .. } | Action::Repair(_) => Vec::new(),
        }
    }
}

fn display<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn display_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(super) fn as_list<S: Serializer>(
    layers: &Arc<[DiffId]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    layers.as_ref().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarball::Digest;

    /// The base of a `balena` delta may have the very layer that is made, on others than in the target.
    #[test]
    fn a_layer_is_its_own_origin_in_the_native_format_alone() {
        let [layer, other] = [1, 2].map(|byte| DiffId(Digest::from_bytes([byte; 32])));
        let plan = |format| {
            let origins = Arc::from([other, layer]);
            let action = Action::Rebuild { format, stored_bytes: 0, origins };
            LayerPlan { diff_id: layer, size_bytes: None, action }
        };
        let (native, balena) = (plan(DeltaFormat::Silt), plan(DeltaFormat::Balena));
        assert!(native.reads_itself() && !balena.reads_itself());
        assert_eq!(native.kept_layers(), [other]);
        assert_eq!(balena.kept_layers(), [other, layer]);
    }
}
