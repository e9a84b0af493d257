//! Docker and balenaEngine: names and changes through the API, layers out of the engine's folders.

mod answers;
mod api;
mod graph;
mod upload;

use std::sync::Arc;

use tarball::{ImageId, Name};

use crate::error::EngineError;
use crate::place::{
    About, DirectReading, Engine, EngineKind, ImageRecord, LayerBytes, Removed, Staging, Upload,
    Where,
};
use crate::saved::{SaveStream, SavedImages, SavedStream};
use answers::{Info, InspectedImage};
use api::Api;
use graph::Graph;

/// A dockerd or a balenaEngine.
pub(crate) struct Docker {
    about: About,
    api: Arc<Api>,
    layers: Layers,
}

/// Where layers come from.
enum Layers {
    /// The engine's own folders.
    Folders(Graph),
    /// What the API sends of an image, copied.
    Saved(SavedImages),
}

impl Docker {
    pub(crate) fn open(place: &Where) -> Result<Self, EngineError> {
        let (api, version) = Api::open(place.docker_host.as_deref())?;
        let api = Arc::new(api);
        let info: Info = api.get_json("/info")?;
        let (layers, direct_reading) = match Graph::open(&info, api.is_local()) {
            Ok(graph) => (Layers::Folders(graph), DirectReading::Works),
            Err(why) => {
                let source = Box::new(SaveImage(api.clone()));
                let scratch = place.scratch.clone();
                let saved = SavedImages::new(EngineKind::Docker, source, scratch);
                (Layers::Saved(saved), DirectReading::CopiedBecause(why))
            }
        };
        let is_balena = info.is_balena_engine();
        let about = About {
            kind: EngineKind::Docker,
            product: if is_balena { "balenaEngine" } else { "Docker" }.to_owned(),
            version: version.version,
            address: api.address(),
            api_version: Some(api.version().to_owned()),
            storage_driver: info.driver.clone(),
            root: info.docker_root_dir.clone(),
            direct_reading,
            staging: Staging::Upload,
            applies_balena_deltas: is_balena,
        };
        Ok(Self { about, api, layers })
    }

    fn inspect(&self, id: ImageId) -> Result<Option<InspectedImage>, EngineError> {
        self.api.find_json(&format!("/images/{id}/json"))
    }
}

impl Engine for Docker {
    fn about(&self) -> &About {
        &self.about
    }

    fn images(&self) -> Result<Vec<ImageRecord>, EngineError> {
        let listed: Vec<answers::ListedImage> = self.api.get_json("/images/json")?;
        let mut images = Vec::with_capacity(listed.len());
        for image in listed {
            // What was removed meanwhile is not there.
            if let Some(inspected) = self.inspect(image.id)? {
                images.push(inspected.into_record());
            }
        }
        Ok(images)
    }

    fn config(&self, image: &ImageRecord) -> Result<Vec<u8>, EngineError> {
        match &self.layers {
            Layers::Folders(graph) => graph.config(image.id),
            Layers::Saved(saved) => saved.config(image),
        }
    }

    fn layer(&self, image: &ImageRecord, index: usize) -> Result<Arc<dyn LayerBytes>, EngineError> {
        match &self.layers {
            Layers::Folders(graph) => graph.layer(image, index),
            Layers::Saved(saved) => saved.layer(image, index),
        }
    }

    fn upload(&self) -> Result<Box<dyn Upload>, EngineError> {
        Ok(Box::new(upload::DockerUpload::new(self.api.clone())))
    }

    fn tag(&self, image: &ImageRecord, name: &Name) -> Result<(), EngineError> {
        self.api.tag(image.id, name)
    }

    fn remove(
        &self,
        image: &ImageRecord,
        name: Option<&Name>,
        is_forced: bool,
    ) -> Result<Removed, EngineError> {
        let reference = name.map_or_else(|| image.id.to_string(), Name::qualified);
        let steps = self.api.remove(&reference, is_forced)?;
        let untagged = steps.iter().filter_map(|step| step.untagged.as_ref()?.parse().ok());
        let id = image.id.to_string();
        let is_deleted = steps.iter().any(|step| step.deleted.as_ref() == Some(&id));
        Ok(Removed { untagged: untagged.collect(), is_deleted })
    }
}

/// What `docker save` sends.
struct SaveImage(Arc<Api>);

impl SavedStream for SaveImage {
    fn open(&self, image: &ImageRecord) -> Result<SaveStream, EngineError> {
        Ok(Box::new(self.0.save(image.id)?))
    }
}
