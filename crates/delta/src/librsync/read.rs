//! Reading a delta front to back.

use std::io::{self, BufRead, BufReader, Read};

use super::DELTA_MAGIC;
use super::command::{Command, Opcode};

/// Deltas are read in pieces of this size, so that small commands do not cost a call each.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// A delta could not be read. Every `offset` counts from the delta's first byte.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The stream under the delta failed.
    #[error("cannot read the delta at {offset}")]
    Io {
        /// Where the bytes that could not be read start.
        offset: u64,
        /// What the stream said.
        source: io::Error,
    },
    /// The first four bytes are not a librsync delta's.
    #[error("not a librsync delta: it starts with {found:#010x}")]
    BadMagic {
        /// The four bytes, big-endian.
        found: u32,
    },
    /// A byte stands where a command should and is none.
    #[error("unknown command {byte:#04x} at {offset} of the delta")]
    UnknownCommand {
        /// Where the byte stands.
        offset: u64,
        /// The byte.
        byte: u8,
    },
    /// A literal or a copy of no bytes, which librsync never writes and refuses to apply.
    #[error("command of length zero at {offset} of the delta")]
    ZeroLength {
        /// Where the command starts.
        offset: u64,
    },
    /// A copy whose range ends beyond 2^64.
    #[error("copy of {length} bytes from {from} at {offset} of the delta overflows")]
    RangeOverflow {
        /// Where the command starts.
        offset: u64,
        /// The copy's offset in the basis.
        from: u64,
        /// The copy's length.
        length: u64,
    },
    /// The delta ends within the magic, a command's operands or a literal.
    #[error("the delta ends at {end} within what starts at {offset}")]
    Truncated {
        /// Where the command that is cut off starts.
        offset: u64,
        /// Where the delta ends.
        end: u64,
    },
    /// The delta ends after a whole command and without END.
    #[error("the delta ends at {offset} without an END command")]
    MissingEnd {
        /// Where the delta ends.
        offset: u64,
    },
    /// Something follows END.
    #[error("bytes follow the END of the delta at {offset}")]
    TrailingBytes {
        /// Where END's successor stands.
        offset: u64,
    },
}

/// The commands of a delta, one after the other, with the bytes of its literals between them.
///
/// Memory is one buffer of 64 KiB whatever the delta says. After an error the reader is spent.
pub struct DeltaReader<R> {
    delta: BufReader<R>,
    position: u64,
    command_offset: u64,
    literal_left: u64,
    ended: bool,
}

impl<R: Read> DeltaReader<R> {
    /// Reads and checks the magic.
    pub fn new(delta: R) -> Result<Self, DeltaError> {
        let mut reader = Self {
            delta: BufReader::with_capacity(READ_BUFFER_BYTES, delta),
            position: 0,
            command_offset: 0,
            literal_left: 0,
            ended: false,
        };
        let mut magic = [0; 4];
        reader.fill(&mut magic)?;
        match u32::from_be_bytes(magic) {
            DELTA_MAGIC => Ok(reader),
            found => Err(DeltaError::BadMagic { found }),
        }
    }

    /// The next command, or `None` after END, when it has been seen that nothing follows it.
    ///
    /// What is left of a literal's bytes is read past, so a caller that only counts need not.
    pub fn next_command(&mut self) -> Result<Option<Command>, DeltaError> {
        self.skip_literal()?;
        if self.ended {
            return Ok(None);
        }
        self.command_offset = self.position;
        let command = match Opcode::from_byte(self.read_command_byte()?) {
            Opcode::End => return self.end().map(|()| None),
            Opcode::ImmediateLiteral { length } => self.literal(u64::from(length))?,
            Opcode::Literal { length_width } => {
                let length = self.operand(length_width)?;
                self.literal(length)?
            }
            Opcode::Copy { offset_width, length_width } => {
                let offset = self.operand(offset_width)?;
                let length = self.operand(length_width)?;
                self.copy(offset, length)?
            }
            Opcode::Unknown => return Err(self.unknown_command()),
        };
        Ok(Some(command))
    }

    /// Reads bytes of the current literal; zero when there are none left, or `buffer` is empty.
    pub fn read_literal(&mut self, buffer: &mut [u8]) -> Result<usize, DeltaError> {
        let left = usize::try_from(self.literal_left).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        self.fill(&mut buffer[..length])?;
        self.literal_left -= length as u64;
        Ok(length)
    }

    /// Where the command that was returned last starts in the delta.
    pub fn command_offset(&self) -> u64 {
        self.command_offset
    }

    fn literal(&mut self, length: u64) -> Result<Command, DeltaError> {
        self.literal_left = length;
        self.refuse_zero(length)?;
        Ok(Command::Literal { length })
    }

    fn copy(&self, offset: u64, length: u64) -> Result<Command, DeltaError> {
        self.refuse_zero(length)?;
        if offset.checked_add(length).is_none() {
            return Err(DeltaError::RangeOverflow {
                offset: self.command_offset,
                from: offset,
                length,
            });
        }
        Ok(Command::Copy { offset, length })
    }

    fn refuse_zero(&self, length: u64) -> Result<(), DeltaError> {
        match length {
            0 => Err(DeltaError::ZeroLength { offset: self.command_offset }),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), DeltaError> {
        self.ended = true;
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(DeltaError::TrailingBytes { offset: self.position }),
        }
    }

    fn unknown_command(&self) -> DeltaError {
        DeltaError::UnknownCommand {
            offset: self.command_offset,
            byte: self.delta.buffer().first().copied().unwrap_or_default(),
        }
    }

    /// Consumes the command byte, unless it is unknown: then it is left for the error to show.
    fn read_command_byte(&mut self) -> Result<u8, DeltaError> {
        let byte = self.peek()?.ok_or(DeltaError::MissingEnd { offset: self.position })?;
        if Opcode::from_byte(byte) != Opcode::Unknown {
            self.delta.consume(1);
            self.position += 1;
        }
        Ok(byte)
    }

    fn operand(&mut self, width: usize) -> Result<u64, DeltaError> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes[8 - width..])?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn skip_literal(&mut self) -> Result<(), DeltaError> {
        while self.literal_left > 0 {
            let available = self.available()?;
            let left = usize::try_from(self.literal_left).unwrap_or(usize::MAX);
            let skipped = available.min(left);
            self.delta.consume(skipped);
            self.position += skipped as u64;
            self.literal_left -= skipped as u64;
        }
        Ok(())
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), DeltaError> {
        while !buffer.is_empty() {
            let length = self.available()?.min(buffer.len());
            let (now, later) = buffer.split_at_mut(length);
            now.copy_from_slice(&self.delta.buffer()[..length]);
            self.delta.consume(length);
            self.position += length as u64;
            buffer = later;
        }
        Ok(())
    }

    /// How many bytes are buffered, at least one; for use within a command.
    fn available(&mut self) -> Result<usize, DeltaError> {
        match self.peek()? {
            Some(_) => Ok(self.delta.buffer().len()),
            None => Err(DeltaError::Truncated { offset: self.command_offset, end: self.position }),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, DeltaError> {
        loop {
            match self.delta.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(DeltaError::Io { offset: self.position, source });
                }
            }
        }
    }
}
