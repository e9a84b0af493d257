//! A file that may lie in several parts, as where a file system takes none that is large enough.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// The bytes of all parts, one after the other, read at any place.
#[derive(Debug)]
pub struct PartFile {
    /// Each with the place of its first byte, in order.
    parts: Vec<(u64, File)>,
    size: u64,
}

impl PartFile {
    /// One file after the other. Fails where one has no size, such as a pipe.
    pub fn of(files: Vec<File>) -> io::Result<Self> {
        let mut size = 0u64;
        let mut parts = Vec::with_capacity(files.len());
        for mut file in files {
            let bytes = file.seek(SeekFrom::End(0))?;
            parts.push((size, file));
            size = size.checked_add(bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        }
        Ok(Self { parts, size })
    }

    /// Bytes of all parts, when they were opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads some bytes; none at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let next = self.parts.partition_point(|(start, _)| *start <= offset);
        let Some((start, file)) = next.checked_sub(1).and_then(|part| self.parts.get(part)) else {
            return Ok(0);
        };
        let end = self.parts.get(next).map_or(self.size, |(start, _)| *start);
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        file.read_at(&mut buffer[..wanted], offset - start)
    }

    /// Reads exactly so many bytes.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn parts_are_one_file() {
        let part = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        let file = PartFile::of(vec![part(b"ab"), part(b""), part(b"cde")]).unwrap();
        assert_eq!(file.size(), 5);
        for start in 0..=5 {
            for end in start..=5 {
                let mut read = vec![0; end - start];
                file.read_exact_at(&mut read, start as u64).unwrap();
                assert_eq!(read, b"abcde"[start..end]);
            }
        }
        assert!(file.read_exact_at(&mut [0; 2], 4).is_err());
        assert_eq!(PartFile::of(Vec::new()).unwrap().read_at(&mut [0], 0).unwrap(), 0);
    }
}
