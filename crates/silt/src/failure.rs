//! What kind of failure an error is: scripts act on the kind, people on the hint.

use delta::librsync;
use delta::native::DecodeError;
use engine::{EngineError, LayerReadError, Unreachable};
use tarball::archive::{ArchiveError, FaultKind};

/// The kinds that callers tell apart; each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// None of the others.
    Other,
    /// What was asked makes no sense.
    Usage,
    /// There is no such image.
    NoSuchImage,
    /// The base that a delta needs is not here.
    BaseMissing,
    /// The input is damaged, or not something that Silt reads.
    Damaged,
    /// There is not enough space, inodes or memory.
    NoRoom,
    /// Stored data fails its digest.
    StoredDamaged,
    /// A signature is missing or wrong.
    Signature,
    /// Another process holds the store.
    Busy,
    /// The policy forbids it.
    Forbidden,
    /// The engine cannot be reached, or went away.
    EngineUnreachable,
}

/// An error that knows its kind.
pub trait Failure: std::error::Error {
    /// What kind of failure this is.
    fn kind(&self) -> FailureKind;

    /// What there is to do about it, where there is something.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl Failure for ArchiveError {
    fn kind(&self) -> FailureKind {
        match self.kind() {
            FaultKind::Damage => FailureKind::Damaged,
            FaultKind::Memory => FailureKind::NoRoom,
            FaultKind::Io => FailureKind::Other,
            FaultKind::Absent => FailureKind::NoSuchImage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self.kind() {
            FaultKind::Memory => Some("allow more with --max-memory".into()),
            FaultKind::Absent => Some("choose one of these with --platform".into()),
            FaultKind::Damage | FaultKind::Io => None,
        }
    }
}

impl Failure for store::WriteError {
    fn kind(&self) -> FailureKind {
        if self.is_no_space() { FailureKind::NoRoom } else { FailureKind::Other }
    }

    fn hint(&self) -> Option<String> {
        self.is_no_space().then(|| "`silt system prune` frees what no name needs".into())
    }
}

impl Failure for store::FileError {
    fn kind(&self) -> FailureKind {
        FailureKind::Other
    }
}

impl Failure for store::Busy {
    fn kind(&self) -> FailureKind {
        FailureKind::Busy
    }
}

impl Failure for store::ReadError {
    fn kind(&self) -> FailureKind {
        if self.is_damage() { FailureKind::StoredDamaged } else { FailureKind::Other }
    }

    fn hint(&self) -> Option<String> {
        self.is_damage().then(|| "`silt image verify` lists all that is damaged".into())
    }
}

impl Failure for store::OpenError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Missing { .. } | Self::NotAStore { .. } | Self::NewerVersion { .. } => {
                FailureKind::Other
            }
            Self::DamagedVersion { .. } => FailureKind::StoredDamaged,
            Self::Busy(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Write(error) => error.hint(),
            Self::NotAStore { .. } => Some("name another directory with --root".into()),
            _ => None,
        }
    }
}

impl Failure for store::ResolveError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NotFound { .. } | Self::Ambiguous { .. } => FailureKind::NoSuchImage,
            Self::Broken { .. } => FailureKind::StoredDamaged,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("`silt image ls` lists the images that are here".into()),
            Self::Ambiguous { .. } => Some("give more digits of the ID".into()),
            Self::Broken { .. } => None,
        }
    }
}

impl Failure for store::LayerError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::ReadOnly { .. } => FailureKind::Other,
            Self::WrongDigest { .. } | Self::WrongSize { .. } => FailureKind::Damaged,
            Self::NoBlockDigests { .. } | Self::StillDamaged { .. } => FailureKind::StoredDamaged,
            Self::Write(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write(error) => error.hint(),
            _ => None,
        }
    }
}

impl Failure for store::CommitError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NotAConfig { .. } | Self::DocumentTooLarge { .. } => FailureKind::Damaged,
            Self::MissingLayer { .. } | Self::NameTwice { .. } => FailureKind::Damaged,
            Self::Busy(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Write(error) => error.hint(),
            _ => None,
        }
    }
}

impl Failure for store::EditError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::ReadOnly { .. } => FailureKind::Other,
            Self::SeveralNames { .. } => FailureKind::Other,
            Self::Resolve(error) => error.kind(),
            Self::Busy(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SeveralNames { .. } => Some("remove it all with --force".into()),
            Self::Resolve(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Write(error) => error.hint(),
            _ => None,
        }
    }
}

