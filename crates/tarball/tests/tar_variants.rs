//! Every kind of tar header that occurs, around the same image.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use common::{TarMaker, config, has_tool, header, layer, open, open_path, read_all, run};
use serde_json::json;
use tar::EntryType;

const NAME: &str = "layer.tar";

/// The files of an archive whose layer lies under `name`.
fn documents(name: &str, layer: &[u8]) -> [(String, Vec<u8>); 3] {
    let manifest = json!([{"Config": "config.json", "RepoTags": ["a:1"], "Layers": [name]}]);
    [
        ("config.json".to_owned(), config(&[layer], "linux/amd64")),
        (name.to_owned(), layer.to_vec()),
        ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
    ]
}

#[test]
fn all_formats_of_gnu_tar_are_read() {
    if !has_tool("tar") {
        return;
    }
    let layer = layer("content");
    let short = format!("{}/{NAME}", "d".repeat(64));
    let for_prefix = format!("{0}/{0}/{NAME}", "d".repeat(80));
    let long = format!("{0}/{0}/{NAME}", "d".repeat(200));
    for (format, name) in [
        ("v7", &short),
        ("ustar", &short),
        ("ustar", &for_prefix),
        ("oldgnu", &long),
        ("gnu", &long),
        ("pax", &long),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        for (name, bytes) in documents(name, &layer) {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        for members in [&["."][..], &["config.json", "manifest.json", name]] {
            let archive = directory.path().join("a.tar");
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(&tree).arg(format!("--format={format}"));
            run(tar.arg("-cf").arg(&archive).args(members));
            let read = read_all(&fs::read(&archive).unwrap());
            assert_eq!(read.unwrap()[0].1[0], layer, "{format} {name}");
        }
    }
}

#[test]
fn sparse_members_beside_the_image_do_not_matter() {
    if !has_tool("tar") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path();
    let layer = layer("content");
    for (name, bytes) in documents(NAME, &layer) {
        fs::write(tree.join(name), bytes).unwrap();
    }
    // Enough holes for several blocks of a sparse map.
    let sparse = File::create(tree.join("aaa-sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    for at in 0..60u64 {
        sparse.write_all_at(b"data", at << 20).unwrap();
    }
    for options in [
        &["--format=oldgnu"][..],
        &["--format=gnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(tree).args(["--sparse", "-cf", "-"]).args(options);
        let members = ["aaa-sparse", "config.json", NAME, "manifest.json"];
        let output = tar.args(members).output().unwrap();
        assert!(output.status.success());
        let read = read_all(&output.stdout).unwrap();
        assert_eq!(read[0].1[0], layer, "{options:?}");
    }
}

#[test]
fn a_pax_size_counts_and_the_header_does_not() {
    let layer = layer("content");
    let record = format!("size={}\n", layer.len());
    let record = format!("{} {record}", record.len() + 3);
    for size_in_header in [0, 1, 1 << 20] {
        let [config, _, manifest] = documents(NAME, &layer);
        let mut padded = layer.clone();
        padded.resize(layer.len().next_multiple_of(512), 0);
        let mut pax = header(EntryType::XHeader, "pax", "", record.len() as u64);
        pax.set_cksum();
        let mut data = record.clone().into_bytes();
        data.resize(512, 0);
        let archive = TarMaker::new()
            .raw(pax.as_bytes())
            .raw(&data)
            .raw(header(EntryType::Regular, NAME, "", size_in_header).as_bytes())
            .raw(&padded)
            .file(&config.0, &config.1)
            .file(&manifest.0, &manifest.1)
            .finish();
        assert_eq!(read_all(&archive).unwrap()[0].1[0], layer);
    }
}

#[test]
fn members_past_eight_gigabytes_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.tar");
    let mut file = File::create(&path).unwrap();
    let large: u64 = (9 << 30) + 1;
    // A hole: it takes no space, and its data is never read.
    file.write_all(header(EntryType::Regular, "large", "", large).as_bytes()).unwrap();
    let layer = layer("content");
    let rest = documents(NAME, &layer);
    let rest = rest.iter().fold(TarMaker::new(), |tar, (name, bytes)| tar.file(name, bytes));
    file.write_all_at(&rest.finish(), 512 + large.next_multiple_of(512)).unwrap();
    let archive = open_path(&path).unwrap();
    let mut bytes = Vec::new();
    let mut reader = archive.open_layer(&archive.images()[0].layers[0]).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, layer);
}

#[test]
fn a_layer_that_is_no_tar_is_bytes_like_any_other() {
    for bytes in [&b""[..], b"no tar at all", &[0xff; 5000]] {
        let files = documents(NAME, bytes);
        let tar = files.iter().fold(TarMaker::new(), |tar, (name, bytes)| tar.file(name, bytes));
        let archive = tar.finish();
        assert_eq!(read_all(&archive).unwrap()[0].1, [bytes]);
        assert_eq!(open(&archive).unwrap().path(), Path::new("test.tar"));
    }
}
