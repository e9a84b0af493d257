//! Stores: files in a store's directory that an enemy wrote, and whole loads into an honest one.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use delta::native::VERSION;
use delta::tar_map;
use silt::create::{DeltaOptions, create_delta};
use silt::delta_image::DeltaFormat;
use silt::load::{
    Input, LoadError, LoadOptions, LoadReport, load as load_images, open_input, plan_load,
};
use silt::save::{Compress, Output, SaveOptions, save_delta};
use silt::{NoProgress, OpenMode, Store, query};
use tarball::{Digest, ImageId};

use crate::archives::{temporary_folder, write_files};
use crate::reframe;
use crate::sections::{self, Section};

/// A layer that the store of [`load`] and [`load_delta`] has, and one that deltas make of it.
const BASE: &[u8] = include_bytes!("../../../testdata/vectors/silt-1/base.tar");
const TARGET: &[u8] = include_bytes!("../../../testdata/vectors/silt-1/target.tar");

/// The files as those of a store: every question is answered, or refused.
pub(crate) fn store(data: &[u8]) {
    let folder = temporary_folder();
    for part in ["blobs/sha256", "blocks", "tmp"] {
        fs::create_dir_all(folder.path().join(part)).expect("a folder");
    }
    let honest = [
        ("silt.json", r#"{"storeVersion":1}"#),
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
    ];
    for (name, content) in honest {
        fs::write(folder.path().join(name), content).expect("a small file");
    }
    write_files(folder.path(), &sections::parse(data));
    let Ok(store) = Store::open(folder.path(), OpenMode::ReadWrite) else {
        return;
    };
    let _ = query::list(&store);
    let _ = query::layers(&store);
    let _ = query::check(&store);
    let _ = query::disk_usage(&store);
    let _ = query::plan_prune(&store);
    let _ = query::verify(&store, &[], &NoProgress);
    if let Ok(snapshot) = store.snapshot() {
        for image in &snapshot.images {
            let id = image.id.to_string();
            let _ = query::history(&store, &id);
            let _ = query::inspect(&store, std::slice::from_ref(&id));
        }
    }
    let _ = query::prune(&store);
}

/// The files as a docker-archive that is loaded.
pub(crate) fn load(data: &[u8]) {
    load_archive(&sections::to_tar(&sections::parse(data)));
}

/// The bytes as the stream of a delta, in a delta image in which everything else is right. The first
/// byte says of which format.
pub(crate) fn load_delta(data: &[u8]) {
    let Some((format, stream)) = data.split_first() else {
        return;
    };
    match format & 1 {
        0 => load_archive(&delta_archive(DeltaFormat::Silt, &reframe::native(stream))),
        _ => load_archive(&delta_archive(DeltaFormat::Balena, stream)),
    }
}

/// The stream that makes one layer of the vectors out of the other: what [`load_delta`] would load.
pub fn native_delta() -> Vec<u8> {
    let device = Device::new();
    let (store, folder) = (&device.store, device.folder.path());
    let target = try_load(store, folder, &image_archive(TARGET)).expect("an honest image");
    let [base, target] = [device.base, target.images[0].id].map(|id| id.to_string());
    let delta = create_delta(store, &[&base], &target, &DeltaOptions::default(), &NoProgress);
    let delta = delta.expect("a delta between honest images");
    let output = Output::Path(folder.join("delta.tar"));
    let options = SaveOptions { compress: Some(Compress::None), ..SaveOptions::default() };
    save_delta(store, &delta, &[], &options, &output, &NoProgress).expect("room in memory");
    let archive = fs::read(folder.join("delta.tar")).expect("what was written");
    let name = DeltaFormat::Silt.member_name().as_bytes();
    let member = archive.chunks(512).position(|block| block.starts_with(name)).expect("its member");
    let size = tar_map::number(&archive[member * 512 + 124..][..12]).expect("a size");
    let start = (member + 1) * 512;
    archive[start..start + usize::try_from(size).expect("a small delta")].to_vec()
}

/// Two layers, the old and the new one; the first two bytes say where the new one begins. Deltas of
/// both formats bring the new one back.
pub(crate) fn round_trip(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let cut = (usize::from(u16::from_le_bytes(*head)) * 16).min(rest.len());
    let (old, new) = (reframe::tar(&rest[..cut]), reframe::tar(&rest[cut..]));
    let folder = temporary_folder();
    let store = Store::open(&folder.path().join("store"), OpenMode::Create).expect("a new store");
    let ids = [&old, &new].map(|layer| {
        let archive = image_archive(layer);
        try_load(&store, folder.path(), &archive).expect("an honest image").images[0].id
    });
    for format in [DeltaFormat::Silt, DeltaFormat::Balena] {
        let options = DeltaOptions { format, jobs: Some(1), ..DeltaOptions::default() };
        let [base, target] = ids.map(|id| id.to_string());
        let delta = create_delta(&store, &[&base], &target, &options, &NoProgress);
        // That it makes the target was proved by applying it.
        let delta = delta.expect("a delta between honest images");
        let output = Output::Path(folder.path().join("delta.tar"));
        save_delta(&store, &delta, &[], &SaveOptions::default(), &output, &NoProgress)
            .expect("room in memory");
    }
}

thread_local! {
    static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
}

/// A store with one image, whose layer is [`BASE`].
struct Device {
    folder: tempfile::TempDir,
    store: Store,
    base: ImageId,
}

impl Device {
    fn new() -> Self {
        let folder = temporary_folder();
        let store =
            Store::open(&folder.path().join("store"), OpenMode::Create).expect("a new store");
        let report =
            try_load(&store, folder.path(), &image_archive(BASE)).expect("an honest image");
        Self { folder, store, base: report.images[0].id }
    }

    /// Whether the store is whole, and exactly as it was.
    fn is_untouched(&self) -> bool {
        let snapshot = self.store.snapshot().expect("our own store");
        let files = fs::read_dir(self.store.root().join("tmp")).map_or(0, Iterator::count);
        snapshot.images.len() == 1 && snapshot.images[0].id == self.base && files == 0
    }
}

/// Loads an archive into a store that has [`BASE`]. Afterwards the store is whole; after a failure it
/// is as it was.
fn load_archive(archive: &[u8]) {
    DEVICE.with_borrow_mut(|slot| {
        let device = slot.take().unwrap_or_else(Device::new);
        match try_load(&device.store, device.folder.path(), archive) {
            Ok(report) => {
                let verified =
                    query::verify(&device.store, &[], &NoProgress).expect("our own store");
                assert!(verified.damage.is_empty(), "{report:?}");
            }
            Err(_) => {
                assert!(device.is_untouched(), "a load that failed left something behind");
                *slot = Some(device);
            }
        }
    });
}

fn try_load(store: &Store, folder: &Path, archive: &[u8]) -> Result<LoadReport, LoadError> {
    let path = folder.join("input.tar");
    fs::write(&path, archive).expect("room in memory");
    let options = LoadOptions { max_memory_bytes: 24 << 20, ..LoadOptions::default() };
    let input = open_input(&Input::Path(path), store, &options, &NoProgress)?;
    let plan = plan_load(&input, store, &options, &NoProgress)?;
    load_images(&input, &plan, store, &NoProgress)
}

fn config_of(layer: &[u8], labels: &str) -> String {
    let diff_id = Digest::of(layer);
    format!(
        r#"{{"config":{{"Labels":{{{labels}}}}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    )
}

fn image_archive(layer: &[u8]) -> Vec<u8> {
    archive_of(layer, &config_of(layer, ""))
}

fn archive_of(layer: &[u8], config: &str) -> Vec<u8> {
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = format!(r#"[{{"Config":"{config_name}","Layers":["layer.tar"]}}]"#);
    let files = [
        ("layer.tar", layer),
        (&config_name, config.as_bytes()),
        ("manifest.json", manifest.as_bytes()),
    ];
    let file =
        |(name, content): (&str, &[u8])| Section { name: name.into(), content: content.into() };
    sections::to_tar(&files.map(file))
}

/// The image of a delta that makes [`TARGET`] out of [`BASE`].
fn delta_archive(format: DeltaFormat, stream: &[u8]) -> Vec<u8> {
    let target = config_of(TARGET, "").replace('"', "\\\"");
    let base = Digest::of(config_of(BASE, "").as_bytes());
    let labels = match format {
        DeltaFormat::Silt => {
            format!(r#""io.silt.delta.version":"{VERSION}","io.silt.delta.config":"{target}""#)
        }
        DeltaFormat::Balena => {
            format!(r#""io.resin.delta.base":"{base}","io.resin.delta.config":"{target}""#)
        }
    };
    let mut layer = Vec::new();
    sections::append_member(&mut layer, format.member_name(), stream);
    layer.resize(layer.len() + 1024, 0);
    archive_of(&layer, &config_of(&layer, &labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_into_new_device(archive: &[u8]) -> Result<LoadReport, LoadError> {
        let device = Device::new();
        let report = try_load(&device.store, device.folder.path(), archive)?;
        assert!(!device.is_untouched());
        Ok(report)
    }

    /// What the harness builds around a stream is right: only the stream decides.
    #[test]
    fn a_right_stream_is_loaded() {
        let delta = native_delta();
        load_into_new_device(&delta_archive(DeltaFormat::Silt, &delta)).unwrap();
        let whole = [b"\x72\x73\x02\x36\x42\x28\x00", TARGET, &[0]].concat();
        load_into_new_device(&delta_archive(DeltaFormat::Balena, &whole)).unwrap();
        load_delta(&[&[0], &delta[..]].concat());
        load_delta(&[&[1], &whole[..]].concat());
    }
}
