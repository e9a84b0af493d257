//! What earlier references of a region taught: for some old targets, where they are now.

/// A table of fixed size: old target → new target. An entry gives way to a newer one of its place.
#[derive(Debug)]
pub(super) struct LearnedMap {
    /// Keys hold the old target in the high bits and in the lowest whether the entry is trusted.
    entries: Vec<(u64, u64)>,
    shift: u32,
}

const TRUSTED: u64 = 1;
/// Targets above this are not learned, so that a key always has room for its flag.
const MAX_TARGET: u64 = u64::MAX >> 1;
/// A key that no target has.
const EMPTY: u64 = u64::MAX;

impl LearnedMap {
    /// Base-2 logarithm of the number of entries: one for 32 bytes of region, within limits.
    fn size_log(region_bytes: u64) -> u32 {
        (region_bytes / 32).checked_ilog2().unwrap_or(0).clamp(10, 16)
    }

    pub(super) fn memory_bytes(region_bytes: u64) -> u64 {
        (size_of::<(u64, u64)>() as u64) << Self::size_log(region_bytes)
    }

    pub(super) fn new(region_bytes: u64) -> Self {
        let log = Self::size_log(region_bytes);
        Self { entries: vec![(EMPTY, 0); 1 << log], shift: 64 - log }
    }

    fn entry(&mut self, old: u64) -> &mut (u64, u64) {
        let place = old.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        // Below the length, by the shift.
        let place = usize::try_from(place).unwrap_or(0);
        &mut self.entries[place]
    }

    fn find(&self, old: u64) -> Option<(u64, bool)> {
        let place = old.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        let (key, new) = *self.entries.get(usize::try_from(place).ok()?)?;
        (key != EMPTY && key >> 1 == old).then_some((new, key & TRUSTED != 0))
    }

    /// Where `old` is now, if that was learned and is trusted.
    pub(super) fn get(&self, old: u64) -> Option<u64> {
        self.find(old).and_then(|(new, is_trusted)| is_trusted.then_some(new))
    }

    /// Whether `old` was seen to go to `new`, trusted or not.
    pub(super) fn has_seen(&self, old: u64, new: u64) -> bool {
        self.find(old).is_some_and(|(seen, _)| seen == new)
    }

    /// Remembers an observation.
    pub(super) fn set(&mut self, old: u64, new: u64, is_trusted: bool) {
        if old < MAX_TARGET {
            *self.entry(old) = (old << 1 | u64::from(is_trusted), new);
        }
    }

    /// Forgets `old`.
    pub(super) fn remove(&mut self, old: u64) {
        if self.find(old).is_some() {
            *self.entry(old) = (EMPTY, 0);
        }
    }
}

/// Learned targets that no file bytes stand behind (`.bss`, numbers of objects): neighbours move together.
#[derive(Debug, Default)]
pub(super) struct ZeroedMap {
    /// By old target.
    pairs: Vec<(u64, u64)>,
}

impl ZeroedMap {
    /// More are not remembered, which bounds the time that insertion takes.
    const MAX_PAIRS: usize = 2048;

    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = 2 * (Self::MAX_PAIRS * size_of::<(u64, u64)>()) as u64;

    pub(super) fn set(&mut self, old: u64, new: u64) {
        match self.pairs.binary_search_by_key(&old, |pair| pair.0) {
            Ok(i) => self.pairs[i].1 = new,
            Err(i) if self.pairs.len() < Self::MAX_PAIRS => self.pairs.insert(i, (old, new)),
            Err(_) => {}
        }
    }

    /// Where `old` is if it moved with its nearest neighbour below, or else above, of those from
    /// `first` to `last`; and whether that is itself.
    pub(super) fn map(&self, old: u64, first: u64, last: u64) -> Option<(u64, bool)> {
        let after = self.pairs.partition_point(|pair| pair.0 <= old);
        let below = after.checked_sub(1).map(|i| self.pairs[i]).filter(|pair| pair.0 >= first);
        let above = self.pairs.get(after).copied().filter(|pair| pair.0 <= last);
        let (key, new) = below.or(above)?;
        Some((old.wrapping_sub(key).wrapping_add(new), key == old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_used_when_it_is_trusted() {
        let mut map = LearnedMap::new(0);
        map.set(0x1000, 0x2000, false);
        assert_eq!((map.get(0x1000), map.has_seen(0x1000, 0x2000)), (None, true));
        map.set(0x1000, 0x2000, true);
        assert_eq!(map.get(0x1000), Some(0x2000));
        map.remove(0x1000);
        assert_eq!(map.get(0x1000), None);
        map.set(u64::MAX, 1, true);
        assert_eq!((map.get(u64::MAX), map.get(u64::MAX >> 1)), (None, None));
    }

    #[test]
    fn zeroed_bytes_move_with_their_neighbours() {
        let mut map = ZeroedMap::default();
        map.set(100, 1100);
        map.set(300, 1200);
        assert_eq!(map.map(310, 90, 400), Some((1210, false)));
        assert_eq!(map.map(300, 90, 400), Some((1200, true)));
        assert_eq!(map.map(299, 90, 400), Some((1299, false)));
        assert_eq!(map.map(95, 90, 400), Some((1095, false)));
        assert_eq!(map.map(310, 400, 500), None);
    }
}
