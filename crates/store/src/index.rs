//! `index.json`: which images the store has, and what they are called.
//!
//! One descriptor for each name of an image, one without a name for an image that has none. Entries
//! that Silt did not write are kept as they are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tarball::{Digest, ImageId, Name};

use crate::durable;
use crate::error::ReadError;
use crate::store::Store;

/// Far more than a device has images: 64 MiB are some 150,000 entries.
const INDEX_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

pub(crate) const MEDIA_TYPE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const MEDIA_TYPE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What stands before and after the digest at the end of an index: it is that of all bytes before.
const SEAL_START: &[u8] = br#","annotations":{"io.silt.checksum":""#;
const SEAL_DIGITS: usize = 64;
const SEAL_END: &[u8] = br#""}}"#;

/// The index, one entry for each image.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    /// Descriptors of others, with their places in the file.
    pub(crate) foreign: Vec<(usize, Value)>,
}

/// One image as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) image: ImageId,
    pub(crate) manifest: Digest,
    pub(crate) manifest_size_bytes: u64,
    pub(crate) names: BTreeSet<Name>,
    /// Grows with every publication; an image that was loaded or tagged later has a larger one.
    pub(crate) order: u64,
}

#[derive(Deserialize)]
struct IndexDocument {
    manifests: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryDocument {
    media_type: String,
    digest: Digest,
    size: u64,
    annotations: EntryAnnotations,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryAnnotations {
    #[serde(rename = "io.silt.image-id")]
    image: ImageId,
    #[serde(rename = "io.silt.order")]
    order: String,
    #[serde(
        rename = "org.opencontainers.image.ref.name",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    name: Option<Name>,
}

pub(crate) fn empty_index() -> Vec<u8> {
    Index::default().to_json()
}

/// Whether the index has the bytes that Silt gave it. Where others have put in entries of their own,
/// nothing can be said, and nothing is said against it. Where there is no index, nothing is wrong.
pub(crate) fn is_as_written(store: &Store) -> Result<bool, ReadError> {
    let path = store.index_path();
    let Some(bytes) = durable::read_small(&path, INDEX_LIMIT_BYTES)? else {
        return Ok(true);
    };
    let index = parse(&bytes).map_err(|source| ReadError::DamagedIndex { path, source })?;
    Ok(!index.foreign.is_empty() || has_right_seal(&bytes))
}

fn has_right_seal(bytes: &[u8]) -> bool {
    let sealed = || {
        let (before, digest) = bytes.strip_suffix(SEAL_END)?.split_last_chunk::<SEAL_DIGITS>()?;
        let document = before.strip_suffix(SEAL_START)?;
        Some(Digest::of(document).hex().as_bytes() == digest)
    };
    sealed().unwrap_or(false)
}

/// A digest of the index at its end finds what JSON does not: another letter in a name.
fn seal(document: &str) -> Vec<u8> {
    let open = document.strip_suffix('}').unwrap_or(document).as_bytes();
    [open, SEAL_START, Digest::of(open).hex().as_bytes(), SEAL_END].concat()
}

/// Reads the index. Where there is no index, there are no images.
pub(crate) fn read_index(store: &Store) -> Result<Index, ReadError> {
    let path = store.index_path();
    let Some(bytes) = durable::read_small(&path, INDEX_LIMIT_BYTES)? else {
        return Ok(Index::default());
    };
    parse(&bytes).map_err(|source| ReadError::DamagedIndex { path, source })
}

fn parse(bytes: &[u8]) -> Result<Index, serde_json::Error> {
    let document: IndexDocument = serde_json::from_slice(bytes)?;
    let mut index = Index::default();
    for (position, value) in document.manifests.into_iter().enumerate() {
        match own_entry(&value) {
            Some(entry) => index.merge(entry),
            None => index.foreign.push((position, value)),
        }
    }
    Ok(index)
}

fn own_entry(value: &Value) -> Option<Entry> {
    let document = EntryDocument::deserialize(value).ok()?;
    if document.media_type != MEDIA_TYPE_MANIFEST {
        return None;
    }
    Some(Entry {
        image: document.annotations.image,
        manifest: document.digest,
        manifest_size_bytes: document.size,
        order: document.annotations.order.parse().ok()?,
        names: document.annotations.name.into_iter().collect(),
    })
}

impl Index {
    /// The entry of an image.
    pub(crate) fn get(&self, image: ImageId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.image == image)
    }

    /// Adds an image without names, or replaces the manifest of one that is there.
    pub(crate) fn set_manifest(&mut self, image: ImageId, manifest: Digest, size_bytes: u64) {
        let order = self.next_order();
        match self.entries.iter_mut().find(|entry| entry.image == image) {
            Some(entry) => {
                entry.manifest = manifest;
                entry.manifest_size_bytes = size_bytes;
                entry.order = order;
            }
            None => self.entries.push(Entry {
                image,
                manifest,
                manifest_size_bytes: size_bytes,
                names: BTreeSet::new(),
                order,
            }),
        }
    }

    /// Lets `name` mean `image`, which is in the index, and returns the image that it meant before,
    /// which stays.
    pub(crate) fn set_name(&mut self, image: ImageId, name: &Name) -> Option<ImageId> {
        let before = self.entries.iter().find(|entry| entry.names.contains(name));
        let before = before.map(|entry| entry.image);
        if before == Some(image) {
            return None;
        }
        let order = self.next_order();
        for entry in &mut self.entries {
            entry.names.remove(name);
            if entry.image == image {
                entry.names.insert(name.clone());
                entry.order = order;
            }
        }
        before
    }

    /// Takes names away from an image, which stays.
    pub(crate) fn take_names(&mut self, image: ImageId, names: &[Name]) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.image == image) {
            entry.names.retain(|name| !names.contains(name));
        }
    }

    /// Takes an image out.
    pub(crate) fn remove(&mut self, image: ImageId) {
        self.entries.retain(|entry| entry.image != image);
    }

    /// The index as `index.json` has it: oldest first, the same bytes for the same content.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.order, entry.image));
        let own = entries.into_iter().flat_map(descriptors);
        let foreign = self.foreign.iter().map(|(_, value)| value.clone());
        let manifests: Vec<Value> = own.chain(foreign).collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPE_INDEX,
            "manifests": manifests,
        });
        seal(&document.to_string())
    }

    fn next_order(&self) -> u64 {
        let last = self.entries.iter().map(|entry| entry.order).max();
        last.map_or(1, |last| last.saturating_add(1))
    }

    /// Brings together the descriptors of one image. Of two images with one name the later keeps it.
    fn merge(&mut self, new: Entry) {
        for entry in &mut self.entries {
            entry.names.retain(|name| !new.names.contains(name));
        }
        match self.entries.iter_mut().find(|entry| entry.image == new.image) {
            Some(entry) => {
                entry.names.extend(new.names);
                entry.order = entry.order.max(new.order);
            }
            None => self.entries.push(new),
        }
    }
}

