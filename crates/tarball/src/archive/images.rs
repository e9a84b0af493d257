//! From documents to images: the two ways in which an archive lists them, put together, and the
//! platform that fits.

use super::container::{Container, check_size};
use super::error::ArchiveFault;
use super::layout::{self, Group, Layout};
use super::limits::MetadataBudget;
use super::{ArchiveForm, ArchivedImage, ArchivedLayer, ReadLimits, SkippedImage, StoredLayer};
use super::{container, docker};
use crate::compression::Compression;
use crate::config::ImageConfig;
use crate::digest::{Digest, ImageId};
use crate::manifest::Manifest;
use crate::name::Name;
use crate::platform::{Platform, PlatformChoice};

/// What a layer takes in memory beside its names.
const LAYER_BYTES: u64 = 256;

/// The images of an archive that fit.
#[derive(Debug)]
pub(super) struct FoundImages {
    pub(super) form: ArchiveForm,
    pub(super) images: Vec<ArchivedImage>,
    pub(super) skipped: Vec<SkippedImage>,
}

/// What a document says of an image, before it was compared with what is there.
pub(super) struct ImageParts {
    pub(super) config: ImageConfig,
    pub(super) names: Vec<Name>,
    pub(super) manifest: Option<Manifest>,
    pub(super) layers: Vec<LayerPart>,
}

/// What a document says of a layer.
pub(super) struct LayerPart {
    pub(super) member: String,
    pub(super) digest: Option<Digest>,
    pub(super) media_type: Option<String>,
    pub(super) expected_bytes: Option<u64>,
}

/// Reads all documents and chooses.
pub(super) fn read_images(
    container: &Container,
    choice: &PlatformChoice,
    limits: &ReadLimits,
    budget: &mut MetadataBudget,
) -> Result<FoundImages, Box<ArchiveFault>> {
    let docker_images = docker::read(container, limits, budget)?;
    let layout = layout::read(container, limits, budget)?;
    let form = match (&docker_images, &layout) {
        (Some(_), None) => ArchiveForm::Docker,
        (Some(_), Some(_)) => ArchiveForm::DockerLayout,
        (None, Some(_)) => ArchiveForm::Layout,
        (None, None) => return Err(not_an_archive(container)?)?,
    };
    let layout = layout.unwrap_or_default();
    let absent = layout.absent;
    let groups = join(docker_images.unwrap_or_default(), layout);
    let mut found = FoundImages { form, images: Vec::new(), skipped: Vec::new() };
    for group in groups {
        found.choose(group, choice);
    }
    if !found.images.is_empty() {
        return Ok(found);
    }
    Err(found.nothing(choice, absent))
}

impl FoundImages {
    /// Takes the image of the group that fits best, or notes what there would have been.
    fn choose(&mut self, mut group: Group, choice: &PlatformChoice) {
        match best(&group.images, choice) {
            Some(best) => {
                let (_, mut image) = group.images.swap_remove(best);
                image.names = group.names;
                image.references = group.references;
                self.add(image);
            }
            None if group.images.is_empty() => {}
            None => self.skipped.push(SkippedImage {
                platforms: group.images.into_iter().map(|(p, _)| p).collect(),
                names: group.names,
            }),
        }
    }

    /// An image that is listed under several names is one image.
    fn add(&mut self, image: ArchivedImage) {
        let known = |known: &&mut ArchivedImage| known.config.id == image.config.id;
        match self.images.iter_mut().find(known) {
            Some(known) => {
                extend(&mut known.names, image.names);
                extend(&mut known.references, image.references);
            }
            None => self.images.push(image),
        }
    }

    /// Why there is no image.
    fn nothing(self, choice: &PlatformChoice, absent: Option<Digest>) -> Box<ArchiveFault> {
        let mut platforms: Vec<Platform> = Vec::new();
        for skipped in self.skipped {
            extend(&mut platforms, skipped.platforms);
        }
        Box::new(match (platforms.is_empty(), absent) {
            (false, _) => ArchiveFault::Platform {
                wanted: match choice {
                    PlatformChoice::Host => Platform::host(),
                    PlatformChoice::Only(platform) => platform.clone(),
                },
                found: platforms,
            },
            (true, Some(digest)) => ArchiveFault::Missing {
                member: container::blob_name(&digest),
                wanted_by: layout::INDEX.to_owned(),
            },
            (true, None) => ArchiveFault::NoImage,
        })
    }
}

