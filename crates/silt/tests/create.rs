//! What a delta is made of, and what it says of its target.

mod common;

use serde_json::json;
use silt::create::{CreateError, DeltaOptions, create_delta};
use silt::delta_image::DeltaFormat;
use silt::{Failure, FailureKind, NoProgress};
use tarball::write::{ArchiveFormat, ImageToWrite, ManifestToWrite};
use tarball::{Compression, Digest, ImageConfig};

use common::content::content;
use common::{Device, FORMATS, Image, blob, layout_archive, name};

fn pair() -> [Image; 2] {
    let layers = [content(1, 90_000), content(3, 80_000)];
    let new = [layers[0].clone(), [layers[1].as_slice(), b"new"].concat()];
    [Image::of_layers(layers.to_vec()), Image::of_layers(new.to_vec())]
}

fn device_with(images: &[Image; 2]) -> Device {
    let archive = |i: usize, tag| layout_archive(&images[i], tag, Compression::None);
    Device::holding(&[&archive(0, "old:1"), &archive(1, "new:1")])
}

/// Flips a byte of a stored layer.
fn damage(device: &Device, layer: &[u8]) {
    let digest = Digest::of(layer);
    let path = device.store.root().join("blobs/sha256").join(digest.hex());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn refusal(device: &Device, format: DeltaFormat) -> CreateError {
    let options = DeltaOptions { format, ..DeltaOptions::default() };
    let made = create_delta(&device.store, &["old:1"], "new:1", &options, &NoProgress);
    made.map(|delta| delta.report().clone()).unwrap_err()
}

#[test]
fn a_damaged_layer_of_the_base_is_named() {
    let images = pair();
    for format in FORMATS {
        for i in [0, 1] {
            let device = device_with(&images);
            damage(&device, &images[0].layers[i]);
            let error = refusal(&device, format);
            assert_eq!(error.kind(), FailureKind::StoredDamaged, "{error:?}");
            let damaged = images[0].diff_ids()[i];
            assert!(
                matches!(&error, CreateError::DamagedBase { layer, .. } if *layer == damaged),
                "{error:?}"
            );
        }
    }
}

#[test]
fn a_damaged_layer_of_the_target_is_stored_damage_too() {
    let images = pair();
    for format in FORMATS {
        let device = device_with(&images);
        damage(&device, &images[1].layers[1]);
        let error = refusal(&device, format);
        assert_eq!(error.kind(), FailureKind::StoredDamaged, "{error:?}");
        assert!(error.to_string().contains(&images[1].diff_ids()[1].to_string()), "{error}");
    }
}

#[test]
fn the_subject_has_the_media_type_of_its_own_manifest() {
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let [old, new] = pair();
    let device = Device::holding(&[&layout_archive(&old, "old:1", Compression::None)]);
    let descriptor = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let layer = |bytes: &Vec<u8>| descriptor("application/vnd.oci.image.layer.v1.tar", bytes);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER,
        "config": descriptor("application/vnd.docker.container.image.v1+json", &new.config),
        "layers": new.layers.iter().map(layer).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string();
    let image = ImageToWrite {
        config: &ImageConfig::parse(new.config.clone()).unwrap(),
        names: &[name("new:1")],
        layers: new.layers.iter().map(|layer| blob(layer, Compression::None)).collect(),
        manifest: ManifestToWrite::Exact(manifest.as_bytes()),
    };
    let mut archive = Vec::new();
    tarball::write_archive(ArchiveFormat::OciArchive, &[image], &mut archive).unwrap();
    device.load(&archive).unwrap();
    device.keep_delta("old:1", "new:1", DeltaFormat::Silt, "d:1");
    let snapshot = device.store.snapshot().unwrap();
    let subject = snapshot.resolve("d:1").unwrap().subject.clone().unwrap();
    assert_eq!(subject.media_type, DOCKER);
    assert_eq!(subject.digest, Digest::of(manifest.as_bytes()));
}
