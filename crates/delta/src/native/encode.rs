//! Writing a delta: the covers of a layer, turned into operations.

use std::io::{self, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::decode::FRAME_DIGEST_BYTES;
use super::header::{Needs, Origin};
use super::operations::*;
use super::streams::{STREAM_COUNT, StreamId, StreamTable, StreamWriters};
use super::tar_header::{HeaderContext, body_bytes};
use super::{FRAME_RAW_BYTES, MAX_FRAME_OUTPUT_BYTES, PIECE_BYTES, varint};
use crate::by_file::LayerMatch;
use crate::cover::{Cover, OriginId};
use crate::read_at::{ReadAt, ReadError};
use crate::tar_map::{BLOCK_BYTES, Block};

/// How a delta is written.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// Level of the compression of the streams, 1 to 22.
    pub zstd_level: i32,
    /// Memory that applying the delta may take, in bytes: a promise to the device.
    pub memory_bytes: u64,
}

/// What a delta consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeReport {
    /// Bytes of the target that are equal to bytes of an origin.
    pub copied_bytes: u64,
    /// Bytes of the target that are an origin's with differences.
    pub added_bytes: u64,
    /// Bytes of the target that the delta carries itself.
    pub literal_bytes: u64,
    /// Bytes of the target that are tar headers, said by their fields.
    pub header_bytes: u64,
    /// Bytes of the delta.
    pub delta_bytes: u64,
    /// Of these, the bytes of each stream, in the order of their ids in the format.
    pub stream_bytes: [u64; STREAM_COUNT],
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
    /// The compressor failed, which it does for want of memory.
    #[error("cannot compress the delta")]
    Compress(#[source] io::Error),
}

/// Writes the delta that makes `target` out of `origins`, as `matched` says they are alike.
///
/// `origins` are pairs of what the header is to say and the bytes themselves, numbered as in the
/// covers; those that no cover reads are left out of the header. `target_digest` is the SHA-256 of
/// the target.
pub fn encode(
    target: &dyn ReadAt,
    target_digest: [u8; 32],
    origins: &[(Origin, &dyn ReadAt)],
    matched: &LayerMatch,
    options: &EncodeOptions,
    out: &mut dyn Write,
) -> Result<EncodeReport> {
    let (used, covers) = renumber(&matched.covers, origins.len());
    let listed = used.iter().map(|i| origins[*i].0).collect();
    let needs = needs_within(options.memory_bytes, listed, target_digest, target.size())?;
    let streams = StreamWriters::new(&needs.streams, options.zstd_level);
    let streams = streams.map_err(EncodeError::Compress)?;
    let header = needs.to_bytes();
    out.write_all(&header).map_err(EncodeError::Write)?;
    let mut encoder = Encoder {
        target,
        origins: used.iter().map(|i| origins[*i].1).collect(),
        out,
        streams,
        cursors: Cursors::new(used.len()),
        headers: HeaderContext::default(),
        equal: EqualRun::default(),
        position: 0,
        frame_start: 0,
        digest: Xxh3::new(),
        report: EncodeReport { delta_bytes: header.len() as u64, ..Default::default() },
    };
    encoder.run(&covers, &matched.headers)?;
    Ok(encoder.report)
}

/// The header, with windows that keep the promise.
fn needs_within(
    promised: u64,
    origins: Vec<Origin>,
    target_digest: [u8; 32],
    target_size: u64,
) -> Result<Needs> {
    let mut table = StreamTable::for_output(target_size);
    loop {
        let needs = Needs::new(origins.clone(), target_digest, target_size, table.clone());
        if needs.memory_bytes <= promised {
            return Ok(needs);
        }
        if !table.shrink() {
            return Err(EncodeError::Promise { needed: needs.memory_bytes, promised });
        }
    }
}

/// The origins that covers read, in order, and the covers numbered by them.
fn renumber(covers: &[Cover], origin_count: usize) -> (Vec<usize>, Vec<Cover>) {
    let mut is_used = vec![false; origin_count];
    covers.iter().for_each(|cover| is_used[cover.origin.0 as usize] = true);
    let used: Vec<usize> = (0..origin_count).filter(|i| is_used[*i]).collect();
    let number = |old: OriginId| used.partition_point(|i| *i < old.0 as usize);
    let renumbered = covers.iter().map(|cover| {
        let origin = OriginId(u32::try_from(number(cover.origin)).unwrap_or(u32::MAX));
        Cover { origin, ..*cover }
    });
    let renumbered = renumbered.collect();
    (used, renumbered)
}

