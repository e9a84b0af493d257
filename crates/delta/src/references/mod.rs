//! Executables: references predicted through the covers.
//!
//! When code moves, everything that refers to it changes: calls, jumps, tables of addresses; when an object
//! comes into a compiled module of Python, the numbers of all later ones. The decoder
//! has the old file and all covers of the new one by it; it finds the references in the *old* bytes
//! of each cover, looks up where the covers say that each target went, and spells the reference
//! anew. What was sent for each is only how far that is from the truth.
//!
//! - [`Predictor`] makes the bytes, in the encoder and in the decoder.
//! - `structure` reads the old file's headers; `area_index` finds the sites, by `tables`, `unwind`, `go`,
//!   `code` and `marshal`.
//! - `cover_map`, `learned` and `address_map` say where old places are now.

mod aarch64;
mod address_map;
mod area_index;
mod arm;
mod code;
mod cover_map;
mod elf;
mod go;
mod large;
mod learned;
mod marshal;
mod plan;
mod predictor;
mod rematch;
mod segments;
mod site;
mod structure;
mod tables;
mod trial;
mod unwind;
mod window;
mod words;
mod x86_64;

pub(crate) use large::split_longest;
pub use large::{LargePair, LargePlan, Vote, WindowPair};
pub use plan::{Plan, memory_bytes, plan};
pub use predictor::{Piece, Predictor};
pub use site::{Group, Prediction};
pub(crate) use words::low_word;
pub use words::{InstructionSet, Says, WordOperand};

use crate::read_at::ReadError;

/// Machines whose references are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// x86-64, 64-bit ELF.
    X86_64,
    /// AArch64, 64-bit ELF, little-endian.
    Aarch64,
    /// ARM, 32-bit ELF, little-endian; A32 and Thumb-2.
    Arm,
    /// CPython: compiled modules.
    Python,
}

impl Machine {
    /// The number that stands for it in the format.
    pub fn id(self) -> u8 {
        match self {
            Self::X86_64 => 1,
            Self::Aarch64 => 2,
            Self::Arm => 3,
            Self::Python => 4,
        }
    }

    /// The machine of that number.
    pub fn of_id(id: u8) -> Option<Self> {
        [Self::X86_64, Self::Aarch64, Self::Arm, Self::Python]
            .into_iter()
            .find(|machine| machine.id() == id)
    }

    /// The machine of that `e_machine`, in a 64-bit file or a 32-bit one.
    fn of_elf(number: u64, is_wide: bool) -> Option<Self> {
        match (number, is_wide) {
            (62, true) => Some(Self::X86_64),
            (183, true) => Some(Self::Aarch64),
            (40, false) => Some(Self::Arm),
            _ => None,
        }
    }
}

/// Whether a file that starts like this may hold references that are understood.
pub fn may_refer(magic: [u8; 4]) -> bool {
    magic == *b"\x7fELF" || marshal::is_module(magic)
}

/// A range of the region that is like a range of the old file. Both are shorter than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionCover {
    /// Offset in the region.
    pub target: u32,
    /// Offset in the old file.
    pub old: u32,
    /// Length in both; never zero.
    pub length: u32,
}

impl RegionCover {
    /// `None` where one of these does not fit.
    pub fn new(target: u64, old: u64, length: u64) -> Option<Self> {
        Some(Self {
            target: u32::try_from(target).ok()?,
            old: u32::try_from(old).ok()?,
            length: u32::try_from(length).ok()?,
        })
    }

    /// Offset in the region of the first byte after the cover.
    pub fn target_end(&self) -> u32 {
        self.target + self.length
    }

    /// Offset in the old file of the first byte after the cover.
    pub fn old_end(&self) -> u32 {
        self.old + self.length
    }
}

/// Where the truth about sites comes from: in the decoder the delta, in the encoder the new file.
pub trait Residuals {
    /// Why it cannot be had, or the old file cannot be read.
    type Error: From<ReadError>;

    /// What stands at a site, a little-endian number of the prediction's width. Asked once for each, in
    /// the order of the region.
    fn actual(&mut self, prediction: &Prediction) -> Result<u64, Self::Error>;
}

/// Why a region cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The old file cannot be read.
    #[error("the old executable cannot be read")]
    Read(#[from] ReadError),
    /// The range of the old file goes past the end of its origin.
    #[error("the old executable is not within its origin")]
    Old,
    /// The old file is not an executable of the machine.
    #[error("the old file is not an executable of the machine that was named")]
    Machine,
    /// Covers overlap or go past an end.
    #[error("the covers of an executable are not possible")]
    Covers,
    /// Parameters are not what an encoder writes.
    #[error("the parameters of an executable are not possible")]
    Parameters,
}
