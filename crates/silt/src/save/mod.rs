//! Saving images and deltas as archives.

mod blob;
mod error;
mod layout;
mod output;
mod parts;
mod sign;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use store::{Pins, Store, StoredImage};
use tarball::manifest::Descriptor;
use tarball::write::{ArchivePlan, ImageToWrite, ManifestToWrite, plan_archive};
use tarball::{DiffId, ImageConfig, ImageId, Name};

use crate::create::CreatedDelta;
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::gzip::GzipWriter;
use crate::place::SourceImage;
use crate::progress::{Progress, Step};

pub use crate::durable::remove_unfinished;
pub use error::SaveError;
pub use output::Output;
pub use sign::{SignWith, Signing, read_secret_key, sign_archive};
pub use tarball::write::ArchiveFormat;

use blob::{Packing, SavedBlob};
use layout::LayoutWriter;

/// How to save.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// Which kind of archive.
    pub format: ArchiveFormat,
    /// How the archive is compressed as a whole. `None`: deltas by gzip where that is smaller, other
    /// images not at all.
    pub compress: Option<Compress>,
    /// What signs the archive, which is then not compressed as a whole.
    pub sign: Option<Signing>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { format: ArchiveFormat::DockerArchive, compress: None, sign: None }
    }
}

impl SaveOptions {
    /// How the archive is compressed as a whole, where that is settled.
    fn compress_whole(&self) -> Option<Compress> {
        match &self.sign {
            Some(_) => Some(Compress::None),
            None => self.compress,
        }
    }
}

/// How an archive is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// Not at all.
    None,
    /// By gzip, which every engine reads.
    Gzip,
    /// By zstd, which no engine reads as the whole of an archive, and `silt` does.
    Zstd,
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaveReport {
    /// Bytes of the archive as it was written.
    pub bytes: u64,
    /// How it is compressed.
    pub compress: Compress,
    /// The images in it.
    pub images: Vec<ImageId>,
    /// In how many files it is, where it was split.
    pub parts: Option<u64>,
}

/// Saves images of the store. An image that is given by its ID is saved without a name.
pub fn save_images(
    store: &Store,
    references: &[&str],
    options: &SaveOptions,
    output: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    let snapshot = store.snapshot()?;
    // Layers are opened one by one, so they must stay until the last is written.
    let mut pins = store.pins();
    let mut packing = Packing::new(store, options.compress_whole());
    let mut items: Vec<Item> = Vec::new();
    for reference in references {
        let image = snapshot.resolve(reference)?;
        let name = named(image, reference);
        match items.iter_mut().find(|item| item.config.id == image.id) {
            Some(item) => item.names.extend(name.filter(|name| !item.names.contains(name))),
            None => {
                pin_all(&mut pins, image)?;
                items.push(Item::of_stored(store, image, name, &mut packing)?);
            }
        }
    }
    write_items(&items, options, output, progress)
}

/// Saves a delta that was just made, without putting it into the store.
pub fn save_delta(
    store: &Store,
    delta: &CreatedDelta,
    names: &[Name],
    options: &SaveOptions,
    output: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    let mut packing = Packing::new(store, options.compress_whole());
    let item = Item::of_created(delta, names, &mut packing)?;
    write_items(&[item], options, output, progress)
}

/// Saves several deltas that were just made as one archive, without putting them into the store. What
/// they share is there once.
pub fn save_deltas(
    store: &Store,
    deltas: &[CreatedDelta],
    options: &SaveOptions,
    output: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    let mut packing = Packing::new(store, options.compress_whole());
    let items = deltas.iter().map(|delta| Item::of_created(delta, &[], &mut packing));
    let items: Vec<Item> = items.collect::<Result<_, _>>()?;
    write_items(&items, options, output, progress)
}

/// Saves an image of any place as it is, under `names`.
pub fn save_source(
    image: SourceImage,
    names: &[Name],
    options: &SaveOptions,
    output: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    write_items(&[Item::of_source(image, names)], options, output, progress)
}