struct Encoder<'a> {
    target: &'a dyn ReadAt,
    origins: Vec<&'a dyn ReadAt>,
    out: &'a mut dyn Write,
    streams: StreamWriters,
    cursors: Cursors,
    headers: HeaderContext,
    equal: EqualRun,
    /// Target bytes said so far.
    position: u64,
    /// Target bytes that finished frames make.
    frame_start: u64,
    digest: Xxh3,
    report: EncodeReport,
}

type Result<T = ()> = std::result::Result<T, EncodeError>;

/// A header that is not wholly equal to an old one beneath its cover.
struct ChangedHeader {
    at: u64,
    /// Where the old one is, if there is one.
    old: Option<(OriginId, u64)>,
}

impl Encoder<'_> {
    /// Says the target from front to back: covers, what lies between them, and changed headers.
    fn run(&mut self, covers: &[Cover], headers: &[u64]) -> Result {
        let changed = self.changed_headers(covers, headers)?;
        let mut changed = changed.iter().peekable();
        let mut covers = covers.iter().peekable();
        let end = self.target.size();
        while self.position < end {
            while changed.next_if(|header| header.at < self.position).is_some() {}
            while covers.next_if(|cover| cover.target_end() <= self.position).is_some() {}
            let cover = covers.peek().map(|cover| rest_of(cover, self.position));
            if let Some(header) = changed.next_if(|header| header.at == self.position) {
                let body = covers.peek().and_then(|c| piece_of(c, self.position + BLOCK_BYTES));
                self.header(header, body)?;
                continue;
            }
            let stop = changed.peek().map_or(end, |header| header.at);
            match cover {
                Some(cover) if cover.target == self.position => {
                    let length = cover.length.min(stop - self.position);
                    self.cover(Cover { length, ..cover })?;
                }
                _ => self.gap(cover.map_or(stop, |cover| cover.target.min(stop)))?,
            }
        }
        self.finish_frame()
    }

    fn changed_headers(&self, covers: &[Cover], headers: &[u64]) -> Result<Vec<ChangedHeader>> {
        let mut changed = Vec::new();
        for at in headers.iter().copied() {
            let above = covers.partition_point(|cover| cover.target <= at).checked_sub(1);
            let cover = above.and_then(|i| piece_of(&covers[i], at));
            let cover = cover.filter(|cover| cover.length >= BLOCK_BYTES);
            if cover.is_some_and(|cover| {
                self.block(cover.origin, cover.at).ok() == self.new_block(at).ok()
            }) {
                continue;
            }
            let old = cover.filter(|cover| cover.at.is_multiple_of(BLOCK_BYTES));
            changed.push(ChangedHeader { at, old: old.map(|cover| (cover.origin, cover.at)) });
        }
        Ok(changed)
    }

    fn new_block(&self, at: u64) -> std::result::Result<Block, ReadError> {
        let mut block = [0; 512];
        self.target.read_exact_at(&mut block, at).map(|()| block)
    }

    fn block(&self, origin: OriginId, at: u64) -> std::result::Result<Block, ReadError> {
        let mut block = [0; 512];
        self.origin(origin).read_exact_at(&mut block, at).map(|()| block)
    }

    fn origin(&self, origin: OriginId) -> &dyn ReadAt {
        self.origins[origin.0 as usize]
    }

    /// Says a changed header, and its body with it where `body` covers all of it and is equal.
    fn header(&mut self, header: &ChangedHeader, body: Option<Cover>) -> Result {
        let block = self.new_block(header.at)?;
        let body_bytes = body_bytes(&block);
        let with_body = self.is_body(header, body, body_bytes)?;
        let length = BLOCK_BYTES + if with_body { body_bytes } else { 0 };
        self.make_room(length)?;
        let old_block = header.old.map(|(origin, at)| self.block(origin, at)).transpose()?;
        let mut operation = HEADER;
        if with_body {
            operation |= HEADER_WITH_BODY;
        }
        if let Some((origin, at)) = header.old {
            operation |= HEADER_HAS_OLD;
            if self.switch_origin(origin) {
                operation |= HEADER_ORIGIN;
            }
            let predicted = self.cursors.predicted_header_block();
            if predicted != at / BLOCK_BYTES {
                operation |= HEADER_OFFSET;
                let step = varint::zigzag(predicted, at / BLOCK_BYTES);
                self.streams.put(StreamId::Offsets, step);
            }
            let body_end = at + BLOCK_BYTES + if with_body { body_bytes } else { 0 };
            self.cursors.advance(body_end, self.position + length);
        }
        self.streams.raw(StreamId::Operations).push(operation);
        self.say_fields(&block, old_block.as_ref());
        self.report.header_bytes += BLOCK_BYTES;
        self.report.copied_bytes += length - BLOCK_BYTES;
        self.take_target(length)
    }

    fn say_fields(&mut self, block: &Block, old: Option<&Block>) {
        let said = self.headers.say(block, old);
        let out = self.streams.raw(StreamId::Headers);
        varint::put(out, said.number);
        if let Some(template) = said.new_template {
            out.extend(template.to_le_bytes());
        }
        for field in said.fields {
            varint::put(out, field.len() as u64);
            out.extend(field);
        }
    }

    /// Whether what follows a header is what follows the old one, for all of its body.
    fn is_body(
        &self,
        header: &ChangedHeader,
        body: Option<Cover>,
        body_bytes: u64,
    ) -> Result<bool> {
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
            self.target.read_exact_at(&mut new, cover.target + done)?;
            self.origin(cover.origin).read_exact_at(&mut old, cover.at + done)?;
            if new != old {
                return Ok(false);
            }
            done += count as u64;
        }
        Ok(true)
    }

    /// Says a cover, in as many operations as frames end within it.
    fn cover(&mut self, cover: Cover) -> Result {
        let mut rest = cover;
        while rest.length > 0 {
            self.make_room(1)?;
            let length = self.cover_in_frame(&rest)?;
            rest = Cover {
                target: rest.target + length,
                at: rest.at + length,
                length: rest.length - length,
                ..rest
            };
        }
        Ok(())
    }

    /// Says as much of a cover as the frame at hand takes, and returns how much that is.
    fn cover_in_frame(&mut self, cover: &Cover) -> Result<u64> {
        let room = self.room().min(cover.length);
        let equal_before = self.equal.bytes;
        let (mut new, mut old) = (Vec::new(), Vec::new());
        let (mut length, mut has_difference) = (0, false);
        while length < room && self.streams.raw_bytes() < FRAME_RAW_BYTES {
            let count = piece_length(room - length);
            new.resize(count, 0);
            old.resize(count, 0);
            self.target.read_exact_at(&mut new, cover.target + length)?;
            self.origin(cover.origin).read_exact_at(&mut old, cover.at + length)?;
            has_difference |= self.add_differences(&new, &old);
            self.digest.update(&new);
            length += count as u64;
        }
        let mut operation = COVER;
        if has_difference {
            operation |= COVER_ADD;
            self.report.added_bytes += length;
        } else {
            self.equal.bytes = equal_before;
            self.report.copied_bytes += length;
        }
        if self.switch_origin(cover.origin) {
            operation |= COVER_ORIGIN;
        }
        if self.cursors.predicted_cover(cover.target) != cover.at {
            operation |= COVER_OFFSET;
            self.streams.put(StreamId::Offsets, varint::zigzag(self.cursors.end(), cover.at));
        }
        self.cursors.advance(cover.at + length, cover.target + length);
        self.streams.raw(StreamId::Operations).push(operation);
        self.streams.put(StreamId::Lengths, length);
        self.position += length;
        Ok(length)
    }

    /// Takes in the differences of a piece; whether there was one.
    fn add_differences(&mut self, new: &[u8], old: &[u8]) -> bool {
        if new == old {
            self.equal.bytes += new.len() as u64;
            return false;
        }
        let mut last = None;
        for (i, (new, old)) in new.iter().zip(old).enumerate().filter(|(_, (n, o))| n != o) {
            let gap = i - last.map_or(0, |last| last + 1);
            self.streams.put(StreamId::Gaps, self.equal.bytes + gap as u64);
            self.streams.raw(StreamId::Differences).push(new.wrapping_sub(*old));
            self.equal.bytes = 0;
            last = Some(i);
        }
        self.equal.bytes = (new.len() - last.map_or(0, |last| last + 1)) as u64;
        true
    }

    /// Says the bytes up to `end`, which nothing covers: literals, and padding of tar members.
    fn gap(&mut self, end: u64) -> Result {
        let padding = self.padding_before(end)?;
        let literal_end = end - padding;
        while self.position < literal_end {
            self.make_room(1)?;
            self.literal_in_frame(literal_end)?;
        }
        if padding > 0 {
            self.make_room(padding)?;
            self.streams.raw(StreamId::Operations).push(PAD);
            self.take_target(padding)?;
        }
        Ok(())
    }

    /// How many zeros before `end`, which must be a block's end, can be said as padding.
    fn padding_before(&self, end: u64) -> Result<u64> {
        if !end.is_multiple_of(BLOCK_BYTES) {
            return Ok(0);
        }
        let length = (end - self.position).min(BLOCK_BYTES - 1);
        let mut bytes = [0; 511];
        let bytes = &mut bytes[..usize::try_from(length).unwrap_or(0)];
        self.target.read_exact_at(bytes, end - length)?;
        Ok(bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64)
    }

    fn literal_in_frame(&mut self, end: u64) -> Result {
        let start = self.position;
        while self.position < end && self.room() > 0 && self.streams.raw_bytes() < FRAME_RAW_BYTES {
            let count = piece_length(self.room().min(end - self.position));
            let mut piece = vec![0; count];
            self.target.read_exact_at(&mut piece, self.position)?;
            self.digest.update(&piece);
            self.streams.raw(StreamId::Literals).extend(piece);
            self.position += count as u64;
        }
        self.streams.raw(StreamId::Operations).push(LITERAL);
        self.streams.put(StreamId::Lengths, self.position - start);
        self.report.literal_bytes += self.position - start;
        Ok(())
    }

    /// Makes `origin` the current one and says so; whether it was another.
    fn switch_origin(&mut self, origin: OriginId) -> bool {
        let is_another = self.cursors.current() != origin;
        if is_another {
            self.streams.put(StreamId::Offsets, origin.0.into());
            self.cursors.switch(origin.0);
        }
        is_another
    }

    /// Passes over bytes of the target that an operation has said.
    fn take_target(&mut self, length: u64) -> Result {
        let end = self.position + length;
        let mut piece = Vec::new();
        while self.position < end {
            piece.resize(piece_length(end - self.position), 0);
            self.target.read_exact_at(&mut piece, self.position)?;
            self.digest.update(&piece);
            self.position += piece.len() as u64;
        }
        Ok(())
    }

    /// Target bytes that the frame at hand can still make.
    fn room(&self) -> u64 {
        u64::from(MAX_FRAME_OUTPUT_BYTES) - (self.position - self.frame_start)
    }

    /// Ends the frame at hand where it cannot make `length` bytes more.
    fn make_room(&mut self, length: u64) -> Result {
        if self.room() < length || self.streams.raw_bytes() >= FRAME_RAW_BYTES {
            self.finish_frame()?;
        }
        Ok(())
    }

    fn finish_frame(&mut self) -> Result {
        let output_bytes = self.position - self.frame_start;
        if output_bytes == 0 {
            return Ok(());
        }
        if self.equal.bytes > 0 {
            self.streams.put(StreamId::Gaps, self.equal.bytes);
            self.equal.bytes = 0;
        }
        let mut body = Vec::new();
        let compressed = self.streams.finish_frame(&mut body, &mut self.report.stream_bytes);
        compressed.map_err(EncodeError::Compress)?;
        let mut frame = vec![0; FRAME_DIGEST_BYTES];
        frame.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend(u32::try_from(output_bytes).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend(self.digest.digest().to_le_bytes());
        frame.extend(body);
        let digest = xxh3_64(&frame[FRAME_DIGEST_BYTES..]).to_le_bytes();
        frame[..FRAME_DIGEST_BYTES].copy_from_slice(&digest);
        self.out.write_all(&frame).map_err(EncodeError::Write)?;
        self.report.delta_bytes += frame.len() as u64;
        self.digest = Xxh3::new();
        self.frame_start = self.position;
        Ok(())
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

fn piece_length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE_BYTES)
}
