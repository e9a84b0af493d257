//! Operands of instructions in literals, which have streams of their own.
//!
//! What is new in code calls, jumps and refers as the code around it does. Of a call the distance is different from each
//! place, the target the same; and apart from opcodes numbers are like numbers. The idea is that of
//! [BCJ2 of 7-Zip](https://7-zip.org/sdk.html), but instructions are followed in place of opcodes searched for.

use super::streams::{StreamId, Tail};
use super::x86_64::{Follower, Operand};

/// So many bytes before a run are followed, to find where instructions begin.
const BYTES_BEFORE: usize = 16;

/// A run of literals, as far as it was made.
#[derive(Debug)]
pub(super) struct OperandRun {
    /// `None` where literals are not instructions.
    follower: Option<Follower>,
}

/// An operand that is apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) stream: StreamId,
    /// Offset in the region of the instruction after it, as far as 32 bits have it.
    next: u32,
}

impl OperandRun {
    /// The run after `tail`.
    pub(super) fn begin(tail: &Tail, is_code: bool) -> Self {
        let mut follower = is_code.then(Follower::default);
        if let Some(follower) = &mut follower {
            let before = tail.bytes().iter();
            before.rev().take(BYTES_BEFORE).rev().for_each(|byte| follower.push(*byte));
        }
        Self { follower }
    }

    /// Whether operands may come at all.
    pub(super) fn is_code(&self) -> bool {
        self.follower.is_some()
    }

    /// Whether an operand comes next, if there is room for one.
    pub(super) fn expects_operand(&self) -> bool {
        self.follower.is_some_and(|follower| follower.operand().is_some())
    }

    /// The operand that comes next at `at` of the region, if one does and the run still has `left` bytes.
    pub(super) fn operand(&self, at: u64, left: u64) -> Option<Apart> {
        let (stream, after) = match self.follower?.operand()? {
            Operand::Call => (StreamId::Calls, 0),
            Operand::Jump => (StreamId::Jumps, 0),
            Operand::Place { after } => (StreamId::Places, after),
        };
        let next = at.wrapping_add(Apart::BYTES + u64::from(after)) & u64::from(u32::MAX);
        let next = u32::try_from(next).unwrap_or(0);
        (left >= Apart::BYTES).then_some(Apart { stream, next })
    }

    /// Takes in a byte that was made.
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(follower) = &mut self.follower {
            follower.push(byte);
        }
    }
}

impl Apart {
    pub(super) const BYTES: u64 = 4;

    /// What the stream has for an operand: high bytes first, since those differ least.
    pub(super) fn stored(self, operand: [u8; 4]) -> [u8; 4] {
        let distance = u32::from_le_bytes(operand);
        let number = match self.stream {
            // With its sign in the lowest bit the high ones of a short distance are 0.
            StreamId::Jumps => distance << 1 ^ 0u32.wrapping_sub(distance >> 31),
            _ => distance.wrapping_add(self.next),
        };
        number.to_be_bytes()
    }

    /// The operand of what the stream has.
    pub(super) fn operand(self, stored: [u8; 4]) -> [u8; 4] {
        let number = u32::from_be_bytes(stored);
        let distance = match self.stream {
            StreamId::Jumps => number >> 1 ^ 0u32.wrapping_sub(number & 1),
            _ => number.wrapping_sub(self.next),
        };
        distance.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_come_back_from_what_is_stored() {
        for stream in [StreamId::Calls, StreamId::Places, StreamId::Jumps] {
            for number in [0, 1, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX] {
                let apart = Apart { stream, next: 0x1234_5678 };
                let operand = number.to_le_bytes();
                assert_eq!(apart.operand(apart.stored(operand)), operand, "{stream:?} {number}");
            }
        }
    }

    #[test]
    fn calls_are_told_by_their_targets_and_jumps_by_their_distances() {
        let mut run = OperandRun::begin(&Tail::default(), true);
        let mut operand_after = |bytes: &[u8], at| {
            bytes.iter().for_each(|byte| run.push(*byte));
            let apart = run.operand(at, 4).unwrap();
            assert_eq!(run.operand(at, 3), None);
            (0..4).for_each(|_| run.push(0));
            apart
        };
        let call = operand_after(&[0xe8], 0x1_0000_1000);
        assert_eq!(
            (call.stream, call.stored([0xfc, 0xff, 0xff, 0xff])),
            (StreamId::Calls, [0, 0, 0x10, 0])
        );
        let jump = operand_after(&[0x0f, 0x84], 0x1000);
        assert_eq!(
            (jump.stream, jump.stored([0xfe, 0xff, 0xff, 0xff])),
            (StreamId::Jumps, [0, 0, 0, 3])
        );
        // cmp byte [rip + 0x100], 1: the immediate is still to come.
        let place = operand_after(&[0x80, 0x3d], 0x2000);
        assert_eq!((place.stream, place.stored([0, 1, 0, 0])), (StreamId::Places, [0, 0, 0x21, 5]));
    }
}
