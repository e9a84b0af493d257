//! One reader for all formats. gzip, bzip2 and zstd files are sequences of members, each decoded on
//! its own; liblzma does the same for xz by itself.

use std::io::{self, BufRead, ErrorKind, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use super::memory::{MemoryBudget, MemoryGrant};
use super::peek::PeekReader;
use super::xz::{XzError, XzReader};
use super::zstd_frame::{self, FrameHead, MAX_HEAD_BYTES};
use super::{Compression, CompressionError};

/// Decompresses a stream. Reading to the end proves that the stream was whole: anything else is an
/// error, and never an early end. Errors that are not of the source wrap a [`CompressionError`].
pub struct Decoder<R: Read> {
    format: Compression,
    memory: MemoryBudget,
    /// What the member at hand has taken of it.
    grant: Option<MemoryGrant>,
    stage: Stage<R>,
}

/// The compressed input is always in exactly one place.
enum Stage<R: Read> {
    Between(PeekReader<R>),
    Plain(PeekReader<R>),
    Gzip(Box<GzDecoder<PeekReader<R>>>),
    Bzip2(BzDecoder<PeekReader<R>>),
    Zstd(zstd::Decoder<'static, PeekReader<R>>),
    Xz(XzReader<R>),
    Ended,
    /// An error was reported. Whoever reads on all the same must not take that for the end.
    Failed,
}

/// Reads the format off the first bytes of `input` and decompresses it. `memory_limit_bytes` bounds
/// the windows that the stream asks for (xz, zstd); gzip and bzip2 need at most 4 MB.
pub fn open_decoder<R: Read>(input: R, memory_limit_bytes: u64) -> io::Result<Decoder<R>> {
    let mut input = PeekReader::new(input);
    let format = Compression::detect(input.peek(Compression::DETECT_BYTES)?);
    Ok(Decoder::start(input, format, &MemoryBudget::new(memory_limit_bytes)))
}

impl<R: Read> Decoder<R> {
    /// Decompresses `input`, which is in this format, with what `memory` has left.
    pub fn new(input: R, format: Compression, memory: &MemoryBudget) -> Self {
        Self::start(PeekReader::new(input), format, memory)
    }

    /// The format of the stream.
    pub fn format(&self) -> Compression {
        self.format
    }

    fn start(input: PeekReader<R>, format: Compression, memory: &MemoryBudget) -> Self {
        let stage = match format {
            Compression::None => Stage::Plain(input),
            _ => Stage::Between(input),
        };
        Self { format, memory: memory.clone(), grant: None, stage }
    }

    /// Goes on to the next member, or to the end where there is none.
    fn next_member(&mut self, mut input: PeekReader<R>) -> io::Result<Stage<R>> {
        let head = input.peek(MAX_HEAD_BYTES)?;
        // Every file has at least one member, so at the very start an end is a truncation.
        if head.is_empty() && input.consumed() > 0 {
            return Ok(Stage::Ended);
        }
        match self.format {
            Compression::None => Ok(Stage::Plain(input)),
            Compression::Gzip => self.next_gzip_member(input),
            Compression::Bzip2 => self.next_bzip2_member(input),
            Compression::Zstd => self.next_zstd_frame(input),
            Compression::Xz => Ok(Stage::Xz(XzReader::new(input)?)),
        }
    }

    fn next_gzip_member(&self, mut input: PeekReader<R>) -> io::Result<Stage<R>> {
        let offset = input.consumed();
        let head: Vec<u8> = input.peek(2)?.to_vec();
        match head[..] {
            [0x1f, 0x8b] => Ok(Stage::Gzip(Box::new(GzDecoder::new(input)))),
            // Tapes and some uploaders fill up with zeros; gzip(1) accepts that too.
            [0, ..] if offset > 0 && only_zeros_follow(&mut input)? => Ok(Stage::Ended),
            _ => Err(self.not_a_member(head.len() < 2, offset)),
        }
    }

    fn next_bzip2_member(&mut self, mut input: PeekReader<R>) -> io::Result<Stage<R>> {
        let offset = input.consumed();
        match input.peek(4)? {
            [b'B', b'Z', b'h', level @ b'1'..=b'9'] => {
                // From bzip2(1): 100 KB and four bytes for each of a block.
                let needed_bytes = 100_000 + 400_000 * u64::from(level - b'0');
                self.take_memory(needed_bytes)?;
                Ok(Stage::Bzip2(BzDecoder::new(input)))
            }
            found => Err(self.not_a_member(found.len() < 4, offset)),
        }
    }

    fn next_zstd_frame(&mut self, mut input: PeekReader<R>) -> io::Result<Stage<R>> {
        let offset = input.consumed();
        let head = input.peek(MAX_HEAD_BYTES)?;
        match FrameHead::parse(head) {
            Some(FrameHead::Skippable { bytes }) => {
                self.skip(&mut input, 8 + u64::from(bytes))?;
                Ok(Stage::Between(input))
            }
            Some(FrameHead::Data { window_bytes }) => {
                self.take_memory(zstd_frame::memory_bytes(window_bytes))?;
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(zstd_frame::window_log(window_bytes))?;
                Ok(Stage::Zstd(decoder.single_frame()))
            }
            None => Err(self.not_a_member(head.len() < MAX_HEAD_BYTES, offset)),
        }
    }

    /// What the member at hand needs takes the place of what the one before had.
    fn take_memory(&mut self, needed_bytes: u64) -> Result<(), CompressionError> {
        self.grant = None;
        match self.memory.take(needed_bytes) {
            Ok(grant) => {
                self.grant = Some(grant);
                Ok(())
            }
            Err(limit_bytes) => Err(CompressionError::NeedsMemory {
                format: self.format,
                needed_bytes,
                limit_bytes,
            }),
        }
    }

    fn skip(&self, input: &mut PeekReader<R>, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut input.by_ref().take(bytes), &mut io::sink())?;
        if skipped == bytes {
            return Ok(());
        }
        Err(self.truncated(input.consumed()))
    }

    fn truncated(&self, offset: u64) -> io::Error {
        let format = self.format;
        CompressionError::Truncated { format, offset }.into()
    }

    fn not_a_member(&self, is_short: bool, offset: u64) -> io::Error {
        let format = self.format;
        if is_short && offset == 0 {
            return self.truncated(offset);
        }
        CompressionError::TrailingBytes { format, offset }.into()
    }

    /// Says where the stream stands and what is wrong with it, unless the source itself failed.
    fn explain(&self, error: io::Error) -> io::Error {
        let Some(input) = self.stage.input() else {
            return error;
        };
        if input.source_failed() || CompressionError::of(&error).is_some() {
            return error;
        }
        if error.kind() == ErrorKind::UnexpectedEof {
            return self.truncated(input.consumed());
        }
        CompressionError::Corrupt { format: self.format, offset: input.consumed(), source: error }
            .into()
    }

    fn read_xz(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Stage::Xz(decoder) = &mut self.stage else { return Ok(0) };
            let error = match decoder.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) => error,
            };
            match error {
                XzError::Truncated => return Err(self.explain(ErrorKind::UnexpectedEof.into())),
                XzError::Other(error) => return Err(self.explain(error)),
                XzError::NeedsMemory(needed_bytes) => {
                    self.take_memory(needed_bytes)?;
                    if let Stage::Xz(decoder) = &mut self.stage {
                        decoder.allow_memory(needed_bytes)?;
                    }
                }
            }
        }
    }

    fn read_stage(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match &mut self.stage {
            Stage::Between(_) | Stage::Ended => return Ok(0),
            Stage::Failed => return Err(io::Error::other("the stream was given up before")),
            Stage::Plain(input) => return input.read(buffer),
            Stage::Xz(_) => return self.read_xz(buffer),
            Stage::Gzip(decoder) => decoder.read(buffer),
            Stage::Bzip2(decoder) => decoder.read(buffer),
            Stage::Zstd(decoder) => decoder.read(buffer),
        };
        result.map_err(|error| self.explain(error))
    }
}

