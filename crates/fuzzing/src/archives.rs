//! Archives and layouts: opened, and all their layers read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use rustix::fs::{MemfdFlags, memfd_create};
use tarball::{Archive, Digest, PlatformChoice, ReadLimits};

use crate::reframe;
use crate::sections::{self, Section};

/// No layer is read further than this.
const MAX_LAYER_BYTES: u64 = 1 << 20;

/// The bytes as an archive file, as they are and with right tar checksums.
pub(crate) fn archive(data: &[u8]) {
    read_file(data);
    let reframed = reframe::tar(data);
    if reframed != data {
        read_file(&reframed);
    }
}

/// The files as members of a tar, in which documents name blobs by their true digests.
pub(crate) fn documents(data: &[u8]) {
    read_file(&sections::to_tar(&sections::parse(data)));
}

/// The files as a layout on disk.
pub(crate) fn layout_directory(data: &[u8]) {
    let folder = temporary_folder();
    write_files(folder.path(), &sections::parse(data));
    if let Ok(archive) =
        Archive::open_directory(folder.path(), &PlatformChoice::default(), &limits())
    {
        read_layers(&archive);
    }
}

fn read_file(bytes: &[u8]) {
    let file = memory_file(bytes);
    let path = Path::new("input.tar");
    if let Ok(archive) = Archive::open_file(file, path, &PlatformChoice::default(), &limits()) {
        read_layers(&archive);
    }
}

pub(crate) fn limits() -> ReadLimits {
    ReadLimits {
        max_members: 1_000,
        max_metadata_bytes: 1 << 20,
        max_images: 20,
        decoder_memory_bytes: 8 << 20,
        ..ReadLimits::default()
    }
}

/// What is read to its end without an error has the digest that it should have.
pub(crate) fn read_layers(archive: &Archive) {
    assert!(!archive.images().is_empty(), "an archive without images was opened");
    for image in archive.images() {
        assert_eq!(image.layers.len(), image.config.diff_ids.len());
        for layer in &image.layers {
            if let Ok(reader) = archive.open_layer(layer) {
                check(reader, Some(layer.diff_id.0));
            }
            if let Ok(reader) = archive.open_stored(layer) {
                check(reader, layer.digest);
            }
        }
    }
}

fn check(reader: impl Read, expected: Option<Digest>) {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_LAYER_BYTES + 1).read_to_end(&mut bytes);
    let is_whole = read.is_ok_and(|count| count as u64 <= MAX_LAYER_BYTES);
    if let (true, Some(expected)) = (is_whole, expected) {
        assert_eq!(Digest::of(&bytes), expected, "a blob with another digest was read");
    }
}

/// A file without a name or a disk.
pub(crate) fn memory_file(bytes: &[u8]) -> File {
    let file = memfd_create("input", MemfdFlags::CLOEXEC).map_err(io::Error::from);
    let mut file = File::from(file.expect("a file in memory"));
    file.write_all(bytes).expect("write to memory");
    io::Seek::rewind(&mut file).expect("rewind");
    file
}

/// A folder that goes away; in memory where that can be.
pub(crate) fn temporary_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// Puts files into a folder; names that lead elsewhere are left out.
pub(crate) fn write_files(folder: &Path, files: &[Section]) {
    for file in files {
        let name = Path::new(&file.name);
        let is_inside = name.components().all(|part| matches!(part, Component::Normal(_)));
        if is_inside && !file.name.is_empty() && !file.name.contains('\0') {
            let path = folder.join(name);
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            // A name that is also a folder's cannot be written, and need not be.
            let _ = made.and_then(|()| fs::write(path, &file.content));
        }
    }
}
