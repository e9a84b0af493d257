//! Layers become the root file system that other tools make of them, and never anything else.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{LayoutMaker, TarMaker, config, golden, has_tool, header, read_all, run};
use serde_json::json;
use tar::EntryType;
use tarball::archive::FaultKind;
use tarball::unpack::{
    LayerToUnpack, SkipReason, UnpackError, UnpackOptions, UnpackReport, unpack,
};
use tarball::{DiffId, Digest};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unpack_to(layers: &[Vec<u8>], directory: &Path) -> Result<UnpackReport, UnpackError> {
    unpack_with(layers, directory, &UnpackOptions::default())
}

fn unpack_with(
    layers: &[Vec<u8>],
    directory: &Path,
    options: &UnpackOptions,
) -> Result<UnpackReport, UnpackError> {
    let to_unpack = |layer: &Vec<u8>| {
        let layer = layer.clone();
        LayerToUnpack {
            diff_id: DiffId(Digest::of(&layer)),
            open: Box::new(move || Ok(Box::new(io::Cursor::new(layer.clone())))),
        }
    };
    let layers: Vec<_> = layers.iter().map(to_unpack).collect();
    unpack(&layers, directory, options)
}

/// What a path is, as far as layers say it.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    device: u64,
    mtime: (i64, i64),
    content: Vec<u8>,
    attributes: BTreeMap<String, Vec<u8>>,
}

/// Everything beneath a directory; of directories no number of links.
fn facts(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        if kind.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = match (kind.is_file(), kind.is_symlink()) {
            // As nobody, some modes forbid even the owner.
            (true, _) => fs::read(&path).unwrap_or_default(),
            (_, true) => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            _ => vec![],
        };
        let facts = Facts {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            links: if kind.is_dir() { 0 } else { metadata.nlink() },
            device: metadata.rdev(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            content,
            attributes: attributes(&path),
        };
        all.insert(path.strip_prefix(root).unwrap().to_owned(), facts);
    }
    all
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return BTreeMap::new();
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0u8; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}

/// A tree with one of everything.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("var/empty/deep")).unwrap();
    fs::write(root.join("usr/bin/tool"), "tool".repeat(1000)).unwrap();
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/alias")).unwrap();
    let long = "long-name-".repeat(20);
    fs::create_dir_all(root.join(&long)).unwrap();
    fs::write(root.join(&long).join("grün und \u{1f980}"), "x").unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("../nowhere".repeat(15), root.join("var/dangling")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    let mode = |path: &str, mode| {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("usr/bin/tool", 0o4755);
    mode("var/empty", 0o1777);
    mode("empty", 0o400);
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("var/fifo"), 0o640.into()).unwrap();
    let _ = rustix::fs::lsetxattr(
        root.join("empty"),
        "user.note",
        b"a\0b",
        rustix::fs::XattrFlags::empty(),
    );
    let file = fs::File::open(root.join("usr/bin/tool")).unwrap();
    let time = std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500);
    file.set_modified(time).unwrap();
    if is_root() {
        std::os::unix::fs::lchown(root.join("bin"), Some(12), Some(3_000_000)).unwrap();
        std::os::unix::fs::chown(root.join("usr"), Some(7), Some(8)).unwrap();
    }
}

