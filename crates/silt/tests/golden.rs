//! Images and deltas that balenaEngine itself made: what it writes is loaded, and deltas of ours
//! between its images, in both formats, make the same images.

use std::fs::File;
use std::path::{Path, PathBuf};

use silt::create::{DeltaOptions, create_delta};
use silt::delta_image::DeltaFormat;
use silt::load::{
    How, Input, LoadError, LoadOptions, LoadReport, apply, load, open_input, plan_apply, plan_load,
};
use silt::save::{Output, SaveOptions, save_delta, save_images};
use silt::{Failure, FailureKind, NoProgress};
use store::{OpenMode, Store};
use tarball::ImageId;

const SETS: [&str; 4] = ["gnu", "multi", "same-layers", "tiny"];

fn golden(set: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden").join(set).join(file)
}

struct Facts(serde_json::Value);

impl Facts {
    fn of(set: &str) -> Self {
        let file = File::open(golden(set, "manifest.json")).unwrap();
        Self(serde_json::from_reader(file).unwrap())
    }

    fn id(&self, image: &str) -> ImageId {
        self.0[image]["id"].as_str().unwrap().parse().unwrap()
    }

    fn diff_ids(&self, image: &str) -> Vec<String> {
        let ids = self.0[image]["diff_ids"].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }
}

struct Device {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Device {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), OpenMode::Create).unwrap();
        Self { _folder: folder, store }
    }

    fn load(&self, path: &Path) -> Result<LoadReport, silt::load::LoadError> {
        let options = LoadOptions::default();
        let input = open_input(&Input::Path(path.into()), &self.store, &options, &NoProgress)?;
        let plan = plan_load(&input, &self.store, &options, &NoProgress)?;
        load(&input, &plan, &self.store, &NoProgress)
    }

    fn assert_holds(&self, facts: &Facts, image: &str) {
        let snapshot = self.store.snapshot().unwrap();
        let stored = snapshot.get(facts.id(image)).expect("the image is there");
        let layers: Vec<_> = stored.layers.iter().map(|l| l.diff_id.to_string()).collect();
        assert_eq!(layers, facts.diff_ids(image));
        let report = self.store.verify(&[stored.id], &mut |_| Ok(())).unwrap();
        assert!(report.is_whole(), "{report:?}");
    }
}

#[test]
fn the_engines_own_deltas_load() {
    for set in SETS {
        let (facts, device) = (Facts::of(set), Device::new());
        device.load(&golden(set, "base.tar")).unwrap();
        let report = device.load(&golden(set, "delta.tar")).unwrap();
        assert_eq!(report.images[0].id, facts.id("target"), "{set}");
        // The tag of a balena delta names the target.
        assert_eq!(report.images[0].names[0].to_string(), format!("golden-{set}:delta"));
        device.assert_holds(&facts, "target");
    }
}

#[test]
fn targets_load_plainly() {
    for set in SETS {
        let (facts, device) = (Facts::of(set), Device::new());
        device.load(&golden(set, "target.tar")).unwrap();
        device.assert_holds(&facts, "target");
    }
}

#[test]
fn a_delta_without_its_base_is_refused_and_nothing_changes() {
    for set in ["gnu", "multi", "tiny"] {
        let device = Device::new();
        let error = device.load(&golden(set, "delta.tar")).unwrap_err();
        assert_eq!(error.kind(), FailureKind::BaseMissing, "{set}: {error}");
        assert!(device.store.snapshot().unwrap().images.is_empty());
    }
}

#[test]
fn our_deltas_of_the_engines_images_make_the_same_images() {
    for set in SETS {
        for format in [DeltaFormat::Silt, DeltaFormat::Balena] {
            round_trip(set, format);
        }
    }
}

