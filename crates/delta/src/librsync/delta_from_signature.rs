//! Making a delta when only the signature of the basis is at hand, as `rdiff delta` does.

use std::io::{self, Read, Write};

use super::DeltaReport;
use super::signature::{Signature, read_up_to, strong_sum, usize_of};
use super::weak_sum::WeakSum;
use super::write::{DeltaWriteError, DeltaWriter};

/// The target is read in pieces of this size.
const READ_BYTES: usize = 256 << 10;
/// How many bytes are hashed in vain for each byte of the target, at most, on the average.
///
/// Honest sums stay far below. It is what keeps a signature that was written to collide from
/// costing a whole block's hash for each byte.
const VAIN_BYTES_PER_TARGET_BYTE: u64 = 16;
/// Blocks that may be hashed in vain at once.
const VAIN_BLOCKS_AT_ONCE: u64 = 64;
/// Blocks with one weak sum that are compared, at most. Equal blocks do not wear it out: the first
/// of them matches or none does.
const CANDIDATES_MAX: usize = 64;

/// A delta could not be made from a signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureDeltaError {
    /// The target could not be read.
    #[error("cannot read the target at {offset}")]
    ReadTarget {
        /// Offset in the target.
        offset: u64,
        /// What the stream said.
        source: io::Error,
    },
    /// The delta could not be written.
    #[error(transparent)]
    Write(#[from] DeltaWriteError),
}

/// Writes a delta that makes `target` from the basis of `signature`.
///
/// Blocks are found at any offset of the target and taken whole, the last and shorter one only at
/// the target's end. That a block is the right one rests on the strong sums alone: verify what
/// the delta makes by a digest, above all where they are cut short. Memory is the signature, an
/// index of 12 bytes a block, and a window of a block and 256 KiB.
pub fn delta_from_signature(
    signature: &Signature,
    target: impl Read,
    out: impl Write,
) -> Result<DeltaReport, SignatureDeltaError> {
    let index = WeakIndex::build(signature);
    let block_size = usize_of(signature.header().block_size_bytes);
    let mut window = Window::new(target, block_size);
    let mut writer = DeltaWriter::new(out)?;
    let mut credit = VainCredit::new(block_size);
    while window.fill()? {
        window.scan(&index, &mut credit, &mut writer)?;
    }
    let (_, report) = writer.finish()?;
    Ok(report)
}

/// The blocks of a signature, found by their weak sums.
struct WeakIndex<'s> {
    signature: &'s Signature,
    /// Blocks in the order of their weak sums; of equal ones the first block comes first.
    sorted: Vec<(u32, u32)>,
    /// A bit for each value of a weak sum's hash that occurs: most windows end here.
    filter: Vec<u64>,
    filter_shift: u32,
}

impl<'s> WeakIndex<'s> {
    fn build(signature: &'s Signature) -> Self {
        let weak_sums = signature.weak_sums().iter();
        let mut sorted: Vec<_> = weak_sums.zip(0..).map(|(&weak, block)| (weak, block)).collect();
        sorted.sort_unstable();
        // 16 to 32 bits for each block, and no fewer than 64 in all.
        let filter_bits = (sorted.len().max(1).ilog2() + 5).clamp(6, 32);
        let mut index = Self {
            signature,
            sorted,
            filter: vec![0; 1 << (filter_bits - 6)],
            filter_shift: 32 - filter_bits,
        };
        for &(weak, _) in &index.sorted {
            let (word, bit) = filter_place(weak, index.filter_shift);
            index.filter[word] |= bit;
        }
        index
    }

    /// Whether a block may have this sum.
    #[inline]
    fn may_have(&self, weak: u32) -> bool {
        let (word, bit) = filter_place(weak, self.filter_shift);
        self.filter[word] & bit != 0
    }

    fn candidates(&self, weak: u32) -> &[(u32, u32)] {
        let start = self.sorted.partition_point(|&(other, _)| other < weak);
        let length = self.sorted[start..].partition_point(|&(other, _)| other == weak);
        &self.sorted[start..start + length]
    }

