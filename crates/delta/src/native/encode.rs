//! Writing a delta: the covers of a layer, turned into operations.

use std::io::{self, Write};

use super::emit::{Emitter, Origins};
use super::header::{MAX_ORIGINS, Needs, Origin};
use super::streams::{Compression, RawBytes, STREAM_COUNT, StreamSet, StreamTable, StreamWriters};
use super::timeline::Timeline;
use super::work::bounded;
use crate::cover::OriginId;
use crate::deflate::InflateError;
use crate::kinds::{KindMap, KindTotals, Ledger};
use crate::read_at::{ReadAround, ReadAt, ReadError};
use crate::references::ReferenceError;
use crate::region::Content;

/// How a delta is written.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// How the streams are compressed.
    pub compression: Compression,
    /// Memory that applying the delta may take, in bytes: a promise to the device.
    pub memory_bytes: u64,
    /// Memory that compressing it may take here, in bytes: windows get smaller until it does, or are
    /// as small as they get.
    pub compress_memory_bytes: u64,
}

/// What a delta consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodeReport {
    /// Bytes of the target that are equal to bytes of an origin.
    pub copied_bytes: u64,
    /// Bytes of the target that are an origin's with differences.
    pub added_bytes: u64,
    /// Bytes of the target that the delta carries itself.
    pub literal_bytes: u64,
    /// Bytes of the target that are tar headers, said by their fields.
    pub header_bytes: u64,
    /// Bytes of the target that are deflate streams, made out of what they hold.
    pub recompressed_bytes: u64,
    /// Bytes of the target that are zeros up to the end of a tar's block.
    pub padding_bytes: u64,
    /// Bytes of the delta.
    pub delta_bytes: u64,
    /// Of these, the bytes of each stream, in the order of their ids in the format.
    pub stream_bytes: [u64; STREAM_COUNT],
    /// The same by sorts of files.
    pub kinds: Vec<KindTotals>,
}