/// Saves images of any place as the store's are saved: each under the name by which it was meant, and a
/// `balena` delta's layers compressed. An image that is given twice is saved once, with both names.
pub fn save_sources(
    images: Vec<(SourceImage, Option<Name>)>,
    scratch: &Store,
    options: &SaveOptions,
    output: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    let mut packing = Packing::new(scratch, options.compress_whole());
    let mut items: Vec<Item> = Vec::new();
    for (image, name) in images {
        match items.iter_mut().find(|item| item.config.id == image.config.id) {
            Some(item) => item.names.extend(name.filter(|name| !item.names.contains(name))),
            None => {
                let names: Vec<Name> = name.into_iter().collect();
                items.push(Item::of_source(image, &names).packed(&mut packing)?);
            }
        }
    }
    write_items(&items, options, output, progress)
}

/// The name by which a reference means an image, unless it means it by its ID.
fn named(image: &StoredImage, reference: &str) -> Option<Name> {
    let name: Name = reference.parse().ok()?;
    image.names.contains(&name).then_some(name)
}

fn pin_all(pins: &mut Pins, image: &StoredImage) -> Result<(), SaveError> {
    let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
    match pins.pin(&layers)?.missing.first() {
        Some(layer) => Err(SaveError::MissingLayer { image: image.id, layer: *layer }),
        None => Ok(()),
    }
}

/// An image that is to be saved.
struct Item {
    config: ImageConfig,
    names: Vec<Name>,
    blobs: Vec<SavedBlob>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
    is_delta: bool,
}

impl Item {
    fn of_stored(
        store: &Store,
        image: &StoredImage,
        name: Option<Name>,
        packing: &mut Packing,
    ) -> Result<Self, SaveError> {
        let raw = store.read_config(image.id)?;
        let config = ImageConfig::parse(raw)
            .map_err(|source| SaveError::Config { image: image.id, source })?;
        // A config that looks like a delta's and is damaged is saved as what it is: an image.
        let format = DeltaImage::of(&config).ok().flatten().map(|delta| delta.format);
        let mut blobs = Vec::new();
        for layer in &image.layers {
            let missing = SaveError::MissingLayer { image: image.id, layer: layer.diff_id };
            let blob = SavedBlob::stored(store, layer.diff_id)?.ok_or(missing)?;
            blobs.push(blob.packed_for(format, packing)?);
        }
        let subject = image.subject.as_ref().map(|subject| {
            Descriptor::new(&subject.media_type, subject.digest, subject.size_bytes)
        });
        Ok(Self {
            config,
            names: name.into_iter().collect(),
            blobs,
            artifact_type: image.artifact_type.clone(),
            subject,
            annotations: image.annotations.clone(),
            is_delta: format.is_some(),
        })
    }

    fn of_created(
        delta: &CreatedDelta,
        names: &[Name],
        packing: &mut Packing,
    ) -> Result<Self, SaveError> {
        let mut blobs = Vec::new();
        for layer in delta.layers() {
            let blob = SavedBlob::created(layer);
            blobs.push(blob.packed_for(Some(delta.format()), packing)?);
        }
        let subject = delta.subject();
        Ok(Self {
            config: delta.config().clone(),
            names: names.to_vec(),
            blobs,
            artifact_type: Some(delta.format().artifact_type().into()),
            subject: subject.map(|s| Descriptor::new(&s.media_type, s.digest, s.size_bytes)),
            annotations: BTreeMap::new(),
            is_delta: true,
        })
    }

    /// Layers are written as they are, also those of a `balena` delta.
    fn of_source(image: SourceImage, names: &[Name]) -> Self {
        let format = DeltaImage::of(&image.config).ok().flatten().map(|delta| delta.format);
        let layers = image.layers.into_iter().map(Arc::new);
        Self {
            config: image.config,
            names: names.to_vec(),
            blobs: layers.map(SavedBlob::of_source).collect(),
            artifact_type: format.map(|format| format.artifact_type().to_owned()),
            subject: None,
            annotations: BTreeMap::new(),
            is_delta: format.is_some(),
        }
    }

