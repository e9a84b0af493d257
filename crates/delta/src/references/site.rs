//! A reference in the old bytes: where it stands, how it is spelled, and what it means.

use super::{aarch64, arm};
use crate::read_at::{ReadAt, ReadError};

/// A place in the old file that refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Site {
    /// Offset of its first byte in the old file.
    pub(super) at: u64,
    pub(super) form: Form,
    pub(super) kind: Kind,
    pub(super) meaning: Meaning,
}

impl Site {
    /// Offset of the first byte after it.
    pub(super) fn end(&self) -> u64 {
        self.at + u64::from(self.form.width())
    }
}

/// What a site's operand stands for. Addresses are of the old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The target's address less that of the site, less `bias`.
    Relative { target: u64, bias: u64 },
    /// The address of the site less the target's.
    Backward { target: u64 },
    /// The target's address less that of `base`.
    Based { target: u64, base: u64 },
    /// The target's address.
    Absolute { target: u64 },
    /// The low 16 bits of the target's address, or the 16 above them.
    Half { target: u64, is_high: bool },
    /// The target's page of 4096 bytes less that of the site.
    Page { target: u64 },
    /// The target's offset in its page.
    PageOffset { target: u64 },
    /// The length from `start` to `end`, the address after the last byte.
    Length { start: u64, end: u64 },
    /// An offset in the file.
    FileOffset(u64),
}

impl Meaning {
    /// The address that is referred to; lengths and offsets refer to none.
    pub(super) fn target(&self) -> Option<u64> {
        match *self {
            Self::Relative { target, .. }
            | Self::Backward { target }
            | Self::Based { target, .. }
            | Self::Page { target }
            | Self::PageOffset { target }
            | Self::Half { target, .. }
            | Self::Absolute { target } => Some(target),
            Self::Length { .. } | Self::FileOffset(_) => None,
        }
    }
}

/// What kind of reference a site is: how much its target teaches, and whose company it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Jump,
    CodeData,
    Word,
    Dynamic,
    Relocation,
    Symbol,
    SymbolSize,
    UnwindIndex,
    Unwind,
    UnwindLink,
    UnwindLength,
    Function,
    FunctionPart,
    Header,
    Object,
    Line,
}

impl Kind {
    pub(super) fn group(self) -> Group {
        match self {
            Self::Call | Self::Jump => Group::Branches,
            Self::CodeData => Group::Data,
            Self::Word | Self::Dynamic | Self::Relocation | Self::Symbol | Self::Object => {
                Group::Pointers
            }
            Self::SymbolSize | Self::UnwindLength | Self::Line => Group::Lengths,
            Self::UnwindIndex
            | Self::Unwind
            | Self::UnwindLink
            | Self::Function
            | Self::FunctionPart => Group::Unwind,
            Self::Header => Group::Headers,
        }
    }

    /// Entries of sorted tables: they never contradict a cover.
    pub(super) fn is_table(self) -> bool {
        use Kind::*;
        matches!(self, Relocation | Symbol | UnwindIndex | UnwindLink | FunctionPart)
    }
}

/// Sites whose residuals are alike. Each may have a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Calls and jumps.
    Branches,
    /// Data that code refers to.
    Data,
    /// Pointers in data, relocations, symbols.
    Pointers,
    /// Lengths of functions and objects.
    Lengths,
    /// Tables for unwinding the stack.
    Unwind,
    /// Headers of the file.
    Headers,
}

impl Group {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Branches, Self::Data, Self::Pointers, Self::Lengths, Self::Unwind, Self::Headers];
}

