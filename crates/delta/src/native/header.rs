//! The header of a delta: what it needs and what it gives.

use std::io::{self, Read};

use xxhash_rust::xxh3::xxh3_64;

use super::error::DecodeError;
use super::streams::StreamTable;
use super::{
    MAX_FRAME_OUTPUT_BYTES, MAX_FRAME_STORED_BYTES, MAX_REGION_FRAME_BYTES, VERSION, varint,
};

/// Begins every native delta; the bytes around the name show damage by text-mode transfers.
pub(super) const SIGNATURE: [u8; 8] = *b"\x89SILT\r\n\x1a";

/// Bytes before the header's payload: the signature, the version, the payload's length.
const FIXED_BYTES: usize = 8 + 2 + 4;
/// The longest payload of a header that is read.
const MAX_PAYLOAD_BYTES: u32 = 1 << 20;
/// The most origins that a delta may list.
pub(super) const MAX_ORIGINS: usize = 4096;
/// The feature bits that are known; version 1 has none.
const KNOWN_FEATURES: u64 = 0;

/// What decoding takes beside streams, a frame and regions: pieces, templates of headers.
const OTHER_BYTES: u64 = 256 << 10;

const ORIGIN_LAYER: u8 = 0;
const ORIGIN_PRODUCED: u8 = 1;
const ORIGIN_ITSELF: u8 = 2;

/// Where the bytes that a delta copies come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A layer of the base.
    Layer {
        /// SHA-256 of its uncompressed tar.
        diff_id: [u8; 32],
        /// Bytes of its uncompressed tar.
        size: u64,
    },
    /// A layer of the target itself, which must have been made before.
    Produced {
        /// Its index among the target's layers.
        layer: u32,
        /// SHA-256 of its uncompressed tar.
        diff_id: [u8; 32],
        /// Bytes of its uncompressed tar.
        size: u64,
    },
    /// The layer that is being made, as far as finished frames have made it.
    Itself {
        /// SHA-256 of its uncompressed tar.
        diff_id: [u8; 32],
        /// Bytes of its uncompressed tar, when all is made.
        size: u64,
    },
}

impl Origin {
    /// SHA-256 of the layer's uncompressed tar.
    pub fn diff_id(&self) -> &[u8; 32] {
        match self {
            Self::Layer { diff_id, .. }
            | Self::Produced { diff_id, .. }
            | Self::Itself { diff_id, .. } => diff_id,
        }
    }

    /// Whether it is the layer that is being made.
    pub fn is_itself(&self) -> bool {
        matches!(self, Self::Itself { .. })
    }

    /// Bytes of the layer's uncompressed tar.
    pub fn size(&self) -> u64 {
        match self {
            Self::Layer { size, .. } | Self::Produced { size, .. } | Self::Itself { size, .. } => {
                *size
            }
        }
    }
}

/// What the one who decodes a delta allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most memory that decoding may take, in bytes.
    pub memory_bytes: u64,
    /// The most bytes that may come out.
    pub output_bytes: u64,
}

/// What a delta needs, and what it gives: all that can be known before it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The origins that it reads, in the order in which it numbers them.
    pub origins: Vec<Origin>,
    /// SHA-256 of the bytes that it makes.
    pub output_digest: [u8; 32],
    /// How many bytes it makes.
    pub output_bytes: u64,
    /// All memory that decoding takes, in bytes.
    pub memory_bytes: u64,
    /// Of it, the bytes that regions may hold at once.
    pub resident_bytes: u64,
    /// Feature bits that a decoder must know.
    pub required_features: u64,
    pub(super) max_frame_stored_bytes: u32,
    pub(super) max_frame_output_bytes: u32,
    pub(super) streams: StreamTable,
}

impl Needs {
    pub(super) fn new(
        origins: Vec<Origin>,
        output_digest: [u8; 32],
        output_bytes: u64,
        resident_bytes: u64,
        streams: StreamTable,
    ) -> Self {
        let max_frame_stored_bytes =
            if resident_bytes > 0 { MAX_REGION_FRAME_BYTES } else { MAX_FRAME_STORED_BYTES };
        let mut needs = Self {
            origins,
            output_digest,
            output_bytes,
            memory_bytes: 0,
            resident_bytes,
            required_features: 0,
            max_frame_stored_bytes,
            max_frame_output_bytes: MAX_FRAME_OUTPUT_BYTES,
            streams,
        };
        needs.memory_bytes = needs.actual_memory_bytes();
        needs
    }

    /// Halves the largest window of a stream; false where all are as small as they get.
    pub(super) fn shrink(&mut self) -> bool {
        let is_smaller = self.streams.shrink();
        self.memory_bytes = self.actual_memory_bytes();
        is_smaller
    }

    /// What decoding takes, by all that the header says.
    fn actual_memory_bytes(&self) -> u64 {
        let fixed = self.streams.memory_bytes() + u64::from(self.max_frame_stored_bytes);
        (fixed + OTHER_BYTES).saturating_add(self.resident_bytes)
    }

    /// Whether what finished frames have made is read back.
    pub fn reads_itself(&self) -> bool {
        self.origins.iter().any(Origin::is_itself)
    }

