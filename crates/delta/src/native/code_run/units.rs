//! Code of ARM, whose instructions are aligned words, or one or two aligned halfwords.
//!
//! They have streams of their own, in which all begin at a multiple of their length: what a byte is in an instruction is
//! known by where it is. With the high byte first the opcode is, mostly.

use super::{Apart, Place, Result};
use crate::native::streams::{StreamId, StreamReaders, StreamWriters, Tail};
use crate::references::{InstructionSet, Says, WordOperand};

/// The instructions of a run.
#[derive(Debug)]
pub(in crate::native) struct Units {
    set: InstructionSet,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A byte of no instruction: before the first that is aligned, or after the last that is whole.
    Byte,
    /// A word.
    Word,
    /// A halfword that is the last one of its run.
    LastHalf,
    /// A halfword, or two.
    Halves,
}

/// The lowest first halfword of an instruction that has two.
const FIRST_OF_TWO: u16 = 0xe800;

impl Units {
    pub(super) fn new(set: InstructionSet) -> Self {
        Self { set }
    }

    fn next(&self, place: Place) -> Next {
        match (self.set, place.at & 3, place.left) {
            (InstructionSet::Thumb, 0 | 2, 4..) => Next::Halves,
            (InstructionSet::Thumb, 0 | 2, 2..) => Next::LastHalf,
            (InstructionSet::A64 | InstructionSet::A32, 0, 4..) => Next::Word,
            _ => Next::Byte,
        }
    }

    pub(super) fn say(
        &self,
        streams: &mut StreamWriters,
        piece: &[u8],
        place: Place,
        tail: Tail,
    ) -> usize {
        let mut said = 0;
        while said < piece.len() {
            let (before, rest) = piece.split_at(said);
            let here = place.after(said);
            said += match self.next(here) {
                Next::Byte => {
                    streams.literals(&rest[..1], tail.after(before));
                    1
                }
                Next::LastHalf => {
                    let Some(half) = rest.first_chunk() else { break };
                    say_half(streams, u16::from_le_bytes(*half));
                    half.len()
                }
                Next::Word => {
                    let Some(word) = rest.first_chunk() else { break };
                    let word = self.say_operand(streams, u32::from_le_bytes(*word), here.at);
                    streams.raw(StreamId::Words).extend(word.to_be_bytes());
                    4
                }
                Next::Halves => {
                    let Some(word) = rest.first_chunk() else { break };
                    self.say_halves(streams, u32::from_le_bytes(*word), here.at)
                }
            };
        }
        said
    }

    /// Says the instruction of the first halfword of `word`, or of both: how many bytes it has.
    fn say_halves(&self, streams: &mut StreamWriters, word: u32, at: u64) -> usize {
        let [first, _] = halves_of(word);
        if first < FIRST_OF_TWO {
            say_half(streams, first);
            return 2;
        }
        let word = self.say_operand(streams, word, at);
        halves_of(word).into_iter().for_each(|half| say_half(streams, half));
        4
    }

    /// Says the operand of an instruction, if it has one: what is left of it.
    fn say_operand(&self, streams: &mut StreamWriters, word: u32, at: u64) -> u32 {
        let Some(operand) = self.set.operand(word) else { return word };
        apart(operand, at).say(streams, operand.of(word));
        operand.put(word, 0)
    }

    pub(super) fn make(
        &self,
        streams: &mut StreamReaders,
        frame: &[u8],
        piece: &mut [u8],
        place: Place,
        tail: Tail,
        is_last: bool,
    ) -> Result<usize> {
        let mut made = 0;
        while made < piece.len() {
            let (before, rest) = piece.split_at_mut(made);
            let here = place.after(made);
            made += match self.next(here) {
                Next::Byte => {
                    streams.literals(frame, tail.after(before), &mut rest[..1])?;
                    1
                }
                Next::LastHalf => {
                    let Some(half) = rest.first_chunk_mut() else { break };
                    *half = make_half(streams, frame)?.to_le_bytes();
                    half.len()
                }
                Next::Word => {
                    let Some(made) = rest.first_chunk_mut() else { break };
                    let mut word = [0; 4];
                    streams.bytes(StreamId::Words, frame, &mut word)?;
                    let word = u32::from_be_bytes(word);
                    *made = self.make_operand(streams, frame, word, here.at)?.to_le_bytes();
                    4
                }
                Next::Halves if is_last && rest.len() < 4 => {
                    let Some(half) = rest.first_chunk_mut() else { break };
                    let first = make_half(streams, frame)?;
                    if first >= FIRST_OF_TWO {
                        return Err("a frame ends within an instruction");
                    }
                    *half = first.to_le_bytes();
                    half.len()
                }
                Next::Halves => {
                    let Some(made) = rest.first_chunk_mut() else { break };
                    self.make_halves(streams, frame, made, here.at)?
                }
            };
        }
        Ok(made)
    }

    /// Makes an instruction at the start of `made`: how many bytes it has.
    fn make_halves(
        &self,
        streams: &mut StreamReaders,
        frame: &[u8],
        made: &mut [u8; 4],
        at: u64,
    ) -> Result<usize> {
        let first = make_half(streams, frame)?;
        if first < FIRST_OF_TWO {
            made[..2].copy_from_slice(&first.to_le_bytes());
            return Ok(2);
        }
        let word = u32::from(first) | u32::from(make_half(streams, frame)?) << 16;
        *made = self.make_operand(streams, frame, word, at)?.to_le_bytes();
        Ok(4)
    }

    /// The instruction of which this is left without its operand.
    fn make_operand(
        &self,
        streams: &mut StreamReaders,
        frame: &[u8],
        word: u32,
        at: u64,
    ) -> Result<u32> {
        let Some(operand) = self.set.operand(word) else { return Ok(word) };
        Ok(operand.put(word, apart(operand, at).make(streams, frame)?))
    }
}

/// Where an operand goes of the instruction at `at`.
fn apart(operand: WordOperand, at: u64) -> Apart {
    match operand.says {
        Says::Call => Apart::new(StreamId::Calls, at),
        Says::Jump => Apart::new(StreamId::Jumps, at),
        Says::Page => Apart::new(StreamId::Places, at >> WordOperand::PAGE_LOG),
    }
}

/// The first halfword is low in the word.
fn halves_of(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

fn say_half(streams: &mut StreamWriters, half: u16) {
    streams.raw(StreamId::Halves).extend(half.to_be_bytes());
}

fn make_half(streams: &mut StreamReaders, frame: &[u8]) -> Result<u16> {
    let mut half = [0; 2];
    streams.bytes(StreamId::Halves, frame, &mut half)?;
    Ok(u16::from_be_bytes(half))
}