fn descriptors(entry: &Entry) -> Vec<Value> {
    let descriptor = |name: Option<&Name>| {
        let mut annotations = json!({
            "io.silt.image-id": entry.image,
            "io.silt.order": entry.order.to_string(),
        });
        if let Some(name) = name {
            annotations["org.opencontainers.image.ref.name"] = json!(name);
        }
        json!({
            "mediaType": MEDIA_TYPE_MANIFEST,
            "digest": entry.manifest,
            "size": entry.manifest_size_bytes,
            "annotations": annotations,
        })
    };
    if entry.names.is_empty() {
        return vec![descriptor(None)];
    }
    entry.names.iter().map(|name| descriptor(Some(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: u8) -> ImageId {
        ImageId(Digest::of(&[number]))
    }

    fn index_of(names: &[(u8, &[&str])]) -> Index {
        let mut index = Index::default();
        for (number, names) in names {
            index.set_manifest(image(*number), Digest::of(&[*number, 0]), 100);
            for name in *names {
                index.set_name(image(*number), &name.parse().unwrap());
            }
        }
        index
    }

    #[test]
    fn what_is_written_is_read_again() {
        let index = index_of(&[(1, &["a:1", "b:1"]), (2, &[]), (3, &["c:1"])]);
        assert_eq!(parse(&index.to_json()).unwrap(), index);
        assert_eq!(parse(&empty_index()).unwrap(), Index::default());
    }

    #[test]
    fn a_name_moves_and_its_former_image_stays() {
        let mut index = index_of(&[(1, &["a:1"]), (2, &[])]);
        assert_eq!(index.set_name(image(2), &"a:1".parse().unwrap()), Some(image(1)));
        assert_eq!(index.set_name(image(2), &"a:1".parse().unwrap()), None);
        assert!(index.get(image(1)).unwrap().names.is_empty());
        assert_eq!(index.get(image(2)).unwrap().names.len(), 1);
    }

    #[test]
    fn entries_of_others_survive() {
        let foreign =
            r#"{"digest":"sha512:00","size":1,"mediaType":"x","platform":{"os":"plan9"}}"#;
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{foreign}]}}"#);
        let mut index = parse(text.as_bytes()).unwrap();
        assert_eq!((index.entries.len(), index.foreign.len()), (0, 1));
        index.set_manifest(image(1), Digest::of(b"m"), 5);
        let again = parse(&index.to_json()).unwrap();
        assert_eq!(again.entries, index.entries);
        assert_eq!(again.foreign[0].1, serde_json::from_str::<Value>(foreign).unwrap());
    }

    /// What still parses as an index is not as it was written.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = index_of(&[(1, &["a:1", "b:1"]), (2, &[])]).to_json();
        assert!(has_right_seal(&bytes) && has_right_seal(&empty_index()));
        for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(!has_right_seal(&damaged), "byte {at}, bit {bit}");
        }
    }

    #[test]
    fn what_is_not_an_index_is_refused() {
        for bad in ["", "{", "[]", "{}", r#"{"manifests":{}}"#, "\u{0}\u{0}"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
