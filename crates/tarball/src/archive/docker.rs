//! `manifest.json`, as [Docker](https://github.com/moby/docker-image-spec) writes it: a list of
//! images, each with the members that hold its config and its layers.

use serde::Deserialize;

use super::container::{Container, check_digest};
use super::error::ArchiveFault;
use super::images::{ImageParts, LayerPart, assemble};
use super::limits::MetadataBudget;
use super::member_name::{normalize, shorten};
use super::{ArchivedImage, ReadLimits};
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::digest::Digest;
use crate::json;
use crate::manifest::MAX_MANIFEST_BYTES;
use crate::name::Name;

pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(transparent)]
struct DockerManifest(#[serde(deserialize_with = "json::list")] Vec<DockerEntry>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default, deserialize_with = "json::list")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "json::list")]
    layers: Vec<String>,
}

/// The images of `manifest.json`; `None` where there is no such member.
pub(super) fn read(
    container: &Container,
    limits: &ReadLimits,
    budget: &mut MetadataBudget,
) -> Result<Option<Vec<ArchivedImage>>, Box<ArchiveFault>> {
    let Some(raw) = container.document(MANIFEST, MAX_MANIFEST_BYTES, budget)? else {
        return Ok(None);
    };
    let DockerManifest(entries) = json::parse(&raw, MAX_MANIFEST_BYTES)
        .map_err(|source| ArchiveFault::Json { member: MANIFEST.to_owned(), source })?;
    if entries.len() as u64 > limits.max_images {
        let limit = limits.max_images;
        return Err(ArchiveFault::TooMany { what: "images", limit }.into());
    }
    let images = entries.iter().map(|entry| image(container, entry, budget));
    images.collect::<Result<_, _>>().map(Some)
}

fn image(
    container: &Container,
    entry: &DockerEntry,
    budget: &mut MetadataBudget,
) -> Result<ArchivedImage, Box<ArchiveFault>> {
    let names = entry.repo_tags.iter().map(|name| name.parse());
    let names: Result<Vec<Name>, _> = names.collect();
    let layers = entry.layers.iter().map(|layer| {
        let member = normalize(layer)?;
        Ok(LayerPart {
            digest: digest_of_blob_name(&member),
            media_type: None,
            expected_bytes: None,
            member,
        })
    });
    let parts = ImageParts {
        config: config(container, &entry.config, budget)?,
        names: names.map_err(ArchiveFault::Name)?,
        manifest: None,
        layers: layers.collect::<Result<_, Box<ArchiveFault>>>()?,
    };
    assemble(container, parts, budget)
}

fn config(
    container: &Container,
    name: &str,
    budget: &mut MetadataBudget,
) -> Result<ImageConfig, Box<ArchiveFault>> {
    let member = normalize(name)?;
    let raw = container.document(&member, MAX_CONFIG_BYTES, budget)?;
    let raw = raw.ok_or_else(|| ArchiveFault::Missing {
        member: shorten(&member),
        wanted_by: MANIFEST.to_owned(),
    })?;
    if let Some(expected) = digest_of_config_name(&member) {
        check_digest(&member, expected, Digest::of(&raw))?;
    }
    let config = ImageConfig::parse(raw)
        .map_err(|source| ArchiveFault::Json { member: shorten(&member), source })?;
    Ok(config)
}

/// `<image ID>.json`, or a blob.
fn digest_of_config_name(member: &str) -> Option<Digest> {
    let file = member.rsplit('/').next()?;
    match file.strip_suffix(".json") {
        Some(hex) => Digest::from_hex(hex),
        None => digest_of_blob_name(member),
    }
}

fn digest_of_blob_name(member: &str) -> Option<Digest> {
    Digest::from_hex(member.strip_prefix("blobs/sha256/")?)
}
