//! A budget of memory that parallel work draws on.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that may be in use at once.
pub(super) struct Budget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

impl Budget {
    pub(super) fn new(total: u64) -> Self {
        Self { total, free: Mutex::new(total), returned: Condvar::new() }
    }

    /// Bytes that there are in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether `bytes` can ever be had.
    pub(super) fn allows(&self, bytes: u64) -> bool {
        bytes <= self.total
    }

    /// Runs `work` while it holds `bytes`, which [`Self::allows`] must have granted; waits for them.
    pub(super) fn with<T>(&self, bytes: u64, work: impl FnOnce() -> T) -> T {
        let held = self.take(bytes.min(self.total));
        let result = work();
        drop(held);
        result
    }

    fn take(&self, bytes: u64) -> Held<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.returned.wait_while(free, |free| *free < bytes);
        *wait.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Held { budget: self, bytes }
    }
}

/// Gives its bytes back when it is dropped, also by a panic.
struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[test]
    fn no_more_than_the_budget_is_in_use() {
        let (budget, used, most) = (Budget::new(100), AtomicU64::new(0), AtomicU64::new(0));
        (0u64..200).into_par_iter().for_each(|i| {
            let bytes = 30 + i % 50;
            budget.with(bytes, || {
                most.fetch_max(used.fetch_add(bytes, SeqCst) + bytes, SeqCst);
                std::thread::yield_now();
                used.fetch_sub(bytes, SeqCst);
            });
        });
        assert!((30..=100).contains(&most.load(SeqCst)));
        assert!(!budget.allows(101));
    }
}
