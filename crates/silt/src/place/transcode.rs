//! Turning layers into `balena` deltas while they are made: what is exactly what was just read of the base
//! is copied from there, the rest is carried.
//!
//! Nothing has to be known of the delta that the layer comes from. Decoders read old bytes shortly before
//! they write new ones, so what was read since the last write is compared with what is written; a copy is
//! noted only where the bytes are the same.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delta::ReadError;
use delta::librsync::DeltaWriter;
use delta::read_at::ReadAt;

use crate::delta_layer::MEMBER_OFFSET_BYTES;

/// A shorter copy is not worth its command.
const MIN_COPY_BYTES: usize = 24;
/// What is kept of reads that nothing was written after.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// What was read of the base since something was written.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

#[derive(Debug)]
struct Piece {
    /// Where it is in the concatenation of the base's layers.
    at: u64,
    bytes: Vec<u8>,
}

impl Reads {
    fn note(&self, at: u64, bytes: &[u8]) {
        let mut kept = self.kept();
        kept.bytes += bytes.len();
        kept.pieces.push_back(Piece { at, bytes: bytes.to_vec() });
        while kept.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = kept.pieces.pop_front() else { break };
            kept.bytes -= oldest.bytes.len();
        }
    }

    fn take(&self) -> VecDeque<Piece> {
        let mut kept = self.kept();
        kept.bytes = 0;
        std::mem::take(&mut kept.pieces)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer of the base whose reads are noted.
pub(super) struct WatchedLayer<T> {
    pub(super) layer: T,
    /// Where it begins in the concatenation of the base's layers.
    pub(super) start: u64,
    pub(super) reads: Arc<Reads>,
}

impl<T: ReadAt> ReadAt for WatchedLayer<T> {
    fn size(&self) -> u64 {
        self.layer.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.layer.read_exact_at(buffer, offset)?;
        self.reads.note(self.start + offset, buffer);
        Ok(())
    }
}

/// Writes the delta of one layer into a file, where the contents of a delta layer's one member are.
pub(super) struct Transcoder {
    writer: DeltaWriter<BufWriter<File>>,
    reads: Arc<Reads>,
}

impl Transcoder {
    pub(super) fn new(mut file: File, reads: Arc<Reads>) -> io::Result<Self> {
        file.seek(SeekFrom::Start(MEMBER_OFFSET_BYTES))?;
        reads.take();
        let writer = DeltaWriter::new(BufWriter::new(file)).map_err(io::Error::other)?;
        Ok(Self { writer, reads })
    }

    /// The next bytes of the layer.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let pieces = self.reads.take();
        let read_bytes: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        match read_bytes == bytes.len() {
            true => self.side_by_side(bytes, &pieces),
            false => self.one_in_another(bytes, &pieces),
        }
    }

    /// Everything that was read was written, perhaps with differences.
    fn side_by_side(&mut self, mut bytes: &[u8], pieces: &VecDeque<Piece>) -> io::Result<()> {
        for piece in pieces {
            let (now, later) = bytes.split_at(piece.bytes.len());
            self.equal_runs(now, piece)?;
            bytes = later;
        }
        Ok(())
    }

    fn equal_runs(&mut self, bytes: &[u8], piece: &Piece) -> io::Result<()> {
        let (mut literal, mut at) = (0, 0);
        while at < bytes.len() {
            let equal = common_prefix(&bytes[at..], &piece.bytes[at..]);
            if equal >= MIN_COPY_BYTES {
                self.literal(&bytes[literal..at])?;
                self.copy(piece.at + at as u64, equal)?;
                literal = at + equal;
            }
            at += equal.max(1);
        }
        self.literal(&bytes[literal..])
    }

    /// What was read lies somewhere in what was written, in order.
    fn one_in_another(&mut self, bytes: &[u8], pieces: &VecDeque<Piece>) -> io::Result<()> {
        let mut at = 0;
        for piece in pieces {
            let Some(first) = piece.bytes.first_chunk::<MIN_COPY_BYTES>() else { continue };
            let found = bytes[at..].windows(MIN_COPY_BYTES).position(|window| window == first);
            let Some(found) = found else { continue };
            self.literal(&bytes[at..at + found])?;
            let equal = common_prefix(&bytes[at + found..], &piece.bytes);
            self.copy(piece.at, equal)?;
            at += found + equal;
        }
        self.literal(&bytes[at..])
    }

    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.literal(bytes).map_err(io::Error::other)
    }

    fn copy(&mut self, at: u64, length: usize) -> io::Result<()> {
        self.writer.copy(at, length as u64).map_err(io::Error::other)
    }

    /// Ends the delta; gives the file.
    pub(super) fn finish(self) -> io::Result<File> {
        let (out, _) = self.writer.finish().map_err(io::Error::other)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use delta::librsync::{self, ApplyLimits};
    use std::io::Read;

    /// What is read, by place and length, and what is then written.
    type Step<'a> = (&'a [(u64, usize)], &'a [u8]);

    /// The delta that comes of reads and writes, and what it makes out of the base.
    fn transcode(base: &[u8], steps: &[Step<'_>]) -> (Vec<u8>, Vec<u8>) {
        let reads = Arc::new(Reads::default());
        let layer = WatchedLayer { layer: base.to_vec(), start: 0, reads: reads.clone() };
        let mut transcoder = Transcoder::new(tempfile::tempfile().unwrap(), reads).unwrap();
        for (reads, written) in steps {
            for (at, length) in *reads {
                layer.read_exact_at(&mut vec![0; *length], *at).unwrap();
            }
            transcoder.write(written).unwrap();
        }
        let mut file = transcoder.finish().unwrap();
        file.seek(SeekFrom::Start(MEMBER_OFFSET_BYTES)).unwrap();
        let (mut delta, mut made) = (Vec::new(), Vec::new());
        file.read_to_end(&mut delta).unwrap();
        let limits = ApplyLimits { max_output_bytes: u64::MAX };
        librsync::apply(delta.as_slice(), &base.to_vec(), &mut made, &limits).unwrap();
        (delta, made)
    }

    #[test]
    fn what_was_read_and_written_is_copied() {
        let base: Vec<u8> = (0..40_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut changed = base[5000..15_000].to_vec();
        changed[700] ^= 1;
        let mixed = [&b"before"[..], &base[100..4100], b"between", &base[9000..9500]].concat();
        let steps: &[Step<'_>] = &[
            // Exactly, with a difference, several in one write, none at all, and in vain.
            (&[(20_000, 50_000)], &base[20_000..70_000]),
            (&[(5000, 10_000)], &changed),
            (&[(100, 4000), (9000, 500)], &mixed),
            (&[], b"nothing was read"),
            (&[(0, 1000)], b"something else"),
        ];
        let target: Vec<u8> = steps.iter().flat_map(|(_, written)| written.to_vec()).collect();
        let (delta, made) = transcode(&base, steps);
        assert!(made == target);
        assert!(delta.len() < 200, "{} bytes", delta.len());
    }
}