/// Why a delta could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The target or an origin could not be read.
    #[error("cannot read what a delta is made of")]
    Read(#[from] ReadError),
    /// The delta could not be written.
    #[error("cannot write the delta")]
    Write(#[source] io::Error),
    /// No delta can be applied in so little memory.
    #[error(
        "applying a delta takes at least {needed} bytes of memory, and {promised} are promised"
    )]
    Promise {
        /// What it takes with the smallest windows.
        needed: u64,
        /// [`EncodeOptions::memory_bytes`].
        promised: u64,
    },
    /// More layers are read than a delta can list.
    #[error("the delta would read {origins} layers, and can list {MAX_ORIGINS}")]
    TooManyOrigins {
        /// How many.
        origins: usize,
    },
    /// An origin is read that was not given.
    #[error("the delta would read an origin {number} that is not given")]
    UnknownOrigin {
        /// Its number.
        number: u32,
    },
    /// A member that was inflated before can no longer be.
    #[error("cannot inflate a compressed member")]
    Inflate(#[source] InflateError),
    /// An executable that was found before is no longer as it was.
    #[error("cannot predict the references of an executable")]
    References(#[source] ReferenceError),
    /// A region takes more of a frame than there is.
    #[error("a frame of the delta would store {stored_bytes} bytes")]
    FrameTooLarge {
        /// What it would store.
        stored_bytes: u32,
    },
    /// The compressor failed, which it does for want of memory.
    #[error("cannot compress the delta")]
    Compress(#[source] io::Error),
}

pub(super) type Result<T = ()> = std::result::Result<T, EncodeError>;

/// Writes the delta that makes `target` out of `origins`, as `matched` says they are alike.
///
/// `origins` are pairs of what the header is to say and the bytes themselves, numbered as in the
/// covers; those that no cover reads are left out of the header. [`Origin::Itself`] is one of them where
/// covers read the target. `target_digest` is the SHA-256 of
/// the target.
pub fn encode(
    target: &dyn ReadAt,
    target_digest: [u8; 32],
    origins: &[(Origin, &dyn ReadAt)],
    matched: &Content,
    options: &EncodeOptions,
    out: &mut dyn Write,
) -> Result<EncodeReport> {
    let content = bounded(matched, target.size()).into_owned();
    encode_all(target, target_digest, origins, content, options, out)
}

/// The same of all that `content` has.
pub(super) fn encode_all(
    target: &dyn ReadAt,
    target_digest: [u8; 32],
    origins: &[(Origin, &dyn ReadAt)],
    content: Content,
    options: &EncodeOptions,
    out: &mut dyn Write,
) -> Result<EncodeReport> {
    let (used, content) = renumber(content, origins.len())?;
    if used.len() > MAX_ORIGINS {
        return Err(EncodeError::TooManyOrigins { origins: used.len() });
    }
    let listed: Vec<Origin> = used.iter().map(|i| origins[*i].0).collect();
    let itself = (0..).zip(&listed).find(|(_, origin)| origin.is_itself());
    let itself = itself.map(|(number, _)| OriginId(number));
    let set = match options.compression {
        _ if content.regions.is_empty() => StreamSet::Plain,
        Compression::Mixed { .. } => StreamSet::Regions,
        Compression::MixedButArm { .. } => {
            StreamSet::of_mixed_machines(|machine| content.has_machine(machine))
        }
        _ => StreamSet::of_machines(|machine| content.has_machine(machine)),
    };
    let raw = RawBytes { output: target.size(), literals: content.literal_bytes(target.size()) };
    let table = StreamTable::for_output(raw, options.compression, set);
    let resident_bytes = content.resident_bytes();
    let needs = Needs::new(listed, target_digest, target.size(), resident_bytes, table);
    let needs = within(options, needs)?;
    let streams = StreamWriters::new(&needs.streams, options.compression);
    let streams = streams.map_err(EncodeError::Compress)?;
    let header = needs.to_bytes();
    out.write_all(&header).map_err(EncodeError::Write)?;
    let target = &ReadAround::new(target);
    let around: Vec<_> = used.iter().map(|i| ReadAround::new(origins[*i].1)).collect();
    let bytes = around.iter().map(|origin| origin as &dyn ReadAt).collect();
    let ledger = Ledger::new(KindMap::of(target)?);
    let origins = Origins { bytes, itself };
    let max_frame_stored_bytes = needs.max_frame_stored_bytes;
    let emitter = Emitter::new(target, origins, streams, ledger, max_frame_stored_bytes, out);
    let mut timeline = Timeline { emitter };
    timeline.stretch(&content, target.size())?;
    let mut emitter = timeline.emitter;
    emitter.finish_frame()?;
    let mut report = emitter.finish();
    report.delta_bytes += header.len() as u64;
    Ok(report)
}

/// The header, with windows that keep the promise, and that can be filled in the memory there is.
fn within(options: &EncodeOptions, mut needs: Needs) -> Result<Needs> {
    let promised = options.memory_bytes;
    let limit = options.compress_memory_bytes;
    while needs.streams.compress_memory_bytes() > limit && needs.shrink() {}
    while needs.memory_bytes > promised {
        if !needs.shrink() {
            return Err(EncodeError::Promise { needed: needs.memory_bytes, promised });
        }
    }
    Ok(needs)
}

/// The origins that are read, in order, and the content numbered by them.
fn renumber(mut content: Content, origin_count: usize) -> Result<(Vec<usize>, Content)> {
    let mut is_used = vec![false; origin_count];
    let mut unknown = None;
    content.for_each_origin(&mut |origin| match is_used.get_mut(origin.0 as usize) {
        Some(used) => *used = true,
        None if origin.as_inflated().is_none() => unknown = Some(origin.0),
        None => {}
    });
    if let Some(number) = unknown {
        return Err(EncodeError::UnknownOrigin { number });
    }
    let used: Vec<usize> = (0..origin_count).filter(|i| is_used[*i]).collect();
    content.for_each_origin(&mut |origin| {
        let number = match origin.as_inflated() {
            Some(inflated) => used.len() + inflated as usize,
            None => used.partition_point(|i| *i < origin.0 as usize),
        };
        *origin = OriginId(u32::try_from(number).unwrap_or(u32::MAX));
    });
    Ok((used, content))
}