    /// The header as it stands before the frames.
    pub fn to_bytes(&self) -> Vec<u8> {
        let payload = self.payload();
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(payload);
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, self.required_features);
        out.extend(self.output_digest);
        varint::put(&mut out, self.output_bytes);
        varint::put(&mut out, self.memory_bytes);
        varint::put(&mut out, self.resident_bytes);
        varint::put(&mut out, self.max_frame_stored_bytes.into());
        varint::put(&mut out, self.max_frame_output_bytes.into());
        varint::put(&mut out, self.origins.len() as u64);
        for origin in &self.origins {
            match origin {
                Origin::Layer { .. } => out.push(ORIGIN_LAYER),
                // The rest stands in this header already.
                Origin::Itself { .. } => {
                    out.push(ORIGIN_ITSELF);
                    continue;
                }
                Origin::Produced { layer, .. } => {
                    out.push(ORIGIN_PRODUCED);
                    varint::put(&mut out, (*layer).into());
                }
            }
            out.extend(origin.diff_id());
            varint::put(&mut out, origin.size());
        }
        self.streams.put(&mut out);
        out
    }

    fn parse(mut payload: &[u8]) -> Option<Self> {
        let rest = &mut payload;
        let required_features = varint::take(rest)?;
        let output_digest = take_array(rest)?;
        let output_bytes = varint::take(rest)?;
        let memory_bytes = varint::take(rest)?;
        let resident_bytes = varint::take(rest)?;
        let max_frame_stored_bytes = varint::take(rest)?.try_into().ok()?;
        let max_frame_output_bytes = varint::take(rest)?.try_into().ok()?;
        let origin_count = varint::take(rest).filter(|count| *count <= MAX_ORIGINS as u64)?;
        let itself = Origin::Itself { diff_id: output_digest, size: output_bytes };
        let origins = (0..origin_count).map(|_| parse_origin(rest, itself));
        let origins = origins.collect::<Option<_>>()?;
        let streams = StreamTable::take(rest)?;
        // Bytes after the stream table are for later versions, which say by a feature bit whether
        // they may be passed over.
        Some(Self {
            origins,
            output_digest,
            output_bytes,
            memory_bytes,
            resident_bytes,
            required_features,
            max_frame_stored_bytes,
            max_frame_output_bytes,
            streams,
        })
    }

    /// What must hold before anything is allocated by what the header says.
    fn check(&self, limits: &Limits) -> Result<(), DecodeError> {
        let unknown = self.required_features & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(DecodeError::Features { unknown });
        }
        let needed = self.actual_memory_bytes().max(self.memory_bytes);
        let allowed = limits.memory_bytes;
        if needed > allowed {
            return Err(DecodeError::Limit { what: "memory", needed, allowed });
        }
        let (needed, allowed) = (self.output_bytes, limits.output_bytes);
        if needed > allowed {
            return Err(DecodeError::Limit { what: "output", needed, allowed });
        }
        Ok(())
    }
}

fn parse_origin(rest: &mut &[u8], itself: Origin) -> Option<Origin> {
    let (kind, after) = rest.split_first()?;
    *rest = after;
    let layer = match *kind {
        ORIGIN_LAYER => None,
        ORIGIN_PRODUCED => Some(u32::try_from(varint::take(rest)?).ok()?),
        ORIGIN_ITSELF => return Some(itself),
        _ => return None,
    };
    let (diff_id, size) = (take_array(rest)?, varint::take(rest)?);
    Some(match layer {
        None => Origin::Layer { diff_id, size },
        Some(layer) => Origin::Produced { layer, diff_id, size },
    })
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*array)
}

/// Reads the header off the front of a delta, leaves `head` at the first frame, and refuses what
/// goes beyond `limits`. Gives the number of bytes read too.
pub(super) fn read(head: &mut dyn Read, limits: &Limits) -> Result<(Needs, u64), DecodeError> {
    let mut bytes = vec![0; FIXED_BYTES];
    fill(head, &mut bytes, 0)?;
    if bytes[..8] != SIGNATURE {
        return Err(DecodeError::Signature);
    }
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version != VERSION {
        return Err(DecodeError::Version { found: version, supported: VERSION });
    }
    let length = u32::from_le_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]);
    if length > MAX_PAYLOAD_BYTES {
        return Err(DecodeError::Header { what: "it claims to be larger than 1 MiB" });
    }
    let end = FIXED_BYTES + usize::try_from(length).unwrap_or(0);
    bytes.resize(end + 8, 0);
    fill(head, &mut bytes[FIXED_BYTES..], FIXED_BYTES as u64)?;
    if xxh3_64(&bytes[..end]).to_le_bytes() != bytes[end..] {
        return Err(DecodeError::Header { what: "its digest does not match" });
    }
    let needs = Needs::parse(&bytes[FIXED_BYTES..end])
        .ok_or(DecodeError::Header { what: "its fields are not as specified" })?;
    needs.check(limits)?;
    Ok((needs, bytes.len() as u64))
}

/// What the delta that begins with `head` needs; reads the header and no more.
///
/// Refuses, before it allocates anything, what is of another version, requires unknown features or
/// goes beyond `limits`.
pub fn read_needs(head: &mut dyn Read, limits: &Limits) -> Result<Needs, DecodeError> {
    read(head, limits).map(|(needs, _)| needs)
}

/// Fills `buffer` from the stream, of which `offset` bytes were read before.
pub(super) fn fill(
    input: &mut dyn Read,
    buffer: &mut [u8],
    offset: u64,
) -> Result<(), DecodeError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        match input.read(&mut buffer[filled..]) {
            Ok(0) => return Err(DecodeError::Truncated { offset: at }),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(DecodeError::Input { offset: at, source }),
        }
    }
    Ok(())
}
