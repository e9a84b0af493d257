//! The golden archives: what balenaEngine and Docker wrote is read as they meant it.

mod common;

use common::{COMPRESSIONS, GOLDEN, compress, digests, golden, golden_facts, open, read_layers};
use tarball::{Archive, Digest, PlatformChoice, ReadLimits};

#[test]
fn ids_and_layers_are_those_written_down() {
    for set in GOLDEN {
        let facts = golden_facts(set);
        for side in ["base", "target"] {
            let archive = open(&golden(set, &format!("{side}.tar"))).unwrap();
            let [image] = archive.images() else { panic!("{set} {side}: one image") };
            assert_eq!(image.config.id.to_string(), facts[side]["id"].as_str().unwrap());
            let diff_ids: Vec<_> = image.config.diff_ids.iter().map(ToString::to_string).collect();
            assert_eq!(diff_ids, digests(&facts[side]["diff_ids"]));
            assert_eq!(image.names[0].to_string(), facts[side]["tag"].as_str().unwrap());
            let layers = read_layers(&archive, image).unwrap();
            assert_eq!(layers.len(), diff_ids.len());
            for (layer, diff_id) in layers.iter().zip(diff_ids) {
                assert_eq!(Digest::of(layer).to_string(), diff_id);
            }
        }
    }
}

#[test]
fn deltas_with_linked_layers_are_read() {
    for set in GOLDEN {
        let facts = golden_facts(set);
        let archive = open(&golden(set, "delta.tar")).unwrap();
        let image = &archive.images()[0];
        assert_eq!(image.config.id.to_string(), facts["delta"]["image_id"].as_str().unwrap());
        let labels = facts["delta"]["labels"].as_object().unwrap();
        for (key, value) in labels {
            assert_eq!(image.config.labels.get(key).map(String::as_str), value.as_str());
        }
        assert_eq!(image.config.platform, tarball::Platform::default());
        let layers = read_layers(&archive, image).unwrap();
        assert_eq!(layers.len(), facts["delta"]["layers"].as_array().unwrap().len());
    }
}

#[test]
fn the_compression_of_the_whole_changes_nothing() {
    let plain = golden("multi", "target.tar");
    let expected = common::read_all(&plain).unwrap();
    for compression in COMPRESSIONS {
        let archive = open(&compress(&plain, compression)).unwrap();
        assert_eq!(archive.compression(), compression);
        for (found, expected) in archive.images().iter().zip(&expected) {
            assert_eq!(found.config, expected.0.config);
            assert_eq!(found.layers, expected.0.layers);
            let layers = read_layers(&archive, found).unwrap();
            assert_eq!(layers, expected.1);
            // Back to front, and two at once.
            let mut readers: Vec<_> =
                found.layers.iter().rev().map(|layer| archive.open_layer(layer).unwrap()).collect();
            for (reader, expected) in readers.iter_mut().rev().zip(&expected.1) {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(reader, &mut bytes).unwrap();
                assert_eq!(&bytes, expected);
            }
        }
    }
}

#[test]
fn a_directory_that_an_archive_was_unpacked_into_is_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = golden("multi", "target.tar");
    tar::Archive::new(&bytes[..]).unpack(directory.path()).unwrap();
    let (choice, limits) = (PlatformChoice::Host, ReadLimits::default());
    let archive = Archive::open_directory(directory.path(), &choice, &limits).unwrap();
    let expected = common::read_all(&bytes).unwrap();
    let layers = read_layers(&archive, &archive.images()[0]).unwrap();
    assert_eq!(layers, expected[0].1);
}
