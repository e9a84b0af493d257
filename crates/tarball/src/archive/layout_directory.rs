//! A directory that holds a layout. Files are opened beneath it alone: no symbolic link is followed
//! on the way, whoever made it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};

use super::error::ArchiveFault;
use super::member_name::shorten;
use crate::compression::Compression;

/// An open directory.
#[derive(Debug)]
pub(super) struct LayoutDirectory {
    root: OwnedFd,
}

/// A file beneath the directory, open at its start.
pub(super) struct LayoutFile {
    pub(super) file: File,
    pub(super) size: u64,
}

impl LayoutDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, Box<ArchiveFault>> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty());
        let root = root.map_err(|error| ArchiveFault::reading("the directory", error.into()))?;
        Ok(Self { root })
    }

    /// Opens the regular file of this normalized name; `None` where there is nothing.
    pub(super) fn file(&self, name: &str) -> Result<Option<LayoutFile>, Box<ArchiveFault>> {
        match self.open_beneath(name) {
            Ok(file) => self.regular(name, file),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                Err(unreadable(name, "is reached through a symbolic link or a file").into())
            }
            Err(error) => Err(ArchiveFault::reading(name, error.into())),
        }
    }

    /// How the file is compressed, by its first bytes.
    pub(super) fn detect(file: &File) -> io::Result<Compression> {
        let mut head = Vec::with_capacity(Compression::DETECT_BYTES);
        let limit = Compression::DETECT_BYTES as u64;
        file.take(limit).read_to_end(&mut head)?;
        Ok(Compression::detect(&head))
    }

    /// One component at a time, which every kernel and emulator can do.
    fn open_beneath(&self, name: &str) -> rustix::io::Result<File> {
        let common = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory: Option<OwnedFd> = None;
        let (parents, last) = match name.rsplit_once('/') {
            Some((parents, last)) => (parents, last),
            None => ("", name),
        };
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            let at = directory.as_ref().unwrap_or(&self.root);
            let flags = common | OFlags::DIRECTORY | OFlags::PATH;
            directory = Some(openat(at, part, flags, Mode::empty())?);
        }
        let at = directory.as_ref().unwrap_or(&self.root);
        // A FIFO in place of a file must not hold us up.
        let flags = common | OFlags::RDONLY | OFlags::NONBLOCK;
        Ok(File::from(openat(at, last, flags, Mode::empty())?))
    }

    fn regular(&self, name: &str, file: File) -> Result<Option<LayoutFile>, Box<ArchiveFault>> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| ArchiveFault::reading(name, error))?;
        if !metadata.is_file() {
            return Err(unreadable(name, "is not a regular file").into());
        }
        let size = metadata.len();
        Ok(Some(LayoutFile { file, size }))
    }
}

fn unreadable(name: &str, problem: &'static str) -> ArchiveFault {
    ArchiveFault::Unreadable { member: shorten(name), problem }
}
