//! Deltas of small real images may not grow: their sizes are recorded in testdata/sizes.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use common::Device;
use liblzma::read::XzDecoder;
use silt::NoProgress;
use silt::create::{DeltaOptions, KindReport, Level};
use silt::delta_image::DeltaFormat;
use silt::load::{Input, LoadOptions, open_input};
use silt::show::show;

/// A delta may be larger than recorded by one in so many bytes …
const TOLERANCE: u64 = 50;
/// … or by these, which are noise: the config in the delta names its size and its digest.
const SLACK_BYTES: u64 = 32;

/// Size of the saved delta by variant, by fixture.
type Sizes = BTreeMap<String, BTreeMap<String, u64>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/sizes")
}

fn variants() -> [(&'static str, DeltaOptions); 4] {
    let of = |format, level| DeltaOptions { format, level, ..DeltaOptions::default() };
    [
        ("fast", of(DeltaFormat::Silt, Level::Fast)),
        ("default", of(DeltaFormat::Silt, Level::Default)),
        ("best", of(DeltaFormat::Silt, Level::Best)),
        ("balena", of(DeltaFormat::Balena, Level::Default)),
    ]
}

/// Makes every delta of every fixture, and measures what is saved of it.
fn measure() -> Sizes {
    let mut fixtures: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.retain(|path| path.to_string_lossy().ends_with(".tar.xz"));
    fixtures.iter().map(|path| (fixture_name(path), measure_fixture(path))).collect()
}

fn fixture_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.xz").to_owned()
}

/// A store that holds `fixture:old` and `fixture:new`.
fn device_with(path: &Path) -> Device {
    let device = Device::new();
    let mut pair = tar::Archive::new(XzDecoder::new(fs::File::open(path).unwrap()));
    for image in pair.entries().unwrap() {
        let mut archive = Vec::new();
        image.unwrap().read_to_end(&mut archive).unwrap();
        device.load(&archive).unwrap();
    }
    device
}

fn measure_fixture(path: &Path) -> BTreeMap<String, u64> {
    let device = device_with(path);
    let size = |options: &DeltaOptions| {
        let delta = device.delta("fixture:old", "fixture:new", options);
        device.save_delta(&delta, "fixture:delta").len() as u64
    };
    variants().iter().map(|(name, options)| ((*name).to_owned(), size(options))).collect()
}

fn recorded() -> Sizes {
    serde_json::from_slice(&fs::read(folder().join("recorded.json")).unwrap()).unwrap()
}

#[test]
fn no_delta_grows() {
    let (measured, recorded) = (measure(), recorded());
    let names = |sizes: &Sizes| sizes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&measured), names(&recorded), "record the sizes, see testdata/sizes");
    let mut grown = Vec::new();
    for (fixture, sizes) in &measured {
        for (variant, size) in sizes {
            let before = recorded[fixture][variant];
            if *size > before + (before / TOLERANCE).max(SLACK_BYTES) {
                grown.push(format!("{fixture} {variant}: {before} → {size} bytes"));
            }
        }
    }
    for (fixture, sizes) in &measured {
        let [best, default] = ["best", "default"].map(|level| sizes[level]);
        assert!(best <= default, "{fixture}: {best} bytes by best, {default} by default");
    }
    assert!(grown.is_empty(), "larger than recorded:\n{}", grown.join("\n"));
}

#[test]
fn any_number_of_threads_makes_the_same_bytes() {
    let device = device_with(&folder().join("amd64.tar.xz"));
    for level in [Level::Fast, Level::Default, Level::Best] {
        let with = |jobs| {
            let options = DeltaOptions { level, jobs: Some(jobs), ..DeltaOptions::default() };
            let delta = device.delta("fixture:old", "fixture:new", &options);
            device.save_delta(&delta, "fixture:delta")
        };
        let one = with(1);
        assert!(one == with(2) && one == with(8), "{level:?}");
    }
}

#[test]
fn what_a_delta_is_spent_on_adds_up() {
    let device = device_with(&folder().join("amd64.tar.xz"));
    for format in common::FORMATS {
        let options = DeltaOptions { format, ..DeltaOptions::default() };
        let delta = device.delta("fixture:old", "fixture:new", &options);
        let report = delta.report();
        let sum = |count: fn(&KindReport) -> u64| report.kinds.iter().map(count).sum::<u64>();
        assert_eq!(sum(|kind| kind.target_bytes), report.normal_bytes);
        let parts = sum(|k| k.copied_bytes + k.added_bytes + k.transformed_bytes + k.literal_bytes);
        assert_eq!(parts, report.normal_bytes);
        // Frames and packaging are charged to nobody, and copies of librsync's are estimated.
        let stored_percent = sum(|kind| kind.stored_bytes) * 100 / report.delta_bytes;
        assert!((80..=120).contains(&stored_percent), "{stored_percent} %");
        let of = |name| report.kinds.iter().find(|kind| kind.kind == name).unwrap();
        assert_eq!((of("elf").files, of("gzip").files), (1, 8));
        // Most of what is there is one library, and so is most of what has changed.
        assert_eq!(report.kinds[0].kind, "elf");
        if format == DeltaFormat::Silt {
            assert_eq!(of("tar").literal_bytes, 0);
        }
    }
}

#[test]
fn a_saved_delta_says_what_it_is_spent_on() {
    let device = device_with(&folder().join("amd64.tar.xz"));
    let delta = device.delta("fixture:old", "fixture:new", &DeltaOptions::default());
    let path = device.path("saved.tar");
    fs::write(&path, device.save_delta(&delta, "fixture:delta")).unwrap();
    let options = LoadOptions::default();
    let opened = open_input(&Input::Path(path), &device.store, &options, &NoProgress).unwrap();
    let shown = show(&opened).unwrap().images.remove(0).delta.unwrap();
    let spent = delta.report().kinds.iter().filter(|kind| kind.stored_bytes > 0);
    let expected: Vec<_> = spent.map(|kind| (kind.kind.to_owned(), kind.stored_bytes)).collect();
    let found: Vec<_> = shown.kinds.into_iter().map(|s| (s.kind, s.stored_bytes)).collect();
    assert_eq!(found, expected);
}

#[test]
#[ignore = "writes testdata/sizes/recorded.json anew"]
fn record_the_sizes() {
    let text = serde_json::to_string_pretty(&measure()).unwrap() + "\n";
    fs::write(folder().join("recorded.json"), text).unwrap();
    assert_eq!(recorded().len(), 10);
}
