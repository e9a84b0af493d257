//! Two deltas, one after the other, as one: copies of what the first makes become what the first makes
//! it of.

use std::io::{self, Read, Write};

use super::command::Command;
use super::{DeltaError, DeltaReader, DeltaWriteError, DeltaWriter};
use crate::read_at::{ReadAt, ReadError};

/// What is counted for each command that is remembered.
const ENTRY_BYTES: u64 = 32;

/// The commands of a delta, to look up what makes a range; its literals lie in a file.
#[derive(Debug, Default)]
pub struct CommandMap {
    commands: Vec<Entry>,
    /// Bytes that the delta makes.
    pub size: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    target: u64,
    from: From,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Basis(u64),
    /// Where the bytes are among the literals.
    Literal(u64),
}

/// A range of the basis of the second delta.
pub enum Source<'a> {
    /// It is the same range in the basis of the first.
    Basis {
        /// Where it ends.
        end: u64,
    },
    /// The first delta makes it.
    Made {
        /// How.
        map: &'a CommandMap,
        /// Where its first byte is in the basis of the second.
        start: u64,
    },
}

/// Why deltas could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A delta could not be read.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The merged delta could not be written.
    #[error(transparent)]
    Write(#[from] DeltaWriteError),
    /// Literals could not be put aside.
    #[error("cannot put literals aside")]
    Aside(#[source] io::Error),
    /// Literals that were put aside could not be read.
    #[error("cannot read literals that were put aside")]
    Literal(#[source] ReadError),
    /// A delta makes more than a number holds.
    #[error("the delta makes more than 2^64 bytes")]
    TooLarge,
    /// A copy goes past the end of what the first delta makes.
    #[error("copy of {length} bytes from {from} goes past the end of what the first delta makes")]
    CopyPastEnd {
        /// Where it starts in the basis.
        from: u64,
        /// How long it is.
        length: u64,
    },
    /// There are more commands than may be remembered.
    #[error("the delta has too many commands for {limit_bytes} bytes of memory")]
    Memory {
        /// How much there may be.
        limit_bytes: u64,
    },
}

impl CommandMap {
    /// Reads a delta; appends its literals to `literals`, of which there are `literal_bytes` so far.
    pub fn read(
        delta: impl Read,
        literals: &mut dyn Write,
        literal_bytes: &mut u64,
        limit_bytes: u64,
    ) -> Result<Self, MergeError> {
        let mut reader = DeltaReader::new(delta)?;
        let mut map = Self::default();
        let mut buffer = vec![0; 64 << 10];
        while let Some(command) = reader.next_command()? {
            let target = map.size;
            let (from, length) = match command {
                Command::Copy { offset, length } => (From::Basis(offset), length),
                Command::Literal { length } => (From::Literal(*literal_bytes), length),
            };
            while let count @ 1.. = reader.read_literal(&mut buffer)? {
                literals.write_all(&buffer[..count]).map_err(MergeError::Aside)?;
                *literal_bytes += count as u64;
            }
            if (map.commands.len() as u64 + 1) * ENTRY_BYTES > limit_bytes {
                return Err(MergeError::Memory { limit_bytes });
            }
            map.commands.push(Entry { target, from });
            map.size = map.size.checked_add(length).ok_or(MergeError::TooLarge)?;
        }
        Ok(map)
    }

    /// What makes the byte at `offset`, and how many bytes from there on it makes.
    fn at(&self, offset: u64) -> Option<(From, u64)> {
        let next = self.commands.partition_point(|entry| entry.target <= offset);
        let entry = self.commands.get(next.checked_sub(1)?)?;
        let end = self.commands.get(next).map_or(self.size, |next| next.target);
        let done = offset - entry.target;
        let left = end.checked_sub(offset).filter(|left| *left > 0)?;
        let from = match entry.from {
            From::Basis(at) => From::Basis(at + done),
            From::Literal(at) => From::Literal(at + done),
        };
        Some((from, left))
    }
}

/// Writes the delta that does what the first and then `second` do. `find` tells what is at an offset of the
/// second's basis.
pub fn merge<'a, W: Write>(
    second: impl Read,
    find: &dyn Fn(u64) -> Option<Source<'a>>,
    literals: &dyn ReadAt,
    out: W,
) -> Result<super::DeltaReport, MergeError> {
    let mut reader = DeltaReader::new(second)?;
    let mut writer = DeltaWriter::new(out)?;
    let mut buffer = vec![0; 64 << 10];
    while let Some(command) = reader.next_command()? {
        let Command::Copy { offset, length } = command else {
            while let count @ 1.. = reader.read_literal(&mut buffer)? {
                writer.literal(&buffer[..count])?;
            }
            continue;
        };
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let found = find(at).and_then(|source| match source {
                Source::Basis { end } => Some((From::Basis(at), end - at)),
                Source::Made { map, start } => map.at(at - start),
            });
            let past_end = MergeError::CopyPastEnd { from: offset, length };
            let (from, left) = found.ok_or(past_end)?;
            let count = left.min(end - at);
            at += match from {
                From::Basis(from) => {
                    writer.copy(from, count)?;
                    count
                }
                From::Literal(from) => {
                    let piece = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
                    let read = literals.read_exact_at(&mut buffer[..piece], from);
                    read.map_err(MergeError::Literal)?;
                    writer.literal(&buffer[..piece])?;
                    piece as u64
                }
            };
        }
    }
    Ok(writer.finish()?.1)
}
