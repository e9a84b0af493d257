//! A zstd-compressed layer of many frames read at random: each frame is decompressed by itself.
//!
//! Seekable archives and the layers that Podman and BuildKit call `zstd:chunked` are of this kind; what
//! `zstd` writes by default is one frame, which this leaves to others.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use tarball::{DiffId, Digester};

use crate::error::{LayerReadError, check_range};
use crate::piece_cache::LayerPieces;
use crate::place::LayerBytes;

/// A frame that holds more is not decompressed for a few bytes of it.
const MAX_FRAME_BYTES: u64 = 2 << 20;
/// A window as large as that is all that such a frame can use.
const MAX_WINDOW_LOG: u32 = 21;
/// So many frames are noted, at 16 bytes each.
const MAX_FRAMES: usize = 512 << 10;
/// `0x184D2A50` to `0x184D2A5F` begin a frame that holds no data, and its length follows.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

/// A layer and the places of its frames.
pub(crate) struct ZstdLayer {
    size_bytes: u64,
    /// Where each begins, in the layer and in the file.
    frames: Vec<Frame>,
    file: File,
    /// Frames that were decompressed, by number.
    pieces: LayerPieces,
    /// Taken by who places the file for reading.
    seeking: Mutex<()>,
}

#[derive(Clone, Copy)]
struct Frame {
    start: u64,
    stored_start: u64,
}

impl ZstdLayer {
    /// Decompresses all of `file` once. `None` where what comes out is not the layer, or a frame is too
    /// large to be read for a part of it.
    pub(crate) fn index(
        mut file: File,
        diff_id: DiffId,
        pieces: LayerPieces,
    ) -> io::Result<Option<Self>> {
        file.rewind()?;
        let mut reader = BufReader::with_capacity(128 << 10, file);
        let (mut frames, mut digester) = (Vec::new(), Digester::new());
        while !reader.fill_buf()?.is_empty() {
            let stored_start = reader.stream_position()?;
            if skip(&mut reader)? {
                continue;
            }
            let start = digester.length();
            if frames.len() >= MAX_FRAMES || !hash_frame(&mut reader, &mut digester) {
                return Ok(None);
            }
            frames.push(Frame { start, stored_start });
        }
        let size_bytes = digester.length();
        if DiffId(digester.finish()) != diff_id {
            return Ok(None);
        }
        let file = reader.into_inner();
        Ok(Some(Self { size_bytes, frames, file, pieces, seeking: Mutex::default() }))
    }

    fn frame(&self, number: usize) -> io::Result<Arc<[u8]>> {
        if let Some(frame) = self.pieces.get(number as u64) {
            return Ok(frame);
        }
        let _place = self.seeking.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.frames.get(number + 1).map_or(self.size_bytes, |next| next.start);
        let length = usize::try_from(end - self.frames[number].start).unwrap_or(usize::MAX);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.frames[number].stored_start))?;
        let mut bytes = vec![0; length];
        let mut decoder = decoder(BufReader::new(file))?;
        decoder.read_exact(&mut bytes)?;
        let frame: Arc<[u8]> = bytes.into();
        self.pieces.add(number as u64, frame.clone());
        Ok(frame)
    }
}

fn decoder<R: BufRead>(reader: R) -> io::Result<zstd::Decoder<'static, R>> {
    let mut decoder = zstd::Decoder::with_buffer(reader)?.single_frame();
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

/// Hashes what a frame holds; `false` where that is damaged or too much.
fn hash_frame(reader: &mut BufReader<File>, digester: &mut Digester) -> bool {
    let Ok(mut decoder) = decoder(reader) else { return false };
    let (mut total, mut buffer) = (0, vec![0; 128 << 10]);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => {
                total += count as u64;
                digester.update(&buffer[..count]);
            }
            Err(_) => return false,
        }
        if total > MAX_FRAME_BYTES {
            return false;
        }
    }
}

/// Passes over a frame without data, if the next is one.
fn skip(reader: &mut BufReader<File>) -> io::Result<bool> {
    let [m0, m1, m2, m3, l0, l1, l2, l3, ..] = *reader.fill_buf()? else { return Ok(false) };
    let is_skippable = u32::from_le_bytes([m0, m1, m2, m3]) & !0xf == SKIPPABLE_MAGIC;
    if is_skippable {
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3])) + 8;
        io::copy(&mut reader.take(length), &mut io::sink())?;
    }
    Ok(is_skippable)
}

impl LayerBytes for ZstdLayer {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LayerReadError> {
        check_range(self.size_bytes, offset, buffer.len())?;
        // The last that begins there: some hold nothing.
        let mut number =
            self.frames.partition_point(|frame| frame.start <= offset).saturating_sub(1);
        let (mut done, mut at) = (0, offset);
        while done < buffer.len() {
            let frame = self.frame(number).map_err(|source| LayerReadError::Io { source })?;
            let within = usize::try_from(at - self.frames[number].start).unwrap_or(usize::MAX);
            let count = frame.len().saturating_sub(within).min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&frame[within..within + count]);
            done += count;
            at += count as u64;
            number += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::io::Write;
    use tarball::Digest;

    fn file_with(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn index(stored: &[u8], bytes: &[u8]) -> Option<ZstdLayer> {
        let pieces = Arc::new(crate::piece_cache::PieceCache::default()).layer();
        ZstdLayer::index(file_with(stored), DiffId(Digest::of(bytes)), pieces).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_range_reads_as_in_the_layer(
            frames in vec((vec(any::<u8>(), 0..3000), any::<bool>()), 1..20),
            ranges in vec((any::<prop::sample::Index>(), 0usize..5000), 1..40),
        ) {
            let (mut stored, mut bytes) = (Vec::new(), Vec::new());
            for (frame, is_after_notes) in &frames {
                if *is_after_notes {
                    stored.extend_from_slice(b"\x5e\x2a\x4d\x18\x05\0\0\0notes");
                }
                stored.extend(zstd::encode_all(frame.as_slice(), 1).unwrap());
                bytes.extend_from_slice(frame);
            }
            let layer = index(&stored, &bytes).unwrap();
            prop_assert_eq!(layer.size_bytes(), bytes.len() as u64);
            for (start, length) in ranges {
                let start = start.index(bytes.len() + 1);
                let end = (start + length).min(bytes.len());
                let mut read = vec![0; end - start];
                layer.read_exact_at(&mut read, start as u64).unwrap();
                prop_assert_eq!(&read, &bytes[start..end]);
            }
            prop_assert!(layer.read_exact_at(&mut [0], bytes.len() as u64).is_err());
        }
    }

    #[test]
    fn frames_that_are_too_large_damaged_or_another_layers_are_left_to_others() {
        let large = vec![7; usize::try_from(MAX_FRAME_BYTES).unwrap() + 1];
        let stored = zstd::encode_all(large.as_slice(), 1).unwrap();
        assert!(index(&stored, &large).is_none());
        let fits = &large[1..];
        let stored = zstd::encode_all(fits, 1).unwrap();
        assert!(index(&stored, fits).is_some());
        assert!(index(&stored, b"another").is_none());
        assert!(index(&stored[..stored.len() - 1], fits).is_none());
        assert!(index(&[&stored[..], b"more"].concat(), fits).is_none());
    }
}
