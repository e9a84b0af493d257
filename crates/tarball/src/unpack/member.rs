//! One member: made under its name, then given its owner, attributes, mode and time.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Nsecs, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat,
    symlinkat, utimensat,
};
use rustix::io::Errno;

use super::layer::LayerUnpacking;
use super::tree::{open_directory, type_at};
use super::{DirectoryFacts, SkipReason};
use crate::tar_stream::{Member, MemberKind, TarError, Timestamp};

/// Why a member could not be made: the layer, or the system.
pub(super) enum MakeError {
    Tar(TarError),
    Io(io::Error),
}

impl From<io::Error> for MakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for MakeError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Components of a path, without empty ones and `.`.
pub(super) fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = path.split(|byte| *byte == b'/');
    parts.filter(|part| !matches!(*part, b"" | b"."))
}

/// Makes a member in place of whatever was there. Only a directory stays where one was.
pub(super) fn make(
    layer: &mut LayerUnpacking<'_, '_>,
    member: &Member,
    parents: &[&[u8]],
    name: &[u8],
    path: &[u8],
    link_parts: &[&[u8]],
) -> Result<(), MakeError> {
    let parent = layer.all.tree.make_parent(parents)?;
    if member.kind == MemberKind::HardLink && parts(&member.path).eq(link_parts.iter().copied()) {
        return Ok(());
    }
    let there = type_at(&*parent, name)?;
    let stays = there == Some(FileType::Directory) && member.kind == MemberKind::Directory;
    if there.is_some() && !stays {
        layer.all.forget_directories(path);
        layer.all.tree.remove(parent.as_fd(), name)?;
    }
    match member.kind {
        MemberKind::File => return layer.make_file(&parent, name, member, path),
        MemberKind::Directory => layer.make_directory(&parent, name, member, path, stays)?,
        MemberKind::SymbolicLink => layer.make_symbolic_link(&parent, name, member)?,
        MemberKind::HardLink => layer.make_hard_link(&parent, name, link_parts)?,
        MemberKind::Fifo | MemberKind::CharacterDevice | MemberKind::BlockDevice => {
            layer.make_node(&parent, name, member, path)?;
        }
        // Both were dealt with before.
        MemberKind::Sparse | MemberKind::Other(_) => {}
    }
    Ok(())
}

impl LayerUnpacking<'_, '_> {
    fn make_file(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        member: &Member,
        path: &[u8],
    ) -> Result<(), MakeError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        let mut buffer = vec![0; usize::try_from(member.size.min(128 << 10)).unwrap_or(512)];
        loop {
            let count = self.stream.read_data(&mut buffer).map_err(MakeError::Tar)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count])?;
            self.all.report.file_bytes += count as u64;
        }
        self.set_owner(&file, member)?;
        self.set_attributes(&file, member, path)?;
        Ok(set_mode_and_time(&file, member.mode, member.mtime)?)
    }

    fn make_directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        member: &Member,
        path: &[u8],
        is_there: bool,
    ) -> io::Result<()> {
        if !is_there {
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
        }
        let directory = open_directory(parent, name)?;
        self.finish_directory(&directory, member, path)
    }

    /// Owner and attributes now; mode and time when nothing is put into it any more.
    pub(super) fn finish_directory(
        &mut self,
        directory: &OwnedFd,
        member: &Member,
        path: &[u8],
    ) -> io::Result<()> {
        self.set_owner(directory, member)?;
        self.set_attributes(directory, member, path)?;
        let facts = DirectoryFacts { mode: member.mode, mtime: member.mtime };
        if self.all.directories.insert(path.to_vec(), facts).is_none() {
            // Over the limit, the next path will tell.
            self.all.remember(path);
        }
        Ok(())
    }

    fn make_symbolic_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        member: &Member,
    ) -> io::Result<()> {
        symlinkat(&member.link[..], parent, name)?;
        self.finish_node(parent, name, member)
    }

    fn make_hard_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        link_parts: &[&[u8]],
    ) -> io::Result<()> {
        let (target, target_parents) = link_parts.split_last().ok_or(Errno::NOENT)?;
        let target_parent = self.all.tree.parent(target_parents)?.ok_or(Errno::NOENT)?;
        // Without FOLLOW: a link to a symbolic link is one to the link itself.
        Ok(linkat(&*target_parent, *target, parent, name, AtFlags::empty())?)
    }

    fn make_node(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        member: &Member,
        path: &[u8],
    ) -> io::Result<()> {
        let file_type = match member.kind {
            MemberKind::CharacterDevice => FileType::CharacterDevice,
            MemberKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let is_device = file_type != FileType::Fifo;
        if is_device && !self.all.options.as_root {
            self.all.skip(path, SkipReason::Device);
            return Ok(());
        }
        let device = if is_device { makedev(member.device.0, member.device.1) } else { 0 };
        match mknodat(parent, name, file_type, Mode::from_raw_mode(0o600), device) {
            // Root in a container is not root everywhere.
            Err(Errno::PERM) if is_device => {
                self.all.skip(path, SkipReason::Device);
                Ok(())
            }
            made => {
                made?;
                self.finish_node(parent, name, member)?;
                // Not a link: it was made just now.
                chmodat(parent, name, Mode::from_raw_mode(member.mode), AtFlags::empty())?;
                Ok(())
            }
        }
    }

    /// Owner and time of what is not opened.
    fn finish_node(&mut self, parent: &OwnedFd, name: &[u8], member: &Member) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.all.options.as_root {
            let (user, group) = owner(member)?;
            chownat(parent, name, Some(user), Some(group), flags)?;
        }
        Ok(utimensat(parent, name, &timestamps(member.mtime), flags)?)
    }

    fn set_owner(&self, file: impl AsFd, member: &Member) -> io::Result<()> {
        if self.all.options.as_root {
            let (user, group) = owner(member)?;
            fchown(file, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// After the owner: changing that takes capabilities away.
    fn set_attributes(&mut self, file: impl AsFd, member: &Member, path: &[u8]) -> io::Result<()> {
        for (name, value) in &member.xattrs {
            match fsetxattr(&file, &name[..], value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {
                    let name = super::error::printable(name);
                    self.all.skip(path, SkipReason::Attribute(name));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The last that is done to a file or directory.
pub(super) fn set_mode_and_time(file: impl AsFd, mode: u32, mtime: Timestamp) -> io::Result<()> {
    fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(futimens(&file, &timestamps(mtime))?)
}

/// All bits set means "leave it" to the system, so it is no owner.
fn owner(member: &Member) -> io::Result<(Uid, Gid)> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(member.user_id), id(member.group_id)) {
        (Some(user), Some(group)) => Ok((Uid::from_raw(user), Gid::from_raw(group))),
        _ => Err(Errno::OVERFLOW.into()),
    }
}

/// A layer has one time for each member; what was read when is nobody's concern.
fn timestamps(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: Nsecs::from(mtime.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}
