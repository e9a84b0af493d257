//! Random pairs of images through every format and every way of carrying them: what comes out is the
//! image that went in, byte for byte.

mod common;

use proptest::prelude::*;
use silt::NoProgress;
use silt::create::DeltaOptions;
use silt::delta_image::DeltaFormat;
use silt::load::{LoadOptions, apply, plan_apply};
use silt::save::ArchiveFormat;
use tarball::Compression;

use common::random::pair;
use common::{Device, FORMATS, Image, layout_archive, legacy_archive, name, tars};

const OLD: &str = "registry.example:5000/app/service:old";
const NEW: &str = "app:new";

fn cases(cases: u32) -> ProptestConfig {
    // More can be asked for in the usual way.
    let default = ProptestConfig::default();
    let cases = if default.cases == 256 { cases } else { default.cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn a_delta_makes_the_image_that_it_was_made_of(pair in pair()) {
        let [old, new] = pair.images();
        let old_archive = legacy_archive(&old, OLD);
        let new_archive = layout_archive(&new, NEW, Compression::Zstd);
        let builder = Device::holding(&[&old_archive, &new_archive]);
        builder.assert_holds(&old);
        builder.assert_holds(&new);
        for format in FORMATS {
            let delta = delta_saved_in_two_ways(&builder, format);
            let device = Device::holding(&[&old_archive]);
            let loaded = device.load(&delta).unwrap();
            prop_assert_eq!(loaded.images[0].id, new.id());
            let tag = match format {
                DeltaFormat::Silt => NEW,
                DeltaFormat::Balena => "service:delta",
            };
            prop_assert_eq!(device.id_of(tag), new.id());
            device.assert_holds(&new);
            device.assert_holds(&old);
            saves_are_the_same(&device, &builder, tag, &new);
        }
    }

    #[test]
    fn a_stored_delta_brings_a_removed_image_back(pair in pair()) {
        let [old, new] = pair.images();
        prop_assume!(old.id() != new.id());
        let archives = [legacy_archive(&old, OLD), legacy_archive(&new, NEW)];
        for format in FORMATS {
            let builder = Device::holding(&[&archives[0], &archives[1]]);
            builder.keep_delta(OLD, NEW, format, "service:delta");
            builder.store.remove(NEW, Default::default()).unwrap();
            builder.assert_lacks(&new);
            let options = LoadOptions::default();
            let plan = plan_apply(&builder.store, "service:delta", &options, &NoProgress).unwrap();
            let done = apply(&builder.store, "service:delta", &plan, &NoProgress).unwrap();
            prop_assert_eq!(done.images[0].id, new.id());
            builder.assert_holds(&new);
        }
    }

    #[test]
    fn several_images_and_deltas_load_in_one_go(pair in pair()) {
        let images = pair.three_images();
        let tags = [OLD, NEW, "app:next"];
        let archives: Vec<_> = images.iter().zip(tags).map(|(i, tag)| legacy_archive(i, tag)).collect();
        let builder = Device::new();
        for archive in &archives {
            builder.load(archive).unwrap();
        }
        for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let formats = [FORMATS[first], FORMATS[second]];
            builder.keep_delta(tags[0], tags[1], formats[0], "service:a-b");
            builder.keep_delta(tags[1], tags[2], formats[1], "service:b-c");
            let chain = builder.save(&["service:a-b", "service:b-c"], ArchiveFormat::DockerArchive);
            holds_all_after(&Device::holding(&[&archives[0]]), &chain, &images);
            let backwards = ["service:b-c", "service:a-b"];
            let backwards = builder.save(&backwards, ArchiveFormat::DockerArchive);
            holds_all_after(&Device::holding(&[&archives[0]]), &backwards, &images);
            let full = [OLD, "service:a-b", "service:b-c"];
            let full = builder.save(&full, ArchiveFormat::OciArchive);
            holds_all_after(&Device::new(), &full, &images);
        }
    }

    #[test]
    fn two_deltas_of_one_image_in_one_file_are_one_image(pair in pair()) {
        let [old, new] = pair.images();
        let old_archive = legacy_archive(&old, OLD);
        let builder = Device::holding(&[&old_archive, &legacy_archive(&new, NEW)]);
        builder.keep_delta(OLD, NEW, DeltaFormat::Silt, "service:silt");
        builder.keep_delta(OLD, NEW, DeltaFormat::Balena, "service:balena");
        let both = builder.save(&["service:balena", "service:silt"], ArchiveFormat::DockerArchive);
        let device = Device::holding(&[&old_archive]);
        let report = device.load(&both).unwrap();
        // Two ways to one image: the cheaper is taken, and the names are those of both.
        prop_assert_eq!(report.images.len(), 1);
        prop_assert_eq!(report.images[0].id, new.id());
        device.assert_holds(&new);
        prop_assert_eq!(device.id_of("service:balena"), new.id());
        prop_assert_eq!(device.id_of(NEW), new.id());
    }
}

