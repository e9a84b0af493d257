//! How a delta is packed as an image: labels of its config say what it is, and each layer of the
//! target has a [layer of its own](crate::delta_layer) (`docs/formats/balena.md`,
//! `docs/formats/silt-1.md`).

use serde::Serialize;
use serde_json::{Map, Value, json};
use tarball::{DiffId, ImageConfig, ImageId, JsonError, Name};

/// `balena`: the base's image ID.
const BALENA_BASE: &str = "io.resin.delta.base";
/// `balena`: the target's config, its raw JSON as a string.
const BALENA_CONFIG: &str = "io.resin.delta.config";
/// Both: the diffIDs of the base's layers, a JSON array. Ours alone have it.
const BASE_LAYERS: &str = "io.silt.delta.base-layers";
/// Native: the version of the format.
const NATIVE_VERSION: &str = "io.silt.delta.version";
/// Native: the base's image ID, for messages alone.
const NATIVE_BASE: &str = "io.silt.delta.base";
/// Native: the target's config, its raw JSON as a string.
const NATIVE_CONFIG: &str = "io.silt.delta.config";
/// Native: the target's names, a JSON array.
const NATIVE_NAMES: &str = "io.silt.delta.names";
/// Native: digests of what further layers make, which other deltas have as well; a JSON array.
const NATIVE_SHARED: &str = "io.silt.delta.shared";

/// Native: the sorts of files that the delta's bytes are spent on, see [`KindShare`].
const NATIVE_KINDS: &str = "io.silt.delta.kinds";

/// The version of the packaging and of the stream that this program writes and reads.
const VERSION: &str = "1";

/// Layers of a delta, or of its base. Engines stop at 127.
const MAX_LAYERS: usize = 4096;

/// Media type of a native delta as an OCI artifact.
pub const NATIVE_ARTIFACT_TYPE: &str = "application/vnd.silt.delta.v1";
/// Media type of a `balena` delta as an OCI artifact.
pub const BALENA_ARTIFACT_TYPE: &str = "application/vnd.balena.delta";

/// How a delta says what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeltaFormat {
    /// The native stream.
    Silt,
    /// A librsync delta against all base layers: what balenaEngine makes and loads.
    Balena,
}

impl DeltaFormat {
    /// The artifact type of the delta's manifest.
    pub fn artifact_type(self) -> &'static str {
        match self {
            Self::Silt => NATIVE_ARTIFACT_TYPE,
            Self::Balena => BALENA_ARTIFACT_TYPE,
        }
    }

    /// The name of the one member of each of its layers.
    pub fn member_name(self) -> &'static str {
        match self {
            Self::Silt => "delta.silt",
            Self::Balena => "delta",
        }
    }
}

impl std::fmt::Display for DeltaFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Silt => "silt",
            Self::Balena => "balena",
        })
    }
}

/// What the config of a delta image says.
#[derive(Debug, Clone)]
pub struct DeltaImage {
    /// How its layers are to be read.
    pub format: DeltaFormat,
    /// The config of the image that it makes.
    pub target: ImageConfig,
    /// The image that it was made against.
    pub base: Option<ImageId>,
    /// The layers of that image; with several base images, of all of them.
    pub base_layers: Option<Vec<DiffId>>,
    /// What the target is called; a `balena` delta does not say.
    pub names: Vec<Name>,
    /// What its bytes are spent on, as its maker estimated; a `balena` delta does not say.
    pub kinds: Vec<KindShare>,
    /// What the layers after those of the target make: bytes that several deltas read.
    pub shared: Vec<DiffId>,
}

/// What a delta spends on one sort of file. In the label each is four words, `;` between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindShare {
    /// The sort: a word such as `elf`.
    pub kind: String,
    /// Files of the target.
    pub files: u64,
    /// Bytes of the target.
    pub target_bytes: u64,
    /// Bytes of the delta.
    pub stored_bytes: u64,
}

impl KindShare {
    /// Of so many the label may speak.
    const MAX_COUNT: usize = 64;
    const MAX_NAME_BYTES: usize = 32;

