//! Literals next to code: which bytes of new code go to which stream.
//!
//! What is new in code calls, jumps and refers as the code around it does. Of a call the distance is different from each
//! place, the target the same; and apart from opcodes numbers are like numbers. The idea is that of
//! [BCJ2 of 7-Zip](https://7-zip.org/sdk.html), but instructions are followed in place of opcodes searched for.

mod bytes;
mod units;

use super::streams::{CodeStreams, StreamId, StreamReaders, StreamWriters, Tail};
use super::x86_64::Follower;
use crate::references::{InstructionSet, Machine, Predictor, low_word};
use units::Units;

type Result<T> = std::result::Result<T, &'static str>;

/// Where a piece of a run is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Offset in the region.
    pub(super) at: u64,
    /// Bytes from there to the end of the run, of which the piece may have fewer.
    pub(super) left: u64,
}

impl Place {
    fn after(self, bytes: usize) -> Self {
        Self { at: self.at + bytes as u64, left: self.left - bytes as u64 }
    }
}

/// The runs of an executable.
#[derive(Debug, Default)]
pub(super) struct CodeRuns {
    /// What instructions the last one had.
    last: Option<InstructionSet>,
}

impl CodeRuns {
    /// The run at a place, after `tail`. `None` where it is not of code, or a delta with such streams does not tell.
    pub(super) fn begin(
        &mut self,
        predictor: &Predictor,
        streams: CodeStreams,
        tail: &Tail,
        place: Place,
    ) -> Option<CodeRun> {
        let machine = predictor.machine()?;
        let is_code = streams.has(machine)
            && place.left >= CodeRun::MAX_UNIT_BYTES
            && predictor.is_after_code();
        if !is_code {
            return None;
        }
        if machine == Machine::X86_64 {
            return Some(CodeRun::Bytes(bytes::begin(tail)));
        }
        self.last = InstructionSet::of(machine, tail.bytes(), place.at, self.last);
        self.last.map(|set| CodeRun::Units(Units::new(set)))
    }
}

/// A run of literals next to code, as far as it was made.
#[derive(Debug)]
pub(super) enum CodeRun {
    /// Of x86-64: instructions of any length.
    Bytes(Follower),
    /// Of ARM.
    Units(Units),
}

impl CodeRun {
    /// The most bytes that are not divided: a piece ends before them.
    pub(super) const MAX_UNIT_BYTES: u64 = 4;

    /// Says the bytes of a piece, which come after `tail`: all but what there is of an operand or an instruction at its end; how many those are.
    pub(super) fn say(
        &mut self,
        streams: &mut StreamWriters,
        piece: &[u8],
        place: Place,
        tail: Tail,
    ) -> usize {
        match self {
            Self::Bytes(follower) => bytes::say(follower, streams, piece, place),
            Self::Units(units) => units.say(streams, piece, place, tail),
        }
    }

    /// Makes a piece, which comes after `tail`: all but what it would have of an operand or an instruction at its end; how many bytes those are. The
    /// last piece of a frame ends where an instruction does.
    pub(super) fn make(
        &mut self,
        streams: &mut StreamReaders,
        frame: &[u8],
        piece: &mut [u8],
        place: Place,
        tail: Tail,
        is_last: bool,
    ) -> Result<usize> {
        match self {
            Self::Bytes(follower) => bytes::make(follower, streams, frame, piece, place),
            Self::Units(units) => units.make(streams, frame, piece, place, tail, is_last),
        }
    }
}

/// An operand that is apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Apart {
    stream: StreamId,
    /// What a distance counts from, as far as 32 bits have it.
    base: u32,
}

impl Apart {
    /// Of which the distance counts from `base`.
    fn new(stream: StreamId, base: u64) -> Self {
        Self { stream, base: low_word(base) }
    }

    fn say(self, streams: &mut StreamWriters, distance: u32) {
        streams.raw(self.stream).extend(self.stored(distance));
    }

    fn make(self, streams: &mut StreamReaders, frame: &[u8]) -> Result<u32> {
        let mut stored = [0; 4];
        streams.bytes(self.stream, frame, &mut stored)?;
        Ok(self.distance(stored))
    }

    /// What the stream has for an operand: high bytes first, since those differ least.
    fn stored(self, distance: u32) -> [u8; 4] {
        let number = match self.stream {
            // With its sign in the lowest bit the high ones of a short distance are 0.
            StreamId::Jumps => distance << 1 ^ 0u32.wrapping_sub(distance >> 31),
            _ => distance.wrapping_add(self.base),
        };
        number.to_be_bytes()
    }

    /// The operand of what the stream has.
    fn distance(self, stored: [u8; 4]) -> u32 {
        let number = u32::from_be_bytes(stored);
        match self.stream {
            StreamId::Jumps => number >> 1 ^ 0u32.wrapping_sub(number & 1),
            _ => number.wrapping_sub(self.base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_come_back_from_what_is_stored() {
        for stream in [StreamId::Calls, StreamId::Places, StreamId::Jumps] {
            for number in [0, 1, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX] {
                let apart = Apart::new(stream, 0x1234_5678);
                assert_eq!(apart.distance(apart.stored(number)), number, "{stream:?} {number}");
            }
        }
    }
}