/// A chain of deltas whose images were all called the same when they were made: the last keeps it.
#[test]
fn a_name_that_comes_twice_is_the_last_images() {
    let images = ["a", "b", "c"].map(|text| Image::of_layers(vec![tars::one_file(text)]));
    let archives = images.each_ref().map(|image| legacy_archive(image, "app:latest"));
    for format in FORMATS {
        let builder = Device::holding(&[&archives[0]]);
        for (i, (before, delta)) in
            [("app:1", "service:a-b"), ("app:2", "service:b-c")].into_iter().enumerate()
        {
            builder.store.tag("app:latest", &name(before)).unwrap();
            builder.load(&archives[i + 1]).unwrap();
            builder.keep_delta(before, "app:latest", format, delta);
        }
        let last = match format {
            DeltaFormat::Silt => "app:latest",
            DeltaFormat::Balena => "service:b-c",
        };
        for (chain, second) in
            [(["service:a-b", "service:b-c"], 1), (["service:b-c", "service:a-b"], 0)]
        {
            let chain = builder.save(&chain, ArchiveFormat::DockerArchive);
            let device = Device::holding(&[&archives[0]]);
            let report = device.load(&chain).unwrap();
            images.iter().for_each(|image| device.assert_holds(image));
            assert_eq!(report.images[second].names, [name(last)]);
            assert!(!report.images[1 - second].names.contains(&name(last)));
            assert_eq!(device.id_of(last), images[2].id());
        }
    }
}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn a_pipe_is_as_good_as_a_file(pair in pair()) {
        let [old, new] = pair.images();
        let archives = [legacy_archive(&old, OLD), layout_archive(&new, NEW, Compression::None)];
        let builder = Device::holding(&[&archives[0], &archives[1]]);
        builder.keep_delta(OLD, NEW, DeltaFormat::Silt, "service:delta");
        let delta = builder.save(&["service:delta"], ArchiveFormat::DockerArchive);
        let device = Device::new();
        for (archive, image) in [(&archives[0], &old), (&delta, &new)] {
            let pipe = device.path("pipe");
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            let report = std::thread::scope(|scope| {
                scope.spawn(|| std::fs::write(&pipe, archive).unwrap());
                device.load_path(&pipe).unwrap()
            });
            prop_assert_eq!(report.spooled_bytes, archive.len() as u64);
            device.assert_holds(image);
            std::fs::remove_file(&pipe).unwrap();
        }
    }
}

/// Saves a delta by way of the store and straight away, made on one thread and on four.
fn delta_saved_in_two_ways(builder: &Device, format: DeltaFormat) -> Vec<u8> {
    let options = |jobs| DeltaOptions { format, jobs: Some(jobs), ..DeltaOptions::default() };
    let direct = builder.save_delta(&builder.delta(OLD, NEW, &options(4)), "service:delta");
    let delta = builder.delta(OLD, NEW, &options(1));
    delta.keep(&builder.store, &[name("service:delta")], &NoProgress).unwrap();
    let kept = builder.save(&["service:delta"], ArchiveFormat::DockerArchive);
    assert!(direct == kept, "{format}: the same delta, saved in two ways, has other bytes");
    kept
}

/// Saves an image in both formats: the same bytes each time and wherever it came from, and the same
/// image when they are loaded.
fn saves_are_the_same(device: &Device, builder: &Device, tag: &str, image: &Image) {
    builder.store.tag(NEW, &name(tag)).unwrap();
    for format in [ArchiveFormat::DockerArchive, ArchiveFormat::OciArchive] {
        let saved = device.save(&[tag], format);
        assert!(saved == device.save(&[tag], format), "{format:?}: another save, other bytes");
        assert!(saved == builder.save(&[tag], format), "{format:?}: another store, other bytes");
        let elsewhere = Device::holding(&[&saved]);
        elsewhere.assert_holds(image);
        assert_eq!(elsewhere.id_of(tag), image.id());
    }
}

fn holds_all_after(device: &Device, archive: &[u8], images: &[Image]) {
    device.load(archive).unwrap();
    images.iter().for_each(|image| device.assert_holds(image));
    // Now all of it is there, and loading it again changes nothing.
    let again = device.load(archive).unwrap();
    assert!(again.images.iter().all(|image| image.was_present));
}
