//! An image's config: exact bytes, and what can be read out of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::{ChainId, DiffId, Digest, ImageId};
use crate::json::{self, JsonError};
use crate::platform::Platform;

/// Largest config that is read. A `balena` delta's config holds its target's as a string, so this
/// is twice what registries accept.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// An image's config ([OCI image spec](https://github.com/opencontainers/image-spec/blob/main/config.md);
/// Docker's has further fields, a `balena` delta's fewer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The exact bytes, which alone are ever stored or written.
    pub raw: Vec<u8>,
    /// Digest of `raw`.
    pub id: ImageId,
    /// The layers' uncompressed tars, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// What the image is for, as far as the config says.
    pub platform: Platform,
    /// When the image was made, as it was written (RFC 3339).
    pub created: Option<String>,
    /// `config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// How the layers came into being, the oldest step first.
    pub history: Vec<HistoryEntry>,
}

/// One step of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// When, as it was written (RFC 3339).
    #[serde(deserialize_with = "json::text")]
    pub created: Option<String>,
    /// The command.
    #[serde(deserialize_with = "json::text")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(deserialize_with = "json::text")]
    pub author: Option<String>,
    /// What the tool wrote beside it.
    #[serde(deserialize_with = "json::text")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(deserialize_with = "json::or_default")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads a config and computes its digest. Unknown fields and `null`s are accepted; `rootfs`
    /// with well-formed diffIDs is required.
    pub fn parse(raw: Vec<u8>) -> Result<Self, JsonError> {
        let parsed: ParsedConfig = json::parse(&raw, MAX_CONFIG_BYTES)?;
        Ok(Self {
            id: ImageId(Digest::of(&raw)),
            diff_ids: parsed.rootfs.diff_ids,
            platform: Platform {
                os: parsed.os,
                architecture: parsed.architecture,
                variant: parsed.variant,
            },
            created: parsed.created,
            labels: parsed.config.labels,
            history: parsed.history,
            raw,
        })
    }

    /// The chainID of each layer's stack, the lowest first.
    pub fn chain_ids(&self) -> Vec<ChainId> {
        ChainId::of_stack(&self.diff_ids)
    }
}

#[derive(Deserialize)]
struct ParsedConfig {
    rootfs: ParsedRootfs,
    #[serde(default, deserialize_with = "json::text")]
    os: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    architecture: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    variant: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    created: Option<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    config: ParsedRunConfig,
    #[serde(default, deserialize_with = "json::list")]
    history: Vec<HistoryEntry>,
}

#[derive(Deserialize)]
struct ParsedRootfs {
    #[serde(default, deserialize_with = "json::list")]
    diff_ids: Vec<DiffId>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ParsedRunConfig {
    #[serde(rename = "Labels", deserialize_with = "json::map")]
    labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImageConfig, JsonError> {
        ImageConfig::parse(text.as_bytes().to_vec())
    }

    #[test]
    fn a_delta_config_needs_no_platform_and_no_history() {
        let text = format!(
            r#"{{"created":"2024-02-02T00:00:00Z","container_config":{{"Labels":null}},
              "config":{{"Labels":{{"io.resin.delta.base":"x","empty":null}}}},
              "rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            DiffId::EMPTY_LAYER
        );
        let config = parse(&text).unwrap();
        assert_eq!(config.diff_ids, [DiffId::EMPTY_LAYER]);
        assert_eq!(config.platform, Platform::default());
        assert_eq!(config.labels["io.resin.delta.base"], "x");
        assert_eq!(config.labels["empty"], "");
        assert_eq!(config.id.0, Digest::of(text.as_bytes()));
        assert_eq!(config.raw, text.as_bytes());
    }

    #[test]
    fn nulls_are_what_go_reads_them_as() {
        let config = parse(
            r#"{"architecture":"","os":null,"config":null,"history":null,
                "rootfs":{"type":"layers","diff_ids":null}}"#,
        )
        .unwrap();
        assert!(config.diff_ids.is_empty() && config.history.is_empty());
        assert_eq!(config.platform, Platform::default());
    }

    #[test]
    fn what_is_no_config_is_refused() {
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"rootfs":{"diff_ids":["sha256:12"]}}"#,
            r#"{"rootfs":{"diff_ids":{}}}"#,
        ] {
            assert!(matches!(parse(bad), Err(JsonError::Parse(_))), "{bad:?}");
        }
        let large = vec![b' '; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1];
        assert!(matches!(ImageConfig::parse(large), Err(JsonError::TooLarge { .. })));
    }

    #[test]
    fn small_bytes_do_not_become_large_memory() {
        let history = "{},".repeat(json::MAX_ENTRIES + 1);
        let text = format!(r#"{{"rootfs":{{}},"history":[{}]}}"#, history.trim_end_matches(','));
        assert!(parse(&text).is_err());
    }
}
