//! What is matched: a new layer on one side; the files that may be like its files on the other.

use super::index::{FileIndex, FileRef};
use crate::read_at::ReadAt;
use crate::tar_map::{Member, TarMap};

/// A new layer and the old ones.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a, 'b> {
    pub(super) target: &'a dyn ReadAt,
    pub(super) map: &'a TarMap,
    pub(super) index: &'a FileIndex<'b>,
}

impl Sides<'_, '_> {
    /// The number of the new layer as an origin of its own.
    pub(super) fn itself(&self) -> u32 {
        self.index.origin_count()
    }

    /// Memory that the lists of files take, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.map.memory_bytes() + self.index.memory_bytes()
    }

    pub(super) fn origin(&self, origin: u32) -> &dyn ReadAt {
        if origin == self.itself() { self.target } else { self.index.origin(origin) }
    }

    pub(super) fn map_of(&self, origin: u32) -> &TarMap {
        if origin == self.itself() { self.map } else { self.index.map(origin) }
    }

    pub(super) fn member(&self, file: FileRef) -> &Member {
        &self.map_of(file.origin).members[file.member as usize]
    }
}
