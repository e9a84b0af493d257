//! Files of an engine: small ones read whole, and those of a layer opened below its folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tarball::Digest;

use crate::error::EngineError;

/// Reads a file of at most `limit` bytes; `None` where it is not there.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, EngineError> {
    let error = |source| EngineError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(error)?;
    match bytes.len() as u64 > limit {
        true => Err(EngineError::Damaged {
            path: path.to_owned(),
            why: format!("it has more than {limit} bytes"),
        }),
        false => Ok(Some(bytes)),
    }
}

/// Reads a document that is kept under its digest; `None` where it is not there.
pub(crate) fn read_document(
    path: &Path,
    digest: Digest,
    limit: u64,
) -> Result<Option<Vec<u8>>, EngineError> {
    let Some(bytes) = read_small(path, limit)? else { return Ok(None) };
    match Digest::of(&bytes) == digest {
        true => Ok(Some(bytes)),
        false => Err(EngineError::Damaged {
            path: path.to_owned(),
            why: "its digest is not its name".to_owned(),
        }),
    }
}

/// A folder whose files are opened by the paths of a tar. Nothing outside it is opened: links are
/// followed as if it were the root, as they were when the engine unpacked the tar.
#[derive(Debug)]
pub(crate) struct LayerFolder {
    folder: OwnedFd,
}

impl LayerFolder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { folder })
    }

    /// Opens a regular file.
    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let path = Path::new(OsStr::from_bytes(name));
        // A pipe that stands where a file should be must not be waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let opened = match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => self.open_without_links(path, flags)?,
            opened => opened?,
        };
        let file = File::from(opened);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// For kernels before 5.6 and emulators: there a path that leads through a link is not found.
    fn open_without_links(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let names = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(Ok(name)),
            Component::ParentDir => Some(Err(io::ErrorKind::NotFound.into())),
            _ => None,
        });
        let names = names.collect::<io::Result<Vec<_>>>()?;
        let (last, folders) = names.split_last().ok_or(io::ErrorKind::NotFound)?;
        let folder_flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at: Option<OwnedFd> = None;
        for name in folders {
            let folder = at.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            at = Some(rustix::fs::openat(folder, *name, folder_flags, Mode::empty())?);
        }
        let folder = at.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
        Ok(rustix::fs::openat(folder, *last, flags, Mode::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn text(file: io::Result<File>) -> Option<String> {
        let mut text = String::new();
        file.ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn nothing_outside_the_folder_is_opened() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::write(root.join("usr/lib/a"), "inside").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("../../secret", root.join("usr/escape")).unwrap();
        symlink("/usr/lib", root.join("absolute")).unwrap();
        let folder = LayerFolder::open(&root).unwrap();
        assert_eq!(text(folder.open_file(b"usr/lib/a")).as_deref(), Some("inside"));
        assert_eq!(text(folder.open_file(b"./usr/lib/a")).as_deref(), Some("inside"));
        // Unpacking went through links within the layer, with its folder as the root.
        for path in [&b"lib/a"[..], b"absolute/a", b"/usr/lib/a"] {
            assert_eq!(text(folder.open_file(path)).as_deref(), Some("inside"));
        }
        for path in [&b"../secret"[..], b"usr/escape", b"usr", b"nothing", b""] {
            assert!(folder.open_file(path).is_err(), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn where_the_kernel_is_old_no_link_is_followed() {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir_all(outer.path().join("a/b")).unwrap();
        fs::write(outer.path().join("a/b/c"), "inside").unwrap();
        symlink("a", outer.path().join("link")).unwrap();
        let folder = LayerFolder::open(outer.path()).unwrap();
        let open = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
            let opened = folder.open_without_links(Path::new(path), flags);
            text(opened.map(File::from))
        };
        assert_eq!(open("a/b/c").as_deref(), Some("inside"));
        assert_eq!(open("/a/./b/c").as_deref(), Some("inside"));
        assert_eq!(open("link/b/c"), None);
        assert_eq!(open("a/../a/b/c"), None);
    }
}