    fn to_text(shares: &[Self]) -> String {
        let text =
            |s: &Self| format!("{} {} {} {}", s.kind, s.files, s.target_bytes, s.stored_bytes);
        shares.iter().map(text).collect::<Vec<_>>().join(";")
    }

    /// What the label says, as far as it can be read: nothing depends on it.
    fn parse_all(text: &str) -> Vec<Self> {
        text.split(';').take(Self::MAX_COUNT).filter_map(Self::parse).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next().filter(|kind| kind.len() <= Self::MAX_NAME_BYTES)?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Self { kind, files: number()?, target_bytes: number()?, stored_bytes: number()? })
    }
}

/// A config that claims to be a delta's, and is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DeltaImageError {
    /// The delta is of another version.
    #[error("delta {delta} is of version {found:?}; this program reads version {VERSION}")]
    Version {
        /// The delta image.
        delta: ImageId,
        /// What its label says.
        found: String,
    },
    /// A label that must be there is not.
    #[error("delta {delta} has no label {label}")]
    NoLabel {
        /// The delta image.
        delta: ImageId,
        /// The label.
        label: &'static str,
    },
    /// A label does not hold what it should.
    #[error("label {label} of delta {delta} is not as specified")]
    BadLabel {
        /// The delta image.
        delta: ImageId,
        /// The label.
        label: &'static str,
        /// Where in it the fault is.
        source: serde_json::Error,
    },
    /// The label with the base's ID is no digest.
    #[error("label {label} of delta {delta} is not an image ID")]
    BadBase {
        /// The delta image.
        delta: ImageId,
        /// The label.
        label: &'static str,
        /// What it is.
        source: tarball::digest::ParseDigestError,
    },
    /// The target's config cannot be read.
    #[error("the target config that delta {delta} holds cannot be read")]
    TargetConfig {
        /// The delta image.
        delta: ImageId,
        /// Why not.
        source: JsonError,
    },
    /// More layers than any image has.
    #[error("delta {delta} lists {layers} layers, and {MAX_LAYERS} are the most that is read")]
    TooManyLayers {
        /// The delta image.
        delta: ImageId,
        /// How many it lists, of its own or of its base.
        layers: usize,
    },
    /// Not each layer of the target has one of the delta.
    #[error("delta {delta} has {found} layers for the target's {expected}")]
    LayerCount {
        /// The delta image.
        delta: ImageId,
        /// Layers of the delta.
        found: usize,
        /// Layers of the target.
        expected: usize,
    },
}

impl DeltaImage {
    /// What `config` says of a delta; `None` where it is the config of a plain image.
    pub fn of(config: &ImageConfig) -> Result<Option<Self>, DeltaImageError> {
        let labels = Labels { config };
        let delta = if let Some(version) = config.labels.get(NATIVE_VERSION) {
            if version != VERSION {
                let (delta, found) = (config.id, version.chars().take(100).collect());
                return Err(DeltaImageError::Version { delta, found });
            }
            Self {
                format: DeltaFormat::Silt,
                target: labels.target(NATIVE_CONFIG)?,
                base: labels.base(NATIVE_BASE)?,
                base_layers: labels.parsed(BASE_LAYERS)?,
                names: labels.parsed(NATIVE_NAMES)?.unwrap_or_default(),
                kinds: config
                    .labels
                    .get(NATIVE_KINDS)
                    .map_or(Vec::new(), |s| KindShare::parse_all(s)),
                shared: labels.parsed(NATIVE_SHARED)?.unwrap_or_default(),
            }
        } else if config.labels.contains_key(BALENA_CONFIG) {
            Self {
                format: DeltaFormat::Balena,
                target: labels.target(BALENA_CONFIG)?,
                base: labels.base(BALENA_BASE)?,
                base_layers: labels.parsed(BASE_LAYERS)?,
                names: Vec::new(),
                kinds: Vec::new(),
                shared: Vec::new(),
            }
        } else {
            return Ok(None);
        };
        let base_layers = delta.base_layers.as_ref().map_or(0, Vec::len);
        let layers = config.diff_ids.len().max(base_layers);
        if layers > MAX_LAYERS {
            return Err(DeltaImageError::TooManyLayers { delta: config.id, layers });
        }
        let expected = delta.target.diff_ids.len().saturating_add(delta.shared.len());
        let found = config.diff_ids.len();
        match found == expected {
            true => Ok(Some(delta)),
            false => Err(DeltaImageError::LayerCount { delta: config.id, found, expected }),
        }
    }

