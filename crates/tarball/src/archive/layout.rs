//! `index.json` of an [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md),
//! and the indexes inside it.

use serde::Deserialize;

use super::container::{Container, blob_name};
use super::error::ArchiveFault;
use super::images::{ImageParts, LayerPart, assemble};
use super::limits::MetadataBudget;
use super::{ArchivedImage, ReadLimits};
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::manifest::{Descriptor, Index, MAX_MANIFEST_BYTES, Manifest, annotation, media_type};
use crate::name::Name;
use crate::platform::Platform;

pub(super) const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";

/// All images of a layout.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) groups: Vec<Group>,
    /// The first manifest that is listed but not there.
    pub(super) absent: Option<Digest>,
}

/// One entry of `index.json`: an image, for one platform or for several.
#[derive(Default)]
pub(super) struct Group {
    pub(super) names: Vec<Name>,
    pub(super) references: Vec<String>,
    pub(super) images: Vec<(Platform, ArchivedImage)>,
    /// Whether the entry itself says what it is for.
    lists_platforms: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

/// Reads all images; `None` where there is no `index.json`.
pub(super) fn read(
    container: &Container,
    limits: &ReadLimits,
    budget: &mut MetadataBudget,
) -> Result<Option<Layout>, Box<ArchiveFault>> {
    let Some(raw) = container.document(INDEX, MAX_MANIFEST_BYTES, budget)? else {
        return Ok(None);
    };
    check_version(container, budget)?;
    let index = Index::parse(raw).map_err(|source| bad_json(INDEX, source))?;
    let mut walk = Walk { container, limits, budget, seen: 0, images: 0, absent: None };
    let mut groups: Vec<Group> = Vec::new();
    for entry in &index.manifests {
        let group = walk.group(entry)?;
        match groups.iter_mut().find(|known| known.is_completed_by(&group)) {
            Some(known) => known.images.extend(group.images),
            None => groups.push(group),
        }
    }
    let absent = walk.absent;
    Ok(Some(Layout { groups, absent }))
}

/// Layouts without the file occur; one of another version cannot be understood.
fn check_version(
    container: &Container,
    budget: &mut MetadataBudget,
) -> Result<(), Box<ArchiveFault>> {
    let Some(raw) = container.document(LAYOUT, MAX_MANIFEST_BYTES, budget)? else {
        return Ok(());
    };
    let version: LayoutVersion =
        json::parse(&raw, MAX_MANIFEST_BYTES).map_err(|source| bad_json(LAYOUT, source))?;
    if version.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    Err(ArchiveFault::Unreadable {
        member: LAYOUT.to_owned(),
        problem: "names a version of the layout that is not 1",
    }
    .into())
}

fn bad_json(member: &str, source: JsonError) -> ArchiveFault {
    ArchiveFault::Json { member: member.to_owned(), source }
}

impl Group {
    /// Whether `other` is the same image for other platforms: `index.json` is an index too, and
    /// some tools list the platforms right there.
    fn is_completed_by(&self, other: &Group) -> bool {
        let is_new = |platform| self.images.iter().all(|(known, _)| known != platform);
        !self.images.is_empty()
            && other.lists_platforms
            && self.lists_platforms
            && (&self.names, &self.references) == (&other.names, &other.references)
            && other.images.iter().all(|(platform, _)| is_new(platform))
    }
}

/// What was met on the way through the indexes.
struct Walk<'a> {
    container: &'a Container,
    limits: &'a ReadLimits,
    budget: &'a mut MetadataBudget,
    seen: u64,
    images: u64,
    absent: Option<Digest>,
}

