//! Emitting what concerns compressed members.

use super::emit::Emitter;
use super::encode::{EncodeError, Result};
use super::operations::{DEFLATE, OPEN};
use super::streams::{StreamId, Tail};
use super::varint;
use crate::deflate;
use crate::kinds::How;
use crate::region::Inflated;

/// What is to go on when a member has been said.
pub(super) struct Suspended {
    plain: Option<Vec<u8>>,
    position: u64,
    tail: Tail,
}

impl Emitter<'_> {
    /// Says that a member of an origin is inflated, for the region that comes next.
    pub(super) fn open(&mut self, member: &Inflated) -> Result {
        let inflated = deflate::inflate(
            self.origin(member.origin),
            member.at,
            member.plain_bytes,
            member.compressed_bytes,
        );
        let (bytes, compressed_bytes) = inflated.map_err(EncodeError::Inflate)?;
        self.streams.raw(StreamId::Operations).push(OPEN);
        self.name_origin(member.origin);
        self.streams.put(StreamId::Offsets, varint::zigzag(self.cursors.end(), member.at));
        self.streams.put(StreamId::Lengths, member.plain_bytes);
        self.cursors.advance(member.at.wrapping_add(compressed_bytes), self.position);
        self.inflated.push(bytes);
        self.cursors.push();
        Ok(())
    }

    /// Says that a deflate stream of `compressed_bytes` comes, and goes on with what it holds.
    pub(super) fn begin_deflate(
        &mut self,
        compressed_bytes: u64,
        plain_bytes: u64,
    ) -> Result<Suspended> {
        let inflated =
            deflate::inflate(self.target(), self.position, plain_bytes, compressed_bytes);
        let (plain, _) = inflated.map_err(EncodeError::Inflate)?;
        self.streams.raw(StreamId::Operations).push(DEFLATE);
        self.streams.put(StreamId::Lengths, compressed_bytes);
        self.streams.put(StreamId::Lengths, plain_bytes);
        let plain = self.plain.replace(plain);
        let (position, tail) = (std::mem::take(&mut self.position), std::mem::take(&mut self.tail));
        Ok(Suspended { plain, position, tail })
    }

    /// Goes back to what was suspended, with `compressed_bytes` more of it said.
    pub(super) fn end_deflate(
        &mut self,
        suspended: Suspended,
        opened: usize,
        corrections: &[u8],
        compressed_bytes: u64,
    ) -> Result {
        (self.plain, self.position) = (suspended.plain, suspended.position);
        self.tail = suspended.tail;
        self.inflated.truncate(self.inflated.len() - opened);
        self.cursors.truncate(self.origin_count());
        self.streams.put(StreamId::Lengths, corrections.len() as u64);
        self.streams.raw(StreamId::Corrections).extend(corrections);
        self.account(How::Transformed, self.position + compressed_bytes);
        self.take_target(compressed_bytes)
    }
}
