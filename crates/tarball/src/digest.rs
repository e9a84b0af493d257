//! Content digests, each kind its own type: a diffID can never be passed where a blob's digest is
//! meant, though both are 32 bytes of SHA-256.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Digest of *stored* bytes, which may be compressed. Spelled `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A string that is not a digest that Silt understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a sha256 digest")]
pub struct ParseDigestError {
    /// What was found in place of a digest, shortened to 100 characters.
    pub text: String,
}

impl Digest {
    /// The digest whose 32 bytes are already known.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Reads exactly 64 lower-case hex digits, as in the names of blobs.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The 64 hex digits without the algorithm.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("sha256:")
            .and_then(Self::from_hex)
            .ok_or_else(|| ParseDigestError { text: text.chars().take(100).collect() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! digest_kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

digest_kind! {
    /// Digest of a layer's *uncompressed* tar.
    DiffId
}
digest_kind! {
    /// Digest of an image's config: what Docker calls the image's ID.
    ImageId
}
digest_kind! {
    /// Digest of a stack of layers in order.
    ChainId
}

impl DiffId {
    /// The diffID of the tar that consists of the two end-of-archive blocks alone (1,024 zero
    /// bytes), which stands in a delta image for a layer that base and target share.
    pub const EMPTY_LAYER: DiffId = DiffId(Digest::from_bytes([
        0x5f, 0x70, 0xbf, 0x18, 0xa0, 0x86, 0x00, 0x70, 0x16, 0xe9, 0x48, 0xb0, 0x4a, 0xed, 0x3b,
        0x82, 0x10, 0x3a, 0x36, 0xbe, 0xa4, 0x17, 0x55, 0xb6, 0xcd, 0xdf, 0xaf, 0x10, 0xac, 0xe3,
        0xc6, 0xef,
    ]));
}

impl ChainId {
    /// The chainIDs of every prefix of a stack of layers: the first is the first diffID itself,
    /// each next one hashes `"<chainID> <diffID>"`
    /// ([OCI image spec](https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid)).
    pub fn of_stack(diff_ids: &[DiffId]) -> Vec<ChainId> {
        let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chain.push(match chain.last() {
                None => ChainId(diff_id.0),
                Some(parent) => ChainId(Digest::of(format!("{parent} {diff_id}").as_bytes())),
            });
        }
        chain
    }
}

/// Hashes and counts bytes as they pass.
#[derive(Default, Clone)]
pub struct Digester {
    hash: sha2::Sha256,
    length: u64,
}

impl Digester {
    /// A digester that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes were taken in so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(self.hash.finalize().into())
    }

    /// Reads `input` to its end and returns the digest and the number of bytes.
    pub fn of_reader(input: &mut dyn Read) -> io::Result<(Digest, u64)> {
        let mut digester = Self::new();
        let length = io::copy(input, &mut digester)?;
        Ok((digester.finish(), length))
    }
}

impl Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_layer_is_two_zero_blocks() {
        assert_eq!(DiffId(Digest::of(&[0; 1024])), DiffId::EMPTY_LAYER);
    }

    #[test]
    fn digests_are_strict_about_their_spelling() {
        let good = DiffId::EMPTY_LAYER.to_string();
        assert_eq!(good.parse::<DiffId>(), Ok(DiffId::EMPTY_LAYER));
        for bad in ["", "sha256:", &good[..70], &good.to_uppercase(), &good.replace("256", "512")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let [a, b] = [DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b"))];
        let chain = ChainId::of_stack(&[a, b]);
        assert_eq!(chain[0].0, a.0);
        assert_eq!(chain[1].0, Digest::of(format!("{a} {b}").as_bytes()));
    }
}
