//! Gzip, as small as it gets and on all cores: a file of several members, as gzip(1) reads it.
//!
//! Members are of a fixed size, so the bytes do not depend on the number of threads. Deflate looks
//! back 32 KiB, so cutting every few MiB costs next to nothing.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;

/// Uncompressed bytes of a member.
const MEMBER_BYTES: usize = 4 << 20;
/// Members that are compressed at once; what a writer holds in memory.
const BATCH_MEMBERS: usize = 4;

/// How one member is compressed.
type Compress = fn(&[u8]) -> io::Result<Vec<u8>>;

/// Compresses what is written to it. [`GzipWriter::finish`] must be called at the end.
pub(crate) struct GzipWriter<W> {
    out: W,
    compress: Compress,
    batch: Vec<u8>,
    is_empty: bool,
}

impl<W: Write> GzipWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, compress: as_small_as_it_gets, batch: Vec::new(), is_empty: true }
    }

    /// One that takes a tenth of the time, to see about how small something gets.
    pub(crate) fn quick(out: W) -> Self {
        Self { compress: quickly, ..Self::new(out) }
    }

    /// Compresses what is left, and gives back what it wrote to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.batch.is_empty() || self.is_empty {
            self.flush_batch()?;
        }
        Ok(self.out)
    }

    fn flush_batch(&mut self) -> io::Result<()> {
        let members: Vec<&[u8]> = match self.batch.is_empty() {
            true => vec![&[]],
            false => self.batch.chunks(MEMBER_BYTES).collect(),
        };
        let members = members.into_par_iter().map(self.compress);
        let members = members.collect::<io::Result<Vec<_>>>()?;
        members.iter().try_for_each(|member| self.out.write_all(member))?;
        self.batch.clear();
        self.is_empty = false;
        Ok(())
    }
}

/// What comes out larger than so many 16ths is compressed already, but for headers: to look for the best gains nothing there.
const MOST_SIXTEENTHS: usize = 15;

fn as_small_as_it_gets(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let quickly = quickly(bytes)?;
    match quickly.len() > bytes.len() / 16 * MOST_SIXTEENTHS {
        true => Ok(quickly),
        false => compress(bytes, CompressionLvl::best()),
    }
}

fn quickly(bytes: &[u8]) -> io::Result<Vec<u8>> {
    compress(bytes, CompressionLvl::default())
}

fn compress(bytes: &[u8], level: CompressionLvl) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(level);
    let mut member = vec![0; compressor.gzip_compress_bound(bytes.len())];
    // It fails only for want of room, and the bound is enough.
    let length = compressor.gzip_compress(bytes, &mut member).map_err(io::Error::other)?;
    member.truncate(length);
    Ok(member)
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MEMBER_BYTES * BATCH_MEMBERS - self.batch.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.batch.extend_from_slice(taken);
        if taken.len() == room {
            self.flush_batch()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use tarball::compression::open_decoder;

    #[test]
    fn any_length_comes_back() {
        for length in [0, 1, MEMBER_BYTES - 1, MEMBER_BYTES, MEMBER_BYTES * BATCH_MEMBERS + 5] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut writer = GzipWriter::new(Vec::new());
            bytes.chunks(100_003).for_each(|chunk| writer.write_all(chunk).unwrap());
            let compressed = writer.finish().unwrap();
            let mut back = Vec::new();
            open_decoder(compressed.as_slice(), 1 << 20).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{length}");
        }
    }

    #[test]
    fn the_best_is_looked_for_where_it_gains() {
        let lines: String = (0..20_000).map(|i| format!("line {}\n", i * 7919)).collect();
        let lines = lines.as_bytes();
        let best = compress(lines, CompressionLvl::best()).unwrap();
        assert!(as_small_as_it_gets(lines).unwrap() == best);
        assert!(best.len() < quickly(lines).unwrap().len());

        let compressed = best;
        assert!(as_small_as_it_gets(&compressed).unwrap() == quickly(&compressed).unwrap());
    }
}
