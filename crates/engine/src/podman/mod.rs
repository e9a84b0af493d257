//! Podman, and whatever else keeps images in containers-storage: changes through the `podman` program,
//! layers out of the storage's folders.

mod program;
mod storage;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::geteuid;
use tarball::{DiffId, Name};

use crate::error::EngineError;
use crate::place::{
    About, DirectReading, Engine, EngineKind, ImageRecord, LayerBytes, Removed, Staging, Upload,
    Where,
};
use crate::saved::SavedImages;
use program::{Podman as Program, SaveImage};
use storage::Storage;

/// A containers-storage with its Podman.
pub(crate) struct Podman {
    about: About,
    program: Arc<Program>,
    scratch: Option<PathBuf>,
    storage: Storage,
    /// Where layers come from that cannot be read in place.
    saved: Option<SavedImages>,
}

impl Podman {
    pub(crate) fn open(place: &Where) -> Result<Self, EngineError> {
        let program = Arc::new(Program::default());
        let info = program.info()?;
        let storage = Storage::of(&info.store.graph_root, &info.store.graph_driver_name);
        let why_not = match (geteuid().is_root(), storage.is_known()) {
            (true, true) => None,
            (false, _) => Some("only root reads what Podman keeps".to_owned()),
            (true, false) => {
                Some(format!("the storage driver {:?} is not known", info.store.graph_driver_name))
            }
        };
        let direct_reading = match &why_not {
            None => DirectReading::Works,
            Some(why) => DirectReading::CopiedBecause(why.clone()),
        };
        let saved = why_not.map(|_| {
            let source = SaveImage(program.clone());
            SavedImages::new(EngineKind::Podman, Box::new(source), place.scratch.clone())
        });
        let about = About {
            kind: EngineKind::Podman,
            product: "Podman".to_owned(),
            version: info.version.version,
            address: program.name().to_owned(),
            api_version: None,
            storage_driver: info.store.graph_driver_name,
            root: info.store.graph_root,
            direct_reading,
            staging: Staging::Upload,
            applies_balena_deltas: false,
        };
        Ok(Self { about, program, scratch: place.scratch.clone(), storage, saved })
    }
}

impl Engine for Podman {
    fn about(&self) -> &About {
        &self.about
    }

    fn images(&self) -> Result<Vec<ImageRecord>, EngineError> {
        match &self.saved {
            None => self.storage.images(),
            Some(_) => self.program.images(),
        }
    }

    fn config(&self, image: &ImageRecord) -> Result<Vec<u8>, EngineError> {
        match &self.saved {
            None => self.storage.config(image.id),
            Some(saved) => saved.config(image),
        }
    }

    fn layer(&self, image: &ImageRecord, index: usize) -> Result<Arc<dyn LayerBytes>, EngineError> {
        match &self.saved {
            None => self.storage.layer(image, index),
            Some(saved) => saved.layer(image, index),
        }
    }

    /// containers-storage takes a layer that it has for any stack.
    fn has_stack(&self, images: &[ImageRecord], stack: &[DiffId]) -> Result<bool, EngineError> {
        let has = |layer: &DiffId| images.iter().any(|image| image.diff_ids.contains(layer));
        Ok(stack.iter().all(has))
    }

    fn upload(&self) -> Result<Box<dyn Upload>, EngineError> {
        let upload = upload::PodmanUpload::new(self.program.clone(), self.scratch.as_deref())?;
        Ok(Box::new(upload))
    }

    fn tag(&self, image: &ImageRecord, name: &Name) -> Result<(), EngineError> {
        self.program.tag(image.id, name)
    }

    fn remove(
        &self,
        image: &ImageRecord,
        name: Option<&Name>,
        is_forced: bool,
    ) -> Result<Removed, EngineError> {
        match name {
            Some(name) if image.names.len() > 1 => {
                self.program.untag(image.id, &program::local_name(name))?;
                Ok(Removed { untagged: vec![name.clone()], is_deleted: false })
            }
            _ => {
                self.program.remove(image.id, is_forced || image.names.len() == 1)?;
                Ok(Removed { untagged: image.names.clone(), is_deleted: true })
            }
        }
    }
}
