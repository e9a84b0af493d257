//! Open files do not grow with the number of layers.
//!
//! What is tested runs in a process of its own, which is this test binary again, under a limit.

mod common;

use std::process::Command;

use silt::create::DeltaOptions;
use silt::save::ArchiveFormat;
use tarball::Compression;

use common::content::content;
use common::{Device, FORMATS, Image, layout_archive, tars};

/// Says to a process that the limit holds in it.
const LIMITED: &str = "SILT_TEST_DESCRIPTORS";
const MAX_FILES: usize = 128;
const OLD_LAYERS: usize = 10;
const NEW_LAYERS: usize = 300;

#[test]
fn hundreds_of_layers_take_few_open_files() {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n {MAX_FILES}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "limited_process", "--nocapture"])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Not a test of its own: what the process does that is limited.
#[test]
fn limited_process() {
    if std::env::var_os(LIMITED).is_none() {
        return;
    }
    assert_is_limited();
    let (old, new) = (image(OLD_LAYERS, 0), image(NEW_LAYERS, 1));
    let old_archive = layout_archive(&old, "old:1", Compression::None);
    let builder = Device::holding(&[&old_archive]);
    builder.load(&layout_archive(&new, "new:1", Compression::Zstd)).unwrap();
    builder.assert_holds(&new);
    let saved = builder.save(&["new:1", "old:1"], ArchiveFormat::DockerArchive);
    let both = Device::holding(&[&saved]);
    [&old, &new].iter().for_each(|image| both.assert_holds(image));
    for format in FORMATS {
        let options = DeltaOptions { format, ..DeltaOptions::default() };
        let straight = builder.save_delta(&builder.delta("old:1", "new:1", &options), "d:1");
        builder.keep_delta("old:1", "new:1", format, "d:1");
        assert!(builder.save(&["d:1"], ArchiveFormat::DockerArchive) == straight, "{format:?}");
        let device = Device::holding(&[&old_archive, &straight]);
        device.assert_holds(&new);
    }
}

/// A test of a limit that does not hold would say nothing.
fn assert_is_limited() {
    let files: std::io::Result<Vec<_>> =
        (0..MAX_FILES).map(|_| std::fs::File::open("/dev/null")).collect();
    assert!(files.is_err());
}

/// Layers with a file each, of which those of one image are like those of the other.
fn image(layers: usize, edition: u8) -> Image {
    let layer = |i: usize| {
        let mut bytes = content(u8::try_from(i % 200).unwrap(), 3_000);
        bytes.extend(format!("layer {i}, edition {edition}").bytes());
        let mut tar = Vec::new();
        tars::append_file(&mut tar, &format!("app/{i}.txt"), &bytes);
        tars::end(&mut tar);
        tar
    };
    Image::of_layers((0..layers).map(layer).collect())
}