    /// With its layers compressed as those of its kind are.
    fn packed(mut self, packing: &mut Packing) -> Result<Self, SaveError> {
        let format = DeltaImage::of(&self.config).ok().flatten().map(|delta| delta.format);
        let blobs = self.blobs.into_iter().map(|blob| blob.packed_for(format, packing));
        self.blobs = blobs.collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn to_write(&self) -> ImageToWrite<'_> {
        ImageToWrite {
            config: &self.config,
            names: &self.names,
            layers: self.blobs.iter().map(SavedBlob::to_write).collect(),
            manifest: ManifestToWrite::Make {
                artifact_type: self.artifact_type.clone(),
                subject: self.subject.clone().map(Box::new),
                annotations: self.annotations.clone(),
            },
        }
    }
}

fn write_items(
    items: &[Item],
    options: &SaveOptions,
    output: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    let images: Vec<ImageToWrite<'_>> = items.iter().map(Item::to_write).collect();
    let mut plan = plan_archive(options.format, &images)?;
    if let Some(signing) = &options.sign {
        signing.sign(&mut plan);
    }
    let ids = items.iter().map(|item| item.config.id).collect();
    if let Output::Layout(folder) = output {
        let bytes = write_layout(&plan, folder, progress)?;
        return Ok(SaveReport { bytes, compress: Compress::None, images: ids, parts: None });
    }
    let compress = match options.compress_whole() {
        Some(compress) => compress,
        None if items.iter().all(|item| item.is_delta) => smaller(&plan)?,
        None => Compress::None,
    };
    progress.begin(&Step::Saving, Some(plan.bytes));
    let bytes = output::write(output, progress, |out| write_compressed(&plan, compress, out))?;
    let parts = output::part_count(output, bytes);
    progress.end();
    Ok(SaveReport { bytes, compress, images: ids, parts })
}

fn write_layout(
    plan: &ArchivePlan<'_, '_>,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<u64, SaveError> {
    let write_error = |source| SaveError::write(folder, source);
    progress.begin(&Step::Saving, Some(plan.bytes));
    let mut layout = LayoutWriter::begin(folder, progress).map_err(write_error)?;
    plan.write_members(&mut layout).map_err(|error| SaveError::from(error).at(folder))?;
    let bytes = layout.finish().map_err(write_error)?;
    progress.end();
    Ok(bytes)
}

/// Whether gzip makes the archive smaller: tried, since it is the only way to know.
fn smaller(plan: &ArchivePlan<'_, '_>) -> Result<Compress, SaveError> {
    let mut zipped = GzipWriter::quick(Count(0));
    plan.write(&mut zipped)?;
    let Count(zipped_bytes) = zipped.finish().map_err(|source| SaveError::Compress { source })?;
    Ok(if zipped_bytes < plan.bytes { Compress::Gzip } else { Compress::None })
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Levels of zstd: the highest that needs no more memory to read than its default.
const ZSTD_LEVEL: i32 = 19;

fn write_compressed(
    plan: &ArchivePlan<'_, '_>,
    compress: Compress,
    out: &mut dyn Write,
) -> Result<(), SaveError> {
    let compress_error = |source| SaveError::Compress { source };
    match compress {
        Compress::None => {
            plan.write(out)?;
        }
        Compress::Gzip => {
            let mut zipped = GzipWriter::new(out);
            plan.write(&mut zipped)?;
            zipped.finish().map_err(compress_error)?;
        }
        Compress::Zstd => {
            let mut zipped = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(compress_error)?;
            zipped.include_checksum(true).map_err(compress_error)?;
            plan.write(&mut zipped)?;
            zipped.finish().map_err(compress_error)?;
        }
    }
    Ok(())
}

/// Which deltas have their layers compressed inside the archive: `balena`'s, whose literals are plain.
fn compresses_layers(format: Option<DeltaFormat>) -> bool {
    format == Some(DeltaFormat::Balena)
}