/// Makes a delta both straight into a file and by way of the store, and loads each on a device.
fn round_trip(set: &str, format: DeltaFormat) {
    let (facts, builder) = (Facts::of(set), Device::new());
    builder.load(&golden(set, "base.tar")).unwrap();
    builder.load(&golden(set, "target.tar")).unwrap();
    let [base, target] = ["base", "target"].map(|image| facts.id(image).to_string());
    let options = DeltaOptions { format, ..DeltaOptions::default() };
    let create = || create_delta(&builder.store, &[&base], &target, &options, &NoProgress).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let [direct, kept] = ["direct.tar", "kept.tar"].map(|name| folder.path().join(name));
    let save_options = SaveOptions::default();
    let names = ["service:delta".parse().unwrap()];
    let output = Output::Path(direct.clone());
    save_delta(&builder.store, &create(), &names, &save_options, &output, &NoProgress).unwrap();
    create().keep(&builder.store, &names, &NoProgress).unwrap();
    let output = Output::Path(kept.clone());
    save_images(&builder.store, &["service:delta"], &save_options, &output, &NoProgress).unwrap();
    let same = std::fs::read(&direct).unwrap() == std::fs::read(&kept).unwrap();
    assert!(same, "{set}, {format}: the same delta, saved in two ways, has other bytes");

    let device = Device::new();
    device.load(&golden(set, "base.tar")).unwrap();
    let loaded = device.load(&direct).unwrap();
    assert_eq!(loaded.images[0].id, facts.id("target"), "{set}, {format}");
    device.assert_holds(&facts, "target");
    let name = match format {
        DeltaFormat::Silt => format!("golden-{set}:target"),
        DeltaFormat::Balena => "service:delta".into(),
    };
    assert_eq!(loaded.images[0].names[0].to_string(), name);
}

#[test]
fn what_is_there_already_is_only_tagged() {
    let (facts, device) = (Facts::of("multi"), Device::new());
    device.load(&golden("multi", "base.tar")).unwrap();
    device.load(&golden("multi", "target.tar")).unwrap();
    let options = LoadOptions { tag: Some("again:1".parse().unwrap()), ..Default::default() };
    let input = Input::Path(golden("multi", "delta.tar"));
    let input = open_input(&input, &device.store, &options, &NoProgress).unwrap();
    let plan = plan_load(&input, &device.store, &options, &NoProgress).unwrap();
    assert_eq!(plan.images[0].how, How::Present);
    assert_eq!(plan.room.needed_bytes, 0);
    let report = load(&input, &plan, &device.store, &NoProgress).unwrap();
    assert!(report.images[0].was_present);
    let snapshot = device.store.snapshot().unwrap();
    assert_eq!(snapshot.resolve("again:1").unwrap().id, facts.id("target"));
}

#[test]
fn a_delta_in_the_store_is_applied_there_and_an_image_is_not() {
    for format in [DeltaFormat::Silt, DeltaFormat::Balena] {
        let (facts, device) = (Facts::of("multi"), Device::new());
        device.load(&golden("multi", "base.tar")).unwrap();
        device.load(&golden("multi", "target.tar")).unwrap();
        let options = DeltaOptions { format, ..DeltaOptions::default() };
        let (base, target) = ("golden-multi:base", "golden-multi:target");
        let delta = create_delta(&device.store, &[base], target, &options, &NoProgress).unwrap();
        delta.keep(&device.store, &["the:delta".parse().unwrap()], &NoProgress).unwrap();
        device.store.remove(target, store::RemoveOptions::default()).unwrap();
        assert!(device.store.snapshot().unwrap().get(facts.id("target")).is_none());

        let options = LoadOptions { tag: Some("made:1".parse().unwrap()), ..Default::default() };
        let plan = plan_apply(&device.store, "the:delta", &options, &NoProgress).unwrap();
        apply(&device.store, "the:delta", &plan, &NoProgress).unwrap();
        device.assert_holds(&facts, "target");

        let error = plan_apply(&device.store, base, &options, &NoProgress).unwrap_err();
        assert!(matches!(error, LoadError::NotADelta { .. }), "{error}");
    }
}
