//! Emitting operations: what each one puts into the streams, and frames around them.

use std::io::Write;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::decode::FRAME_DIGEST_BYTES;
use super::emit_references::SiteLog;
use super::encode::{EncodeError, EncodeReport, Result};
use super::operations::*;
use super::streams::{DifferenceSite, STREAM_COUNT, StreamId, StreamWriters, Tail};
use super::tar_header::{HeaderContext, body_bytes};
use super::{FRAME_RAW_BYTES, MAX_FRAME_OUTPUT_BYTES, PIECE_BYTES, varint};
use crate::cover::{Cover, OriginId};
use crate::kinds::{How, Ledger};
use crate::read_at::{ReadAt, ReadError};
use crate::tar_map::{BLOCK_BYTES, Block};

/// A header that is not wholly equal to an old one beneath its cover.
pub(super) struct ChangedHeader {
    pub(super) at: u64,
    /// Where the old one is, if there is one.
    pub(super) old: Option<(OriginId, u64)>,
}

/// What is read, but for what is inflated.
pub(super) struct Origins<'a> {
    pub(super) bytes: Vec<&'a dyn ReadAt>,
    /// The one that is the layer itself.
    pub(super) itself: Option<OriginId>,
}

/// Says a target from front to back, one operation after the other.
pub(super) struct Emitter<'a> {
    layer: &'a dyn ReadAt,
    /// What is said at the moment, where that is not the layer: what a compressed member holds.
    pub(super) plain: Option<Vec<u8>>,
    origins: Origins<'a>,
    /// Members of origins, inflated; they are numbered after the layers.
    pub(super) inflated: Vec<Vec<u8>>,
    out: &'a mut dyn Write,
    pub(super) streams: StreamWriters,
    pub(super) cursors: Cursors,
    headers: HeaderContext,
    equal: EqualRun,
    pub(super) sites: SiteLog,
    /// Bytes said so far of the layer, or of what the compressed member at hand holds.
    pub(super) position: u64,
    /// The bytes before it, of the same stretch and frame.
    pub(super) tail: Tail,
    max_frame_stored_bytes: u32,
    /// Target bytes that finished frames make.
    frame_start: u64,
    /// Where the last executable of the layer starts. Its first bytes are in the frame that
    /// begins it, since a frame is read until its bytes are made.
    pub(super) executable_start: Option<u64>,
    digest: Xxh3,
    pub(super) report: EncodeReport,
    ledger: Ledger<STREAM_COUNT>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        layer: &'a dyn ReadAt,
        origins: Origins<'a>,
        streams: StreamWriters,
        ledger: Ledger<STREAM_COUNT>,
        max_frame_stored_bytes: u32,
        out: &'a mut dyn Write,
    ) -> Self {
        Self {
            layer,
            plain: None,
            inflated: Vec::new(),
            max_frame_stored_bytes,
            out,
            streams,
            cursors: Cursors::new(origins.bytes.len()),
            origins,
            headers: HeaderContext::default(),
            equal: EqualRun::default(),
            sites: SiteLog::default(),
            position: 0,
            tail: Tail::default(),
            frame_start: 0,
            executable_start: None,
            digest: Xxh3::new(),
            report: EncodeReport::default(),
            ledger,
        }
    }

    /// What was said, after the last frame.
    pub(super) fn finish(self) -> EncodeReport {
        EncodeReport { kinds: self.ledger.finish(), ..self.report }
    }

    /// Notes how the target was made up to `end`. What a member holds counts as the member.
    pub(super) fn account(&mut self, how: How, end: u64) {
        if self.plain.is_none() {
            self.ledger.said(how, end, self.streams.held());
        }
    }

    /// Says a changed header, and its body with it where that is equal to what follows the old one.
    pub(super) fn header(&mut self, header: &ChangedHeader, with_body: bool) -> Result {
        let block = self.new_block(header.at)?;
        let body_bytes = body_bytes(&block);
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
        self.account(How::Transformed, self.position + BLOCK_BYTES);
        self.account(How::Copied, self.position + length);
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

    /// Says a cover, in as many operations as frames end within it.
    pub(super) fn cover(&mut self, cover: Cover) -> Result {
        self.make_readable(cover.origin, cover.origin_end())?;
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
        while length < room && !self.is_full() {
            let count = piece_length(room - length);
            new.resize(count, 0);
            old.resize(count, 0);
            self.target().read_exact_at(&mut new, cover.target + length)?;
            self.origin(cover.origin).read_exact_at(&mut old, cover.at + length)?;
            has_difference |= self.add_differences(&new, &old);
            self.take_piece(&new);
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
        let how = if has_difference { How::Added } else { How::Copied };
        self.account(how, self.position);
        Ok(length)
    }

    /// Takes in the differences of a piece; whether there was one.
    pub(super) fn add_differences(&mut self, new: &[u8], old: &[u8]) -> bool {
        if new == old {
            self.equal.bytes += new.len() as u64;
            return false;
        }
        let mut last = None;
        let pairs = new.iter().zip(old).enumerate();
        for (i, (byte, old_byte)) in pairs.filter(|(_, (new, old))| new != old) {
            let gap = i - last.map_or(0, |last| last + 1);
            self.streams.put(StreamId::Gaps, self.equal.bytes + gap as u64);
            let tail = self.tail;
            let site = || DifferenceSite::new(&old[i..], tail.after(&new[..i]));
            self.streams.difference(byte.wrapping_sub(*old_byte), site);
            self.equal.bytes = 0;
            last = Some(i);
        }
        self.equal.bytes = (new.len() - last.map_or(0, |last| last + 1)) as u64;
        true
    }

    /// Says bytes up to `end` as they are.
    pub(super) fn literal(&mut self, end: u64) -> Result {
        while self.position < end {
            self.make_room(1)?;
            self.literal_in_frame(end)?;
        }
        Ok(())
    }

    /// Says zeros up to the end of the block.
    pub(super) fn pad(&mut self, length: u64) -> Result {
        self.make_room(length)?;
        self.streams.raw(StreamId::Operations).push(PAD);
        self.report.padding_bytes += length;
        self.account(How::Transformed, self.position + length);
        self.take_target(length)
    }

    fn literal_in_frame(&mut self, end: u64) -> Result {
        let start = self.position;
        self.literal_bytes(end)?;
        self.streams.raw(StreamId::Operations).push(LITERAL);
        self.streams.put(StreamId::Lengths, self.position - start);
        self.account(How::Literal, self.position);
        Ok(())
    }

    /// As many bytes up to `end` as the frame at hand takes, without an operation.
    pub(super) fn literal_bytes(&mut self, end: u64) -> Result {
        let start = self.position;
        while self.position < end && self.room() > 0 && !self.is_full() {
            let count = piece_length(self.room().min(end - self.position));
            let mut piece = vec![0; count];
            self.target().read_exact_at(&mut piece, self.position)?;
            self.streams.literals(&piece, self.tail);
            self.take_piece(&piece);
            self.position += count as u64;
        }
        self.report.literal_bytes += self.position - start;
        self.account(How::Literal, self.position);
        Ok(())
    }

    /// Makes `origin` the current one and says so; whether it was another.
    fn switch_origin(&mut self, origin: OriginId) -> bool {
        let is_another = self.cursors.current() != origin;
        if is_another {
            self.name_origin(origin);
        }
        is_another
    }

    /// Makes `origin` the current one and says its number.
    pub(super) fn name_origin(&mut self, origin: OriginId) {
        self.streams.put(StreamId::Offsets, origin.0.into());
        self.cursors.switch(origin.0);
    }

    /// Passes over bytes of the target that an operation has said.
    pub(super) fn take_target(&mut self, length: u64) -> Result {
        let end = self.position + length;
        let mut piece = Vec::new();
        while self.position < end {
            piece.resize(piece_length(end - self.position), 0);
            self.target().read_exact_at(&mut piece, self.position)?;
            self.take_piece(&piece);
            self.position += piece.len() as u64;
        }
        Ok(())
    }

    /// Bytes of the layer that the frame at hand can still make; a member is made in one frame.
    pub(super) fn room(&self) -> u64 {
        match self.plain {
            Some(_) => u64::MAX,
            None => u64::from(MAX_FRAME_OUTPUT_BYTES) - (self.position - self.frame_start),
        }
    }

    /// Whether the frame at hand is to end as soon as it can.
    pub(super) fn is_full(&self) -> bool {
        let may_end = self.plain.is_none() && self.executable_start != Some(self.position);
        may_end && self.streams.raw_bytes() >= FRAME_RAW_BYTES
    }

    /// Ends the frame at hand where it cannot make `length` bytes more.
    pub(super) fn make_room(&mut self, length: u64) -> Result {
        if self.room() < length || self.is_full() {
            self.finish_frame()?;
        }
        Ok(())
    }

    /// Ends the frame at hand where it makes what is about to be read: a device reads of the layer itself
    /// what finished frames made.
    pub(super) fn make_readable(&mut self, origin: OriginId, end: u64) -> Result {
        let is_made = self.origins.itself != Some(origin) || end <= self.frame_start;
        if is_made { Ok(()) } else { self.finish_frame() }
    }

    /// Takes in bytes of the target that are said.
    pub(super) fn take_piece(&mut self, piece: &[u8]) {
        self.tail.push(piece);
        if self.plain.is_none() {
            self.digest.update(piece);
        }
    }

    pub(super) fn finish_frame(&mut self) -> Result {
        let output_bytes = self.position - self.frame_start;
        if output_bytes == 0 {
            return Ok(());
        }
        if self.equal.bytes > 0 {
            self.streams.put(StreamId::Gaps, self.equal.bytes);
            self.equal.bytes = 0;
        }
        if self.sites.right > 0 {
            self.streams.put(StreamId::ResidualGaps, std::mem::take(&mut self.sites.right));
        }
        self.account(How::Transformed, self.position);
        let mut body = Vec::new();
        let stored = self.streams.finish_frame(&mut body).map_err(EncodeError::Compress)?;
        self.ledger.finish_frame(stored);
        let totals = self.report.stream_bytes.iter_mut().zip(stored);
        totals.for_each(|(total, stored)| *total += stored);
        let stored_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        if stored_bytes > self.max_frame_stored_bytes {
            return Err(EncodeError::FrameTooLarge { stored_bytes });
        }
        let mut frame = vec![0; FRAME_DIGEST_BYTES];
        frame.extend(stored_bytes.to_le_bytes());
        frame.extend(u32::try_from(output_bytes).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend(self.digest.digest().to_le_bytes());
        frame.extend(body);
        let digest = xxh3_64(&frame[FRAME_DIGEST_BYTES..]).to_le_bytes();
        frame[..FRAME_DIGEST_BYTES].copy_from_slice(&digest);
        self.out.write_all(&frame).map_err(EncodeError::Write)?;
        self.report.delta_bytes += frame.len() as u64;
        self.digest = Xxh3::new();
        self.tail = Tail::default();
        self.frame_start = self.position;
        Ok(())
    }

    pub(super) fn new_block(&self, at: u64) -> std::result::Result<Block, ReadError> {
        let mut block = [0; 512];
        self.target().read_exact_at(&mut block, at).map(|()| block)
    }

    pub(super) fn block(&self, origin: OriginId, at: u64) -> std::result::Result<Block, ReadError> {
        let mut block = [0; 512];
        self.origin(origin).read_exact_at(&mut block, at).map(|()| block)
    }

    /// The bytes of an origin: layers are numbered first, then what is inflated.
    pub(super) fn origin(&self, origin: OriginId) -> &dyn ReadAt {
        let number = origin.0 as usize;
        match number.checked_sub(self.origins.bytes.len()) {
            None => self.origins.bytes[number],
            Some(inflated) => &self.inflated[inflated],
        }
    }

    /// Layers, and what is inflated.
    pub(super) fn origin_count(&self) -> usize {
        self.origins.bytes.len() + self.inflated.len()
    }

    /// What is being said: the layer, or what a compressed member holds.
    pub(super) fn target(&self) -> &dyn ReadAt {
        self.plain.as_ref().map_or(self.layer, |plain| plain)
    }
}

/// How much of so many bytes is worked on at a time.
pub(super) fn piece_length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE_BYTES)
}
