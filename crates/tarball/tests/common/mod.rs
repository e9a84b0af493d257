//! Archives for tests: golden ones, and ones that are made to be odd or damaged.
#![allow(dead_code, unreachable_pub)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tarball::{
    Archive, ArchiveError, ArchivedImage, Compression, Digest, PlatformChoice, ReadLimits,
};

pub const GOLDEN: [&str; 4] = ["gnu", "multi", "same-layers", "tiny"];

pub fn golden_directory(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden").join(set)
}

pub fn golden(set: &str, file: &str) -> Vec<u8> {
    std::fs::read(golden_directory(set).join(file)).unwrap()
}

/// What the set's maker wrote down about its images.
pub fn golden_facts(set: &str) -> Value {
    serde_json::from_slice(&golden(set, "manifest.json")).unwrap()
}

pub fn digests(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

pub fn open(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    open_with(bytes, &PlatformChoice::Host, &ReadLimits::default())
}

pub fn open_with(
    bytes: &[u8],
    choice: &PlatformChoice,
    limits: &ReadLimits,
) -> Result<Archive, ArchiveError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Archive::open_file(file, Path::new("test.tar"), choice, limits)
}

pub fn open_path(path: &Path) -> Result<Archive, ArchiveError> {
    let file = File::open(path).unwrap();
    Archive::open_file(file, path, &PlatformChoice::Host, &ReadLimits::default())
}

/// An image and its uncompressed layers.
pub type ReadImage = (ArchivedImage, Vec<Vec<u8>>);

/// Opens the archive and reads everything in it.
pub fn read_all(bytes: &[u8]) -> Result<Vec<ReadImage>, ArchiveError> {
    let archive = open(bytes)?;
    let images = archive.images().iter();
    images.map(|image| Ok((image.clone(), read_layers(&archive, image)?))).collect()
}

/// The layers that are there, uncompressed.
pub fn read_layers(archive: &Archive, image: &ArchivedImage) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let present = image.layers.iter().filter(|layer| layer.stored.is_some());
    present
        .map(|layer| {
            let mut bytes = Vec::new();
            match archive.open_layer(layer)?.read_to_end(&mut bytes) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(error.downcast::<ArchiveError>().expect("a typed error")),
            }
        })
        .collect()
}

pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::None => out.extend(bytes),
        Compression::Gzip => {
            let level = flate2::Compression::default();
            let mut writer = flate2::write::GzEncoder::new(&mut out, level);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap();
        }
        Compression::Bzip2 => {
            let level = bzip2::Compression::fast();
            let mut writer = bzip2::write::BzEncoder::new(&mut out, level);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap();
        }
        Compression::Xz => {
            let mut writer = liblzma::write::XzEncoder::new(&mut out, 6);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap();
        }
        Compression::Zstd => out = zstd::encode_all(bytes, 3).unwrap(),
    }
    out
}

pub const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd];

/// A tar that is written member by member, honest or not.
pub struct TarMaker {
    builder: tar::Builder<Vec<u8>>,
}

impl TarMaker {
    pub fn new() -> Self {
        let builder = tar::Builder::new(Vec::new());
        Self { builder }
    }

    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let header = header(tar::EntryType::Regular, name, "", content.len() as u64);
        self.builder.append(&header, content).unwrap();
        self
    }

    pub fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let header = header(kind, name, target, 0);
        self.builder.append(&header, &[][..]).unwrap();
        self
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.builder.get_mut().extend(bytes);
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }
}

/// A header that says what it is told: the `tar` crate's setters refuse what attackers write.
pub fn header(kind: tar::EntryType, name: &str, target: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    header
}

/// A small layer.
pub fn layer(content: &str) -> Vec<u8> {
    TarMaker::new().file("etc/motd", content).finish()
}

/// A config for these uncompressed layers.
pub fn config(layers: &[&[u8]], platform: &str) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let mut parts = platform.split('/');
    let mut config = json!({
        "os": parts.next(), "architecture": parts.next(),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    if let Some(variant) = parts.next() {
        config["variant"] = variant.into();
    }
    config.to_string().into_bytes()
}

/// The legacy docker-archive of one image.
pub fn docker_archive(config: &[u8], layers: &[&[u8]], tags: &[&str]) -> Vec<u8> {
    let config_name = format!("{}.json", Digest::of(config).hex());
    let names: Vec<_> = (0..layers.len()).map(|i| format!("l{i}/layer.tar")).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    let mut maker = TarMaker::new().file(&config_name, config);
    for (name, layer) in names.iter().zip(layers) {
        maker = maker.file(name, layer);
    }
    maker.file("manifest.json", manifest.to_string()).finish()
}

/// Blobs of a layout, in the order in which they are put in.
#[derive(Default, Clone)]
pub struct LayoutMaker {
    pub blobs: Vec<Vec<u8>>,
    pub entries: Vec<Value>,
}

impl LayoutMaker {
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.blobs.push(bytes.to_vec());
        json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
    }

    /// Adds an image and returns the descriptor of its manifest.
    pub fn image(&mut self, config: &[u8], layers: &[&[u8]]) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", config);
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        self.blob(media_type, manifest.to_string().as_bytes())
    }

    pub fn index(&mut self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        let media_type = "application/vnd.oci.image.index.v1+json";
        self.blob(media_type, index.to_string().as_bytes())
    }

    /// Files of the layout, by name.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
        ];
        files.extend(self.blobs.iter().map(|blob| {
            let name = format!("blobs/sha256/{}", Digest::of(blob).hex());
            (name, blob.clone())
        }));
        files
    }

    pub fn finish(&self) -> Vec<u8> {
        let files = self.files();
        let maker =
            files.iter().fold(TarMaker::new(), |maker, (name, bytes)| maker.file(name, bytes));
        maker.finish()
    }

    pub fn finish_directory(&self, directory: &Path) {
        std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        for (name, bytes) in self.files() {
            std::fs::write(directory.join(name), bytes).unwrap();
        }
    }
}

/// Whether a tool can be run. Where it cannot, the test that needs it is skipped, unless
/// `SILT_REQUIRE_TOOLS` says that all tools must be there.
#[allow(clippy::print_stderr)]
pub fn has_tool(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    let required = std::env::var_os("SILT_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(found || !required, "{tool} is needed and is not installed");
    if !found {
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

/// Runs a command that must succeed and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
