//! Steps through a tar.

use std::io::{self, ErrorKind, Read};

use super::header::{Header, until_nul};
use super::pax::PaxRecords;
use super::{BLOCK_BYTES, BLOCK_LENGTH, Member, MemberKind, TarError};

/// Largest PAX header or GNU long name: what Go's `archive/tar` reads.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// Longest path: Linux's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;
/// Most extension headers before one member. Honest ones have a PAX header, or a name and a link.
const MAX_EXTENSIONS: usize = 16;
/// Most blocks of a GNU sparse map, 21 holes in each.
const MAX_SPARSE_BLOCKS: usize = 100_000;

/// A source that can leave bytes out, cheaply if it may.
pub(crate) trait Skip: Read {
    /// Leaves out `count` bytes and returns how many there were, fewer only at the end.
    fn skip(&mut self, count: u64) -> io::Result<u64>;
}

/// Any reader, left out by reading.
pub(crate) struct Discard<R>(pub(crate) R);

impl<R: Read> Read for Discard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Skip for Discard<R> {
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let at_once = usize::try_from(count.min(64 << 10)).unwrap_or_default();
        let mut buffer = vec![0; at_once];
        let mut skipped = 0;
        while skipped < count {
            let wanted = usize::try_from(count - skipped).map_or(at_once, |n| n.min(at_once));
            match self.0.read(&mut buffer[..wanted]) {
                Ok(0) => break,
                Ok(read) => skipped += read as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(skipped)
    }
}

/// A tar that is read from front to back.
pub(crate) struct TarStream<R> {
    source: R,
    position: u64,
    /// Data and padding of the current member that were not read yet.
    data_left: u64,
    padding_left: u64,
}

/// What extension headers said about the member that follows.
#[derive(Default)]
struct Extensions {
    pax: PaxRecords,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    count: usize,
}

impl<R: Skip> TarStream<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, position: 0, data_left: 0, padding_left: 0 }
    }

    /// What the tar is read from, wherever that stands.
    pub(crate) fn into_source(self) -> R {
        self.source
    }

    /// The next member, after what is left of the current one. `None` at a block of zeros, which
    /// has been read then, or at the end of the bytes: [`TarStream::finish`] tells which.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.skip_data()?;
        let offset = self.position;
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.read_block()? else {
                return self.end_of_members(&extensions);
            };
            if block.iter().all(|byte| *byte == 0) {
                return self.end_of_members(&extensions);
            }
            let at = self.position - BLOCK_BYTES;
            let header = Header::check(&block).ok_or(TarError::Checksum { offset: at })?;
            if self.read_extension(&header, at, &mut extensions)? {
                continue;
            }
            return self.member(offset, at, &header, extensions).map(Some);
        }
    }

    /// After the last member: checks that the end is marked by two blocks of zeros, and that what
    /// follows them is whole blocks, at most `max_trailing_bytes` of them.
    pub(crate) fn finish(&mut self, max_trailing_bytes: u64) -> Result<(), TarError> {
        let missing = "the end-of-archive marker";
        if self.read_block()? != Some([0; BLOCK_LENGTH]) {
            let offset = self.position;
            return Err(TarError::Truncated { offset, missing });
        }
        let offset = self.position;
        let mut trailing_bytes = 0;
        while self.read_block()?.is_some() {
            trailing_bytes += BLOCK_BYTES;
            if trailing_bytes > max_trailing_bytes {
                return Err(TarError::TooLarge {
                    offset,
                    what: "padding after the end",
                    bytes: trailing_bytes,
                    limit: max_trailing_bytes,
                });
            }
        }
        Ok(())
    }

    /// Reads data of the current member; 0 is its end.
    pub(crate) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let wanted = usize::try_from(self.data_left)
            .map_or(buffer.len(), |data_left| data_left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(self.truncated("data of a member"));
        }
        self.data_left -= count as u64;
        Ok(count)
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let count = self.data_left + self.padding_left;
        let offset = self.position;
        let skipped = self.source.skip(count).map_err(|source| TarError::Io { offset, source })?;
        self.position += skipped;
        (self.data_left, self.padding_left) = (0, 0);
        if skipped < count {
            return Err(self.truncated("data of a member"));
        }
        Ok(())
    }

    fn end_of_members(&self, extensions: &Extensions) -> Result<Option<Member>, TarError> {
        if extensions.count > 0 {
            return Err(self.truncated("the member that an extension header announces"));
        }
        Ok(None)
    }

    /// Takes in an extension header; `false` where it is none.
    fn read_extension(
        &mut self,
        header: &Header<'_>,
        at: u64,
        extensions: &mut Extensions,
    ) -> Result<bool, TarError> {
        let type_flag = header.type_flag();
        if !matches!(type_flag, b'x' | b'X' | b'g' | b'L' | b'K') {
            return Ok(false);
        }
        extensions.count += 1;
        if extensions.count > MAX_EXTENSIONS {
            let limit = MAX_EXTENSIONS as u64;
            return Err(too_large(at, "chain of extension headers", limit + 1, limit));
        }
        let data = self.read_extension_data(header, at)?;
        match type_flag {
            b'x' | b'X' => {
                extensions.pax = PaxRecords::parse(&data)
                    .map_err(|problem| TarError::Pax { offset: at, problem })?;
            }
            b'L' => extensions.long_path = Some(until_nul(&data).to_vec()),
            b'K' => extensions.long_link = Some(until_nul(&data).to_vec()),
            // Engines ignore global headers; git writes one with a comment.
            _ => {}
        }
        Ok(true)
    }

    fn read_extension_data(&mut self, header: &Header<'_>, at: u64) -> Result<Vec<u8>, TarError> {
        let size = header.size().ok_or(number(at, "size"))?;
        if size > MAX_EXTENSION_BYTES {
            return Err(too_large(at, "extension", size, MAX_EXTENSION_BYTES));
        }
        let mut data = vec![0; usize::try_from(size).unwrap_or_default()];
        self.data_left = size;
        self.padding_left = padding(size);
        let mut filled = 0;
        while filled < data.len() {
            filled += self.read_data(&mut data[filled..])?;
        }
        self.skip_data()?;
        Ok(data)
    }

    /// Puts header and extensions together and gets ready to read the data.
    fn member(
        &mut self,
        offset: u64,
        at: u64,
        header: &Header<'_>,
        extensions: Extensions,
    ) -> Result<Member, TarError> {
        let Extensions { pax, long_path, long_link, .. } = extensions;
        let path = pax.path.or(long_path).unwrap_or_else(|| header.path());
        let link = pax.link.or(long_link).unwrap_or_else(|| header.link());
        check_path(at, "path", &path)?;
        check_path(at, "link target", &link)?;
        let kind = kind(header.type_flag(), &path, pax.is_sparse);
        let header_size = header.size().ok_or(number(at, "size"))?;
        // As in Go, members that cannot have data have none, whatever their size says.
        let size = if has_data(kind) { pax.size.unwrap_or(header_size) } else { 0 };
        if header.type_flag() == b'S' {
            self.skip_sparse_map(at, header)?;
        }
        self.expect_data(at, size)?;
        Ok(Member {
            offset,
            data_offset: self.position,
            size,
            kind,
            path,
            link,
            mode: header.mode().ok_or(number(at, "mode"))?,
            user_id: pax.user_id.or_else(|| header.user_id()).ok_or(number(at, "user id"))?,
            group_id: pax.group_id.or_else(|| header.group_id()).ok_or(number(at, "group id"))?,
            mtime: pax.mtime.or_else(|| header.mtime()).ok_or(number(at, "mtime"))?,
            device: header.device().ok_or(number(at, "device number"))?,
            xattrs: pax.xattrs,
        })
    }

    fn expect_data(&mut self, at: u64, size: u64) -> Result<(), TarError> {
        let end = size.checked_add(padding(size)).and_then(|size| size.checked_add(self.position));
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(number(at, "size"));
        }
        self.data_left = size;
        self.padding_left = padding(size);
        Ok(())
    }

    fn skip_sparse_map(&mut self, at: u64, header: &Header<'_>) -> Result<(), TarError> {
        let mut is_extended = header.sparse_is_extended();
        for _ in 0..MAX_SPARSE_BLOCKS {
            if !is_extended {
                return Ok(());
            }
            let block = self.read_block()?;
            is_extended = block.ok_or_else(|| self.truncated("a sparse map"))?[504] != 0;
        }
        let limit = MAX_SPARSE_BLOCKS as u64 * BLOCK_BYTES;
        Err(too_large(at, "sparse map", limit + BLOCK_BYTES, limit))
    }

    /// The next block; `None` at the end.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK_LENGTH]>, TarError> {
        let mut block = [0; BLOCK_LENGTH];
        let mut filled = 0;
        while filled < BLOCK_LENGTH {
            match self.read_some(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.truncated("the rest of a block")),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.source.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.position;
                    return Err(TarError::Io { offset, source });
                }
            }
        }
    }

    fn truncated(&self, missing: &'static str) -> TarError {
        let offset = self.position;
        TarError::Truncated { offset, missing }
    }
}

