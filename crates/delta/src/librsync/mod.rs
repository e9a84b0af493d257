//! The delta and signature formats of [librsync](https://librsync.github.io/), read and written.
//!
//! A *signature* has a weak and a strong sum for each block of the basis; a *delta* says how a
//! target is made of pieces of the basis and of literal bytes. `docs/formats/librsync.md` has the
//! layout of both. Deltas of this kind are the payload of balenaEngine's delta images.
//!
//! - [`DeltaReader`] and [`DeltaWriter`]: the commands, one after the other.
//! - [`apply`]: basis and delta make the target.
//! - [`Signature`] and [`write_signature`]: the sums of a basis.
//! - [`merge`]: two deltas as one.
//! - [`delta_from_signature`]: a delta made without the basis, as `rdiff delta` makes it.

mod apply;
mod command;
mod delta_from_signature;
pub mod merge;
mod read;
mod signature;
mod weak_sum;
mod write;

pub use apply::{ApplyError, ApplyLimits, apply, check};
pub use command::Command;
pub use delta_from_signature::{SignatureDeltaError, delta_from_signature};
pub use read::{DeltaError, DeltaReader};
pub use signature::{
    BLOCK_BYTES_MAX, STRONG_SUM_BYTES_MAX, Signature, SignatureError, SignatureHeader,
    SignatureLimits, StrongSumKind, write_signature,
};
pub use weak_sum::WeakSumKind;
pub use write::{DeltaWriteError, DeltaWriter, LITERAL_BYTES_MAX};

/// The first four bytes of every delta, big-endian.
pub const DELTA_MAGIC: u32 = 0x7273_0236;

/// What the commands of a delta come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeltaReport {
    /// Literals in the delta.
    pub literal_commands: u64,
    /// Bytes that they give.
    pub literal_bytes: u64,
    /// Copies in the delta.
    pub copy_commands: u64,
    /// Bytes that they give.
    pub copied_bytes: u64,
}

impl DeltaReport {
    /// Size of the target.
    pub fn output_bytes(&self) -> u64 {
        self.literal_bytes.saturating_add(self.copied_bytes)
    }

    /// Commands of either kind; END is not counted.
    pub fn commands(&self) -> u64 {
        self.literal_commands + self.copy_commands
    }

    /// Adds a command. A sum that overflows is of a delta that nobody can apply, so it may stick.
    fn count(&mut self, command: Command) {
        match command {
            Command::Literal { length } => {
                self.literal_commands += 1;
                self.literal_bytes = self.literal_bytes.saturating_add(length);
            }
            Command::Copy { length, .. } => {
                self.copy_commands += 1;
                self.copied_bytes = self.copied_bytes.saturating_add(length);
            }
        }
    }
}
