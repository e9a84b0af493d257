//! The members of a tar, one after the other, in bounded memory. Numbers, names and extensions are
//! read as Go's `archive/tar` reads them, since that is what the engines use.
//!
//! Formats: V7, ustar, PAX ([POSIX.1-2017](https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html)),
//! [GNU](https://www.gnu.org/software/tar/manual/html_node/Standard.html) long names and base-256
//! numbers. Sparse members are recognised; their data is not expanded.

mod header;
mod pax;
mod reader;

use std::io;

pub(crate) use header::is_header;
pub(crate) use reader::{Discard, Skip, TarStream};

/// Size of a tar's blocks.
pub(crate) const BLOCK_BYTES: u64 = 512;
pub(crate) const BLOCK_LENGTH: usize = 512;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    HardLink,
    SymbolicLink,
    Directory,
    CharacterDevice,
    BlockDevice,
    Fifo,
    /// A file with holes, of whatever encoding.
    Sparse,
    /// A type that is none of these; its data is skipped.
    Other(u8),
}

/// One member, extensions applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where its first header starts, that of an extension included.
    pub(crate) offset: u64,
    /// Where its data starts.
    pub(crate) data_offset: u64,
    /// How many bytes of data the archive has for it.
    pub(crate) size: u64,
    pub(crate) kind: MemberKind,
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) user_id: u64,
    pub(crate) group_id: u64,
    pub(crate) mtime: Timestamp,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes, names and values.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A point in time; nanoseconds always count forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i32,
}

/// A tar could not be read. Offsets are those of the uncompressed tar.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A header's checksum is wrong: damage, or no tar at all.
    #[error("the tar header at offset {offset} fails its checksum")]
    Checksum {
        /// Where the header starts.
        offset: u64,
    },
    /// The bytes end inside a member or before the end-of-archive marker.
    #[error("the tar ends early, at offset {offset}: {missing}")]
    Truncated {
        /// Where the bytes end.
        offset: u64,
        /// What should have followed.
        missing: &'static str,
    },
    /// A number in a header is malformed, negative or too large.
    #[error("the tar header at offset {offset} has an impossible {field}")]
    Number {
        /// Where the header starts.
        offset: u64,
        /// Which number.
        field: &'static str,
    },
    /// A PAX extended header is malformed.
    #[error("the PAX header at offset {offset} is malformed: {problem}")]
    Pax {
        /// Where the header starts.
        offset: u64,
        /// In what way.
        problem: &'static str,
    },
    /// An extension is larger than any honest one.
    #[error("the {what} of the tar header at offset {offset} has {bytes} bytes, {limit} may be")]
    TooLarge {
        /// Where the header starts.
        offset: u64,
        /// Which part.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The bytes could not be read.
    #[error("cannot read the tar at offset {offset}")]
    Io {
        /// How far it was read.
        offset: u64,
        /// What the reader said: the system, or a decompressor.
        source: io::Error,
    },
}