#[test]
fn a_tree_comes_out_as_tar_unpacks_it() {
    if !has_tool("tar") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    make_tree(&tree);
    for (format, options) in [
        ("pax", vec!["--xattrs", "--xattrs-include=*"]),
        ("gnu", vec![]),
        ("pax", vec!["--pax-option=delete=atime,delete=ctime"]),
    ] {
        let tar = directory.path().join("layer.tar");
        let format_option = format!("--format={format}");
        run(Command::new("tar")
            .arg("-C")
            .arg(&tree)
            .args(["-c", "--numeric-owner", &format_option])
            .args(&options)
            .arg("-f")
            .arg(&tar)
            .arg("."));
        let [ours, theirs] = ["ours", "theirs"].map(|name| directory.path().join(name));
        fs::create_dir(&theirs).unwrap();
        run(Command::new("tar")
            .arg("-C")
            .arg(&theirs)
            .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-f"])
            .arg(&tar));
        let report = unpack_to(&[fs::read(&tar).unwrap()], &ours).unwrap();
        assert_eq!(report.skipped, []);
        let (ours_facts, theirs_facts) = (facts(&ours), facts(&theirs));
        assert!(ours_facts.len() > 12);
        for (path, expected) in &theirs_facts {
            assert_eq!(ours_facts.get(path), Some(expected), "{format} {path:?}");
        }
        assert_eq!(ours_facts.len(), theirs_facts.len());
        fs::remove_dir_all(ours).unwrap();
        fs::remove_dir_all(theirs).unwrap();
    }
}

/// Layers that hide, replace and reach through what lower ones have.
fn overlapping_layers() -> Vec<Vec<u8>> {
    let directory = EntryType::Directory;
    let lower = TarMaker::new()
        .link(directory, "etc", "")
        .file("etc/keep", "lower")
        .file("etc/hidden", "lower")
        .file("etc/replaced", "lower")
        .link(directory, "opaque", "")
        .file("opaque/old", "lower")
        .link(directory, "opaque/sub", "")
        .file("opaque/sub/old", "lower")
        .link(directory, "was-directory", "")
        .file("was-directory/content", "lower")
        .file("was-file", "lower")
        .link(directory, "usr", "")
        .link(directory, "usr/lib", "")
        .symlink("lib", "usr/lib")
        .symlink("absolute", "/usr/lib")
        .file("a-b", "sorts before a/")
        .link(directory, "a", "")
        .file("a/x", "lower")
        .finish();
    let middle = TarMaker::new()
        .file("etc/.wh.hidden", "")
        .file("etc/replaced", "middle")
        .link(directory, "opaque", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "middle")
        .file("was-directory", "middle")
        .link(directory, "was-file", "")
        .file("was-file/content", "middle")
        .file("lib/through-link", "middle")
        .file("absolute/through-absolute-link", "middle")
        .file(".wh.nothing", "")
        .file(".wh.a", "")
        .link(EntryType::Link, "hard", "etc/keep")
        .finish();
    let upper = TarMaker::new()
        .file("etc/hidden", "upper")
        .symlink("was-file", "etc/keep")
        .file("missing/parents/file", "upper")
        .finish();
    vec![lower, middle, upper]
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn upper_layers_hide_and_replace_lower_ones() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    unpack_to(&overlapping_layers(), root).unwrap();
    for (path, content) in [
        ("etc/keep", "lower"),
        ("etc/hidden", "upper"),
        ("etc/replaced", "middle"),
        ("opaque/new", "middle"),
        ("was-directory", "middle"),
        ("usr/lib/through-link", "middle"),
        ("usr/lib/through-absolute-link", "middle"),
        ("hard", "lower"),
        ("a-b", "sorts before a/"),
        ("missing/parents/file", "upper"),
    ] {
        assert_eq!(read(root, path), content, "{path}");
    }
    for gone in ["opaque/old", "opaque/sub", "a", "etc/.wh.hidden", "opaque/.wh..wh..opq"] {
        assert!(fs::symlink_metadata(root.join(gone)).is_err(), "{gone}");
    }
    assert!(fs::symlink_metadata(root.join("was-file")).unwrap().is_symlink());
    assert_eq!(fs::metadata(root.join("hard")).unwrap().nlink(), 2);
}

#[test]
fn a_layer_does_not_hide_what_it_has_itself() {
    let directory = tempfile::tempdir().unwrap();
    let lower = TarMaker::new().file("d/old", "lower").file("e/old", "lower").finish();
    // Whiteouts last, where most tools write them first.
    let upper = TarMaker::new()
        .file("d/new", "upper")
        .file("d/sub/new", "upper")
        .file("d/.wh..wh..opq", "")
        .file("e/new", "upper")
        .file(".wh.e", "")
        .finish();
    unpack_to(&[lower, upper], directory.path()).unwrap();
    for path in ["d/new", "d/sub/new", "e/new"] {
        assert_eq!(read(directory.path(), path), "upper");
    }
    for gone in ["d/old", "e/old"] {
        assert!(!directory.path().join(gone).exists(), "{gone}");
    }
}

