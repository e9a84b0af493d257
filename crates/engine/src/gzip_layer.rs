//! A gzip-compressed layer read at random: through points at which decompression can start again.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use indexed_deflate::{AccessPointSpan, GzDecoder, GzIndexBuilder};
use tarball::{DiffId, Digester};

use crate::error::{LayerReadError, check_range};
use crate::piece_cache::LayerPieces;
use crate::place::LayerBytes;

/// Compressed bytes between restart points, each of which keeps a window of 32 KiB: some 3 MiB of the layer.
const SPAN_BYTES: u64 = 1 << 20;
/// Of an image that is very large, whose layers may all be open, there are no more points than this.
const MAX_POINTS: u64 = 512;
/// What is decompressed is kept in pieces of so many bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A layer and its restart points.
pub(crate) struct GzipLayer {
    size_bytes: u64,
    state: Mutex<State>,
    /// By number.
    pieces: LayerPieces,
}

struct State {
    decoder: GzDecoder<BufReader<File>, Cursor<Vec<u8>>>,
    /// Where the decoder stands.
    at: u64,
}

impl GzipLayer {
    /// Decompresses all of `file` once. `None` where what comes out is not the layer: that is damaged, or
    /// has several members, which this cannot do. The layers of its image have `image_bytes` together.
    pub(crate) fn index(
        file: File,
        diff_id: DiffId,
        image_bytes: u64,
        pieces: LayerPieces,
    ) -> io::Result<Option<Self>> {
        let span = SPAN_BYTES.max(image_bytes / MAX_POINTS);
        let mut index = Cursor::new(Vec::new());
        let Some(size_bytes) = build(&file, &mut index, span, diff_id) else { return Ok(None) };
        index.set_position(0);
        let mut file = file;
        file.rewind()?;
        let Ok(decoder) = GzDecoder::new(BufReader::new(file), index) else { return Ok(None) };
        let state = Mutex::new(State { decoder, at: 0 });
        Ok(Some(Self { size_bytes, state, pieces }))
    }
}

/// Notes the restart points; gives the size of the layer if it is the right one.
fn build(file: &File, index: &mut Cursor<Vec<u8>>, span: u64, diff_id: DiffId) -> Option<u64> {
    let span = AccessPointSpan::new(span);
    let mut builder = GzIndexBuilder::new(BufReader::new(file), index, span).ok()?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match builder.read(&mut buffer).ok()? {
            0 => break,
            count => digester.update(&buffer[..count]),
        }
    }
    builder.finish().ok()?;
    let size_bytes = digester.length();
    (DiffId(digester.finish()) == diff_id).then_some(size_bytes)
}

impl State {
    fn piece(&mut self, number: u64, size_bytes: u64) -> io::Result<Arc<[u8]>> {
        let start = number * PIECE_BYTES as u64;
        let length = usize::try_from(size_bytes - start).unwrap_or(usize::MAX).min(PIECE_BYTES);
        if self.at != start {
            self.decoder.seek(SeekFrom::Start(start))?;
        }
        // After a failure nobody knows where the decoder stands.
        self.at = u64::MAX;
        let mut piece = vec![0; length];
        self.decoder.read_exact(&mut piece)?;
        self.at = start + length as u64;
        Ok(piece.into())
    }
}

impl LayerBytes for GzipLayer {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LayerReadError> {
        let size = self.size_bytes;
        check_range(size, offset, buffer.len())?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut done, mut at) = (0, offset);
        while done < buffer.len() {
            let number = at / PIECE_BYTES as u64;
            let piece = match self.pieces.get(number) {
                Some(piece) => piece,
                None => {
                    let made = state.piece(number, size);
                    let made = made.map_err(|source| LayerReadError::Io { source })?;
                    self.pieces.add(number, made.clone());
                    made
                }
            };
            let within = usize::try_from(at % PIECE_BYTES as u64).unwrap_or(0);
            let count = (piece.len() - within).min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&piece[within..within + count]);
            done += count;
            at += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use tarball::Digest;

    fn file_with(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn pieces() -> LayerPieces {
        Arc::new(crate::piece_cache::PieceCache::default()).layer()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Bytes that do not repeat and do compress.
    fn numbers(count: u32) -> Vec<u8> {
        (0..count).flat_map(|n| n.wrapping_mul(2_654_435_761).to_string().into_bytes()).collect()
    }

    #[test]
    fn every_place_reads_as_in_the_layer() {
        let bytes = numbers(1_500_000);
        let diff_id = DiffId(Digest::of(&bytes));
        let layer =
            GzipLayer::index(file_with(&gzip(&bytes)), diff_id, 0, pieces()).unwrap().unwrap();
        assert_eq!(layer.size_bytes(), bytes.len() as u64);
        let mut seed = 12345usize;
        for _ in 0..200 {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345) % (1 << 31);
            let start = seed % bytes.len();
            let end = (start + seed % 700_000).min(bytes.len());
            let mut read = vec![0; end - start];
            layer.read_exact_at(&mut read, start as u64).unwrap();
            assert!(read == bytes[start..end], "{start}..{end}");
        }
        assert!(layer.read_exact_at(&mut [0], bytes.len() as u64).is_err());
    }

    #[test]
    fn what_is_not_the_layer_is_left_to_others() {
        let (bytes, other) = (numbers(1000), numbers(2000));
        let diff_id = DiffId(Digest::of(&bytes));
        assert!(
            GzipLayer::index(file_with(&gzip(&other)), diff_id, 0, pieces()).unwrap().is_none()
        );
        let zipped = gzip(&bytes);
        let cut = &zipped[..zipped.len() / 2];
        assert!(GzipLayer::index(file_with(cut), diff_id, 0, pieces()).unwrap().is_none());
        // Several members.
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let members = [gzip(half), gzip(rest)].concat();
        assert!(GzipLayer::index(file_with(&members), diff_id, 0, pieces()).unwrap().is_none());
    }
}
