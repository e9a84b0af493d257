//! Which sort of file each byte of a tar belongs to.

use super::FileKind;
use super::classify::{LOOKED_AT_BYTES, classify};
use crate::read_at::{ReadAt, ReadError};
use crate::tar_map::{Member, TarMap};

/// Which sort of file each byte of a tar belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindMap {
    /// Without gaps, the first from offset 0; none is empty.
    pub(super) spans: Vec<Span>,
}

/// A stretch of bytes of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) end: u64,
    pub(super) kind: FileKind,
    /// Whether it is the contents of a file.
    pub(super) is_file: bool,
}

impl KindMap {
    /// Looks at the first bytes of each file of `tar`.
    pub fn of(tar: &dyn ReadAt) -> Result<Self, ReadError> {
        let mut map = Self { spans: Vec::new() };
        let members = TarMap::of(tar)?.members;
        for member in &members {
            if !member.is_file() || member.data.is_empty() {
                continue;
            }
            map.push(member.data.start, FileKind::Tar, false);
            map.push(member.data.end, kind_of(tar, member)?, true);
        }
        // What has no members is no tar.
        let tail = if members.is_empty() { FileKind::Other } else { FileKind::Tar };
        map.push(tar.size(), tail, false);
        Ok(map)
    }

    fn push(&mut self, end: u64, kind: FileKind, is_file: bool) {
        if end > self.spans.last().map_or(0, |span| span.end) {
            self.spans.push(Span { end, kind, is_file });
        }
    }
}

fn kind_of(tar: &dyn ReadAt, member: &Member) -> Result<FileKind, ReadError> {
    let mut head = [0; LOOKED_AT_BYTES];
    let length = (member.data.end - member.data.start).min(LOOKED_AT_BYTES as u64);
    let head = &mut head[..usize::try_from(length).unwrap_or(0)];
    tar.read_exact_at(head, member.data.start)?;
    Ok(classify(&member.path, head))
}
