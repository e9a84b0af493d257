//! Memory does not grow with the number of layers.
//!
//! Each measurement runs in a process of its own, which is this test binary again: the system counts
//! the peak of a process from its start.

mod common;

use std::path::Path;
use std::process::Command;

use silt::create::{DeltaOptions, create_delta};
use silt::delta_image::DeltaFormat;
use silt::load::{Input, LoadOptions, load, open_input, plan_load};
use silt::save::{Output, SaveOptions, save_delta};
use silt::{NoProgress, OpenMode, Store};

use common::content::content;
use common::{Device, Image, legacy_archive, name, tars};

/// Says to the process that measures what to do, and in which folder.
const TASK: &str = "SILT_TEST_LAYERS_TASK";
const FOLDER: &str = "SILT_TEST_LAYERS_FOLDER";

const FILES: usize = 480;
const FILE_BYTES: usize = 68 << 10;
const FEW_LAYERS: usize = 4;
const MANY_LAYERS: usize = 120;
/// What many layers may cost more than few: their open files, names and digests.
const MARGIN_BYTES: u64 = 8 << 20;

#[test]
fn many_layers_take_no_more_memory_than_few() {
    let folders = [FEW_LAYERS, MANY_LAYERS].map(|layers| (layers, prepare(layers)));
    for task in ["load", "delta-silt", "load-silt", "delta-balena", "load-balena"] {
        let [few, many] = folders.each_ref().map(|(layers, folder)| {
            let peak = measure(task, folder.folder.path());
            assert!(peak > 1 << 20, "{task}, {layers} layers: {peak} bytes is no peak");
            peak
        });
        assert!(
            many <= few + MARGIN_BYTES,
            "{task}: {few} bytes with {FEW_LAYERS} layers, {many} with {MANY_LAYERS}"
        );
    }
}

/// Not a test of its own: what the processes do that are measured.
#[test]
fn measured_process() {
    let (Some(task), Some(folder)) = (std::env::var_os(TASK), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = Path::new(&folder);
    match task.to_str() {
        Some("load") => load_into(folder, "builder", "new.tar"),
        Some("load-silt") => load_into(folder, "silt", "delta.tar"),
        Some("load-balena") => load_into(folder, "balena", "delta.tar"),
        Some("delta-silt") => make_delta(folder, DeltaFormat::Silt),
        Some("delta-balena") => make_delta(folder, DeltaFormat::Balena),
        task => unreachable!("{task:?}"),
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    std::fs::write(folder.join("status"), status).unwrap();
}

fn measure(task: &str, folder: &Path) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "measured_process"]).env(TASK, task).env(FOLDER, folder);
    // Else glibc keeps some freed buffers and returns others, and which depends on their order.
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{task}: {}", String::from_utf8_lossy(&output.stdout));
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    std::fs::remove_file(folder.join("status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// Stores that hold the old image, and an archive of the new one.
fn prepare(layers: usize) -> Device {
    let device = Device::new();
    let archive = |image: Image, tag| legacy_archive(&image, tag);
    std::fs::write(device.path("new.tar"), archive(image(layers, 1), "app:new")).unwrap();
    let old = device.path("old.tar");
    std::fs::write(&old, archive(image(layers, 0), "app:old")).unwrap();
    for store in ["builder", "silt", "balena"] {
        load_into(device.folder.path(), store, "old.tar");
    }
    device
}

/// An image whose files are the same however many layers they are spread over. Each file of another
/// version is edited in one place.
fn image(layers: usize, version: u8) -> Image {
    let files: Vec<usize> = (0..FILES).collect();
    let layers: Vec<Vec<u8>> =
        files.chunks(FILES / layers).map(|files| layer(files, version)).collect();
    Image::of_layers(layers)
}

fn layer(files: &[usize], version: u8) -> Vec<u8> {
    let mut tar = Vec::new();
    for file in files {
        // One more byte before a slice of noise: no two files have blocks in common.
        let mut bytes = format!("file {file}").into_bytes();
        let noise = content(u8::try_from(file % 100).unwrap(), FILE_BYTES);
        bytes.extend(noise.iter().map(|byte| byte ^ u8::try_from(file / 100).unwrap()));
        bytes[FILE_BYTES / 2] ^= version;
        tars::append_file(&mut tar, &format!("data/{file}"), &bytes);
    }
    tars::end(&mut tar);
    tar
}

fn load_into(folder: &Path, store: &str, archive: &str) {
    let store = Store::open(&folder.join(store), OpenMode::Create).unwrap();
    let (input, options) = (Input::Path(folder.join(archive)), LoadOptions::default());
    let input = open_input(&input, &store, &options, &NoProgress).unwrap();
    let plan = plan_load(&input, &store, &options, &NoProgress).unwrap();
    assert_eq!(plan.images.len(), 1);
    load(&input, &plan, &store, &NoProgress).unwrap();
}

fn make_delta(folder: &Path, format: DeltaFormat) {
    let store = Store::open(&folder.join("builder"), OpenMode::Create).unwrap();
    // One thread: with several, what the allocator keeps depends on who was first.
    let options = DeltaOptions { format, jobs: Some(1), ..DeltaOptions::default() };
    let delta = create_delta(&store, &["app:old"], "app:new", &options, &NoProgress).unwrap();
    let output = Output::Path(folder.join("delta.tar"));
    let names = [name("app:delta")];
    save_delta(&store, &delta, &names, &SaveOptions::default(), &output, &NoProgress).unwrap();
}