#[test]
fn umoci_makes_the_same_of_the_same_layers() {
    if !has_tool("umoci") {
        return;
    }
    let golden_layers = read_all(&golden("multi", "target.tar")).unwrap().remove(0).1;
    for layers in [overlapping_layers(), golden_layers] {
        let directory = tempfile::tempdir().unwrap();
        let mut maker = LayoutMaker::default();
        let views: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let mut entry = maker.image(&config(&views, "linux/amd64"), &views);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "x"});
        maker.entries.push(entry);
        let layout = directory.path().join("layout");
        maker.finish_directory(&layout);
        let bundle = directory.path().join("bundle");
        let mut umoci = Command::new("umoci");
        umoci.arg("unpack").arg("--image").arg(format!("{}:x", layout.display()));
        if !is_root() {
            umoci.arg("--rootless");
        }
        run(umoci.arg(&bundle));
        let ours = directory.path().join("ours");
        unpack_to(&layers, &ours).unwrap();
        let mut theirs = facts(&bundle.join("rootfs"));
        let mut ours = facts(&ours);
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for (path, expected) in &mut theirs {
            // Where umoci notes the owners that it could not set.
            expected.attributes.remove("user.rootlesscontainers");
            let ours = ours.get_mut(path).unwrap();
            let is_directory = ours.mode & 0o170_000 == 0o040_000;
            if is_directory {
                // umoci gives directories the time of the last change in them.
                ours.mtime = expected.mtime;
            }
            assert_eq!(ours, expected, "{path:?}");
        }
    }
}

#[test]
fn nothing_is_touched_outside_the_directory() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let up = "../".repeat(12);
    let target = outside.path().display().to_string();
    let escape_up = format!("{up}{}", &target[1..]);
    for link in [&target, &escape_up] {
        let through = |name: &str, content: &str| {
            TarMaker::new().symlink("out", link).file(&format!("out/{name}"), content).finish()
        };
        let hard_link = TarMaker::new()
            .symlink("out", link)
            .link(EntryType::Link, "stolen", "out/secret")
            .finish();
        let over_link = TarMaker::new()
            .symlink("secret", &format!("{link}/secret"))
            .file("secret", "changed")
            .finish();
        let hard_then_write = TarMaker::new()
            .symlink("s", &format!("{link}/secret"))
            .link(EntryType::Link, "h", "s")
            .file("h", "changed")
            .finish();
        for layers in [
            vec![through("secret", "changed")],
            vec![through(".wh.secret", "")],
            vec![through(".wh..wh..opq", "")],
            vec![TarMaker::new().symlink("out", link).finish(), through("secret", "x")],
            vec![hard_link],
            vec![over_link],
            vec![hard_then_write],
        ] {
            let directory = tempfile::tempdir().unwrap();
            let _ = unpack_to(&layers, directory.path());
            assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
            assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1);
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        }
    }
}

