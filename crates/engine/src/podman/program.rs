//! The `podman` program. What it does not do is no fault of its syntax: everything that it is asked is
//! understood by Podman 3 and later.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde::Deserialize;
use tarball::{DiffId, ImageId, JsonError, Name, Platform};

use crate::error::EngineError;
use crate::place::{EngineKind, ImageRecord};
use crate::program::{ProgramStream, missing, refused, run};
use crate::saved::{SaveStream, SavedStream};

const KIND: EngineKind = EngineKind::Podman;
/// What Podman calls names that have no registry.
const LOCAL: &str = "localhost/";

/// The program.
pub(super) struct Podman {
    name: &'static str,
}

impl Default for Podman {
    fn default() -> Self {
        Self { name: "podman" }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) store: Store,
    pub(super) version: Version,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Store {
    pub(super) graph_root: PathBuf,
    pub(super) graph_driver_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(rename = "RootFS")]
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default)]
    layers: Option<Vec<DiffId>>,
}

impl Podman {
    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn info(&self) -> Result<Info, EngineError> {
        let out = self.run(&["info", "--format", "json"], "say what it is")?;
        parse(&out, "info")
    }

    /// All images, for a user who cannot read the storage.
    pub(super) fn images(&self) -> Result<Vec<ImageRecord>, EngineError> {
        let out = self.run(&["images", "--quiet", "--no-trunc"], "list images")?;
        let out = String::from_utf8_lossy(&out);
        let mut ids: Vec<&str> =
            out.lines().map(|line| line.trim_start_matches("sha256:")).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [&["image", "inspect"], ids.as_slice()].concat();
        let out = self.run(&arguments, "inspect images")?;
        let inspected: Vec<Inspected> = parse(&out, "image inspect")?;
        Ok(inspected.into_iter().filter_map(Inspected::into_record).collect())
    }

    /// The names of an image, as Podman has them.
    pub(super) fn names(&self, image: ImageId) -> Result<Vec<String>, EngineError> {
        let out = self.run(&["image", "inspect", &image.0.hex()], "inspect an image")?;
        let inspected: Vec<Inspected> = parse(&out, "image inspect")?;
        Ok(inspected.into_iter().filter_map(|image| image.repo_tags).flatten().collect())
    }

    pub(super) fn tag(&self, image: ImageId, name: &Name) -> Result<(), EngineError> {
        let action = format!("tag an image {name}");
        self.run(&["tag", &image.0.hex(), &local_name(name)], &action).map(drop)
    }

    pub(super) fn untag(&self, image: ImageId, name: &str) -> Result<(), EngineError> {
        self.run(&["untag", &image.0.hex(), name], "take a name away").map(drop)
    }

    pub(super) fn remove(&self, image: ImageId, is_forced: bool) -> Result<(), EngineError> {
        let id = image.0.hex();
        let arguments: &[&str] = if is_forced { &["rmi", "--force", &id] } else { &["rmi", &id] };
        self.run(arguments, "remove an image").map(drop)
    }

    pub(super) fn has_image(&self, image: ImageId) -> Result<bool, EngineError> {
        let id = image.0.hex();
        let mut command = self.command(&["image", "exists", &id]);
        let Output { status, stderr, .. } =
            command.output().map_err(|error| missing(KIND, self.name, &error))?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(refused(KIND, "look for an image", &stderr)),
        }
    }

    /// Loads the image that a layout has under `reference`.
    ///
    /// The layout is called by a name of its own in `parent`: Podman makes a name of an image out of it, and
    /// not every path can be one.
    pub(super) fn pull_layout(
        &self,
        parent: &Path,
        name: &str,
        reference: &str,
    ) -> Result<(), EngineError> {
        let mut command = self.command(&["pull", "--quiet", &format!("oci:{name}:{reference}")]);
        command.current_dir(parent);
        run(command, KIND, self.name, "load an image").map(drop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.name);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str], action: &str) -> Result<Vec<u8>, EngineError> {
        run(self.command(arguments), KIND, self.name, action)
    }
}

impl Inspected {
    fn into_record(self) -> Option<ImageRecord> {
        let id = format!("sha256:{}", self.id.trim_start_matches("sha256:")).parse().ok()?;
        Some(ImageRecord {
            id,
            names: self.repo_tags.iter().flatten().filter_map(|name| own_name(name)).collect(),
            diff_ids: self.rootfs.layers.unwrap_or_default(),
            created: self.created,
            size_bytes: self.size,
            platform: Platform { os: self.os, architecture: self.architecture, variant: None },
            key: self.id,
        })
    }
}

/// A name without the registry that Podman gives to names that have none.
pub(super) fn own_name(name: &str) -> Option<Name> {
    name.strip_prefix(LOCAL).unwrap_or(name).parse().ok()
}

/// A name as Podman keeps it: what has no registry is of this machine.
pub(super) fn local_name(name: &Name) -> String {
    let text = name.to_string();
    match name.qualified() == text {
        true => text,
        false => format!("{LOCAL}{text}"),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(out: &[u8], question: &str) -> Result<T, EngineError> {
    serde_json::from_slice(out).map_err(|error| EngineError::Answer {
        kind: KIND,
        question: question.to_owned(),
        source: JsonError::Parse(error),
    })
}

/// `podman save`, as a stream.
pub(super) struct SaveImage(pub(super) Arc<Podman>);

impl SavedStream for SaveImage {
    fn open(&self, image: &ImageRecord) -> Result<SaveStream, EngineError> {
        let id = image.id.0.hex();
        let arguments = ["save", "--quiet", "--format", "docker-archive", &id];
        let command = self.0.command(&arguments);
        Ok(Box::new(ProgramStream::start(command, KIND, self.0.name, "save an image")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_registry_are_of_this_machine() {
        for (name, local) in [
            ("busybox:1", "localhost/busybox:1"),
            ("team/app", "localhost/team/app:latest"),
            ("registry.io/app:2", "registry.io/app:2"),
            ("localhost:5000/app:2", "localhost:5000/app:2"),
        ] {
            let name: Name = name.parse().unwrap();
            assert_eq!(local_name(&name), local);
            assert_eq!(own_name(local), Some(name));
        }
    }
}
