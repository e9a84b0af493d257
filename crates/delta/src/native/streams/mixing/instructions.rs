//! What instructions of x86-64 say of a byte that is to come.
//!
//! Where in an instruction it is says much of what it can be. What is no code shows by opcodes that code hardly has.

use super::hash;
use super::tail::Tail;
use crate::native::x86_64::{Layout, PARTS, is_strange};

/// Parts that are alike: beginning, after prefixes, opcodes, ModRM, SIB, then the first bytes of numbers, those in the middle
/// and the last.
const KINDS: [u8; PARTS as usize] =
    [0, 1, 1, 2, 2, 3, 4, 2, 5, 5, 6, 6, 7, 5, 5, 6, 5, 6, 6, 7, 7, 7, 7, 7];

/// An instruction, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Instruction {
    layout: Layout,
    /// Its bytes so far without SIB, displacement and immediate, the last four.
    head: u32,
    /// That of the instruction before it.
    last_head: u32,
    /// Opcodes of the two instructions before it, their last bytes, the last one low.
    opcodes: u16,
}

impl Instruction {
    /// What comes after these bytes, as if an instruction began with the first.
    pub(super) fn after(tail: &Tail) -> Self {
        let mut instruction = Self::default();
        tail.bytes().iter().for_each(|byte| instruction.push(*byte));
        instruction
    }

    /// The part that comes next, below [`PARTS`].
    pub(super) fn part(&self) -> u8 {
        self.layout.part()
    }

    /// Its kind, below 8.
    pub(super) fn kind(&self) -> u8 {
        KINDS[usize::from(self.part())]
    }

    /// The instruction so far, or the one before where none has begun.
    pub(super) fn as_it_is(&self) -> u32 {
        let head = if self.layout.is_at_begin() { self.last_head } else { self.head };
        hash(head, self.part().into())
    }

    /// The instruction so far after two others.
    pub(super) fn in_order(&self) -> u32 {
        hash(self.head, u32::from(self.part()) | u32::from(self.opcodes) << 8)
    }

    /// Whether an instruction ends here, and if so whether it is one that code hardly has.
    pub(super) fn ended(&self) -> Option<bool> {
        let (map, opcode) = self.layout.opcode();
        self.layout.is_at_begin().then(|| is_strange(map, opcode))
    }

    /// Takes in the next byte.
    pub(super) fn push(&mut self, byte: u8) {
        if self.layout.is_in_head() {
            self.head = self.head << 8 | u32::from(byte);
        }
        self.layout.push(byte);
        if self.layout.is_at_begin() {
            self.last_head = std::mem::take(&mut self.head);
            self.opcodes = self.opcodes << 8 | u16::from(self.layout.opcode().1);
        }
    }
}
