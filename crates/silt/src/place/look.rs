//! What an engine answers: lists, one image in detail, its health; and names that go.

use std::collections::HashMap;

use engine::{ImageRecord, Removed};
use serde::Serialize;
use tarball::{DiffId, ImageConfig, ImageId, Name};

use super::{DirectReading, EngineImages, EnginePlace, SourceError};
use crate::create::changed;
use crate::delta_image::DeltaImage;
use crate::layer_digest::compute_diff_id_with;
use crate::progress::{Progress, Step};
use crate::query::{
    Damage, DeltaSummary, ImageKind, ImageList, ImageSummary, LayerSummary, Verification,
};

/// An image of an engine.
#[derive(Debug, Clone)]
pub struct EngineImage {
    /// Its ID.
    pub id: ImageId,
    /// What it is called.
    pub names: Vec<Name>,
    /// What the engine says is its size.
    pub size_bytes: u64,
    /// Its config.
    pub config: ImageConfig,
}

/// What became of one image or name.
#[derive(Debug, Clone, Serialize)]
pub struct RemovedFromEngine {
    /// The image.
    pub id: ImageId,
    /// Names that went.
    pub untagged: Vec<Name>,
    /// Whether the image went with them.
    pub is_deleted: bool,
}

impl EnginePlace {
    /// Lists the images.
    pub fn list(&self) -> Result<ImageList, SourceError> {
        let mut list = ImageList::default();
        for image in self.images()?.images {
            let delta = self.delta_of(&image);
            list.images.push(ImageSummary {
                id: image.id,
                kind: if delta.is_some() { ImageKind::Delta } else { ImageKind::Image },
                delta: delta.flatten(),
                created: image.created,
                size_bytes: image.size_bytes,
                platform: image.platform,
                layers: image.diff_ids.len(),
                names: image.names,
            });
        }
        Ok(list)
    }

    /// What an image's config says of a delta: `None` for a plain image, and nothing in it for a delta that
    /// this program cannot read. Where the config would have to be copied first, that is not asked.
    fn delta_of(&self, image: &ImageRecord) -> Option<Option<DeltaSummary>> {
        if self.about().direct_reading != DirectReading::Works {
            return None;
        }
        let config = ImageConfig::parse(self.engine().config(image).ok()?).ok()?;
        match DeltaImage::of(&config) {
            Ok(None) => None,
            Ok(Some(delta)) => Some(Some(DeltaSummary::of(&delta))),
            Err(_) => Some(None),
        }
    }

    /// The images that the references mean, in their order.
    pub fn inspect(&self, references: &[String]) -> Result<Vec<EngineImage>, SourceError> {
        let images = self.images()?;
        let inspect = |reference: &String| {
            let image = images.resolve(reference)?;
            let config = super::source_image::parse_config(image.id, self.engine().config(image)?)?;
            let (id, names, size_bytes) = (image.id, image.names.clone(), image.size_bytes);
            Ok(EngineImage { id, names, size_bytes, config })
        };
        references.iter().map(inspect).collect()
    }

    /// The layers of all images, by their diffIDs. Those that would have to be copied first have no size.
    pub fn list_layers(&self) -> Result<Vec<LayerSummary>, SourceError> {
        let images = self.images()?;
        let mut layers = Vec::new();
        for (diff_id, holders) in layers_of(&images.images) {
            let is_cheap = self.about().direct_reading == DirectReading::Works;
            let found = match is_cheap {
                true => self.find_layer(&images, diff_id)?,
                false => None,
            };
            let size_bytes = found.map_or(0, |layer| delta::read_at::ReadAt::size(&layer));
            layers.push(LayerSummary { diff_id, size_bytes, images: holders });
        }
        layers.sort_by_key(|layer| layer.diff_id);
        Ok(layers)
    }

    /// Reads every layer of the given images, or of all, and compares digests. What is damaged is in the
    /// result and no error; a file that was changed under the engine is named.
    pub fn verify(
        &self,
        references: &[String],
        progress: &dyn Progress,
    ) -> Result<Verification, SourceError> {
        let EngineImages { images } = self.wanted(references)?;
        progress.begin(&Step::Verifying, None);
        let mut found = Verification { images: images.len() as u64, ..Verification::default() };
        for image in &images {
            self.engine().config(image)?;
        }
        let all = EngineImages { images };
        for (diff_id, holders) in layers_of(&all.images) {
            found.layers += 1;
            if let Some(problem) =
                self.problem_of(&all, diff_id, &mut found.read_bytes, progress)?
            {
                found.damage.push(Damage::of_engine_layer(diff_id, holders, problem));
            }
        }
        progress.end();
        Ok(found)
    }

    fn wanted(&self, references: &[String]) -> Result<EngineImages, SourceError> {
        let all = self.images()?;
        if references.is_empty() {
            return Ok(all);
        }
        let mut images: Vec<ImageRecord> = Vec::new();
        for reference in references {
            let image = all.resolve(reference)?;
            if images.iter().all(|known| known.id != image.id) {
                images.push(image.clone());
            }
        }
        Ok(EngineImages { images })
    }

    /// What is wrong with a layer.
    fn problem_of(
        &self,
        images: &EngineImages,
        diff_id: DiffId,
        read_bytes: &mut u64,
        progress: &dyn Progress,
    ) -> Result<Option<String>, SourceError> {
        let Some(layer) = self.find_layer(images, diff_id)? else {
            return Ok(Some("is missing".to_owned()));
        };
        let found = compute_diff_id_with(&layer, &mut |bytes| {
            *read_bytes += bytes;
            progress.advance(bytes);
            !progress.is_stopped()
        });
        Ok(match found {
            Ok(found) if found == diff_id => None,
            Ok(_) => {
                let files = changed(&layer.changed_files());
                Some(format!("does not have the bytes that its digest names{files}"))
            }
            Err(delta::ReadError::Io { source, .. }) => Some(source.to_string()),
            Err(error) => Some(error.to_string()),
        })
    }

    /// Takes a name away, and the image with its last one; an image that is given by its ID goes with all
    /// its names, if that is forced.
    pub fn remove(
        &self,
        reference: &str,
        is_forced: bool,
    ) -> Result<RemovedFromEngine, SourceError> {
        let images = self.images()?;
        let image = images.resolve(reference)?;
        let name: Option<Name> = reference.parse().ok();
        let name = name.filter(|name| image.names.contains(name));
        if name.is_none() && image.names.len() > 1 && !is_forced {
            let (id, names) = (image.id, image.names.len());
            return Err(SourceError::SeveralNames { id, names });
        }
        let removed = self.engine().remove(image, name.as_ref(), is_forced)?;
        let Removed { untagged, is_deleted } = removed;
        Ok(RemovedFromEngine { id: image.id, untagged, is_deleted })
    }
}

/// Each layer once, in the order of the images, with the images that have it.
fn layers_of(images: &[ImageRecord]) -> Vec<(DiffId, Vec<ImageId>)> {
    let mut places: HashMap<DiffId, usize> = HashMap::new();
    let mut layers: Vec<(DiffId, Vec<ImageId>)> = Vec::new();
    for image in images {
        for diff_id in &image.diff_ids {
            let place = *places.entry(*diff_id).or_insert(layers.len());
            match layers.get_mut(place) {
                Some((_, holders)) if holders.contains(&image.id) => {}
                Some((_, holders)) => holders.push(image.id),
                None => layers.push((*diff_id, vec![image.id])),
            }
        }
    }
    layers
}