fn kind(type_flag: u8, path: &[u8], is_sparse: bool) -> MemberKind {
    match type_flag {
        b'0' | 0 | b'7' if is_sparse => MemberKind::Sparse,
        // V7 had no type for directories.
        b'0' | 0 if path.ends_with(b"/") => MemberKind::Directory,
        b'0' | 0 | b'7' => MemberKind::File,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::SymbolicLink,
        b'3' => MemberKind::CharacterDevice,
        b'4' => MemberKind::BlockDevice,
        b'5' => MemberKind::Directory,
        b'6' => MemberKind::Fifo,
        b'S' => MemberKind::Sparse,
        other => MemberKind::Other(other),
    }
}

fn has_data(kind: MemberKind) -> bool {
    matches!(kind, MemberKind::File | MemberKind::Sparse | MemberKind::Other(_))
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES
}

fn check_path(at: u64, what: &'static str, path: &[u8]) -> Result<(), TarError> {
    if path.len() <= MAX_PATH_BYTES {
        return Ok(());
    }
    Err(too_large(at, what, path.len() as u64, MAX_PATH_BYTES as u64))
}

fn number(offset: u64, field: &'static str) -> TarError {
    TarError::Number { offset, field }
}

fn too_large(offset: u64, what: &'static str, bytes: u64, limit: u64) -> TarError {
    TarError::TooLarge { offset, what, bytes, limit }
}
