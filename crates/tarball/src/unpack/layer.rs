//! One layer: its members in order, and its whiteouts.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use super::error::printable;
use super::member::{self, parts};
use super::tree::{names_in, open_directory, type_at};
use super::{LayerToUnpack, SkipReason, UnpackError, Unpacking, beneath};
use crate::digest::DiffId;
use crate::tar_stream::{Discard, Member, MemberKind, TarStream};

type Stream<'a> = TarStream<Discard<Box<dyn Read + 'a>>>;

const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Names that AUFS keeps for itself.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A layer while it is applied.
pub(super) struct LayerUnpacking<'a, 'b> {
    pub(super) all: &'a mut Unpacking<'b>,
    pub(super) stream: Stream<'a>,
    diff_id: DiffId,
    /// The paths that this layer made, which its own whiteouts do not hide.
    written: BTreeSet<Vec<u8>>,
}

/// Applies a layer, and reads it to its end, where its reader checks it.
pub(super) fn apply(all: &mut Unpacking<'_>, layer: &LayerToUnpack<'_>) -> Result<(), UnpackError> {
    let diff_id = layer.diff_id;
    let open_error = |source| UnpackError::Open { layer: diff_id, source };
    let reader = (layer.open)().map_err(open_error)?;
    let mut unpacking = LayerUnpacking {
        stream: TarStream::new(Discard(reader)),
        all,
        diff_id,
        written: BTreeSet::new(),
    };
    while let Some(member) = unpacking.next_member()? {
        unpacking.all.report.members += 1;
        unpacking.apply_member(&member)?;
    }
    let LayerUnpacking { stream, all, written, .. } = unpacking;
    all.metadata_bytes -= written_bytes(&written);
    let mut rest = stream.into_source();
    io::copy(&mut rest, &mut io::sink()).map_err(open_error)?;
    Ok(())
}

fn written_bytes(written: &BTreeSet<Vec<u8>>) -> u64 {
    let bytes = |path: &Vec<u8>| super::PATH_BYTES + path.len() as u64;
    written.iter().map(bytes).sum()
}

impl LayerUnpacking<'_, '_> {
    fn next_member(&mut self) -> Result<Option<Member>, UnpackError> {
        let layer = self.diff_id;
        let member = self.stream.next_member();
        member.map_err(|source| UnpackError::Layer { layer, source })
    }

    fn apply_member(&mut self, member: &Member) -> Result<(), UnpackError> {
        let parts = self.checked_parts(member, &member.path)?;
        let Some((name, parents)) = parts.split_last() else {
            return self.apply_to_root(member);
        };
        let applied = match name.strip_prefix(WHITEOUT_PREFIX) {
            Some(_) if *name == OPAQUE => self.apply_opaque(parents),
            Some(_) if name.starts_with(AUFS_PREFIX) => Ok(()),
            Some(b"" | b"." | b"..") => {
                return Err(self.refuse(member, "is a whiteout of nothing"));
            }
            Some(hidden) => self.apply_whiteout(parents, hidden),
            None => return self.make(member, parents, name),
        };
        applied.map_err(|source| self.failed(member, source))
    }

    /// The member `./`: the root's own mode, owner and time.
    fn apply_to_root(&mut self, member: &Member) -> Result<(), UnpackError> {
        if member.kind != MemberKind::Directory {
            return Err(self.refuse(member, "would replace the root directory"));
        }
        let root = self.all.tree.directory(&[]);
        let applied = root.and_then(|root| match root {
            Some(root) => self.finish_directory(&root, member, b""),
            None => Ok(()),
        });
        applied.map_err(|source| self.failed(member, source))
    }

    fn make(&mut self, member: &Member, parents: &[&[u8]], name: &[u8]) -> Result<(), UnpackError> {
        let path = [parents, &[name]].concat().join(&b'/');
        match member.kind {
            MemberKind::Sparse => {
                return Err(self.refuse(member, "is a sparse file, which is not unpacked"));
            }
            MemberKind::Other(type_flag) => {
                self.all.skip(&path, SkipReason::Type(type_flag));
                return Ok(());
            }
            _ => {}
        }
        if !self.all.remember(&path) {
            return Err(UnpackError::TooManyPaths {
                layer: self.diff_id,
                limit_bytes: self.all.options.max_metadata_bytes,
            });
        }
        let link_parts = match member.kind {
            MemberKind::HardLink => self.checked_parts(member, &member.link)?,
            _ => Vec::new(),
        };
        let made = member::make(self, member, parents, name, &path, &link_parts);
        // A path that is there twice was accounted for twice; it is given back once.
        if !self.written.insert(path.clone()) {
            self.all.metadata_bytes -= super::PATH_BYTES + path.len() as u64;
        }
        made.map_err(|error| match error {
            member::MakeError::Tar(source) => UnpackError::Layer { layer: self.diff_id, source },
            member::MakeError::Io(source) => self.failed(member, source),
        })
    }

    /// Components of a path. An absolute one starts at the image's root, like any other.
    fn checked_parts<'p>(
        &self,
        member: &Member,
        path: &'p [u8],
    ) -> Result<Vec<&'p [u8]>, UnpackError> {
        let parts: Vec<&[u8]> = parts(path).collect();
        if parts.contains(&&b".."[..]) {
            return Err(self.refuse(member, "has a path that leads upwards"));
        }
        Ok(parts)
    }

    /// `.wh.NAME` hides what lower layers have at NAME.
    fn apply_whiteout(&mut self, parents: &[&[u8]], hidden: &[u8]) -> io::Result<()> {
        let Some(parent) = self.all.tree.parent(parents)? else {
            return Ok(());
        };
        let path = [parents, &[hidden]].concat().join(&b'/');
        self.remove_lower(parent.as_fd(), hidden, &path)
    }

    /// `.wh..wh..opq` hides all that lower layers have in its directory.
    fn apply_opaque(&mut self, directory: &[&[u8]]) -> io::Result<()> {
        let Some(parent) = self.all.tree.parent(directory)? else {
            return Ok(());
        };
        let directory = directory.join(&b'/');
        self.remove_lower_in(parent.as_fd(), &directory)
    }

    fn remove_lower_in(&mut self, parent: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        let listed = open_directory(parent, b".")?;
        for name in names_in(&listed)? {
            let child = match path {
                b"" => name.to_bytes().to_vec(),
                path => [path, name.to_bytes()].join(&b'/'),
            };
            self.remove_lower(parent, name.to_bytes(), &child)?;
        }
        Ok(())
    }

    /// Removes what is at `name`, except for what this very layer has put there: the order of
    /// members in a layer means nothing.
    fn remove_lower(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> io::Result<()> {
        let is_ours =
            self.written.contains(path) || self.written.range(beneath(path)).next().is_some();
        match type_at(parent, name)? {
            None => Ok(()),
            Some(FileType::Directory) if is_ours => {
                let directory = open_directory(parent, name)?;
                self.remove_lower_in(directory.as_fd(), path)
            }
            Some(_) if is_ours => Ok(()),
            Some(_) => {
                self.all.forget_directories(path);
                self.all.tree.remove(parent, name)
            }
        }
    }

    fn refuse(&self, member: &Member, problem: &'static str) -> UnpackError {
        UnpackError::Refused {
            layer: self.diff_id,
            path: printable(&member.path),
            offset: member.offset,
            problem,
        }
    }

    fn failed(&self, member: &Member, source: io::Error) -> UnpackError {
        UnpackError::Make {
            layer: self.diff_id,
            path: printable(&member.path),
            offset: member.offset,
            source,
        }
    }
}
