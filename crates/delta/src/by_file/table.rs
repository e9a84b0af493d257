//! Files by something that they may share.

use super::index::FileRef;

/// Files by their keys, of which any number may be the same.
pub(super) struct Table<K> {
    /// In order.
    entries: Vec<(K, FileRef)>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Ord + Copy> Table<K> {
    pub(super) fn add(&mut self, entries: impl Iterator<Item = (K, FileRef)>) {
        self.entries.extend(entries);
        self.entries.shrink_to_fit();
        // Of the two ways to sort, the one that merges what is in order already: layers are added one by one.
        self.entries.sort();
    }

    /// The files that have a key.
    pub(super) fn get(&self, key: K) -> Found<'_, K> {
        let first = self.entries.partition_point(|(other, _)| *other < key);
        let from_first = &self.entries[first..];
        Found(&from_first[..from_first.partition_point(|(other, _)| *other == key)])
    }

    /// How many files it has, counted once for each key.
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// The files that have one key, in order.
pub(super) struct Found<'a, K>(&'a [(K, FileRef)]);

impl<K> Clone for Found<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Found<'_, K> {}

impl<K> Default for Found<'_, K> {
    fn default() -> Self {
        Self(&[])
    }
}

impl<'a, K> Found<'a, K> {
    pub(super) fn iter(self) -> impl DoubleEndedIterator<Item = FileRef> + use<'a, K> {
        self.0.iter().map(|(_, file)| *file)
    }

    pub(super) fn contains(self, file: FileRef) -> bool {
        self.0.binary_search_by_key(&file, |(_, file)| *file).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_finds_what_a_map_of_lists_does(layers in prop::collection::vec(prop::collection::vec(0u8..5, 0..9), 0..4)) {
            let (mut table, mut map) = (Table::default(), BTreeMap::<u8, Vec<FileRef>>::new());
            for (origin, keys) in (0..).zip(&layers) {
                let files = || keys.iter().zip(0..).map(|(key, member)| (*key, FileRef { origin, member }));
                table.add(files());
                files().for_each(|(key, file)| map.entry(key).or_default().push(file));
            }
            for key in 0..5 {
                let expected = map.remove(&key).unwrap_or_default();
                prop_assert!(table.get(key).iter().eq(expected.iter().copied()));
                for (origin, member) in (0..4).flat_map(|origin| (0..9).map(move |member| (origin, member))) {
                    let file = FileRef { origin, member };
                    prop_assert_eq!(table.get(key).contains(file), expected.contains(&file));
                }
            }
        }
    }
}
