//! containerd: images and changes through the `ctr` program, layers out of the content store's blobs.

mod content;
mod program;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use tarball::{DiffId, Name};

use crate::error::EngineError;
use crate::place::{
    About, DirectReading, Engine, EngineKind, ImageRecord, LayerBytes, Removed, Staging, Upload,
    Where,
};
use crate::saved::SavedImages;
use content::{Content, StoredManifest};
use program::{Ctr, ExportImage};

/// A containerd, and one of its namespaces.
pub(crate) struct Containerd {
    about: About,
    program: Arc<Ctr>,
    content: Content,
    scratch: Option<PathBuf>,
    /// Where layers come from that cannot be read in place.
    saved: Option<SavedImages>,
}

/// An image as the content store has it.
struct Stored {
    record: ImageRecord,
    manifest: StoredManifest,
}

impl Containerd {
    pub(crate) fn open(place: &Where) -> Result<Self, EngineError> {
        let program = Arc::new(Ctr::new(place));
        let version = program.version()?;
        let content = Content::new(program.content_root()?);
        let why_not = content.why_unreadable();
        let direct_reading = match &why_not {
            None => DirectReading::Works,
            Some(why) => DirectReading::CopiedBecause(why.clone()),
        };
        let saved = why_not.map(|_| {
            let source = Box::new(ExportImage(program.clone()));
            SavedImages::new(EngineKind::Containerd, source, place.scratch.clone())
        });
        let about = About {
            kind: EngineKind::Containerd,
            product: "containerd".to_owned(),
            version,
            address: program.address(),
            api_version: None,
            storage_driver: "content store".to_owned(),
            root: content.root().to_owned(),
            direct_reading,
            staging: Staging::Nothing,
            applies_balena_deltas: false,
        };
        Ok(Self { about, program, content, scratch: place.scratch.clone(), saved })
    }

    /// All images whose documents are there. The names of one image are listed one by one.
    fn stored(&self) -> Result<Vec<Stored>, EngineError> {
        let mut stored: Vec<Stored> = Vec::new();
        for listed in self.program.images()? {
            let Some(manifest) = self.manifest(&listed)? else { continue };
            let name = program::own_name(&listed.name);
            match stored.iter_mut().find(|image| image.record.id == manifest.config.id) {
                Some(image) => image.record.names.extend(name),
                None => {
                    let record = manifest.record(&listed.name, name);
                    stored.push(Stored { record, manifest });
                }
            }
        }
        Ok(stored)
    }

    /// The manifest of an image for this machine; `None` where it or its config is not there.
    fn manifest(
        &self,
        listed: &program::ListedImage,
    ) -> Result<Option<StoredManifest>, EngineError> {
        let read = |digest| match &self.saved {
            None => self.content.document(digest),
            Some(_) => self.program.document(digest),
        };
        content::find_manifest(listed.digest, &read)
    }
}

impl Engine for Containerd {
    fn about(&self) -> &About {
        &self.about
    }

    fn images(&self) -> Result<Vec<ImageRecord>, EngineError> {
        Ok(self.stored()?.into_iter().map(|image| image.record).collect())
    }

    fn config(&self, image: &ImageRecord) -> Result<Vec<u8>, EngineError> {
        let config = match &self.saved {
            None => self.content.document(image.id.0)?,
            Some(_) => self.program.document(image.id.0)?,
        };
        config.ok_or_else(|| EngineError::NoSuchImage {
            kind: EngineKind::Containerd,
            reference: image.id.to_string(),
        })
    }

    fn layer(&self, image: &ImageRecord, index: usize) -> Result<Arc<dyn LayerBytes>, EngineError> {
        if let Some(saved) = &self.saved {
            return saved.layer(image, index);
        }
        let kind = EngineKind::Containerd;
        let stored = self.stored()?.into_iter().find(|stored| stored.record.id == image.id);
        let no_layer = EngineError::NoLayer { kind, image: image.id, index };
        let manifest = stored.map(|stored| stored.manifest);
        let (Some(manifest), Some(diff_id)) = (manifest, image.diff_ids.get(index)) else {
            return Err(no_layer);
        };
        let found = self.content.layer(&manifest, index, *diff_id, self.scratch.as_deref())?;
        found.ok_or(no_layer)
    }

    /// The content store has each blob once, whatever it lies on; but not always one for each layer.
    fn has_stack(&self, images: &[ImageRecord], stack: &[DiffId]) -> Result<bool, EngineError> {
        let has = |layer: &DiffId| images.iter().any(|image| image.diff_ids.contains(layer));
        Ok(stack.iter().all(has))
    }

    fn upload(&self) -> Result<Box<dyn Upload>, EngineError> {
        let images = self.stored()?;
        let layers = images
            .into_iter()
            .flat_map(|image| image.record.diff_ids.into_iter().zip(image.manifest.layers));
        let known =
            layers.filter(|(_, blob)| self.saved.is_some() || self.content.has(blob.digest));
        Ok(Box::new(upload::ContainerdUpload::new(self.program.clone(), known.collect())))
    }

    fn tag(&self, image: &ImageRecord, name: &Name) -> Result<(), EngineError> {
        self.program.tag(&image.key, &name.qualified())
    }

    fn remove(
        &self,
        image: &ImageRecord,
        name: Option<&Name>,
        _: bool,
    ) -> Result<Removed, EngineError> {
        match name {
            Some(name) => {
                self.program.remove(&[name.qualified()])?;
                let is_deleted = image.names.len() <= 1;
                Ok(Removed { untagged: vec![name.clone()], is_deleted })
            }
            None => {
                let listed = self.program.images()?.into_iter();
                let mut names = Vec::new();
                for listed in listed {
                    let manifest = self.manifest(&listed)?;
                    if manifest.is_some_and(|manifest| manifest.config.id == image.id) {
                        names.push(listed.name);
                    }
                }
                self.program.remove(&names)?;
                Ok(Removed { untagged: image.names.clone(), is_deleted: true })
            }
        }
    }
}
