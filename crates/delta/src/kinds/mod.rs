//! Sorts of files, and which of them a delta's bytes were spent on: what shows where the next
//! improvement is to be made.

mod classify;
mod ledger;
mod map;

pub use ledger::KindTotals;
pub(crate) use ledger::{How, Ledger};
pub use map::KindMap;

/// What a file in a layer is, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// No file: headers, padding and the end of the tar itself.
    Tar,
    /// Executables and libraries of Unix.
    Elf,
    /// Executables of Windows, WebAssembly and the like.
    Executable,
    /// Text of any sort, sources too.
    Text,
    /// Compiled Python.
    Pyc,
    /// Compiled Java, and archives of it that are not compressed.
    Java,
    /// Gzip.
    Gzip,
    /// Zip: jars, wheels, office documents.
    Zip,
    /// What other compressors make.
    Packed,
    /// Pictures and fonts, most of them compressed.
    Media,
    /// SQLite databases.
    Sqlite,
    /// Static libraries and other plain archives.
    Archive,
    /// Everything else.
    Other,
}

impl FileKind {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 13] = [
        Self::Tar,
        Self::Elf,
        Self::Executable,
        Self::Text,
        Self::Pyc,
        Self::Java,
        Self::Gzip,
        Self::Zip,
        Self::Packed,
        Self::Media,
        Self::Sqlite,
        Self::Archive,
        Self::Other,
    ];

    /// A word for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Elf => "elf",
            Self::Executable => "executable",
            Self::Text => "text",
            Self::Pyc => "pyc",
            Self::Java => "java",
            Self::Gzip => "gzip",
            Self::Zip => "zip",
            Self::Packed => "packed",
            Self::Media => "media",
            Self::Sqlite => "sqlite",
            Self::Archive => "archive",
            Self::Other => "other",
        }
    }
}
