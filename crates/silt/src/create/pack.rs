//! The layers of a delta that are made, packed as an image.

use tarball::{DiffId, ImageConfig, ImageId};

use super::{CreateError, CreateReport, CreatedDelta, DeltaLayer, LayerReport, kinds};
use crate::delta_image::DeltaImage;

/// All that a delta consists of.
pub(super) struct Parts {
    /// For each layer of the target one.
    pub(super) layers: Vec<DeltaLayer>,
    /// Of what those make.
    pub(super) reports: Vec<LayerReport>,
    /// Further layers, which other deltas have as well.
    pub(super) shared: Vec<DeltaLayer>,
    /// Bytes of temporary files that it took.
    pub(super) scratch_bytes: u64,
}

impl Parts {
    /// The image whose config says `delta`, its kinds by the reports. It needs all of `base`.
    pub(super) fn pack(
        self,
        delta: DeltaImage,
        base: Vec<ImageId>,
    ) -> Result<CreatedDelta, CreateError> {
        let Self { mut layers, reports, shared, scratch_bytes } = self;
        let kinds = kinds::sum(&reports);
        let delta = DeltaImage { kinds: kinds::shares(&kinds), ..delta };
        let bytes_of = |layers: &[DeltaLayer]| layers.iter().map(|layer| layer.size_bytes).sum();
        let (delta_bytes, shared_bytes) = (bytes_of(&layers), bytes_of(&shared));
        layers.extend(shared);
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
        let (target, format) = (delta.target.id, delta.format);
        let config = delta.to_config(&diff_ids).ok_or(CreateError::ConfigText { image: target })?;
        let config = ImageConfig::parse(config)
            .map_err(|source| CreateError::Config { image: target, source })?;
        let report = CreateReport {
            delta: config.id,
            target,
            base,
            is_full: delta.is_full(),
            format,
            normal_bytes: reports.iter().map(|report| report.size_bytes).sum(),
            delta_bytes,
            shared_bytes,
            layers: reports,
            kinds,
            scratch_bytes,
        };
        Ok(CreatedDelta { config, layers, format, subject: None, report })
    }
}
