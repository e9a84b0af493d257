//! JSON documents and names.

use silt::delta_image::DeltaImage;
use tarball::platform::Platform;
use tarball::{DiffId, Digest, ImageConfig, ImageId, Index, Manifest, Name};

/// A config, and what it says of a delta.
pub(crate) fn config(data: &[u8]) {
    let Ok(config) = ImageConfig::parse(data.to_vec()) else {
        return;
    };
    assert_eq!(config.raw, data);
    assert_eq!(config.id, ImageId(Digest::of(data)));
    assert_eq!(config.chain_ids().len(), config.diff_ids.len());
    if let Ok(Some(delta)) = DeltaImage::of(&config) {
        let layers = delta.target.diff_ids.len() + delta.shared.len();
        assert_eq!(layers, config.diff_ids.len());
        let written = delta.to_config(&config.diff_ids).expect("JSON is UTF-8");
        let written = ImageConfig::parse(written).expect("what we write is a config");
        let again = DeltaImage::of(&written).expect("what we write is right").expect("is a delta");
        assert_eq!(again.target.raw, delta.target.raw);
        assert_eq!((again.base, again.base_layers), (delta.base, delta.base_layers));
    }
}

/// A manifest or an index.
pub(crate) fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data.to_vec()) {
        assert_eq!(manifest.raw, data);
    }
    let _ = Index::parse(data.to_vec());
}

/// Everything that is spelled in one word.
pub(crate) fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name), "{text:?}");
        assert_eq!(name.qualified().parse::<Name>().as_ref(), Ok(&name), "{text:?}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(diff_id) = text.parse::<DiffId>() {
        assert_eq!(diff_id.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().ok(), Some(platform), "{text:?}");
    }
}
