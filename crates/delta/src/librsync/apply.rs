//! Making the target out of a basis and a delta.

use std::io::{self, Read, Write};

use super::DeltaReport;
use super::command::Command;
use super::read::{DeltaError, DeltaReader};
use crate::read_at::{ReadAt, ReadError};

/// Output is gathered to this size, so that small commands do not cost a write each.
const OUTPUT_BUFFER_BYTES: usize = 256 << 10;

/// What a delta may cost, whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyLimits {
    /// The delta is refused at the command that would make more bytes than this.
    ///
    /// It bounds the time as well: every command makes at least one byte.
    pub max_output_bytes: u64,
}

/// A delta could not be applied. Every `command_offset` counts from the delta's first byte.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The delta itself is damaged, or could not be read.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// A copy asks for bytes that the basis does not have: it is not the right basis.
    #[error(
        "the copy at {command_offset} of the delta wants {length} bytes from {offset} \
         of a basis of {basis_size}"
    )]
    CopyPastEnd {
        /// Where the command starts.
        command_offset: u64,
        /// The copy's offset in the basis.
        offset: u64,
        /// The copy's length.
        length: u64,
        /// The size of the basis.
        basis_size: u64,
    },
    /// The basis could not be read.
    #[error("cannot read the basis for the copy at {command_offset} of the delta")]
    ReadBasis {
        /// Where the command starts.
        command_offset: u64,
        /// Which bytes, and why not.
        source: ReadError,
    },
    /// The delta makes more than it may.
    #[error(
        "the command at {command_offset} of the delta makes more than {max_output_bytes} bytes"
    )]
    OutputLimit {
        /// Where the command starts.
        command_offset: u64,
        /// [`ApplyLimits::max_output_bytes`].
        max_output_bytes: u64,
    },
    /// The output could not be written.
    #[error("cannot write the output at {output_offset}")]
    Write {
        /// Offset in the output of the first byte that may be missing.
        output_offset: u64,
        /// What the stream said.
        source: io::Error,
    },
}

/// Applies `delta` to `basis` and writes the target to `out`, in order, in one pass.
///
/// Memory is two fixed buffers. Each command is checked before its first byte is made. What was
/// written when it fails is a beginning of the target and nothing more; that the whole is the
/// right one is for a digest to say.
pub fn apply(
    delta: impl Read,
    basis: &dyn ReadAt,
    out: &mut dyn Write,
    limits: &ApplyLimits,
) -> Result<DeltaReport, ApplyError> {
    let mut reader = DeltaReader::new(delta)?;
    let mut output = Output::new(out);
    let mut report = DeltaReport::default();
    while let Some(command) = reader.next_command()? {
        let command_offset = reader.command_offset();
        check_limit(&report, command, command_offset, limits)?;
        report.count(command);
        match command {
            Command::Literal { .. } => copy_literal(&mut reader, &mut output)?,
            Command::Copy { offset, length } => {
                let range = BasisRange { offset, length, command_offset };
                copy_from_basis(basis, range, &mut output)?;
            }
        }
    }
    output.finish()?;
    Ok(report)
}

/// Reads `delta` whole and checks all of it that can be checked without its basis's bytes, of which
/// there are `basis_bytes`. Gives what [`apply`] would.
pub fn check(
    delta: impl Read,
    basis_bytes: u64,
    limits: &ApplyLimits,
) -> Result<DeltaReport, ApplyError> {
    let mut reader = DeltaReader::new(delta)?;
    let mut report = DeltaReport::default();
    while let Some(command) = reader.next_command()? {
        let command_offset = reader.command_offset();
        check_limit(&report, command, command_offset, limits)?;
        report.count(command);
        if let Command::Copy { offset, length } = command
            && offset.checked_add(length).is_none_or(|end| end > basis_bytes)
        {
            let basis_size = basis_bytes;
            return Err(ApplyError::CopyPastEnd { command_offset, offset, length, basis_size });
        }
    }
    Ok(report)
}

/// A copy, and where it was asked for.
struct BasisRange {
    offset: u64,
    length: u64,
    command_offset: u64,
}

fn check_limit(
    report: &DeltaReport,
    command: Command,
    command_offset: u64,
    limits: &ApplyLimits,
) -> Result<(), ApplyError> {
    let max_output_bytes = limits.max_output_bytes;
    // What was made so far is within the limit, so the difference cannot be negative.
    if command.length() > max_output_bytes - report.output_bytes() {
        return Err(ApplyError::OutputLimit { command_offset, max_output_bytes });
    }
    Ok(())
}

fn copy_literal<R: Read>(
    reader: &mut DeltaReader<R>,
    output: &mut Output,
) -> Result<(), ApplyError> {
    loop {
        let read = reader.read_literal(output.room()?)?;
        if read == 0 {
            return Ok(());
        }
        output.filled += read;
    }
}

fn copy_from_basis(
    basis: &dyn ReadAt,
    range: BasisRange,
    output: &mut Output,
) -> Result<(), ApplyError> {
    let BasisRange { mut offset, length, command_offset } = range;
    let basis_size = basis.size();
    // The reader refused ranges that overflow.
    let end = offset + length;
    if end > basis_size {
        return Err(ApplyError::CopyPastEnd { command_offset, offset, length, basis_size });
    }
    while offset < end {
        let room = output.room()?;
        let piece = usize::try_from(end - offset).map_or(room.len(), |left| left.min(room.len()));
        basis
            .read_exact_at(&mut room[..piece], offset)
            .map_err(|source| ApplyError::ReadBasis { command_offset, source })?;
        output.filled += piece;
        offset += piece as u64;
    }
    Ok(())
}

/// The output, gathered.
struct Output<'o> {
    out: &'o mut dyn Write,
    buffer: Vec<u8>,
    filled: usize,
    written: u64,
}

impl<'o> Output<'o> {
    fn new(out: &'o mut dyn Write) -> Self {
        let buffer = vec![0; OUTPUT_BUFFER_BYTES];
        Self { out, buffer, filled: 0, written: 0 }
    }

    /// The free part of the buffer, never empty. Whoever fills its start adds to `filled`.
    fn room(&mut self) -> Result<&mut [u8], ApplyError> {
        if self.filled == self.buffer.len() {
            self.write_out()?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    fn write_out(&mut self) -> Result<(), ApplyError> {
        let output_offset = self.written;
        self.out
            .write_all(&self.buffer[..self.filled])
            .map_err(|source| ApplyError::Write { output_offset, source })?;
        self.written += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(), ApplyError> {
        self.write_out()?;
        let output_offset = self.written;
        self.out.flush().map_err(|source| ApplyError::Write { output_offset, source })
    }
}
