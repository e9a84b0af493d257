//! Sites of one area, whatever it holds.

use std::ops::Range;

use super::arm::Pools;
use super::marshal::Marks;
use super::site::Site;
use super::structure::{Area, AreaKind, Structure};
use super::unwind::Checkpoints;
use super::window::Window;
use super::{code, tables};
use crate::read_at::{ReadAt, ReadError};

/// Where things are in an area whose entries are only found by reading it from its start.
#[derive(Debug)]
pub(super) enum AreaIndex {
    Unwind(Checkpoints),
    Objects(Marks),
}

impl AreaIndex {
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = match Checkpoints::MEMORY_BYTES > Marks::MEMORY_BYTES {
        true => Checkpoints::MEMORY_BYTES,
        false => Marks::MEMORY_BYTES,
    };

    /// Reads through the area once; `None` where that is not needed. A file has one such area at most.
    pub(super) fn of(
        origin: &dyn ReadAt,
        old: &Range<u64>,
        area: &Area,
    ) -> Result<Option<Self>, ReadError> {
        Ok(match area.kind {
            AreaKind::Unwind => Some(Self::Unwind(Checkpoints::of(origin, old, area)?)),
            AreaKind::Objects => Some(Self::Objects(Marks::of(origin, old, area)?)),
            _ => None,
        })
    }
}

/// A file that sites are looked for in.
pub(super) struct Source<'a> {
    pub(super) structure: &'a Structure,
    pub(super) origin: &'a dyn ReadAt,
    pub(super) old: &'a Range<u64>,
}

impl Source<'_> {
    /// Finds the sites of an area that start in `range`, or whose instruction does, in order; `window`
    /// has these bytes. Instructions do not go past `end`.
    pub(super) fn find(
        &self,
        (area, index): (&Area, Option<&mut AreaIndex>),
        pools: &mut Pools,
        window: &Window,
        range: &Range<u64>,
        end: u64,
        sites: &mut Vec<Site>,
    ) -> Result<(), ReadError> {
        match (area.kind, index) {
            (AreaKind::Code, _) => {
                code::find(self, (area, pools), window, range, end, sites)?;
            }
            (AreaKind::Unwind, Some(AreaIndex::Unwind(unwind))) => {
                unwind.find((self.origin, self.old), area, window, range, sites)?;
            }
            (AreaKind::Objects, Some(AreaIndex::Objects(marks))) => {
                marks.find(window, range, sites)
            }
            _ => tables::find(self.structure, area, window, range, sites),
        }
        Ok(())
    }
}
