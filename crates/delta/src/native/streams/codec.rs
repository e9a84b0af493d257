//! The compressions: [zstd, RFC 8878](https://www.rfc-editor.org/rfc/rfc8878), and LZMA2 as
//! [liblzma](https://tukaani.org/xz/) writes it raw, which flush at the end of a frame and go on
//! with their windows after it; and [mixing](super::mixing), which is for two streams.

use std::io;

use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};
use zstd::stream::raw::{
    CParameter, DParameter, Decoder, Encoder, InBuffer, Operation as _, OutBuffer,
};

use super::mixing::{self, Differences, Literals, MixedReader, MixedWriter};
use super::{LITERAL_BITS, StreamId};

/// Table sizes of zstd at its high levels, as base-2 logarithms.
const MAX_HASH_LOG: u32 = 22;
const MAX_CHAIN_LOG: u32 = 24;

/// A compression, and how much work is put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Quick to make and quicker to undo; the level is 1 to 22.
    Zstd {
        /// Level of zstd.
        level: i32,
    },
    /// Smaller; the preset is 0 to 9, its extreme flag included where wanted.
    Lzma2 {
        /// Preset of liblzma.
        preset: u32,
    },
    /// Smaller still and slow on both sides: literals and differences are mixed, the others as with LZMA2.
    Mixed {
        /// Preset of liblzma.
        preset: u32,
    },
    /// The same, but for instructions of ARM, which are as with LZMA2: quicker, and about as small where there are many.
    MixedButArm {
        /// Preset of liblzma.
        preset: u32,
    },
}

impl Compression {
    /// The codec of a stream.
    pub(super) fn codec(self, id: StreamId) -> Codec {
        match self {
            Self::Zstd { .. } => Codec::Zstd,
            Self::Mixed { .. } | Self::MixedButArm { .. } if id.is_mixable() => Codec::Mixed,
            Self::Lzma2 { .. } | Self::Mixed { .. } | Self::MixedButArm { .. } => Codec::Lzma2,
        }
    }
}

/// The id of a compression in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Zstd = 1,
    Lzma2 = 2,
    Mixed = 4,
}

impl Codec {
    pub(super) fn of_id(id: u8) -> Option<Self> {
        [Self::Zstd, Self::Lzma2, Self::Mixed].into_iter().find(|codec| *codec as u8 == id)
    }

    /// What decoding takes: the window, contexts, tables, and blocks of input and output.
    pub(super) fn memory_bytes(self, window_log: u8) -> u64 {
        match self {
            Self::Zstd => (1 << window_log) + (384 << 10),
            Self::Lzma2 => (1 << window_log) + (96 << 10),
            Self::Mixed => mixing::memory_bytes(window_log),
        }
    }

    /// What compressing with such a window takes, nearly: tables are sized by it.
    pub(super) fn compress_memory_bytes(self, window_log: u8) -> u64 {
        match self {
            // Hashes and chains of twice as many entries as the window has bytes, four bytes each.
            Self::Zstd => (18 << window_log) + (512 << 10),
            // A binary tree of two entries for each byte, hashes, the window and what is read ahead.
            Self::Lzma2 => (12 << window_log) + (1 << 20),
            Self::Mixed => mixing::memory_bytes(window_log),
        }
    }
}

/// Compresses one stream, frame by frame.
pub(super) enum Compressor {
    Zstd(Encoder<'static>),
    Lzma2(Stream),
    Literals(Box<MixedWriter<Literals>>),
    Differences(Box<MixedWriter<Differences>>),
}

impl Compressor {
    pub(super) fn new(compression: Compression, id: StreamId, log: u8) -> io::Result<Self> {
        let window_log = u32::from(log);
        if compression.codec(id) == Codec::Mixed {
            return Ok(match id {
                StreamId::Literals => Self::Literals(MixedWriter::new(Literals::new(log))),
                _ => Self::Differences(MixedWriter::new(Differences::new(log))),
            });
        }
        match compression {
            Compression::Zstd { level } => {
                let mut encoder = Encoder::new(level)?;
                encoder.set_parameter(CParameter::WindowLog(window_log))?;
                // For streams of unknown length zstd sizes its tables by the level alone: 80 MiB each.
                encoder.set_parameter(CParameter::HashLog((window_log + 1).min(MAX_HASH_LOG)))?;
                encoder.set_parameter(CParameter::ChainLog((window_log + 1).min(MAX_CHAIN_LOG)))?;
                encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
                Ok(Self::Zstd(encoder))
            }
            Compression::Lzma2 { preset }
            | Compression::Mixed { preset }
            | Compression::MixedButArm { preset } => {
                let mut options = LzmaOptions::new_preset(preset)?;
                options.dict_size(1 << window_log);
                // Numbers of varying length are at no multiples of anything.
                let position_bits = id.unit_log();
                options.literal_context_bits(LITERAL_BITS[id as usize]);
                options.literal_position_bits(position_bits).position_bits(position_bits);
                let stream = Stream::new_raw_encoder(Filters::new().lzma2(&options))?;
                Ok(Self::Lzma2(stream))
            }
        }
    }

