//! The directory that is unpacked to. Every path is walked one component at a time, and symbolic
//! links on the way are resolved here, with the directory as their root. That is what `openat2` does
//! with `RESOLVE_IN_ROOT`; done by hand it can make what is missing, and works on kernels, emulators
//! and sandboxes without that call.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, readlinkat, statat,
    unlinkat,
};
use rustix::io::Errno;

/// Most symbolic links on one path, as in Linux.
const MAX_LINKS: usize = 40;
/// Deepest directory. Each level takes a file descriptor while it is walked or removed.
const MAX_DEPTH: usize = 256;

pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// Members of one directory mostly follow each other.
    last_parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl Tree {
    /// Opens the directory itself, which may be reached by links.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = Rc::new(open(directory, flags, Mode::empty())?);
        Ok(Self { root, last_parent: None })
    }

    /// The directory at `parts`, for making things in it. Directories that are missing are made.
    pub(super) fn make_parent(&mut self, parts: &[&[u8]]) -> io::Result<Rc<OwnedFd>> {
        let key = parts.join(&b'/');
        if let Some((known, parent)) = &self.last_parent
            && *known == key
        {
            return Ok(Rc::clone(parent));
        }
        let parent = self.walk(parts, true)?.ok_or(Errno::NOENT)?;
        self.last_parent = Some((key, Rc::clone(&parent)));
        Ok(parent)
    }

    /// The directory at `parts`; `None` where there is none.
    pub(super) fn parent(&self, parts: &[&[u8]]) -> io::Result<Option<Rc<OwnedFd>>> {
        match self.walk(parts, false) {
            Err(Errno::NOTDIR) => Ok(None),
            result => Ok(result?),
        }
    }

    /// The directory at `parts`, open for changing its own mode and time. `None` where there is none,
    /// or a link in its place.
    pub(super) fn directory(&self, parts: &[&[u8]]) -> io::Result<Option<OwnedFd>> {
        let Some((name, parents)) = parts.split_last() else {
            return Ok(Some(self.root.try_clone()?));
        };
        let Some(parent) = self.parent(parents)? else {
            return Ok(None);
        };
        match open_directory(&*parent, name) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is at `name` in `parent`, with all that is in it.
    pub(super) fn remove(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.last_parent = None;
        Ok(remove(parent, name, MAX_DEPTH)?)
    }

    fn walk(&self, parts: &[&[u8]], make: bool) -> Result<Option<Rc<OwnedFd>>, Errno> {
        let mut above: Vec<Rc<OwnedFd>> = vec![Rc::clone(&self.root)];
        let mut pending: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            let here = above.last().unwrap_or(&self.root);
            match enter(here, &part, make)? {
                Step::Missing => return Ok(None),
                Step::Up if above.len() > 1 => drop(above.pop()),
                Step::Up | Step::Stay => {}
                Step::Down(_) if above.len() > MAX_DEPTH => return Err(Errno::NAMETOOLONG),
                Step::Down(directory) => above.push(Rc::new(directory)),
                Step::Link(_) if links == MAX_LINKS => return Err(Errno::LOOP),
                Step::Link(target) => {
                    links += 1;
                    if target.starts_with(b"/") {
                        above.truncate(1);
                    }
                    let parts = target.split(|byte| *byte == b'/').rev();
                    pending.extend(parts.map(<[u8]>::to_vec));
                }
            }
        }
        Ok(above.pop())
    }
}

enum Step {
    Stay,
    Up,
    Down(OwnedFd),
    Link(Vec<u8>),
    Missing,
}

fn enter(here: &OwnedFd, part: &[u8], make: bool) -> Result<Step, Errno> {
    match part {
        b"" | b"." => return Ok(Step::Stay),
        b".." => return Ok(Step::Up),
        _ => {}
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = match openat(here, part, flags, Mode::empty()) {
        Err(Errno::NOENT) if make => {
            mkdirat(here, part, Mode::from_raw_mode(0o755))?;
            openat(here, part, flags, Mode::empty())?
        }
        Err(Errno::NOENT) => return Ok(Step::Missing),
        found => found?,
    };
    match file_type(&fstat(&found)?) {
        FileType::Directory => Ok(Step::Down(found)),
        FileType::Symlink => Ok(Step::Link(readlinkat(&found, "", Vec::new())?.into_bytes())),
        _ => Err(Errno::NOTDIR),
    }
}

/// The type of what is at `name` in `parent`, links not followed.
pub(super) fn type_at(parent: impl AsFd, name: &[u8]) -> io::Result<Option<FileType>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(file_type(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Names of what is in a directory.
pub(super) fn names_in(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Opens a directory that may be listed and changed, and is no link.
pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn remove(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX and Linux disagree about unlinking a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let directory = open_directory(parent, name)?;
    for name in names_in(&directory)? {
        remove(directory.as_fd(), name.to_bytes(), depth)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}
