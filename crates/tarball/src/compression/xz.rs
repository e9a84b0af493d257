//! One `.xz` file, concatenated streams and stream padding included.

use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, CONCATENATED, Error, Status, Stream};

use super::peek::PeekReader;

pub(super) struct XzReader<R> {
    input: PeekReader<R>,
    stream: Stream,
    ended: bool,
}

impl<R: Read> XzReader<R> {
    /// Nothing is allowed before it is known what a block needs: that is asked for by
    /// [`XzError::NeedsMemory`].
    pub(super) fn new(input: PeekReader<R>) -> io::Result<Self> {
        let stream = Stream::new_stream_decoder(1, CONCATENATED)?;
        Ok(Self { input, stream, ended: false })
    }

    /// Lets the block that was refused have what it needs; reading goes on with it.
    pub(super) fn allow_memory(&mut self, bytes: u64) -> io::Result<()> {
        Ok(self.stream.set_memlimit(bytes)?)
    }

    pub(super) fn input(&self) -> &PeekReader<R> {
        &self.input
    }

    /// How much memory the block needs that was refused. liblzma tells only whether a limit would
    /// do, so this asks until it knows.
    fn memory_needed(&mut self) -> u64 {
        let (mut too_little, mut enough) = (self.stream.memlimit(), u64::MAX);
        while enough - too_little > 1 {
            let middle = too_little + (enough - too_little) / 2;
            match self.stream.set_memlimit(middle) {
                Ok(()) => enough = middle,
                Err(_) => too_little = middle,
            }
        }
        enough
    }
}

/// What ended the decoding of an `.xz` file.
pub(super) enum XzError {
    NeedsMemory(u64),
    Truncated,
    Other(io::Error),
}

impl<R: Read> XzReader<R> {
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, XzError> {
        while !self.ended && !buffer.is_empty() {
            let input = self.input.fill_buf().map_err(XzError::Other)?;
            let at_end = input.is_empty();
            let action = if at_end { Action::Finish } else { Action::Run };
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let result = self.stream.process(input, buffer, action);
            let consumed = usize_of(self.stream.total_in() - before_in);
            let produced = usize_of(self.stream.total_out() - before_out);
            self.input.consume(consumed);
            match result {
                Ok(Status::StreamEnd) => self.ended = true,
                Err(Error::MemLimit) => {
                    return Err(XzError::NeedsMemory(self.memory_needed()));
                }
                Ok(_) if at_end && produced == 0 => return Err(XzError::Truncated),
                Ok(_) => {}
                Err(error) => return Err(XzError::Other(error.into())),
            }
            if produced > 0 {
                return Ok(produced);
            }
        }
        Ok(0)
    }
}

/// Counts of bytes in one slice fit by themselves.
fn usize_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
