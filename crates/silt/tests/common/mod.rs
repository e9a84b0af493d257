//! Stores to load into, and images that are made by hand.
#![allow(dead_code, unreachable_pub)]

pub mod config;
pub mod content;
pub mod random;
pub mod tars;

use std::path::{Path, PathBuf};

use serde_json::json;
use silt::create::{CreatedDelta, DeltaOptions, create_delta};
use silt::delta_image::DeltaFormat;
use silt::load::{Input, LoadError, LoadOptions, LoadReport, load, open_input, plan_load};
use silt::save::{ArchiveFormat, Output, SaveOptions, save_delta, save_images};
use silt::{NoProgress, OpenMode, Store};
use tarball::write::{BlobToWrite, ImageToWrite, ManifestToWrite};
use tarball::{Compression, DiffId, Digest, ImageConfig, ImageId, Name};

pub const FORMATS: [DeltaFormat; 2] = [DeltaFormat::Silt, DeltaFormat::Balena];

/// An image as its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
}

impl Image {
    /// One with a config that says no more than it must.
    pub fn of_layers(layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}});
        Self { layers, config: config.to_string().into_bytes() }
    }

    pub fn id(&self) -> ImageId {
        ImageId(Digest::of(&self.config))
    }

    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| DiffId(Digest::of(layer))).collect()
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The archive of an image as this program writes it, its layers compressed or not.
pub fn layout_archive(image: &Image, tag: &str, compression: Compression) -> Vec<u8> {
    let stored: Vec<Vec<u8>> = image.layers.iter().map(|l| compress(l, compression)).collect();
    let image = ImageToWrite {
        config: &ImageConfig::parse(image.config.clone()).unwrap(),
        names: &[name(tag)],
        layers: stored.iter().map(|bytes| blob(bytes, compression)).collect(),
        manifest: ManifestToWrite::default(),
    };
    let mut archive = Vec::new();
    tarball::write_archive(ArchiveFormat::DockerArchive, &[image], &mut archive).unwrap();
    archive
}

pub fn blob(bytes: &[u8], compression: Compression) -> BlobToWrite<'_> {
    BlobToWrite {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        compression,
        open: Box::new(move || Ok(Box::new(bytes))),
    }
}

fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        other => unimplemented!("{other}"),
    }
}

/// The archive of an image as Docker wrote it before 25: a folder for each layer, and a layer that
/// comes again is a symlink to the first.
pub fn legacy_archive(image: &Image, tag: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    let config_name = format!("{}.json", image.id().0.hex());
    let mut layers = Vec::new();
    for (i, layer) in image.layers.iter().enumerate() {
        let member = format!("l{i}/layer.tar");
        match image.layers[..i].iter().position(|earlier| earlier == layer) {
            Some(first) => {
                let target = format!("../l{first}/layer.tar");
                tars::append_link(&mut archive, tar::EntryType::Symlink, &member, &target);
            }
            None => tars::append_file(&mut archive, &member, layer),
        }
        layers.push(member);
    }
    tars::append_file(&mut archive, &config_name, &image.config);
    let manifest = json!([{"Config": config_name, "RepoTags": [tag], "Layers": layers}]);
    tars::append_file(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    tars::end(&mut archive);
    archive
}

/// A store in a folder of its own.
pub struct Device {
    pub folder: tempfile::TempDir,
    pub store: Store,
}

impl Device {
    /// In memory where that can be: stores sync all they write, and no disk is under test here.
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Store::open(&folder.path().join("store"), OpenMode::Create).unwrap();
        Self { folder, store }
    }

    /// One whose store holds what these archives hold.
    pub fn holding(archives: &[&[u8]]) -> Self {
        let device = Self::new();
        for archive in archives {
            device.load(archive).unwrap();
        }
        device
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn load(&self, archive: &[u8]) -> Result<LoadReport, LoadError> {
        let path = self.path("input.tar");
        std::fs::write(&path, archive).unwrap();
        self.load_path(&path)
    }

    pub fn load_path(&self, path: &Path) -> Result<LoadReport, LoadError> {
        let options = LoadOptions::default();
        let input = open_input(&Input::Path(path.into()), &self.store, &options, &NoProgress)?;
        let plan = plan_load(&input, &self.store, &options, &NoProgress)?;
        let report = load(&input, &plan, &self.store, &NoProgress)?;
        assert_eq!(report.spooled_bytes, plan.spooled_bytes);
        Ok(report)
    }

    pub fn delta(&self, base: &str, target: &str, options: &DeltaOptions) -> CreatedDelta {
        create_delta(&self.store, &[base], target, options, &NoProgress).unwrap()
    }

    /// Makes a delta and keeps it as `tag`.
    pub fn keep_delta(&self, base: &str, target: &str, format: DeltaFormat, tag: &str) -> ImageId {
        let options = DeltaOptions { format, ..DeltaOptions::default() };
        self.delta(base, target, &options).keep(&self.store, &[name(tag)], &NoProgress).unwrap()
    }

    pub fn save(&self, references: &[&str], format: ArchiveFormat) -> Vec<u8> {
        let path = self.path("output.tar");
        let options = SaveOptions { format, ..SaveOptions::default() };
        let output = Output::Path(path.clone());
        let saved = save_images(&self.store, references, &options, &output, &NoProgress).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(saved.bytes, bytes.len() as u64);
        bytes
    }

    pub fn save_delta(&self, delta: &CreatedDelta, tag: &str) -> Vec<u8> {
        let path = self.path("delta.tar");
        let (options, output) = (SaveOptions::default(), Output::Path(path.clone()));
        save_delta(&self.store, delta, &[name(tag)], &options, &output, &NoProgress).unwrap();
        std::fs::read(path).unwrap()
    }

    /// The image is there, its layers are those that it should have, and every stored byte is right.
    pub fn assert_holds(&self, image: &Image) {
        let snapshot = self.store.snapshot().unwrap();
        let stored = snapshot.get(image.id()).expect("the image is there");
        let layers: Vec<_> = stored.layers.iter().map(|layer| layer.diff_id).collect();
        assert_eq!(layers, image.diff_ids());
        assert_eq!(self.store.read_config(image.id()).unwrap(), image.config);
        let report = self.store.verify(&[image.id()], &mut |_| Ok(())).unwrap();
        assert!(report.is_whole(), "{report:?}");
    }

    pub fn assert_lacks(&self, image: &Image) {
        assert!(self.store.snapshot().unwrap().get(image.id()).is_none());
    }

    /// What a name means here.
    pub fn id_of(&self, reference: &str) -> ImageId {
        self.store.snapshot().unwrap().resolve(reference).unwrap().id
    }
}
