//! Small archives that no tool writes.

use std::path::Path;

use serde_json::{Value, json};

/// An archive with one image, which has one layer with one file.
pub(crate) struct Crafted {
    pub(crate) config: Value,
    pub(crate) names: Vec<&'static str>,
    pub(crate) layer: Vec<u8>,
}

impl Crafted {
    pub(crate) fn new(name: &'static str) -> Self {
        let mut layer = tar::Builder::new(Vec::new());
        add(&mut layer, "etc/motd", b"hello\n");
        let layer = layer.into_inner().unwrap();
        let diff_id = silt::DiffId(silt::Digest::of(&layer)).to_string();
        let config = json!({
            "os": "linux", "architecture": "amd64", "created": "2001-02-03T04:05:06Z",
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        });
        Self { config, names: vec![name], layer }
    }

    /// Writes the archive and returns the image's ID.
    pub(crate) fn write(&self, path: &Path) -> String {
        let config = serde_json::to_vec(&self.config).unwrap();
        let id = silt::Digest::of(&config);
        let config_name = format!("{}.json", id.hex());
        let manifest =
            json!([{ "Config": config_name, "RepoTags": self.names, "Layers": ["layer.tar"] }]);
        let mut archive = tar::Builder::new(Vec::new());
        add(&mut archive, "layer.tar", &self.layer);
        add(&mut archive, &config_name, &config);
        add(&mut archive, "manifest.json", manifest.to_string().as_bytes());
        std::fs::write(path, archive.into_inner().unwrap()).unwrap();
        id.to_string()
    }
}

pub(crate) fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, name, bytes).unwrap();
}