impl Walk<'_> {
    fn group(&mut self, entry: &Descriptor) -> Result<Group, Box<ArchiveFault>> {
        let mut group = Group { lists_platforms: entry.platform.is_some(), ..Group::default() };
        group.names.extend(name(entry));
        let reference = entry.annotations.get(annotation::REF_NAME);
        group.references.extend(reference.cloned());
        self.visit(entry, self.limits.max_index_depth, &mut group)?;
        Ok(group)
    }

    fn visit(
        &mut self,
        entry: &Descriptor,
        depth: u32,
        group: &mut Group,
    ) -> Result<(), Box<ArchiveFault>> {
        self.seen += 1;
        if self.seen > self.limits.max_members {
            return Err(too_many("entries in indexes", self.limits.max_members).into());
        }
        if is_beside_images(entry) {
            return Ok(());
        }
        let document = self.container.blob_document(entry, MAX_MANIFEST_BYTES, self.budget)?;
        let Some(raw) = document else {
            self.absent.get_or_insert(entry.digest);
            return Ok(());
        };
        if is_index(entry, &raw) {
            return self.visit_index(entry, raw, depth, group);
        }
        self.visit_manifest(entry, raw, group)
    }

    fn visit_index(
        &mut self,
        entry: &Descriptor,
        raw: Vec<u8>,
        depth: u32,
        group: &mut Group,
    ) -> Result<(), Box<ArchiveFault>> {
        let Some(depth) = depth.checked_sub(1) else {
            let limit = u64::from(self.limits.max_index_depth);
            return Err(too_many("indexes inside indexes", limit).into());
        };
        let index = Index::parse(raw);
        let index = index.map_err(|source| bad_json(&blob_name(&entry.digest), source))?;
        for entry in &index.manifests {
            self.visit(entry, depth, group)?;
        }
        Ok(())
    }

    fn visit_manifest(
        &mut self,
        entry: &Descriptor,
        raw: Vec<u8>,
        group: &mut Group,
    ) -> Result<(), Box<ArchiveFault>> {
        let manifest = Manifest::parse(raw);
        let manifest = manifest.map_err(|source| bad_json(&blob_name(&entry.digest), source))?;
        if !is_image(&manifest) {
            return Ok(());
        }
        let raw = self.container.blob_document(&manifest.config, MAX_CONFIG_BYTES, self.budget)?;
        let Some(raw) = raw else {
            self.absent.get_or_insert(manifest.config.digest);
            return Ok(());
        };
        self.images += 1;
        if self.images > self.limits.max_images {
            return Err(too_many("images", self.limits.max_images).into());
        }
        let config = ImageConfig::parse(raw)
            .map_err(|source| bad_json(&blob_name(&manifest.config.digest), source))?;
        let platform = platform(entry, &config);
        let layers = manifest.layers.iter().map(layer_part).collect();
        let parts = ImageParts { config, names: Vec::new(), manifest: Some(manifest), layers };
        let image = assemble(self.container, parts, self.budget)?;
        group.images.push((platform, image));
        Ok(())
    }
}

/// containerd and Docker write the full name; Podman and skopeo a name, or what was after the
/// colon. What is no image name is still a reference.
fn name(entry: &Descriptor) -> Option<Name> {
    let keys = [annotation::IMAGE_NAME, annotation::REF_NAME];
    let annotations = keys.iter().filter_map(|key| entry.annotations.get(*key));
    annotations.filter_map(|text| text.parse().ok()).next()
}

/// BuildKit lists provenance beside the images that it is about.
fn is_beside_images(entry: &Descriptor) -> bool {
    entry.annotations.contains_key(annotation::REFERENCE_TYPE)
        || entry.platform.as_ref().is_some_and(is_nowhere)
}

/// The platform `unknown/unknown`, spelled out: an image that says nothing is for anywhere.
fn is_nowhere(platform: &Platform) -> bool {
    [&platform.os, &platform.architecture].iter().all(|part| part.as_deref() == Some("unknown"))
}

fn is_index(entry: &Descriptor, raw: &[u8]) -> bool {
    match entry.media_type.as_str() {
        media_type::INDEX | media_type::DOCKER_INDEX => true,
        media_type::MANIFEST | media_type::DOCKER_MANIFEST => false,
        _ => Index::parse(raw.to_vec()).is_ok(),
    }
}

/// Signatures, bills of materials and the like are manifests too.
fn is_image(manifest: &Manifest) -> bool {
    matches!(
        manifest.config.media_type.as_str(),
        "" | media_type::CONFIG | media_type::DOCKER_CONFIG
    )
}

/// What the index says, completed by what the image itself says.
fn platform(entry: &Descriptor, config: &ImageConfig) -> Platform {
    let listed = entry.platform.clone().unwrap_or_default();
    let own = &config.platform;
    Platform {
        os: listed.os.or_else(|| own.os.clone()),
        architecture: listed.architecture.or_else(|| own.architecture.clone()),
        variant: listed.variant.or_else(|| own.variant.clone()),
    }
}

fn layer_part(layer: &Descriptor) -> LayerPart {
    LayerPart {
        member: blob_name(&layer.digest),
        digest: Some(layer.digest),
        media_type: Some(layer.media_type.clone()),
        expected_bytes: Some(layer.size),
    }
}

fn too_many(what: &'static str, limit: u64) -> ArchiveFault {
    ArchiveFault::TooMany { what, limit }
}
