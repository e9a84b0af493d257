//! The store's one exclusive lock: a `flock` on the file `lock`, held while images are published or
//! removed. The system lets go of it when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::durable::failed;
use crate::error::{Busy, FileError};

/// How long a publisher waits for another one.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The lock, held until this is dropped.
pub(crate) struct Exclusive {
    _file: File,
}

/// Why the lock was not had.
pub(crate) enum LockError {
    Busy(Busy),
    File(FileError),
}

/// Turns a failed locking into each operation's own error.
macro_rules! from_lock_error {
    ($($error:ident),*) => {$(
        impl From<LockError> for crate::error::$error {
            fn from(error: LockError) -> Self {
                match error {
                    LockError::Busy(busy) => busy.into(),
                    LockError::File(file) => file.into(),
                }
            }
        }
    )*};
}
from_lock_error!(OpenError, CommitError, EditError);

/// Takes the lock of the store at `root`, waiting for it at most `wait`.
pub(crate) fn acquire(root: &Path, wait: Duration) -> Result<Exclusive, LockError> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| LockError::File(failed("open", &path)(error)))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Exclusive { _file: file }),
            Err(TryLockError::WouldBlock) if start.elapsed() < wait => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Busy(Busy {
                    root: root.to_owned(),
                    waited_seconds: wait.as_secs(),
                }));
            }
            Err(TryLockError::Error(error)) => {
                return Err(LockError::File(failed("lock", &path)(error)));
            }
        }
    }
}
