//! Archives of several images, several platforms and several names.

mod common;

use common::{LayoutMaker, TarMaker, config, docker_archive, layer, open, open_with, read_layers};
use serde_json::{Value, json};
use tarball::archive::{ArchiveFault, ArchiveForm, FaultKind};
use tarball::{Archive, ArchiveError, Digest, Platform, PlatformChoice, ReadLimits};

fn only(platform: &str) -> PlatformChoice {
    PlatformChoice::Only(platform.parse().unwrap())
}

fn host() -> String {
    Platform::host().to_string()
}

fn open_for(bytes: &[u8], platform: &str) -> Result<Archive, ArchiveError> {
    open_with(bytes, &only(platform), &ReadLimits::default())
}

fn named(mut entry: Value, key: &str, name: &str) -> Value {
    entry["annotations"][key] = json!(name);
    entry
}

fn for_platform(mut entry: Value, platform: &str) -> Value {
    let mut parts = platform.split('/');
    entry["platform"] = json!({"os": parts.next(), "architecture": parts.next()});
    if let Some(variant) = parts.next() {
        entry["platform"]["variant"] = json!(variant);
    }
    entry
}

/// What BuildKit makes: an index of platforms, each with its provenance beside it.
fn several(platforms: &[&str]) -> LayoutMaker {
    let mut maker = LayoutMaker::default();
    let mut entries = Vec::new();
    for platform in platforms {
        let layer = layer(platform);
        let image = maker.image(&config(&[&layer], platform), &[&layer]);
        entries.push(for_platform(image, platform));
        let mut provenance = maker.blob("application/vnd.oci.image.manifest.v1+json", b"{}");
        provenance["annotations"]["vnd.docker.reference.type"] = json!("attestation-manifest");
        entries.push(for_platform(provenance, "unknown/unknown"));
    }
    let index = maker.index(&entries);
    maker.entries.push(named(index, "io.containerd.image.name", "docker.io/library/app:1"));
    maker
}

#[test]
fn the_machine_takes_its_own_platform() {
    let host = host();
    let bytes = several(&["linux/s390x", "linux/mips64le", &host]).finish();
    let archive = open(&bytes).unwrap();
    let [image] = archive.images() else { panic!("one image") };
    assert_eq!(image.names[0].to_string(), "app:1");
    assert_eq!(read_layers(&archive, image).unwrap(), [layer(&host)]);
    assert!(image.manifest.is_some());
}

#[test]
fn an_explicit_platform_is_taken_or_refused_by_name() {
    let bytes = several(&["linux/s390x", "linux/arm/v6", "linux/arm/v7"]).finish();
    for (wanted, taken) in [
        ("linux/s390x", "linux/s390x"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v8", "linux/arm/v7"),
    ] {
        let archive = open_for(&bytes, wanted).unwrap();
        let layers = read_layers(&archive, &archive.images()[0]).unwrap();
        assert_eq!(layers, [layer(taken)], "{wanted}");
    }
    let error = open_for(&bytes, "linux/arm64").unwrap_err();
    assert_eq!(error.kind(), FaultKind::Absent);
    assert!(error.to_string().contains("linux/s390x, linux/arm/v6, linux/arm/v7"), "{error}");
    let docker = docker_archive(&config(&[], "linux/s390x"), &[], &["a:1"]);
    assert!(open_for(&docker, "linux/amd64").is_err());
    assert!(open_for(&docker, "linux/s390x").is_ok());
}

#[test]
fn a_foreign_image_alone_is_taken_and_several_are_not_guessed_at() {
    let one = several(&["linux/s390x"]).finish();
    let image = open(&one).unwrap().images()[0].clone();
    assert_eq!(image.config.platform.to_string(), "linux/s390x");
    let two = several(&["linux/s390x", "linux/mips64le"]).finish();
    assert_eq!(open(&two).unwrap_err().kind(), FaultKind::Absent);
}

#[test]
fn platforms_that_are_listed_but_not_there_do_not_matter() {
    let host = host();
    let whole = several(&["linux/s390x", &host]);
    let foreign = layer("linux/s390x");
    let config = config(&[&foreign], "linux/s390x");
    // What Docker leaves out of the platforms that it did not pull: layers, config, manifest.
    for left_out in 1..=3 {
        let mut maker = whole.clone();
        maker.blobs.retain(|blob| *blob != foreign);
        if left_out > 1 {
            maker.blobs.retain(|blob| *blob != config);
        }
        if left_out > 2 {
            let config_digest = Digest::of(&config).to_string();
            maker.blobs.retain(|blob| !String::from_utf8_lossy(blob).contains(&config_digest));
        }
        let archive = open(&maker.finish()).unwrap();
        assert_eq!(archive.images()[0].config.platform, Platform::host());
    }
    let mut nothing = whole.clone();
    nothing.blobs.truncate(0);
    let fault = *open(&nothing.finish()).unwrap_err().fault;
    assert!(matches!(fault, ArchiveFault::Missing { .. }), "{fault:?}");
}

#[test]
fn an_image_with_several_names_is_one() {
    let mut maker = LayoutMaker::default();
    let layer = layer("x");
    let entry = maker.image(&config(&[&layer], &host()), &[&layer]);
    let reference = "org.opencontainers.image.ref.name";
    for name in ["old", "registry:5000/app:2", "Not A Name"] {
        maker.entries.push(named(entry.clone(), reference, name));
    }
    let archive = open(&maker.finish()).unwrap();
    let [image] = archive.images() else { panic!("one image") };
    let names: Vec<_> = image.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["old:latest", "registry:5000/app:2"]);
    assert_eq!(image.references, ["old", "registry:5000/app:2", "Not A Name"]);
}

