//! What users are told while an operation runs.

use std::fmt;
use std::io;

use tarball::DiffId;

/// What an operation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Copying a pipe to where it can be read twice.
    Spooling,
    /// Reading a signed file whole, to see that its signature covers all of it.
    CheckingSigned,
    /// Reading the input whole, before anything is written.
    CheckingInput,
    /// Working on one layer of several.
    Layer {
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// The layer.
        diff_id: &'a DiffId,
        /// What is done with it: `Writing`, `Rebuilding`, `Computing delta`, …
        action: &'a str,
    },
    /// Finding the files of the base.
    Fingerprinting,
    /// Finding out what several deltas should share.
    Sharing,
    /// Making the result visible.
    Publishing,
    /// Writing an archive.
    Saving,
    /// Reading what is stored against its digests.
    Verifying,
    /// Writing a root file system.
    Unpacking,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spooling => f.write_str("Reading the pipe"),
            Self::CheckingSigned => f.write_str("Checking what is signed"),
            Self::CheckingInput => f.write_str("Checking the input"),
            Self::Layer { number, count, diff_id, action } => {
                write!(f, "Layer {number}/{count} {}: {action}", &diff_id.0.hex()[..12])
            }
            Self::Fingerprinting => f.write_str("Fingerprinting the base"),
            Self::Sharing => f.write_str("Finding what deltas share"),
            Self::Publishing => f.write_str("Publishing"),
            Self::Saving => f.write_str("Saving"),
            Self::Verifying => f.write_str("Verifying"),
            Self::Unpacking => f.write_str("Unpacking"),
        }
    }
}

/// Takes in what happens. Steps do not nest: one begins when the one before has ended.
pub trait Progress: Sync {
    /// A step begins; its bytes are known where they can be.
    fn begin(&self, step: &Step<'_>, total_bytes: Option<u64>);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// The step has ended.
    fn end(&self);
    /// Whether the user wants to stop. Asked wherever bytes move; the operation then fails as soon
    /// as it can, in the same way as by any error.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// What an operation fails with when it was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Stopped;

/// Tells of bytes that were moved, and fails where the user wants to stop.
pub(crate) fn moved(progress: &dyn Progress, bytes: usize) -> io::Result<()> {
    passed(progress, bytes as u64)
}

/// The same for a size of a file.
pub(crate) fn passed(progress: &dyn Progress, bytes: u64) -> io::Result<()> {
    progress.advance(bytes);
    match progress.is_stopped() {
        true => Err(io::Error::other(Stopped)),
        false => Ok(()),
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: &Step<'_>, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