#[test]
fn members_that_no_honest_layer_has_are_refused_with_their_place() {
    let sparse = header(EntryType::GNUSparse, "sparse", "", 0);
    let first = |maker: TarMaker| maker.file("first", "x");
    let cases = [
        (first(TarMaker::new()).file("../x", ""), FaultKind::Damage),
        (first(TarMaker::new()).file("a/../../x", ""), FaultKind::Damage),
        (first(TarMaker::new()).link(EntryType::Link, "l", "../x"), FaultKind::Damage),
        (first(TarMaker::new()).file(".wh.", ""), FaultKind::Damage),
        (first(TarMaker::new()).file(".wh...", ""), FaultKind::Damage),
        (first(TarMaker::new()).raw(sparse.as_bytes()), FaultKind::Damage),
        (first(TarMaker::new()).file(".", "x"), FaultKind::Damage),
        (first(TarMaker::new()).raw(b"no header").raw(&[1; 503]), FaultKind::Damage),
        (first(TarMaker::new()).link(EntryType::Link, "l", "nothing"), FaultKind::Io),
        (first(TarMaker::new()).file("first/below-a-file", ""), FaultKind::Io),
        (first(TarMaker::new()).symlink("loop", "loop").file("loop/x", ""), FaultKind::Io),
    ];
    for (maker, kind) in cases {
        let directory = tempfile::tempdir().unwrap();
        let error = unpack_to(&[maker.finish()], &directory.path().join("root")).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text += &source.to_string();
        }
        assert!(text.contains("offset 1024") || text.contains("offset 1536"), "{text}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn only_an_empty_directory_is_unpacked_to() {
    let directory = tempfile::tempdir().unwrap();
    let layer = common::layer("x");
    fs::write(directory.path().join("there"), "already").unwrap();
    let error = unpack_to(std::slice::from_ref(&layer), directory.path()).unwrap_err();
    assert!(matches!(error, UnpackError::Directory { .. }));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let new = directory.path().join("new");
    let report = unpack_to(&[layer], &new).unwrap();
    assert_eq!((report.members, report.file_bytes), (1, 1));
}

#[test]
fn without_root_owners_and_devices_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = header(EntryType::Char, "dev/null", "", 0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    device.set_uid(1234);
    device.set_cksum();
    let mut owned = header(EntryType::Regular, "owned", "", 0);
    owned.set_uid(1234);
    owned.set_cksum();
    let mut read_only = header(EntryType::Directory, "read-only", "", 0);
    read_only.set_mode(0o555);
    read_only.set_cksum();
    let layer = TarMaker::new()
        .raw(device.as_bytes())
        .raw(owned.as_bytes())
        .raw(read_only.as_bytes())
        .file("read-only/file", "x")
        .finish();
    let options = UnpackOptions { as_root: false, ..UnpackOptions::default() };
    let ours = directory.path().join("ours");
    let report = unpack_with(std::slice::from_ref(&layer), &ours, &options).unwrap();
    assert_eq!(report.skipped_count, 1);
    assert_eq!(report.skipped[0].reason, SkipReason::Device);
    assert_ne!(fs::metadata(ours.join("owned")).unwrap().uid(), 1234);
    assert_eq!(fs::metadata(ours.join("read-only")).unwrap().mode() & 0o7777, 0o555);
    if is_root() {
        let as_root = directory.path().join("root");
        unpack_to(&[layer], &as_root).unwrap();
        let null = fs::metadata(as_root.join("dev/null")).unwrap();
        // Where containers forbid device nodes it is left out.
        if null.file_type().is_char_device() {
            assert_eq!((null.rdev(), null.uid()), (0x103, 1234));
        }
        assert_eq!(fs::metadata(as_root.join("owned")).unwrap().uid(), 1234);
    }
}

#[test]
fn paths_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|i| format!("file-{i}")).collect();
    let maker = names.iter().fold(TarMaker::new(), |maker, name| maker.file(name, ""));
    let options = UnpackOptions { max_metadata_bytes: 2000, ..UnpackOptions::default() };
    let error = unpack_with(&[maker.finish()], directory.path(), &options).unwrap_err();
    assert_eq!(error.kind(), FaultKind::Memory);
    let deep = ["d"; 1500].join("/");
    let mut long = vec![];
    let mut builder = tar::Builder::new(&mut long);
    let mut deep_header = header(EntryType::Regular, "", "", 0);
    builder.append_data(&mut deep_header, deep, &[][..]).unwrap();
    drop(builder);
    let error = unpack_to(&[long], &directory.path().join("deep")).unwrap_err();
    assert!(matches!(error, UnpackError::Make { .. }), "{error:?}");
}
