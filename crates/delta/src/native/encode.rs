//! Writing a delta: the covers of a layer, turned into operations.

use std::io::{self, Write};

use super::MAX_FRAME_OUTPUT_BYTES;
use super::emit::{ChangedHeader, Emitter, Origins, piece_length};
use super::header::{MAX_ORIGINS, Needs, Origin};
use super::streams::{Compression, RawBytes, STREAM_COUNT, StreamSet, StreamTable, StreamWriters};
use super::tar_header::body_bytes;
use super::work::leave_out_excess;
use crate::cover::{Cover, OriginId};
use crate::deflate::InflateError;
use crate::kinds::{KindMap, KindTotals, Ledger};
use crate::read_at::{ReadAround, ReadAt, ReadError};
use crate::references::ReferenceError;
use crate::region::{Content, Deflate, Region, Transform};
use crate::tar_map::BLOCK_BYTES;

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
    let mut content = matched.clone();
    leave_out_excess(&mut content, target.size());
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
    timeline.emitter.finish_frame()?;
    let mut report = timeline.emitter.finish();
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

/// Walks over a target and decides which operation comes next.
struct Timeline<'a> {
    emitter: Emitter<'a>,
}

impl Timeline<'_> {
    /// Says a stretch from front to back: covers, what lies between them, changed headers, regions.
    fn stretch(&mut self, content: &Content, end: u64) -> Result {
        let changed = self.changed_headers(&content.covers, &content.headers)?;
        let mut changed = changed.iter().peekable();
        let mut covers = content.covers.iter().peekable();
        let mut regions = content.regions.iter().peekable();
        while self.emitter.position < end {
            let position = self.emitter.position;
            while changed.next_if(|header| header.at < position).is_some() {}
            while covers.next_if(|cover| cover.target_end() <= position).is_some() {}
            if let Some(region) = regions.next_if(|region| region.target.start == position) {
                self.region(region)?;
                continue;
            }
            let cover = covers.peek().map(|cover| rest_of(cover, position));
            if let Some(header) = changed.next_if(|header| header.at == position) {
                let body = covers.peek().and_then(|cover| piece_of(cover, position + BLOCK_BYTES));
                let with_body = self.is_body(header, body)?;
                self.emitter.header(header, with_body)?;
                continue;
            }
            let stop = changed.peek().map_or(end, |header| header.at);
            let stop = regions.peek().map_or(stop, |region| region.target.start.min(stop));
            match cover {
                Some(cover) if cover.target == position => {
                    let length = cover.length.min(stop - position);
                    self.emitter.cover(Cover { length, ..cover })?;
                }
                _ => self.gap(cover.map_or(stop, |cover| cover.target.min(stop)))?,
            }
        }
        Ok(())
    }

    fn region(&mut self, region: &Region) -> Result {
        match &region.transform {
            Transform::Deflate(deflate) => self.deflate(region, deflate),
            Transform::References(references) => {
                self.emitter.executable(references, region.target.end - region.target.start)
            }
        }
    }

    fn deflate(&mut self, region: &Region, deflate: &Deflate) -> Result {
        let compressed_bytes = region.target.end - region.target.start;
        // What a member holds is said within one frame.
        self.emitter.make_room(compressed_bytes)?;
        let report = self.emitter.report.clone();
        for member in &deflate.inflated {
            self.emitter.open(member)?;
        }
        let suspended = self.emitter.begin_deflate(compressed_bytes, deflate.plain_bytes)?;
        self.stretch(&deflate.content, deflate.plain_bytes)?;
        let opened = deflate.inflated.len();
        self.emitter.end_deflate(suspended, opened, &deflate.corrections, compressed_bytes)?;
        self.emitter.report = report;
        self.emitter.report.recompressed_bytes += compressed_bytes;
        Ok(())
    }

    fn changed_headers(&self, covers: &[Cover], headers: &[u64]) -> Result<Vec<ChangedHeader>> {
        let mut changed = Vec::new();
        for at in headers.iter().copied() {
            let above = covers.partition_point(|cover| cover.target <= at).checked_sub(1);
            let cover = above.and_then(|i| piece_of(&covers[i], at));
            let cover = cover.filter(|cover| cover.length >= BLOCK_BYTES);
            if let Some(cover) = cover {
                let old = self.emitter.block(cover.origin, cover.at)?;
                if old == self.emitter.new_block(at)? {
                    continue;
                }
            }
            let old = cover.filter(|cover| cover.at.is_multiple_of(BLOCK_BYTES));
            changed.push(ChangedHeader { at, old: old.map(|cover| (cover.origin, cover.at)) });
        }
        Ok(changed)
    }

    /// Whether what follows a header is what follows the old one, for all of its body.
    fn is_body(&self, header: &ChangedHeader, body: Option<Cover>) -> Result<bool> {
        let body_bytes = body_bytes(&self.emitter.new_block(header.at)?);
        let Some((origin, at)) = header.old else {
            return Ok(false);
        };
        if body_bytes == 0 {
            // Nothing to copy: said as for files, so that runs of members look alike.
            return Ok(true);
        }
        if body_bytes > u64::from(MAX_FRAME_OUTPUT_BYTES) - BLOCK_BYTES {
            return Ok(false);
        }
        let expected = (origin, at + BLOCK_BYTES, header.at + BLOCK_BYTES);
        match body {
            Some(body) if (body.origin, body.at, body.target) == expected => Ok(body.length
                >= body_bytes
                && self.is_equal(&Cover { length: body_bytes, ..body })?),
            _ => Ok(false),
        }
    }

    fn is_equal(&self, cover: &Cover) -> Result<bool> {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < cover.length {
            let count = piece_length(cover.length - done);
            new.resize(count, 0);
            old.resize(count, 0);
            self.emitter.target().read_exact_at(&mut new, cover.target + done)?;
            self.emitter.origin(cover.origin).read_exact_at(&mut old, cover.at + done)?;
            if new != old {
                return Ok(false);
            }
            done += count as u64;
        }
        Ok(true)
    }

    /// Says the bytes up to `end`, which nothing covers: literals, and padding of tar members.
    fn gap(&mut self, end: u64) -> Result {
        let padding = self.padding_before(end)?;
        self.emitter.literal(end - padding)?;
        if padding > 0 { self.emitter.pad(padding) } else { Ok(()) }
    }

    /// How many zeros before `end`, which must be a block's end, can be said as padding.
    fn padding_before(&self, end: u64) -> Result<u64> {
        if !end.is_multiple_of(BLOCK_BYTES) {
            return Ok(0);
        }
        let length = (end - self.emitter.position).min(BLOCK_BYTES - 1);
        let mut bytes = [0; 511];
        let bytes = &mut bytes[..usize::try_from(length).unwrap_or(0)];
        self.emitter.target().read_exact_at(bytes, end - length)?;
        Ok(bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64)
    }
}

/// The part of a cover from `position` on, for a position before its end.
fn rest_of(cover: &Cover, position: u64) -> Cover {
    let skip = position.saturating_sub(cover.target);
    Cover {
        target: cover.target + skip,
        at: cover.at + skip,
        length: cover.length - skip,
        ..*cover
    }
}

/// The part of a cover from `position` on, where it reaches so far.
fn piece_of(cover: &Cover, position: u64) -> Option<Cover> {
    let is_within = cover.target <= position && position < cover.target_end();
    is_within.then(|| rest_of(cover, position))
}