    /// Appends to `out` what a decompressor needs to give back all of `raw`. What is mixed was when it was said.
    pub(super) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => compress_zstd(encoder, raw, out)?,
            Self::Lzma2(stream) => compress_lzma2(stream, raw, out)?,
            Self::Literals(mixed) => mixed.finish_frame(out),
            Self::Differences(mixed) => mixed.finish_frame(out),
        }
        Ok(())
    }
}

fn compress_zstd(encoder: &mut Encoder<'_>, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut block = [0; 16 << 10];
    let mut input = InBuffer::around(raw);
    while input.pos() < raw.len() {
        let mut output = OutBuffer::around(&mut block[..]);
        encoder.run(&mut input, &mut output)?;
        out.extend_from_slice(output.as_slice());
    }
    loop {
        let mut output = OutBuffer::around(&mut block[..]);
        let left = encoder.flush(&mut output)?;
        out.extend_from_slice(output.as_slice());
        if left == 0 {
            return Ok(());
        }
    }
}

fn compress_lzma2(stream: &mut Stream, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut block = [0; 16 << 10];
    let mut rest = raw;
    loop {
        let (taken, made, status) = step(stream, rest, &mut block, Action::SyncFlush)?;
        rest = &rest[taken..];
        out.extend_from_slice(&block[..made]);
        if status == Status::StreamEnd {
            return Ok(());
        }
    }
}

/// Decompresses one stream, frame by frame.
pub(super) enum Decompressor {
    Zstd(Decoder<'static>),
    Lzma2(Stream),
    Literals(Box<MixedReader<Literals>>),
    Differences(Box<MixedReader<Differences>>),
}

impl Decompressor {
    pub(super) fn new(codec: Codec, id: StreamId, window_log: u8) -> io::Result<Self> {
        match codec {
            Codec::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(window_log.into()))?;
                Ok(Self::Zstd(decoder))
            }
            Codec::Lzma2 => {
                let mut options = LzmaOptions::new_preset(0)?;
                options.dict_size(1 << window_log);
                Ok(Self::Lzma2(Stream::new_raw_decoder(Filters::new().lzma2(&options))?))
            }
            Codec::Mixed if id == StreamId::Literals => {
                Ok(Self::Literals(MixedReader::new(Literals::new(window_log))))
            }
            Codec::Mixed => Ok(Self::Differences(MixedReader::new(Differences::new(window_log)))),
        }
    }

    /// Goes on: how many bytes of `input` were used, and how many of `output` are filled.
    pub(super) fn run(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<(usize, usize)> {
        match self {
            Self::Zstd(decoder) => {
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(output);
                decoder.run(&mut input, &mut output)?;
                Ok((input.pos(), output.pos()))
            }
            Self::Lzma2(stream) => {
                let (taken, made, status) = step(stream, input, output, Action::Run)?;
                match status {
                    // An end marker, which is not to be there: a stream goes on in the next frame.
                    Status::StreamEnd => Err(io::ErrorKind::InvalidData.into()),
                    _ => Ok((taken, made)),
                }
            }
            // Those are read by the byte, after what is around it.
            Self::Literals(_) | Self::Differences(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn step(
    stream: &mut Stream,
    input: &[u8],
    output: &mut [u8],
    action: Action,
) -> io::Result<(usize, usize, Status)> {
    let (total_in, total_out) = (stream.total_in(), stream.total_out());
    let status = stream.process(input, output, action)?;
    let taken = usize::try_from(stream.total_in() - total_in).unwrap_or(0);
    let made = usize::try_from(stream.total_out() - total_out).unwrap_or(0);
    Ok((taken, made, status))
}
