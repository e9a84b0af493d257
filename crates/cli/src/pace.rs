//! How fast an operation goes, and whether it goes on: around whatever shows its progress.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use silt::{Progress, Step};

use crate::interrupt;
use crate::keep_alive::KeepAlive;

/// A sleeping operation looks this often whether it is to end.
const NAP: Duration = Duration::from_millis(50);

/// Passes progress on, slows it down where that is wanted, and stops it on a signal.
pub(crate) struct Paced {
    inner: Box<dyn Progress>,
    throttle: Option<Throttle>,
    keep_alive: Option<KeepAlive>,
}

/// So many bytes a second.
struct Throttle {
    bytes_per_second: f64,
    /// When the bytes that have passed will have taken their time.
    free_at: Mutex<Instant>,
}

impl Paced {
    pub(crate) fn new(inner: Box<dyn Progress>, bytes_per_second: Option<u64>) -> Self {
        interrupt::watch();
        let throttle = bytes_per_second.map(|bytes| Throttle {
            bytes_per_second: bytes.max(1) as f64,
            free_at: Mutex::new(Instant::now()),
        });
        Self { inner, throttle, keep_alive: KeepAlive::start() }
    }
}

impl Progress for Paced {
    fn begin(&self, step: &Step<'_>, total_bytes: Option<u64>) {
        self.inner.begin(step, total_bytes);
        if let Some(keep_alive) = &self.keep_alive {
            keep_alive.status(&step.to_string());
        }
    }

    fn advance(&self, bytes: u64) {
        self.inner.advance(bytes);
        if let Some(throttle) = &self.throttle {
            throttle.pass(bytes);
        }
    }

    fn end(&self) {
        self.inner.end();
    }

    fn is_stopped(&self) -> bool {
        interrupt::signal().is_some()
    }
}

impl Throttle {
    /// Waits as long as so many bytes take. Time that passed without bytes is not made up for.
    fn pass(&self, bytes: u64) {
        let takes = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second);
        let free_at = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + takes.unwrap_or(NAP);
            *free_at
        };
        while interrupt::signal().is_none() {
            match free_at.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::sleep(left.min(NAP)),
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let throttle = Throttle { bytes_per_second: 1e6, free_at: Mutex::new(Instant::now()) };
        let start = Instant::now();
        (0..10).for_each(|_| throttle.pass(10_000));
        let taken = start.elapsed();
        assert!(taken >= Duration::from_millis(95), "{taken:?}");
        thread::sleep(Duration::from_millis(60));
        let start = Instant::now();
        throttle.pass(50_000);
        assert!(start.elapsed() >= Duration::from_millis(45), "a pause is no credit");
    }
}
