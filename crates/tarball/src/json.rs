//! JSON from strangers: a bounded size, bounded lists, and `null` wherever Go writes one.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest list and largest map. An image has some hundreds of layers at the very most; without a
/// bound, a few bytes of JSON for each entry become many times that in memory.
pub(crate) const MAX_ENTRIES: usize = 20_000;

/// JSON that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Larger than such a document may be.
    #[error("{bytes} bytes are more than the {limit} that such a document may have")]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Not JSON, or without the fields that it needs. The message has line and column.
    #[error("not the JSON that it should be")]
    Parse(#[from] serde_json::Error),
}

/// Parses a document of at most `limit` bytes.
pub(crate) fn parse<T: DeserializeOwned>(raw: &[u8], limit: u64) -> Result<T, JsonError> {
    let bytes = raw.len() as u64;
    if bytes > limit {
        return Err(JsonError::TooLarge { bytes, limit });
    }
    Ok(serde_json::from_slice(raw)?)
}

/// A list of at most [`MAX_ENTRIES`]; `null` is an empty one, as Go writes it.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(List(PhantomData))
}

/// A map of at most [`MAX_ENTRIES`] from string to string; `null` is an empty one, and a value that
/// is `null` an empty string, as Go reads it.
pub(crate) fn map<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Map)
}

/// `null` is the default value.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An empty string says as little as none.
pub(crate) fn text<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_ENTRIES} entries, or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == MAX_ENTRIES {
                return Err(A::Error::invalid_length(MAX_ENTRIES + 1, &self));
            }
            list.push(entry);
        }
        Ok(list)
    }
}

struct Map;

impl<'de> Visitor<'de> for Map {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of at most {MAX_ENTRIES} entries to strings, or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Option<String>>()? {
            if map.len() == MAX_ENTRIES {
                return Err(A::Error::invalid_length(MAX_ENTRIES + 1, &self));
            }
            map.insert(key, value.unwrap_or_default());
        }
        Ok(map)
    }
}