/// How an operand is spelled in the bytes of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Four bytes, little-endian, signed.
    Signed32,
    /// Four bytes, little-endian, unsigned.
    Unsigned32,
    /// Eight bytes, little-endian.
    Word64,
    /// AArch64: B, BL; 26 bits of words.
    A64Branch26,
    /// AArch64: B.cond, CBZ, CBNZ, LDR (literal); 19 bits of words.
    A64Branch19,
    /// AArch64: TBZ, TBNZ; 14 bits of words.
    A64Branch14,
    /// AArch64: ADRP; 21 bits of pages.
    A64Page,
    /// AArch64: ADR; 21 bits of bytes.
    A64Address,
    /// AArch64: ADD, or a load or store; 12 bits of units of 2^`scale` bytes.
    A64PageOffset { scale: u8 },
    /// ARM: tables for unwinding; 31 bits of bytes.
    ArmDistance31,
    /// Instructions of 32-bit ARM code.
    Arm(arm::Spelling),
}

impl Form {
    /// Bytes of the site.
    pub(super) fn width(self) -> u8 {
        match self {
            Self::Word64 => 8,
            _ => 4,
        }
    }

    /// The operand in `bytes`, a little-endian number of the site's width.
    pub(super) fn operand(self, bytes: u64) -> u64 {
        match self {
            Self::Signed32 => sign_extend(bytes, 32),
            Self::Unsigned32 => bytes & 0xffff_ffff,
            Self::Word64 => bytes,
            Self::ArmDistance31 => sign_extend(bytes, 31),
            Self::Arm(spelling) => spelling.operand(bytes),
            _ => aarch64::operand(self, bytes),
        }
    }

    /// `bytes` with another operand; bits that do not fit are lost.
    pub(super) fn with_operand(self, bytes: u64, operand: u64) -> u64 {
        match self {
            Self::Signed32 | Self::Unsigned32 => operand & 0xffff_ffff,
            Self::Word64 => operand,
            Self::ArmDistance31 => bytes & 1 << 31 | operand & 0x7fff_ffff,
            Self::Arm(spelling) => spelling.with_operand(bytes, operand),
            _ => aarch64::with_operand(self, bytes, operand),
        }
    }

    /// The bits of a site in an order in which a change of the operand is a small number.
    pub(super) fn unfold(self, bytes: u64) -> u64 {
        match self {
            Self::Signed32 | Self::Unsigned32 | Self::Word64 | Self::ArmDistance31 => bytes,
            Self::Arm(spelling) => spelling.unfold(bytes),
            _ => aarch64::unfold(self, bytes),
        }
    }

    /// Undoes [`Self::unfold`].
    pub(super) fn fold(self, bits: u64) -> u64 {
        match self {
            Self::Signed32 | Self::Unsigned32 | Self::Word64 | Self::ArmDistance31 => bits,
            Self::Arm(spelling) => spelling.fold(bits),
            _ => aarch64::fold(self, bits),
        }
    }
}

/// The number in the low `bits` of `value`, taken as signed.
pub(super) fn sign_extend(value: u64, bits: u32) -> u64 {
    let shift = 64 - bits;
    (value.cast_signed() << shift >> shift).cast_unsigned()
}

/// A site of the new file, as it is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prediction {
    /// Offset of the site in the region.
    pub place: u64,
    /// Bytes of the site: 4 or 8.
    pub width: u8,
    /// What kind of site it is.
    pub group: Group,
    /// What is predicted to stand there, a little-endian number of `width` bytes.
    pub predicted: u64,
    pub(super) form: Form,
}

impl Prediction {
    /// What stands there in `new`, bytes of the region from `start` on.
    pub fn found_in(&self, new: &[u8], start: u64) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        let site = &mut bytes[..usize::from(self.width)];
        new.read_exact_at(site, self.place - start)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// How `actual`, a little-endian number of `width` bytes, differs from what is predicted.
    pub fn residual(&self, actual: u64) -> i64 {
        let difference = self.form.unfold(actual).wrapping_sub(self.form.unfold(self.predicted));
        sign_extend(difference, u32::from(self.width) * 8).cast_signed()
    }

    /// What stands there if it differs by `residual`; bits that do not fit are ignored.
    pub fn actual(&self, residual: i64) -> u64 {
        let bits = self.form.unfold(self.predicted).wrapping_add(residual.cast_unsigned());
        self.form.fold(bits & (u64::MAX >> (64 - u32::from(self.width) * 8)))
    }
}