    /// The layer of the delta that makes shared bytes, where these are some that this delta reads.
    pub fn shared_layer(&self, bytes: DiffId) -> Option<usize> {
        let place = self.shared.iter().position(|shared| *shared == bytes)?;
        Some(self.target.diff_ids.len() + place)
    }

    /// Whether it needs nothing that a device could lack.
    pub fn is_full(&self) -> bool {
        self.base_layers.as_ref().is_some_and(Vec::is_empty)
    }

    /// The config of the delta image whose layers are `layers`; the same for the same delta.
    ///
    /// `None` where the target's config is not UTF-8 and so fits no label.
    pub fn to_config(&self, layers: &[DiffId]) -> Option<Vec<u8>> {
        let target = str::from_utf8(&self.target.raw).ok()?;
        let mut labels = Map::new();
        let (base_label, config_label) = match self.format {
            DeltaFormat::Silt => (NATIVE_BASE, NATIVE_CONFIG),
            DeltaFormat::Balena => (BALENA_BASE, BALENA_CONFIG),
        };
        if let Some(base) = self.base {
            labels.insert(base_label.into(), base.to_string().into());
        }
        labels.insert(config_label.into(), target.into());
        if let Some(base_layers) = &self.base_layers {
            labels.insert(BASE_LAYERS.into(), json_text(base_layers));
        }
        if self.format == DeltaFormat::Silt {
            labels.insert(NATIVE_VERSION.into(), VERSION.into());
            labels.insert(NATIVE_NAMES.into(), json_text(&self.names));
            labels.insert(NATIVE_KINDS.into(), KindShare::to_text(&self.kinds).into());
            if !self.shared.is_empty() {
                labels.insert(NATIVE_SHARED.into(), json_text(&self.shared));
            }
        }
        let mut config = Map::new();
        // What runs the target's machine carries the delta; balenaEngine's own deltas say nothing.
        if self.format == DeltaFormat::Silt {
            let platform = &self.target.platform;
            insert_some(&mut config, "architecture", platform.architecture.as_deref());
            insert_some(&mut config, "os", platform.os.as_deref());
            insert_some(&mut config, "variant", platform.variant.as_deref());
        }
        insert_some(&mut config, "created", self.target.created.as_deref());
        config.insert("config".into(), json!({ "Labels": labels }));
        config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": layers }));
        serde_json::to_vec(&Value::Object(config)).ok()
    }
}

fn insert_some(object: &mut Map<String, Value>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        object.insert(key.into(), value.into());
    }
}

/// A list as JSON, in a string: labels hold nothing else.
fn json_text<T: ToString>(items: &[T]) -> Value {
    let items: Vec<Value> = items.iter().map(|item| item.to_string().into()).collect();
    Value::String(Value::Array(items).to_string())
}

struct Labels<'a> {
    config: &'a ImageConfig,
}

impl Labels<'_> {
    fn target(&self, label: &'static str) -> Result<ImageConfig, DeltaImageError> {
        let delta = self.config.id;
        let text = self.config.labels.get(label);
        let text = text.ok_or(DeltaImageError::NoLabel { delta, label })?;
        let config = ImageConfig::parse(text.clone().into_bytes());
        config.map_err(|source| DeltaImageError::TargetConfig { delta, source })
    }

    fn base(&self, label: &'static str) -> Result<Option<ImageId>, DeltaImageError> {
        let delta = self.config.id;
        let base = self.config.labels.get(label).map(|text| text.parse()).transpose();
        base.map_err(|source| DeltaImageError::BadBase { delta, label, source })
    }

    fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        label: &'static str,
    ) -> Result<Option<T>, DeltaImageError> {
        let delta = self.config.id;
        let value = self.config.labels.get(label).map(|text| serde_json::from_str(text));
        value.transpose().map_err(|source| DeltaImageError::BadLabel { delta, label, source })
    }
}
