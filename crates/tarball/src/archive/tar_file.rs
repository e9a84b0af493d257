//! A tar in a file, plain or compressed as a whole.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ArchiveFault;
use super::file_range::FileRange;
use super::limits::{MetadataBudget, ReadLimits};
use super::part_file::PartFile;
use super::signed::SIGNATURE;
use super::tar_index::{StoredMember, TarIndex, read_index};
use crate::compression::{Compression, Decoder, MemoryBudget};
use crate::tar_stream::{Discard, Skip};

/// A tar whose members were found, and which is read at their places.
#[derive(Debug)]
pub(super) struct TarFile {
    pub(super) index: TarIndex,
    pub(super) compression: Compression,
    bytes: Arc<CompressedFile>,
}

/// The file. Where it is compressed, one decompressor is kept, so that members which are read in
/// the order in which they lie are decompressed once.
struct CompressedFile {
    file: Arc<PartFile>,
    size: u64,
    compression: Compression,
    memory: MemoryBudget,
    parked: Mutex<Option<Cursor>>,
}

/// A decompressor and how far it is.
struct Cursor {
    decoder: Discard<Decoder<FileRange>>,
    position: u64,
}

impl TarFile {
    /// Finds all members. A compressed file is decompressed once to its end, which checks it.
    pub(super) fn open(
        file: PartFile,
        limits: &ReadLimits,
        memory: &MemoryBudget,
        budget: &mut MetadataBudget,
    ) -> Result<Self, Box<ArchiveFault>> {
        let size = file.size();
        if size == 0 {
            return Err(ArchiveFault::NotAnArchive { why: "it is empty" }.into());
        }
        let compression =
            detect(&file).map_err(|error| ArchiveFault::reading("the archive", error))?;
        let bytes = CompressedFile {
            file: Arc::new(file),
            size,
            compression,
            memory: memory.clone(),
            parked: Mutex::new(None),
        };
        let index = match compression {
            Compression::None => read_index(bytes.range(0, size), limits, false, budget)?,
            _ => read_index(bytes.cursor().decoder, limits, true, budget)?,
        };
        // What stands where it covers nothing must not look as if it did.
        if index.find(SIGNATURE)?.is_some() {
            let why = "its signature is not where that of a signed archive is";
            return Err(ArchiveFault::NotCanonical { offset: 0, why }.into());
        }
        Ok(Self { index, compression, bytes: Arc::new(bytes) })
    }

    /// A plain tar whose members were found already.
    pub(super) fn of_index(file: Arc<PartFile>, index: TarIndex) -> Self {
        let bytes = CompressedFile {
            size: file.size(),
            file,
            compression: Compression::None,
            // Nothing is decompressed but members, each with a budget of its own.
            memory: MemoryBudget::new(0),
            parked: Mutex::new(None),
        };
        Self { index, compression: Compression::None, bytes: Arc::new(bytes) }
    }

    /// The file and where a member's bytes begin in it, where the tar is not compressed.
    pub(super) fn place(&self, member: &StoredMember) -> Option<(Arc<PartFile>, u64)> {
        let is_plain = self.compression == Compression::None && member.kept.is_none();
        is_plain.then(|| (Arc::clone(&self.bytes.file), member.offset))
    }

    /// The stored bytes of a member.
    pub(super) fn open_member(&self, member: &StoredMember) -> io::Result<Box<dyn Read + Send>> {
        if let Some(document) = &member.kept {
            return Ok(Box::new(io::Cursor::new(document.clone())));
        }
        if self.compression == Compression::None {
            return Ok(Box::new(self.bytes.range(member.offset, member.size)));
        }
        Ok(Box::new(CursorReader {
            cursor: Some(self.bytes.cursor_at(member.offset)?),
            file: Arc::clone(&self.bytes),
            left: member.size,
        }))
    }
}

fn detect(file: &PartFile) -> io::Result<Compression> {
    let mut head = [0; Compression::DETECT_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(Compression::detect(&head[..filled]))
}

impl CompressedFile {
    fn range(&self, offset: u64, length: u64) -> FileRange {
        FileRange::new(Arc::clone(&self.file), offset, length)
    }

    fn cursor(&self) -> Cursor {
        let source = self.range(0, self.size);
        let decoder = Decoder::new(source, self.compression, &self.memory);
        Cursor { decoder: Discard(decoder), position: 0 }
    }

    /// A decompressor at `offset`: the parked one where it is not past that, else one from the
    /// start of the file.
    fn cursor_at(&self, offset: u64) -> io::Result<Cursor> {
        let parked = self.parked().take();
        let usable = parked.filter(|cursor| cursor.position <= offset);
        let mut cursor = usable.unwrap_or_else(|| self.cursor());
        cursor.position += cursor.decoder.skip(offset - cursor.position)?;
        if cursor.position < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(cursor)
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, Option<Cursor>> {
        // A cursor is only ever put in whole, so a panic elsewhere has not harmed it.
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for CompressedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompressedFile")
            .field("file", &self.file)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

/// Reads a member, and parks the decompressor where the member ends.
struct CursorReader {
    cursor: Option<Cursor>,
    file: Arc<CompressedFile>,
    left: u64,
}

impl Read for CursorReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(cursor) = &mut self.cursor else {
            return Ok(0);
        };
        let result = cursor.decoder.read(&mut buffer[..wanted]);
        match result {
            Ok(count) => {
                cursor.position += count as u64;
                self.left -= count as u64;
            }
            // A decompressor that failed is of no use to the next member.
            Err(_) => self.cursor = None,
        }
        result
    }
}

impl Drop for CursorReader {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            *self.file.parked() = Some(cursor);
        }
    }
}
