//! Writing a delta front to back.

use std::io::{self, Read, Write};

use super::command::{Command, END};
use super::{DELTA_MAGIC, DeltaReport};

/// A literal is cut after this many bytes, since its length must be known before its bytes.
///
/// Far above librsync's 64 KiB, so that cutting costs nothing; below the 16 MiB of balenaEngine,
/// which holds this much in memory too.
pub const LITERAL_BYTES_MAX: usize = 1 << 20;

/// A delta could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DeltaWriteError {
    /// The stream that takes the delta failed.
    #[error("cannot write the delta")]
    Write {
        /// What the stream said.
        source: io::Error,
    },
    /// The stream that gives a literal's bytes failed, or ended early.
    #[error("cannot read the literal at {target_offset} of the target")]
    ReadLiteral {
        /// Offset in the target of the first byte that could not be read.
        target_offset: u64,
        /// What the stream said; `UnexpectedEof` where it ended.
        source: io::Error,
    },
    /// A copy whose range ends beyond 2^64.
    #[error("copy of {length} bytes from {offset} overflows")]
    RangeOverflow {
        /// The copy's offset in the basis.
        offset: u64,
        /// The copy's length.
        length: u64,
    },
}

/// Writes commands as short as librsync does, and as few: neighbours that continue each other
/// become one.
///
/// The bytes depend on the target and on which parts of it are copied from where, and not on how
/// calls cut them. Nothing is a whole delta before [`finish`](Self::finish). Small writes are
/// made, so `out` should be buffered.
pub struct DeltaWriter<W> {
    out: W,
    /// At most one of the two pending things is not empty.
    pending_literal: Vec<u8>,
    pending_copy: Option<(u64, u64)>,
    report: DeltaReport,
}

impl<W: Write> DeltaWriter<W> {
    /// Writes the magic.
    pub fn new(mut out: W) -> Result<Self, DeltaWriteError> {
        write(&mut out, &DELTA_MAGIC.to_be_bytes())?;
        Ok(Self {
            out,
            pending_literal: Vec::new(),
            pending_copy: None,
            report: DeltaReport::default(),
        })
    }

    /// The next bytes of the target, as they are.
    pub fn literal(&mut self, mut bytes: &[u8]) -> Result<(), DeltaWriteError> {
        if !bytes.is_empty() {
            self.flush_copy()?;
        }
        while !bytes.is_empty() {
            let room = LITERAL_BYTES_MAX - self.pending_literal.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending_literal.extend_from_slice(now);
            if self.pending_literal.len() == LITERAL_BYTES_MAX {
                self.flush_literal()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// The next `length` bytes of the target, which `source` must have.
    pub fn literal_from(
        &mut self,
        length: u64,
        mut source: impl Read,
    ) -> Result<(), DeltaWriteError> {
        if length > 0 {
            self.flush_copy()?;
        }
        let mut left = length;
        while left > 0 {
            left -= self.append_literal(left, &mut source)?;
            if self.pending_literal.len() == LITERAL_BYTES_MAX {
                self.flush_literal()?;
            }
        }
        Ok(())
    }

    /// The next `length` bytes of the target stand at `offset` of the basis. None is no command.
    pub fn copy(&mut self, offset: u64, length: u64) -> Result<(), DeltaWriteError> {
        let overflow = DeltaWriteError::RangeOverflow { offset, length };
        offset.checked_add(length).ok_or(overflow)?;
        if length == 0 {
            return Ok(());
        }
        if let Some((start, pending)) = self.pending_copy
            && start + pending == offset
        {
            self.pending_copy = Some((start, pending + length));
            return Ok(());
        }
        self.flush_literal()?;
        self.flush_copy()?;
        self.pending_copy = Some((offset, length));
        Ok(())
    }

    /// Writes what is pending and END, and flushes; gives back the stream and what was written.
    pub fn finish(mut self) -> Result<(W, DeltaReport), DeltaWriteError> {
        self.flush_literal()?;
        self.flush_copy()?;
        write(&mut self.out, &[END])?;
        self.out.flush().map_err(|source| DeltaWriteError::Write { source })?;
        Ok((self.out, self.report))
    }

    /// Reads up to `left` bytes behind the pending ones; as many as have room.
    fn append_literal(
        &mut self,
        left: u64,
        source: &mut impl Read,
    ) -> Result<u64, DeltaWriteError> {
        let room = (LITERAL_BYTES_MAX - self.pending_literal.len()) as u64;
        let wanted = room.min(left);
        let result =
            source.by_ref().take(wanted).read_to_end(&mut self.pending_literal).and_then(|read| {
                match read as u64 == wanted {
                    true => Ok(wanted),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            });
        result.map_err(|source| DeltaWriteError::ReadLiteral {
            target_offset: self.report.output_bytes() + self.pending_literal.len() as u64,
            source,
        })
    }

    fn flush_literal(&mut self) -> Result<(), DeltaWriteError> {
        let length = self.pending_literal.len() as u64;
        if length > 0 {
            self.command(Command::Literal { length })?;
            write(&mut self.out, &self.pending_literal)?;
            self.pending_literal.clear();
        }
        Ok(())
    }

    fn flush_copy(&mut self) -> Result<(), DeltaWriteError> {
        match self.pending_copy.take() {
            Some((offset, length)) => self.command(Command::Copy { offset, length }),
            None => Ok(()),
        }
    }

    fn command(&mut self, command: Command) -> Result<(), DeltaWriteError> {
        self.report.count(command);
        write(&mut self.out, command.encode().as_bytes())
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), DeltaWriteError> {
    out.write_all(bytes).map_err(|source| DeltaWriteError::Write { source })
}
