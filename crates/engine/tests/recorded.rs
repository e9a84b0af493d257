//! Layers out of what real engines noted: dockerd 20.10 and Podman 4.3 loaded the golden images, and their
//! notes lie in `testdata/engines`. The files are unpacked here, as the engines did it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::LayerBytes;
use engine::tar_split::{SplitLayer, TarSplit};
use tarball::Digest;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// Every layer of the golden base images.
fn golden_layers() -> Vec<Vec<u8>> {
    let mut layers = Vec::new();
    for name in ["gnu", "multi", "tiny"] {
        let archive = File::open(testdata().join("golden").join(name).join("base.tar")).unwrap();
        for member in tar::Archive::new(archive).entries().unwrap() {
            let mut member = member.unwrap();
            if member.path().unwrap().ends_with("layer.tar") && member.size() > 0 {
                let mut layer = Vec::new();
                member.read_to_end(&mut layer).unwrap();
                layers.push(layer);
            }
        }
    }
    layers
}

fn notes(engine: &str, layer: &[u8]) -> PathBuf {
    let ending = if engine == "docker" { "tar-split.json.gz" } else { "tar-split.gz" };
    let name = format!("{}.{ending}", Digest::of(layer).hex());
    testdata().join("engines").join(engine).join(name)
}

#[test]
fn what_engines_noted_and_unpacked_is_the_tar_again() {
    let layers = golden_layers();
    assert_eq!(layers.len(), 4);
    for layer in &layers {
        let files = tempfile::tempdir().unwrap();
        let mut tar = tar::Archive::new(layer.as_slice());
        tar.set_preserve_permissions(false);
        for member in tar.entries().unwrap() {
            let mut member = member.unwrap();
            // Owners and devices need root; of files, the contents are what counts.
            if member.header().entry_type().is_file() || member.header().entry_type().is_dir() {
                member.unpack_in(files.path()).unwrap();
            }
        }
        for engine in ["docker", "podman"] {
            let stored = File::open(notes(engine, layer)).unwrap();
            let split = TarSplit::read_gzip(stored).unwrap();
            assert_eq!(split.size_bytes(), layer.len() as u64);
            let read = SplitLayer::open(split, files.path()).unwrap();
            let mut whole = vec![0; layer.len()];
            read.read_exact_at(&mut whole, 0).unwrap();
            assert!(whole == *layer, "{engine}: {}", Digest::of(layer));
            assert!(read.changed_files().unwrap().is_empty());
        }
    }
}

#[test]
fn notes_that_are_damaged_are_an_error_or_other_bytes() {
    let layers = golden_layers();
    let files = tempfile::tempdir().unwrap();
    for layer in &layers {
        let stored = fs::read(notes("docker", layer)).unwrap();
        for cut in [0, 1, 10, stored.len() / 2, stored.len() - 9] {
            assert!(TarSplit::read_gzip(&stored[..cut]).is_err(), "{cut}");
        }
        for at in (0..stored.len()).step_by(7) {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x10;
            // Whatever comes out, nothing is read outside the folder and nothing panics.
            let Ok(split) = TarSplit::read_gzip(damaged.as_slice()) else { continue };
            let size = usize::try_from(split.size_bytes()).unwrap().min(1 << 20);
            let read = SplitLayer::open(split, files.path()).unwrap();
            let _ = read.read_exact_at(&mut vec![0; size], 0);
        }
    }
}