#[test]
fn platforms_may_be_listed_at_the_top() {
    let host = host();
    let mut maker = LayoutMaker::default();
    for platform in ["linux/s390x", &host] {
        let layer = layer(platform);
        let entry = maker.image(&config(&[&layer], platform), &[&layer]);
        maker.entries.push(for_platform(entry, platform));
    }
    let archive = open(&maker.finish()).unwrap();
    let [image] = archive.images() else { panic!("one image") };
    assert_eq!(image.config.platform, Platform::host());
    // Two names are two images.
    for (entry, name) in maker.entries.iter_mut().zip(["a", "b"]) {
        *entry = named(entry.clone(), "org.opencontainers.image.ref.name", name);
    }
    assert_eq!(open(&maker.finish()).unwrap().images().len(), 2);
}

#[test]
fn what_is_no_image_is_passed_over() {
    let mut maker = LayoutMaker::default();
    let layer = layer("x");
    let image = maker.image(&config(&[&layer], &host()), &[&layer]);
    let empty = maker.blob("application/vnd.oci.empty.v1+json", b"{}");
    let artifact = json!({"schemaVersion": 2, "config": empty, "layers": []}).to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let artifact = maker.blob(media_type, artifact.as_bytes());
    maker.entries.extend([artifact.clone(), image]);
    assert_eq!(open(&maker.finish()).unwrap().images().len(), 1);
    maker.entries = vec![artifact];
    let fault = *open(&maker.finish()).unwrap_err().fault;
    assert!(matches!(fault, ArchiveFault::NoImage), "{fault:?}");
}

#[test]
fn indexes_nest_only_so_deep() {
    let mut maker = LayoutMaker::default();
    let layer = layer("x");
    let mut entry = maker.image(&config(&[&layer], &host()), &[&layer]);
    for _ in 0..4 {
        entry = maker.index(&[entry]);
    }
    maker.entries = vec![entry.clone()];
    assert!(open(&maker.finish()).is_ok());
    maker.entries = vec![maker.clone().index(&[entry.clone()])];
    maker.index(&[entry]);
    let fault = *open(&maker.finish()).unwrap_err().fault;
    assert!(matches!(fault, ArchiveFault::TooMany { .. }), "{fault:?}");
}

#[test]
fn both_lists_together_give_names_order_and_manifests() {
    let mut maker = LayoutMaker::default();
    let layers = [layer("one"), layer("two")];
    let configs: Vec<_> = layers.iter().map(|layer| config(&[layer], &host())).collect();
    for (layer, config) in layers.iter().zip(&configs) {
        let entry = maker.image(config, &[layer]);
        maker.entries.push(named(entry, "org.opencontainers.image.ref.name", "tag"));
    }
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let manifest: Vec<_> = [1, 0]
        .map(|i: usize| {
            json!({"Config": blob(&configs[i]), "Layers": [blob(&layers[i])],
                   "RepoTags": [format!("image{i}:x"), format!("image{i}:y")]})
        })
        .into();
    let mut files = maker.files();
    files.push(("manifest.json".to_owned(), json!(manifest).to_string().into_bytes()));
    let tar = files.iter().fold(TarMaker::new(), |maker, (name, bytes)| maker.file(name, bytes));
    let archive = open(&tar.finish()).unwrap();
    assert_eq!(archive.form(), ArchiveForm::DockerLayout);
    for (image, i) in archive.images().iter().zip([1, 0]) {
        assert_eq!(image.config.raw, configs[i]);
        let names: Vec<_> = image.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, [format!("image{i}:x"), format!("image{i}:y")]);
        assert_eq!(image.manifest.as_ref().unwrap().config.digest, Digest::of(&configs[i]));
        assert_eq!(read_layers(&archive, image).unwrap(), [layers[i].clone()]);
    }
}