impl<R: Read> Stage<R> {
    fn input(&self) -> Option<&PeekReader<R>> {
        match self {
            Self::Between(input) | Self::Plain(input) => Some(input),
            Self::Gzip(decoder) => Some(decoder.get_ref()),
            Self::Bzip2(decoder) => Some(decoder.get_ref()),
            Self::Zstd(decoder) => Some(decoder.get_ref()),
            Self::Xz(decoder) => Some(decoder.input()),
            Self::Ended | Self::Failed => None,
        }
    }

    /// What follows a stage that has no more bytes; `None` where that is the end.
    fn into_rest(self) -> Option<PeekReader<R>> {
        match self {
            Self::Between(input) => Some(input),
            Self::Gzip(decoder) => Some(decoder.into_inner()),
            Self::Bzip2(decoder) => Some(decoder.into_inner()),
            Self::Zstd(decoder) => Some(decoder.into_inner()),
            Self::Plain(_) | Self::Xz(_) | Self::Ended | Self::Failed => None,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.read_stage(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let ended = std::mem::replace(&mut self.stage, Stage::Failed);
            self.stage = match ended.into_rest() {
                Some(rest) => self.next_member(rest)?,
                None => Stage::Ended,
            };
            if matches!(self.stage, Stage::Ended) {
                self.grant = None;
                return Ok(0);
            }
        }
    }
}

fn only_zeros_follow<R: Read>(input: &mut PeekReader<R>) -> io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let count = bytes.len();
        input.consume(count);
    }
}
