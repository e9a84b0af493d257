//! Where the images of a command are: bare names live in the store or in the engine that `--engine` names,
//! others say it themselves.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use silt::place::{EngineKind, EnginePlace, PlaceRef, SourceImage, Where};
use silt::{OpenMode, Progress, Store};

use crate::args::variable;
use crate::context::Context;
use crate::error::{CommandError, UsageError};

/// An image as it was written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageReference {
    /// In the store.
    Store(String),
    /// In an engine.
    Engine(EngineKind, String),
    /// In an archive or a layout, perhaps one of several.
    Archive { path: PathBuf, reference: Option<String> },
}

/// Transports of containers-transports(5) that are engines.
const ENGINES: [(&str, EngineKind); 3] = [
    ("docker-daemon:", EngineKind::Docker),
    ("containers-storage:", EngineKind::Podman),
    ("containerd:", EngineKind::Containerd),
];

/// Transports that are files or directories.
const ARCHIVES: [&str; 3] = ["oci:", "oci-archive:", "docker-archive:"];

impl ImageReference {
    /// Bare names live where `default` says: in an engine, or else in the store.
    pub(crate) fn parse(text: &str, default: Option<EngineKind>) -> Self {
        for (transport, kind) in ENGINES {
            if let Some(name) = text.strip_prefix(transport) {
                return Self::Engine(kind, name.to_owned());
            }
        }
        if let Some(rest) = ARCHIVES.iter().find_map(|transport| text.strip_prefix(transport)) {
            return Self::archive(rest);
        }
        match default {
            Some(kind) => Self::Engine(kind, text.to_owned()),
            None => Self::Store(text.to_owned()),
        }
    }

    /// `FILE[:REF]`: a file that is there wins over a colon in its name.
    fn archive(text: &str) -> Self {
        match text.split_once(':') {
            Some((path, reference)) if !Path::new(text).exists() => Self::Archive {
                path: path.into(),
                reference: (!reference.is_empty()).then(|| reference.to_owned()),
            },
            _ => Self::Archive { path: text.into(), reference: None },
        }
    }
}

/// The places of one command, each opened once.
pub(crate) struct Places<'a> {
    context: &'a Context,
    /// The store, or what is none yet: temporary files are there.
    pub(crate) scratch: Store,
    engines: RefCell<Vec<(EngineKind, Rc<EnginePlace>)>>,
}

impl<'a> Places<'a> {
    pub(crate) fn open(context: &'a Context, scratch: Store) -> Self {
        Self { context, scratch, engines: RefCell::default() }
    }

    /// Places for a command that writes no store.
    pub(crate) fn for_reading(context: &'a Context) -> Result<Self, CommandError> {
        Ok(Self::open(context, context.open_scratch_store(OpenMode::ReadOnly)?))
    }

    /// An engine, and a word about it where it cannot be read directly.
    pub(crate) fn engine(&self, kind: EngineKind) -> Result<Rc<EnginePlace>, CommandError> {
        let mut engines = self.engines.borrow_mut();
        if let Some((_, engine)) = engines.iter().find(|(known, _)| *known == kind) {
            return Ok(engine.clone());
        }
        let engine = Rc::new(EnginePlace::open(kind, &engine_address(self.context))?);
        engines.push((kind, engine.clone()));
        Ok(engine)
    }

    /// An image with its layers readable.
    pub(crate) fn source(
        &self,
        reference: &str,
        progress: &dyn Progress,
    ) -> Result<SourceImage, CommandError> {
        let platform = silt::PlatformChoice::Host;
        Ok(match ImageReference::parse(reference, self.context.engine) {
            ImageReference::Store(name) => SourceImage::of_store(&self.scratch, &name)?,
            ImageReference::Engine(kind, name) => {
                let engine = self.engine(kind)?;
                self.note_copies(&engine);
                SourceImage::of_engine(&engine, &name)?
            }
            ImageReference::Archive { path, reference } => {
                let reference = reference.as_deref();
                SourceImage::of_archive(&path, reference, &platform, &self.scratch, progress)?
            }
        })
    }

    /// The store or the engine of an image, and what it is called there.
    pub(crate) fn place_of(&self, reference: &str) -> Result<(OpenPlace, String), CommandError> {
        match ImageReference::parse(reference, self.context.engine) {
            ImageReference::Store(name) => Ok((OpenPlace::Store(self.scratch.clone()), name)),
            ImageReference::Engine(kind, name) => {
                let engine = self.engine(kind)?;
                self.note_copies(&engine);
                Ok((OpenPlace::Engine(engine), name))
            }
            ImageReference::Archive { path, .. } => {
                let what = format!("this command with the archive {}", path.display());
                Err(UsageError::NotBuilt { what }.into())
            }
        }
    }

