//! Signatures: a weak and a strong sum for each block of a basis.

use std::io::{self, Read, Write};

use blake2::Digest;
use blake2::digest::consts::U32;

use super::weak_sum::{WeakSum, WeakSumKind};

/// Longest block that is read or written: a window of this size is held in memory.
pub const BLOCK_BYTES_MAX: u32 = 16 << 20;
/// Longest strong sum of any kind.
pub const STRONG_SUM_BYTES_MAX: u32 = 32;

/// Magic, block size and strong sum size, four bytes each.
const HEADER_BYTES: usize = 12;
const WEAK_SUM_BYTES: usize = 4;

/// Which strong sum a signature has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StrongSumKind {
    /// MD4, broken: known by its magic, and neither read nor written further.
    Md4,
    /// BLAKE2b with an output of 32 bytes, of which a signature may keep the first few.
    Blake2,
}

/// What the first 12 bytes of a signature say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureHeader {
    /// The weak sum of its blocks.
    pub weak: WeakSumKind,
    /// The strong sum of its blocks.
    pub strong: StrongSumKind,
    /// Size of every block but the last, which may be shorter; 1 to [`BLOCK_BYTES_MAX`].
    pub block_size_bytes: u32,
    /// How much of each strong sum is kept; 1 to 32, for MD4 to 16.
    pub strong_size_bytes: u32,
}

/// What a signature may cost, whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureLimits {
    /// A signature with more blocks is refused. Each takes 4 bytes and its strong sum's, and 12
    /// more while a delta is made.
    pub max_blocks: u32,
}

/// A signature could not be read, made or written.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The stream that gives the signature failed.
    #[error("cannot read the signature at {offset}")]
    Read {
        /// Offset in the signature.
        offset: u64,
        /// What the stream said.
        source: io::Error,
    },
    /// The stream that gives the basis failed.
    #[error("cannot read the basis at {offset}")]
    ReadBasis {
        /// Offset in the basis.
        offset: u64,
        /// What the stream said.
        source: io::Error,
    },
    /// The stream that takes the signature failed.
    #[error("cannot write the signature")]
    Write {
        /// What the stream said.
        source: io::Error,
    },
    /// The first four bytes are not a librsync signature's.
    #[error("not a librsync signature: it starts with {found:#010x}")]
    BadMagic {
        /// The four bytes, big-endian.
        found: u32,
    },
    /// A block size of zero, or above the limit.
    #[error("block size {found} is not within 1 to {BLOCK_BYTES_MAX}")]
    BadBlockSize {
        /// The size in the header or in the options.
        found: u32,
    },
    /// A strong sum of zero bytes, or longer than its kind has.
    #[error("strong sum size {found} is not within 1 to {max}")]
    BadStrongSize {
        /// The size in the header or in the options.
        found: u32,
        /// The longest of its kind.
        max: u32,
    },
    /// A signature whose strong sums are known and not supported.
    #[error("signatures with {kind:?} sums are not supported")]
    UnsupportedStrongSum {
        /// Which ones.
        kind: StrongSumKind,
    },
    /// The signature ends within the header or a block's sums.
    #[error("the signature ends at {end}, within a header or a block")]
    Truncated {
        /// Where it ends.
        end: u64,
    },
    /// More blocks than [`SignatureLimits::max_blocks`].
    #[error("the signature has more than {max_blocks} blocks")]
    TooManyBlocks {
        /// The limit.
        max_blocks: u32,
    },
}

/// A whole signature in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    header: SignatureHeader,
    weak_sums: Vec<u32>,
    /// One after the other, each of the header's `strong_size_bytes`.
    strong_sums: Vec<u8>,
}