    /// The first block that is like `bytes`, by its sums. Only the last block may be a short one.
    fn find(&self, weak: u32, bytes: &[u8], credit: &mut VainCredit) -> Option<u32> {
        let candidates = self.candidates(weak);
        if candidates.is_empty() || !credit.allows(bytes.len()) {
            return None;
        }
        let header = self.signature.header();
        let is_short = bytes.len() < usize_of(header.block_size_bytes);
        let last = self.signature.block_count() - 1;
        let sum = strong_sum(bytes);
        let sum = &sum[..usize_of(header.strong_size_bytes)];
        let is_like = |&block: &u32| {
            let block = usize_of(block);
            (!is_short || block == last) && self.signature.strong_sum(block) == sum
        };
        let found = candidates.iter().map(|&(_, block)| block).take(CANDIDATES_MAX).find(is_like);
        if found.is_none() {
            credit.spend(bytes.len());
        }
        found
    }
}

/// Word and bit of a sum in the filter. Rollsums are not spread evenly, so they are hashed.
#[inline]
fn filter_place(weak: u32, shift: u32) -> (usize, u64) {
    let place = weak.wrapping_mul(0x9e37_79b1) >> shift;
    (usize_of(place >> 6), 1 << (place & 63))
}

/// What may yet be hashed in vain.
struct VainCredit {
    bytes: u64,
    max: u64,
}

impl VainCredit {
    fn new(block_size: usize) -> Self {
        let max = block_size as u64 * VAIN_BLOCKS_AT_ONCE;
        Self { bytes: max, max }
    }

    fn earn(&mut self, target_bytes: usize) {
        let earned = target_bytes as u64 * VAIN_BYTES_PER_TARGET_BYTE;
        self.bytes = self.max.min(self.bytes + earned);
    }

    fn allows(&self, hashed_bytes: usize) -> bool {
        self.bytes >= hashed_bytes as u64
    }

    fn spend(&mut self, hashed_bytes: usize) {
        self.bytes = self.bytes.saturating_sub(hashed_bytes as u64);
    }
}

/// The part of the target that is in memory.
struct Window<R> {
    target: R,
    block_size: usize,
    buffer: Vec<u8>,
    /// Where the bytes that are not yet in the delta start, and where they end.
    start: usize,
    end: usize,
    read: u64,
    ended: bool,
    sum: Option<WeakSum>,
}

impl<R: Read> Window<R> {
    fn new(target: R, block_size: usize) -> Self {
        Self {
            target,
            block_size,
            buffer: vec![0; block_size + READ_BYTES],
            start: 0,
            end: 0,
            read: 0,
            ended: false,
            sum: None,
        }
    }

    /// Moves what is left to the front and reads on; false when there is nothing left.
    fn fill(&mut self) -> Result<bool, SignatureDeltaError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let offset = self.read;
        let room = &mut self.buffer[self.end..];
        let wanted = room.len();
        let read = read_up_to(&mut self.target, room)
            .map_err(|source| SignatureDeltaError::ReadTarget { offset, source })?;
        self.ended = read < wanted;
        self.end += read;
        self.read += read as u64;
        Ok(self.end > 0)
    }

    /// Goes through the window until less than a block and a byte is left, or all at the end.
    fn scan(
        &mut self,
        index: &WeakIndex,
        credit: &mut VainCredit,
        writer: &mut DeltaWriter<impl Write>,
    ) -> Result<(), DeltaWriteError> {
        let mut literal_start = self.start;
        while self.start < self.end && (self.ended || self.end - self.start > self.block_size) {
            let window = &self.buffer[self.start..self.end.min(self.start + self.block_size)];
            let kind = index.signature.header().weak;
            let sum = self.sum.get_or_insert_with(|| WeakSum::of(kind, window));
            let weak = sum.digest();
            let found = match index.may_have(weak) {
                true => index.find(weak, window, credit),
                false => None,
            };
            let Some(block) = found else {
                self.roll();
                credit.earn(1);
                continue;
            };
            let length = window.len();
            writer.literal(&self.buffer[literal_start..self.start])?;
            writer.copy(u64::from(block) * self.block_size as u64, length as u64)?;
            credit.earn(length);
            self.sum = None;
            self.start += length;
            literal_start = self.start;
        }
        writer.literal(&self.buffer[literal_start..self.start])
    }

    /// Moves the sum on by a byte; at the target's end it gets shorter instead.
    #[inline]
    fn roll(&mut self) {
        let leaving = self.buffer[self.start];
        let entering = self.start + self.block_size;
        if let Some(sum) = &mut self.sum {
            match entering < self.end {
                true => sum.rotate(leaving, self.buffer[entering]),
                false => sum.roll_out(leaving),
            }
        }
        self.start += 1;
    }
}