    /// Says that an engine's layers are copied first, and why.
    pub(crate) fn note_copies(&self, engine: &EnginePlace) {
        if let Some(why) = engine.why_copied() {
            let kind = engine.about().kind;
            self.context.note(&format!("note: layers are copied out of {kind} first: {why}"));
        }
    }
}

/// The engine of all references, and what they are called there; `None` where they are the store's. Without
/// any, it is that of bare names.
pub(crate) fn one_engine(
    context: &Context,
    references: &[String],
) -> Result<Option<(EngineKind, Vec<String>)>, CommandError> {
    let mut found: Option<(EngineKind, Vec<String>)> =
        context.engine.filter(|_| references.is_empty()).map(|kind| (kind, Vec::new()));
    let mut has_stored = false;
    for reference in references {
        match (ImageReference::parse(reference, context.engine), &mut found) {
            (ImageReference::Store(_), _) => has_stored = true,
            (ImageReference::Engine(kind, name), None) => found = Some((kind, vec![name])),
            (ImageReference::Engine(kind, name), Some((known, names))) if kind == *known => {
                names.push(name);
            }
            (ImageReference::Engine(..), Some(_)) => return Err(several_places()),
            (ImageReference::Archive { path, .. }, _) => {
                let what = format!("this command with the archive {}", path.display());
                return Err(UsageError::NotBuilt { what }.into());
            }
        }
    }
    match (has_stored, found.is_some()) {
        (true, true) => Err(several_places()),
        _ => Ok(found),
    }
}

fn several_places() -> CommandError {
    UsageError::NotBuilt { what: "this command with images of several places".to_owned() }.into()
}

/// Where engines are, as their own programs are told.
pub(crate) fn engine_address(context: &Context) -> Where {
    let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
    Where {
        docker_host: context.docker_host.clone().or_else(|| text("DOCKER_HOST")),
        containerd_address: variable("CONTAINERD_ADDRESS").map(PathBuf::from),
        containerd_namespace: text("CONTAINERD_NAMESPACE"),
        scratch: None,
    }
}

/// A place that is read or written.
pub(crate) enum OpenPlace {
    Store(Store),
    Engine(Rc<EnginePlace>),
}

impl OpenPlace {
    /// The same for writing: a store is opened anew.
    pub(crate) fn for_writing(
        self,
        context: &Context,
        mode: OpenMode,
    ) -> Result<Self, CommandError> {
        Ok(match self {
            Self::Store(_) => Self::Store(context.open_scratch_store(mode)?),
            engine @ Self::Engine(_) => engine,
        })
    }

    pub(crate) fn get(&self) -> PlaceRef<'_> {
        match self {
            Self::Store(store) => PlaceRef::Store(store),
            Self::Engine(engine) => PlaceRef::Engine(engine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(kind: EngineKind, name: &str) -> ImageReference {
        ImageReference::Engine(kind, name.to_owned())
    }

    fn archive(path: &str, reference: Option<&str>) -> ImageReference {
        ImageReference::Archive { path: path.into(), reference: reference.map(str::to_owned) }
    }

    #[test]
    fn transports_win_over_the_engine_of_bare_names() {
        let docker = Some(EngineKind::Docker);
        for (text, default, expected) in [
            ("a:1", None, ImageReference::Store("a:1".into())),
            ("a:1", docker, engine(EngineKind::Docker, "a:1")),
            ("docker-daemon:a:1", None, engine(EngineKind::Docker, "a:1")),
            ("containers-storage:a", docker, engine(EngineKind::Podman, "a")),
            ("containerd:r.io/a:1", None, engine(EngineKind::Containerd, "r.io/a:1")),
            ("oci:/no/dir", docker, archive("/no/dir", None)),
            ("oci:/no/dir:", None, archive("/no/dir", None)),
            ("oci-archive:/no/f.tar:a:1", None, archive("/no/f.tar", Some("a:1"))),
            ("docker-archive:/no/f.tar", None, archive("/no/f.tar", None)),
        ] {
            assert_eq!(ImageReference::parse(text, default), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_there_may_have_a_colon_in_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a:b");
        std::fs::write(&path, b"").unwrap();
        let text = path.to_str().unwrap();
        let parsed = ImageReference::parse(&format!("oci-archive:{text}"), None);
        assert_eq!(parsed, archive(text, None));
    }
}