impl Signature {
    /// Reads a signature to its end. Memory grows with what was read, not with what is claimed.
    pub fn read(
        mut signature: impl Read,
        limits: &SignatureLimits,
    ) -> Result<Self, SignatureError> {
        let header = SignatureHeader::read(&mut signature)?;
        header.check_supported()?;
        let mut read = Self::empty(header);
        let mut block = vec![0; WEAK_SUM_BYTES + usize_of(header.strong_size_bytes)];
        let mut reader = io::BufReader::new(signature);
        let mut offset = HEADER_BYTES as u64;
        loop {
            let length = read_up_to(&mut reader, &mut block)
                .map_err(|source| SignatureError::Read { offset, source })?;
            offset += length as u64;
            match length {
                0 => return Ok(read),
                whole if whole == block.len() => read.push(&block, limits)?,
                _ => return Err(SignatureError::Truncated { end: offset }),
            }
        }
    }

    /// Makes the signature of a basis, reading it once from front to back.
    pub fn compute(
        basis: impl Read,
        header: SignatureHeader,
        limits: &SignatureLimits,
    ) -> Result<Self, SignatureError> {
        let mut computed = Self::empty(header);
        for_each_block(basis, header, |weak, strong| {
            check_count(computed.weak_sums.len(), limits)?;
            computed.weak_sums.push(weak);
            computed.strong_sums.extend_from_slice(strong);
            Ok(())
        })?;
        Ok(computed)
    }

    /// Writes the signature as librsync does.
    pub fn write(&self, mut out: impl Write) -> Result<(), SignatureError> {
        write(&mut out, &self.header.to_bytes())?;
        for index in 0..self.weak_sums.len() {
            write(&mut out, &self.weak_sums[index].to_be_bytes())?;
            write(&mut out, self.strong_sum(index))?;
        }
        out.flush().map_err(|source| SignatureError::Write { source })
    }

    /// Kinds and sizes.
    pub fn header(&self) -> SignatureHeader {
        self.header
    }

    /// How many blocks the basis has.
    pub fn block_count(&self) -> usize {
        self.weak_sums.len()
    }

    pub(super) fn weak_sums(&self) -> &[u32] {
        &self.weak_sums
    }

    pub(super) fn strong_sum(&self, index: usize) -> &[u8] {
        let size = usize_of(self.header.strong_size_bytes);
        &self.strong_sums[index * size..(index + 1) * size]
    }

    fn empty(header: SignatureHeader) -> Self {
        Self { header, weak_sums: Vec::new(), strong_sums: Vec::new() }
    }

    fn push(&mut self, block: &[u8], limits: &SignatureLimits) -> Result<(), SignatureError> {
        check_count(self.weak_sums.len(), limits)?;
        let (weak, strong) = block.split_at(WEAK_SUM_BYTES);
        self.weak_sums.push(big_endian(weak));
        self.strong_sums.extend_from_slice(strong);
        Ok(())
    }
}

/// Makes and writes the signature of a basis in one pass; memory is one block.
///
/// Returns how many blocks there are.
pub fn write_signature(
    basis: impl Read,
    header: SignatureHeader,
    mut out: impl Write,
) -> Result<u64, SignatureError> {
    let mut blocks = 0;
    header.check()?;
    write(&mut out, &header.to_bytes())?;
    for_each_block(basis, header, |weak, strong| {
        blocks += 1;
        write(&mut out, &weak.to_be_bytes())?;
        write(&mut out, strong)
    })?;
    out.flush().map_err(|source| SignatureError::Write { source })?;
    Ok(blocks)
}

