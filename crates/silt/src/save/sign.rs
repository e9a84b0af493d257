//! Signing: while an archive is written, or one that was written before.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use signing::{SecretKey, Signature};
use tarball::archive::{ArchiveForm, ArchivedImage, ArchivedLayer};
use tarball::write::{
    ArchiveFormat, ArchivePlan, BlobToWrite, ImageToWrite, ManifestToWrite, plan_archive,
};
use tarball::{Compression, Digest, Digester};

use super::{Compress, Output, SaveError, SaveReport, output};
use crate::load::OpenedInput;
use crate::progress::{Progress, Step};

/// What signs an archive.
#[derive(Clone)]
pub struct Signing {
    /// The key.
    pub key: Arc<SecretKey>,
    /// What is signed beside the archive: one line, which those who check it are shown.
    pub comment: String,
}

/// Where the signature of an archive comes from.
#[derive(Debug, Clone)]
pub enum SignWith {
    /// It is made.
    Key(Signing),
    /// It was made elsewhere, of the archive's `index.json`.
    Signature(Signature),
}

impl Signing {
    /// The comment of those who do not care: which file is signed, and how. No time, so that the
    /// same is signed by the same.
    pub const DEFAULT_COMMENT: &str = "file:index.json\thashed";

    pub(super) fn sign(&self, plan: &mut ArchivePlan<'_, '_>) {
        let signature = self.key.sign(plan.index(), &self.comment);
        plan.sign(signature.to_text().into_bytes());
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signing({}, {:?})", self.key.id(), self.comment)
    }
}

/// Writes the images of an archive as a signed one. The archive is written as ours are, so its
/// `index.json` may become another; a signature that was made elsewhere must be of that one.
pub fn sign_archive(
    input: &OpenedInput,
    with: &SignWith,
    to: &Output,
    progress: &dyn Progress,
) -> Result<SaveReport, SaveError> {
    let archive = &input.archive;
    if !archive.skipped().is_empty() {
        return Err(SaveError::SeveralPlatforms { path: archive.path().to_owned() });
    }
    let images: Vec<ImageToWrite<'_>> = archive
        .images()
        .iter()
        .map(|image| image_to_write(input, image))
        .collect::<Result<_, _>>()?;
    let format = match archive.form() {
        ArchiveForm::Layout => ArchiveFormat::OciArchive,
        ArchiveForm::Docker | ArchiveForm::DockerLayout => ArchiveFormat::DockerArchive,
    };
    let mut plan = plan_archive(format, &images)?;
    match with {
        SignWith::Key(signing) => signing.sign(&mut plan),
        SignWith::Signature(signature) => {
            let signature = signature.clone().with_default_comment();
            plan.sign(signature.to_text().into_bytes());
        }
    }
    progress.begin(&Step::Saving, Some(plan.bytes));
    let bytes = output::write(to, progress, |out| Ok(plan.write(out).map(drop)?))?;
    progress.end();
    let images = archive.images().iter().map(|image| image.config.id).collect();
    Ok(SaveReport { bytes, compress: Compress::None, images, parts: output::part_count(to, bytes) })
}

fn image_to_write<'a>(
    input: &'a OpenedInput,
    image: &'a ArchivedImage,
) -> Result<ImageToWrite<'a>, SaveError> {
    let layers = image.layers.iter().map(|layer| blob_to_write(input, image, layer));
    let manifest = match &image.manifest {
        Some(manifest) => ManifestToWrite::Exact(&manifest.raw),
        None => ManifestToWrite::default(),
    };
    Ok(ImageToWrite {
        config: &image.config,
        names: &image.names,
        layers: layers.collect::<Result<_, SaveError>>()?,
        manifest,
    })
}

fn blob_to_write<'a>(
    input: &'a OpenedInput,
    image: &ArchivedImage,
    layer: &'a ArchivedLayer,
) -> Result<BlobToWrite<'a>, SaveError> {
    let missing = SaveError::MissingLayer { image: image.config.id, layer: layer.diff_id };
    let stored = layer.stored.ok_or(missing)?;
    let open = move || input.archive.open_stored(layer).map_err(std::io::Error::from);
    let digest: Digest = match (layer.digest, stored.compression) {
        (Some(digest), _) => digest,
        (None, Compression::None) => layer.diff_id.0,
        (None, _) => {
            let digest = open().and_then(|mut stored| Digester::of_reader(&mut stored));
            digest.map_err(|source| SaveError::Pack { layer: layer.diff_id, source })?.0
        }
    };
    Ok(BlobToWrite {
        digest,
        size: stored.bytes,
        compression: stored.compression,
        open: Box::new(move || Ok(Box::new(open()?))),
    })
}

/// Reads a key that signs.
pub fn read_secret_key(path: &Path) -> Result<signing::SecretKeyFile, SaveError> {
    let key_error = |why: Box<dyn std::error::Error + Send + Sync>| SaveError::Key {
        path: path.to_owned(),
        why,
    };
    let text = crate::trust::read_bounded(path).map_err(|error| key_error(error.into()))?;
    signing::SecretKeyFile::parse(&text).map_err(|error| key_error(error.into()))
}
