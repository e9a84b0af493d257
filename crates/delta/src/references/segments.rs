//! Loadable segments: how offsets in a file and addresses in memory belong together, and how the new
//! file's are told to the decoder.

use super::ReferenceError;
use crate::varint;

/// More loadable segments than this are not handled; linkers make two to six.
pub(super) const MAX_SEGMENTS: usize = 32;

/// Parameters of another version, or with more than what is specified, are refused.
const PARAMETERS_VERSION: u64 = 0;

/// One loadable segment (`PT_LOAD`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) file_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) is_code: bool,
}

impl Segment {
    /// Whether the address lies in the part that comes from the file.
    fn has_in_file(&self, address: u64) -> bool {
        address.wrapping_sub(self.address) < self.file_bytes
    }

    fn has(&self, address: u64) -> bool {
        address.wrapping_sub(self.address) < self.memory_bytes
    }
}

/// The loadable segments of a file, in the order of its program headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segments(pub(super) Vec<Segment>);

impl Segments {
    /// The offset in the file of what is loaded at `address`.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let segment = self.0.iter().find(|segment| segment.has_in_file(address))?;
        Some(address.wrapping_sub(segment.address).wrapping_add(segment.offset))
    }

    /// The address at which the byte at `offset` is loaded.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        let in_file = |segment: &&Segment| offset.wrapping_sub(segment.offset) < segment.file_bytes;
        let segment = self.0.iter().find(in_file)?;
        Some(offset.wrapping_sub(segment.offset).wrapping_add(segment.address))
    }

    /// Whether something is loaded at `address`, from the file or as zeros.
    pub(super) fn is_mapped(&self, address: u64) -> bool {
        self.0.iter().any(|segment| segment.has(address))
    }

    /// The highest address after what is loaded.
    pub(super) fn end(&self) -> u64 {
        let ends =
            self.0.iter().map(|segment| segment.address.saturating_add(segment.memory_bytes));
        ends.max().unwrap_or(0)
    }

    /// Whether code from the file is loaded at `address`.
    pub(super) fn is_code(&self, address: u64) -> bool {
        self.0.iter().any(|segment| segment.is_code && segment.has_in_file(address))
    }

    /// The first segment that has `address` in memory or ends there, and its number.
    pub(super) fn around(&self, address: u64) -> Option<(usize, &Segment)> {
        let holds =
            |segment: &Segment| address.wrapping_sub(segment.address) <= segment.memory_bytes;
        self.0.iter().enumerate().find(|(_, segment)| holds(segment))
    }

    /// Says these segments, those of the old file being known. Nothing where they are the same.
    pub(super) fn to_parameters(&self, old: &Segments) -> Vec<u8> {
        let mut out = Vec::new();
        if self == old {
            return out;
        }
        varint::put(&mut out, PARAMETERS_VERSION);
        varint::put(&mut out, self.0.len() as u64);
        for (i, segment) in self.0.iter().enumerate() {
            let old = old.0.get(i).copied().unwrap_or_default();
            varint::put(&mut out, varint::zigzag(old.address, segment.address));
            varint::put(&mut out, varint::zigzag(old.offset, segment.offset));
            varint::put(&mut out, varint::zigzag(old.file_bytes, segment.file_bytes));
            varint::put(&mut out, varint::zigzag(old.memory_bytes, segment.memory_bytes));
        }
        out
    }

    /// Reads what [`Self::to_parameters`] said. Which segments hold code is not said, nor needed.
    pub(super) fn from_parameters(
        mut parameters: &[u8],
        old: &Segments,
    ) -> Result<Self, ReferenceError> {
        if parameters.is_empty() {
            return Ok(old.clone());
        }
        let bytes = &mut parameters;
        let mut next = || varint::take(bytes).ok_or(ReferenceError::Parameters);
        if next()? != PARAMETERS_VERSION {
            return Err(ReferenceError::Parameters);
        }
        let count = usize::try_from(next()?).map_err(|_| ReferenceError::Parameters)?;
        if count > MAX_SEGMENTS {
            return Err(ReferenceError::Parameters);
        }
        let mut segments = Vec::with_capacity(count);
        for i in 0..count {
            let old = old.0.get(i).copied().unwrap_or_default();
            segments.push(Segment {
                address: varint::unzigzag(old.address, next()?),
                offset: varint::unzigzag(old.offset, next()?),
                file_bytes: varint::unzigzag(old.file_bytes, next()?),
                memory_bytes: varint::unzigzag(old.memory_bytes, next()?),
                is_code: false,
            });
        }
        match parameters {
            [] => Ok(Self(segments)),
            _ => Err(ReferenceError::Parameters),
        }
    }
}
