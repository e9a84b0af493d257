//! Layers: the map of a tar's members, and unpacking.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use delta::tar_map::{BLOCK_BYTES, TarMap};
use tarball::unpack::{LayerToUnpack, UnpackOptions, unpack as unpack_layers};
use tarball::{DiffId, Digest};

use crate::archives::temporary_folder;
use crate::reframe;

const MAX_METADATA_BYTES: u64 = 1 << 20;

/// The map is without gaps and ends within the tar.
pub(crate) fn tar_map(data: &[u8]) {
    for tar in [data.to_vec(), reframe::tar(data)] {
        let map = TarMap::of(&tar).expect("memory can be read");
        let mut at = 0;
        for member in &map.members {
            assert_eq!(member.header, at);
            assert_eq!(at % BLOCK_BYTES, 0);
            assert!(member.data.start > at && member.data.start <= member.data.end);
            assert!(member.data.end <= tar.len() as u64);
            at = member.end();
        }
        assert!(map.tail <= tar.len() as u64);
        assert!(map.members.is_empty() || map.tail == at.min(tar.len() as u64));
    }
}

/// One or two layers. The first byte says after how many blocks the second begins.
///
/// Nothing appears, goes or changes beside the folder that is unpacked to.
pub(crate) fn unpack(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else {
        return;
    };
    let (lower, upper) = rest.split_at((usize::from(*cut) * 512).min(rest.len()));
    let layers = [ended(lower), ended(upper)];
    let folder = temporary_folder();
    let beside = folder.path().join("beside");
    fs::create_dir(&beside)
        .and_then(|()| fs::write(beside.join("file"), "as it was"))
        .expect("files");
    let before = facts(folder.path());
    let open = |layer| LayerToUnpack {
        diff_id: DiffId(Digest::of(layer)),
        open: Box::new(move || Ok(Box::new(layer) as Box<dyn io::Read>)),
    };
    let layers: Vec<_> = layers.iter().map(|layer| open(layer.as_slice())).collect();
    let root = folder.path().join("root");
    let options = UnpackOptions { max_metadata_bytes: MAX_METADATA_BYTES, ..Default::default() };
    let _ = unpack_layers(&layers, &root, &options);
    make_removable(&root);
    let _ = fs::remove_dir_all(&root);
    assert_eq!(facts(folder.path()), before, "something beside the folder changed");
}

/// With right checksums, and with the blocks that end a tar.
fn ended(layer: &[u8]) -> Vec<u8> {
    let mut layer = layer.to_vec();
    layer.resize(layer.len().next_multiple_of(512) + 1024, 0);
    reframe::tar(&layer)
}

type Facts = Vec<(String, u32, std::time::SystemTime, Vec<u8>)>;

/// Names, modes, times and contents of what is in `folder` and not in its `root`.
fn facts(folder: &Path) -> Facts {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our own folder") {
            let path = entry.expect("our own folder").path();
            let facts = path.symlink_metadata().expect("our own file");
            let content =
                if facts.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
            if facts.is_dir() {
                folders.push(path.clone());
            }
            let time = facts.modified().expect("a time");
            found.push((
                path.to_string_lossy().into_owned(),
                facts.permissions().mode(),
                time,
                content,
            ));
        }
    }
    found.sort();
    found
}

/// Who is not root cannot remove what is in a folder that may not be written.
fn make_removable(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}