impl SignatureHeader {
    /// Reads and checks the first 12 bytes of a signature, of every kind that librsync has.
    pub fn read(mut signature: impl Read) -> Result<Self, SignatureError> {
        let mut bytes = [0; HEADER_BYTES];
        let length = read_up_to(&mut signature, &mut bytes)
            .map_err(|source| SignatureError::Read { offset: 0, source })?;
        if length >= 4 {
            kinds_of_magic(big_endian(&bytes[..4]))?;
        }
        if length < HEADER_BYTES {
            return Err(SignatureError::Truncated { end: length as u64 });
        }
        let (weak, strong) = kinds_of_magic(big_endian(&bytes[..4]))?;
        let header = Self {
            weak,
            strong,
            block_size_bytes: big_endian(&bytes[4..8]),
            strong_size_bytes: big_endian(&bytes[8..]),
        };
        header.check_sizes()?;
        Ok(header)
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.magic().to_be_bytes());
        bytes[4..8].copy_from_slice(&self.block_size_bytes.to_be_bytes());
        bytes[8..].copy_from_slice(&self.strong_size_bytes.to_be_bytes());
        bytes
    }

    fn magic(self) -> u32 {
        match (self.weak, self.strong) {
            (WeakSumKind::Rollsum, StrongSumKind::Md4) => 0x7273_0136,
            (WeakSumKind::Rollsum, StrongSumKind::Blake2) => 0x7273_0137,
            (WeakSumKind::RabinKarp, StrongSumKind::Md4) => 0x7273_0146,
            (WeakSumKind::RabinKarp, StrongSumKind::Blake2) => 0x7273_0147,
        }
    }

    fn check(self) -> Result<(), SignatureError> {
        self.check_sizes()?;
        self.check_supported()
    }

    fn check_sizes(self) -> Result<(), SignatureError> {
        let max = match self.strong {
            StrongSumKind::Md4 => 16,
            StrongSumKind::Blake2 => STRONG_SUM_BYTES_MAX,
        };
        if !(1..=BLOCK_BYTES_MAX).contains(&self.block_size_bytes) {
            return Err(SignatureError::BadBlockSize { found: self.block_size_bytes });
        }
        if !(1..=max).contains(&self.strong_size_bytes) {
            return Err(SignatureError::BadStrongSize { found: self.strong_size_bytes, max });
        }
        Ok(())
    }

    fn check_supported(self) -> Result<(), SignatureError> {
        match self.strong {
            StrongSumKind::Blake2 => Ok(()),
            kind @ StrongSumKind::Md4 => Err(SignatureError::UnsupportedStrongSum { kind }),
        }
    }
}

/// The strong sum of a block, of which signatures keep a beginning.
pub(super) fn strong_sum(block: &[u8]) -> [u8; 32] {
    blake2::Blake2b::<U32>::digest(block).into()
}

/// A size from a header that was checked; it is far below what any `usize` holds.
pub(super) fn usize_of(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Fills `buffer`, or as much of it as there is before the end; says how much that was.
pub(super) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn for_each_block(
    mut basis: impl Read,
    header: SignatureHeader,
    mut each: impl FnMut(u32, &[u8]) -> Result<(), SignatureError>,
) -> Result<(), SignatureError> {
    header.check()?;
    let mut block = vec![0; usize_of(header.block_size_bytes)];
    let mut offset = 0;
    loop {
        let length = read_up_to(&mut basis, &mut block)
            .map_err(|source| SignatureError::ReadBasis { offset, source })?;
        if length > 0 {
            let weak = WeakSum::of(header.weak, &block[..length]).digest();
            let strong = strong_sum(&block[..length]);
            each(weak, &strong[..usize_of(header.strong_size_bytes)])?;
        }
        if length < block.len() {
            return Ok(());
        }
        offset += length as u64;
    }
}

fn check_count(count: usize, limits: &SignatureLimits) -> Result<(), SignatureError> {
    let max_blocks = limits.max_blocks;
    match u32::try_from(count) {
        Ok(count) if count < max_blocks => Ok(()),
        _ => Err(SignatureError::TooManyBlocks { max_blocks }),
    }
}

fn kinds_of_magic(found: u32) -> Result<(WeakSumKind, StrongSumKind), SignatureError> {
    match found {
        0x7273_0136 => Ok((WeakSumKind::Rollsum, StrongSumKind::Md4)),
        0x7273_0137 => Ok((WeakSumKind::Rollsum, StrongSumKind::Blake2)),
        0x7273_0146 => Ok((WeakSumKind::RabinKarp, StrongSumKind::Md4)),
        0x7273_0147 => Ok((WeakSumKind::RabinKarp, StrongSumKind::Blake2)),
        _ => Err(SignatureError::BadMagic { found }),
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), SignatureError> {
    out.write_all(bytes).map_err(|source| SignatureError::Write { source })
}