impl Failure for EngineError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => FailureKind::EngineUnreachable,
            Self::NoSuchImage { .. } => FailureKind::NoSuchImage,
            Self::Damaged { .. } | Self::NoLayer { .. } => FailureKind::StoredDamaged,
            Self::NotAConfig { .. } => FailureKind::Damaged,
            Self::Address { .. } | Self::NoRepair { .. } => FailureKind::Usage,
            Self::Spool { source, .. } if is_full(source) => FailureKind::NoRoom,
            Self::Refused { message, .. } if message.contains("no space left on device") => {
                FailureKind::NoRoom
            }
            _ => FailureKind::Other,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { why: Unreachable::Missing, .. } => {
                "start the engine, or say where it is: `silt system engines` lists what is found"
            }
            Self::Unreachable { why: Unreachable::Stopped, .. } => {
                "start the engine: its socket is there, and nobody listens"
            }
            Self::Unreachable { why: Unreachable::Forbidden, .. } => {
                "run as root, or as a member of the group that owns the socket"
            }
            Self::Lost { .. } => "once the engine runs again, the same command works",
            Self::Address { .. } => "unix://SOCKET and tcp://HOST:PORT are understood",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Whether an error of reading a layer says that an engine's layer is damaged.
pub(crate) fn is_engine_damage(error: &delta::ReadError) -> bool {
    match error {
        delta::ReadError::Io { source, .. } => is_engine_fault(source),
        delta::ReadError::OutOfRange { .. } => false,
    }
}

/// The same of an error that a reader passed on.
pub(crate) fn is_engine_fault(error: &std::io::Error) -> bool {
    LayerReadError::of(error).is_some_and(LayerReadError::is_damage)
}

/// Whether the system had no room for what was written.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// What a delta could not be decoded for: itself, or a damaged or unreadable base.
pub(crate) fn kind_of_decode(error: &DecodeError) -> FailureKind {
    match error {
        DecodeError::Limit { .. } => FailureKind::NoRoom,
        DecodeError::OutputWrong { .. } | DecodeError::OriginSize { .. } => {
            FailureKind::StoredDamaged
        }
        // The delta's own header and frames are checked before: a range beyond an origin of the
        // right size is the delta's fault, all else the base's device's.
        DecodeError::Origin { source: delta::ReadError::OutOfRange { .. }, .. } => {
            FailureKind::Damaged
        }
        DecodeError::Origin { source, .. } if is_engine_damage(source) => {
            FailureKind::StoredDamaged
        }
        DecodeError::Origin { .. } | DecodeError::Output(_) => FailureKind::Other,
        DecodeError::Input { source, .. } => kind_of_input(source),
        _ => FailureKind::Damaged,
    }
}

/// The same for a librsync delta.
pub(crate) fn kind_of_librsync(error: &librsync::ApplyError) -> FailureKind {
    match error {
        librsync::ApplyError::Delta(error) => kind_of_librsync_delta(error),
        librsync::ApplyError::CopyPastEnd { .. } | librsync::ApplyError::OutputLimit { .. } => {
            FailureKind::Damaged
        }
        librsync::ApplyError::ReadBasis { source, .. } if is_engine_damage(source) => {
            FailureKind::StoredDamaged
        }
        librsync::ApplyError::ReadBasis { .. } | librsync::ApplyError::Write { .. } => {
            FailureKind::Other
        }
    }
}

/// The same for its commands alone.
pub(crate) fn kind_of_librsync_delta(error: &librsync::DeltaError) -> FailureKind {
    match error {
        librsync::DeltaError::Io { source, .. } => kind_of_input(source),
        _ => FailureKind::Damaged,
    }
}

/// What a reader failed for: an archive's own error is the archive's, through whatever it passed on
/// its way (the tar crate wraps it in words of its own); what the system says is nobody's fault.
pub(crate) fn kind_of_input(error: &std::io::Error) -> FailureKind {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut is_system = false;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ArchiveError>() {
            return Failure::kind(error);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            if let Some(error) = ArchiveError::of(error) {
                return Failure::kind(error);
            }
            is_system |= error.raw_os_error().is_some();
        }
        cause = error.source();
    }
    if is_system { FailureKind::Other } else { FailureKind::Damaged }
}
