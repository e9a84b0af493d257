//! Sites of one area, whatever it holds.

use std::ops::Range;

use super::arm::Pools;
use super::go::GoTable;
use super::marshal::Marks;
use super::site::Site;
use super::structure::{Area, AreaKind, Structure};
use super::unwind::Checkpoints;
use super::window::Window;
use super::{code, tables};
use crate::read_at::{ReadAt, ReadError};

/// Where things are in areas whose sites are not found by their own bytes alone.
#[derive(Debug, Default)]
pub(super) struct AreaIndex {
    unwind: Option<Checkpoints>,
    objects: Option<Marks>,
    go: Option<GoTable>,
    pools: Pools,
}

impl AreaIndex {
    /// A module of Python has none of the others.
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = {
        let of_elf = Checkpoints::MEMORY_BYTES + GoTable::MEMORY_BYTES + Pools::MEMORY_BYTES;
        if of_elf > Marks::MEMORY_BYTES { of_elf } else { Marks::MEMORY_BYTES }
    };

    /// Reads through those areas once that are only understood from their start. A file has one of each at most.
    pub(super) fn of(
        origin: &dyn ReadAt,
        old: &Range<u64>,
        structure: &Structure,
    ) -> Result<Self, ReadError> {
        let mut index = Self::default();
        for area in &structure.areas {
            match area.kind {
                AreaKind::Unwind => index.unwind = Some(Checkpoints::of(origin, old, area)?),
                AreaKind::Objects => index.objects = Some(Marks::of(origin, old, area)?),
                AreaKind::GoFunctions => index.go = GoTable::of((origin, old), structure, area)?,
                _ => {}
            }
        }
        Ok(index)
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
        (area, index): (&Area, &mut AreaIndex),
        window: &Window,
        range: &Range<u64>,
        end: u64,
        sites: &mut Vec<Site>,
    ) -> Result<(), ReadError> {
        match area.kind {
            AreaKind::Code => {
                code::find(self, (area, &mut index.pools), window, range, end, sites)?;
            }
            AreaKind::Unwind => {
                if let Some(unwind) = &mut index.unwind {
                    unwind.find((self.origin, self.old), area, window, range, sites)?;
                }
            }
            AreaKind::Objects => {
                if let Some(marks) = &mut index.objects {
                    marks.find(window, range, sites);
                }
            }
            AreaKind::GoFunctions => {
                if let Some(go) = &index.go {
                    go.find((self.origin, self.old), area, window, range, sites)?;
                }
            }
            _ => tables::find(self.structure, area, window, range, sites),
        }
        Ok(())
    }
}
