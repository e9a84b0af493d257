//! Going over what is to be made, from front to back: which operation comes next.

use super::MAX_FRAME_OUTPUT_BYTES;
use super::emit::{ChangedHeader, Emitter, piece_length};
use super::encode::Result;
use super::tar_header::body_bytes;
use crate::cover::Cover;
use crate::region::{Content, Deflate, Region, Transform};
use crate::tar_map::BLOCK_BYTES;

/// Walks over a target and decides which operation comes next.
pub(super) struct Timeline<'a> {
    pub(super) emitter: Emitter<'a>,
}

impl Timeline<'_> {
    /// Says a stretch from front to back: covers, what lies between them, changed headers, regions.
    pub(super) fn stretch(&mut self, content: &Content, end: u64) -> Result {
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
