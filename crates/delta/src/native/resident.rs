//! The memory of regions: what the header declares is what is there to be taken.

/// Bytes that may be held for regions, and those that are.
pub(super) struct Resident {
    limit: u64,
    used: u64,
}

impl Resident {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Counts `bytes` that are about to be allocated.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), &'static str> {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used = used.ok_or("it takes more memory than the header declares")?;
        Ok(())
    }

    /// Counts `bytes` that were given back.
    pub(super) fn give(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}