fn extend<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// The image that fits the choice best. Where the machine's own platform is not there, and only one
/// other is, it is that one.
fn best(images: &[(Platform, ArchivedImage)], choice: &PlatformChoice) -> Option<usize> {
    let with_layers = |(_, (_, image)): &(usize, &(Platform, ArchivedImage))| {
        image.layers.is_empty() || image.layers.iter().any(|layer| layer.stored.is_some())
    };
    // Archives list platforms whose layers they leave out.
    let mut present: Vec<_> = images.iter().enumerate().filter(with_layers).collect();
    if present.is_empty() {
        present = images.iter().enumerate().collect();
    }
    let ranked =
        present.iter().filter_map(|(index, (platform, _))| Some((choice.rank(platform)?, *index)));
    match (ranked.min(), choice, &present[..]) {
        (Some((_, index)), _, _) => Some(index),
        (None, PlatformChoice::Host, [(index, _)]) => Some(*index),
        _ => None,
    }
}

/// Names and order of `manifest.json` come first; the layout adds manifests and other platforms,
/// and what `manifest.json` does not list.
fn join(docker_images: Vec<ArchivedImage>, layout: Layout) -> Vec<Group> {
    let mut of_layout = layout.groups;
    let mut groups: Vec<Group> = Vec::new();
    for mut image in docker_images {
        let mut group = take_groups_with(&mut of_layout, image.config.id);
        group.names = std::mem::take(&mut image.names);
        if group.images.is_empty() {
            group.images.push((image.config.platform.clone(), image));
        }
        groups.push(group);
    }
    groups.extend(of_layout);
    groups
}

/// Takes out what the layout says of an image, which may stand there once for each of its names.
fn take_groups_with(groups: &mut Vec<Group>, id: ImageId) -> Group {
    let has_image = |group: &mut Group| group.images.iter().any(|(_, i)| i.config.id == id);
    let mut taken = groups.extract_if(.., has_image);
    let mut group = taken.next().unwrap_or_default();
    for other in taken {
        extend(&mut group.references, other.references);
    }
    group
}

/// Compares what documents say of an image with what is there.
pub(super) fn assemble(
    container: &Container,
    parts: ImageParts,
    budget: &mut MetadataBudget,
) -> Result<ArchivedImage, Box<ArchiveFault>> {
    let ImageParts { config, names, manifest, layers } = parts;
    if layers.len() != config.diff_ids.len() {
        return Err(ArchiveFault::LayerCount {
            image: config.id.0,
            layers: layers.len(),
            diff_ids: config.diff_ids.len(),
        }
        .into());
    }
    let mut archived = Vec::with_capacity(layers.len());
    for (part, diff_id) in layers.into_iter().zip(&config.diff_ids) {
        budget.take(LAYER_BYTES + part.member.len() as u64)?;
        let mut stored = stored_layer(container, &part)?;
        // Where the stored bytes have the uncompressed tar's digest, they are that tar, whatever
        // they begin with.
        if let Some(stored) = stored.as_mut().filter(|_| part.digest == Some(diff_id.0)) {
            stored.compression = Compression::None;
        }
        archived.push(ArchivedLayer {
            diff_id: *diff_id,
            digest: part.digest,
            media_type: part.media_type,
            stored,
            member: part.member,
        });
    }
    Ok(ArchivedImage { config, names, references: Vec::new(), manifest, layers: archived })
}

fn stored_layer(
    container: &Container,
    part: &LayerPart,
) -> Result<Option<StoredLayer>, Box<ArchiveFault>> {
    let Some(facts) = container.facts(&part.member)? else {
        return Ok(None);
    };
    if let Some(expected) = part.expected_bytes {
        check_size(&part.member, expected, facts.size)?;
    }
    Ok(Some(StoredLayer { bytes: facts.size, compression: facts.compression }))
}

/// A tar, or a directory, of something else.
fn not_an_archive(container: &Container) -> Result<ArchiveFault, Box<ArchiveFault>> {
    let why = match container.facts("repositories")? {
        Some(_) => "it has the form that Docker wrote before version 1.10",
        None => "it has neither manifest.json nor index.json",
    };
    Ok(ArchiveFault::NotAnArchive { why })
}
