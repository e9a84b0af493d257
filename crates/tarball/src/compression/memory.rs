//! Memory that several decompressors share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limit for the windows of all decompressors together. Clones share what is left.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    left: Arc<AtomicU64>,
}

/// A part of a [`MemoryBudget`] that is in use; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct MemoryGrant {
    budget: MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// So much in all.
    pub fn new(limit_bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(limit_bytes)) }
    }

    /// What nobody uses now.
    pub fn left_bytes(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes a part; where there is less, says how much there is.
    pub(crate) fn take(&self, bytes: u64) -> Result<MemoryGrant, u64> {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map(|_| MemoryGrant { budget: self.clone(), bytes })
    }
}

impl Drop for MemoryGrant {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = MemoryBudget::new(10);
        let first = budget.take(7).unwrap();
        assert_eq!(budget.clone().take(4).unwrap_err(), 3);
        let second = budget.take(3).unwrap();
        drop(first);
        assert_eq!(budget.left_bytes(), 7);
        drop(second);
        assert_eq!(budget.left_bytes(), 10);
    }
}
