//! Archives that are damaged, or made by an enemy.

mod common;

use std::path::Path;

use common::{
    COMPRESSIONS, LayoutMaker, TarMaker, compress, config, docker_archive, golden, header, layer,
    open, open_with, read_all,
};
use proptest::prelude::*;
use serde_json::json;
use tar::EntryType;
use tarball::archive::{ArchiveFault, FaultKind};
use tarball::{Archive, Digest, PlatformChoice, ReadLimits};

/// A small whole archive.
fn small() -> Vec<u8> {
    let layers = [layer("one"), layer("two")];
    let views: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    docker_archive(&config(&views, "linux/amd64"), &views, &["my-service:old"])
}

fn fault(bytes: &[u8]) -> ArchiveFault {
    *read_all(bytes).unwrap_err().fault
}

/// Archives that are whole but for one more member, put first.
fn with_member(maker: TarMaker) -> Vec<u8> {
    let members = maker.finish();
    [&members[..members.len() - 1024], &small()].concat()
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let text = b"just some text that is somewhat longer than nothing".repeat(40);
    let other_tar = layer("a tar of something else");
    let ancient = TarMaker::new().file("repositories", "{}").finish();
    let mut cases =
        vec![vec![], text.clone(), b"x".to_vec(), other_tar.clone(), ancient, vec![0; 10240]];
    for compression in COMPRESSIONS {
        cases.push(compress(&text, compression));
        cases.push(compress(&other_tar, compression));
    }
    for bytes in cases {
        let fault = fault(&bytes);
        assert!(matches!(fault, ArchiveFault::NotAnArchive { .. }), "{fault:?}");
        assert_eq!(fault.kind(), FaultKind::Damage);
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    let (choice, limits) = Default::default();
    let error = Archive::open_file(file, Path::new("-"), &choice, &limits).unwrap_err();
    assert!(matches!(*error.fault, ArchiveFault::NotSeekable));
}

#[test]
fn a_truncated_archive_is_damaged_wherever_it_ends() {
    for whole in [small(), golden("tiny", "delta.tar")] {
        let without_padding = whole.len() - whole.iter().rev().take_while(|b| **b == 0).count();
        // After the last header and its data come two blocks that mark the end.
        let marked = without_padding.next_multiple_of(512) + 1024;
        for end in (1..marked).step_by(97).chain([marked - 512, marked - 1]) {
            let fault = fault(&whole[..end]);
            assert_eq!(fault.kind(), FaultKind::Damage, "cut at {end}: {fault:?}");
        }
        for compression in COMPRESSIONS.into_iter().skip(1) {
            let stored = compress(&whole, compression);
            for end in (1..stored.len()).step_by(stored.len() / 40) {
                let fault = fault(&stored[..end]);
                assert_eq!(fault.kind(), FaultKind::Damage, "{compression} {end}: {fault:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_flipped_bit_never_makes_a_wrong_image(
        at in any::<prop::sample::Index>(), bit in 0u32..8, compression in 0usize..5
    ) {
        let whole = small();
        let expected = read_all(&whole).unwrap();
        let mut stored = compress(&whole, COMPRESSIONS[compression]);
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        match read_all(&stored) {
            // The bit may be one of the size of the window.
            Err(error) => {
                prop_assert!(matches!(error.kind(), FaultKind::Damage | FaultKind::Memory), "{:?}", error);
            }
            Ok(read) => {
                prop_assert_eq!(&read[0].0.config, &expected[0].0.config);
                for layer in &read[0].1 {
                    prop_assert!(expected[0].1.contains(layer));
                }
            }
        }
    }

    #[test]
    fn noise_in_the_headers_never_harms(
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = golden("tiny", "delta.tar");
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // A checksum that is right lets the noise get further.
            let start = at / 512 * 512;
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
            header.set_cksum();
            bytes[start..start + 512].copy_from_slice(header.as_bytes());
        }
        let _ = read_all(&bytes);
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../evil", "a/../../evil", "/etc/passwd", ".."] {
        let fault = fault(&with_member(TarMaker::new().file(name, "x")));
        let ArchiveFault::UnsafeMember { member, .. } = &fault else { panic!("{name}: {fault:?}") };
        assert_eq!(member, name);
    }
    for (name, target) in [("l", "../x"), ("a/layer.tar", "../../x"), ("l", "/etc/passwd")] {
        let fault = fault(&with_member(TarMaker::new().symlink(name, target)));
        assert!(matches!(fault, ArchiveFault::UnsafeMember { .. }), "{fault:?}");
    }
    let hard = TarMaker::new().link(EntryType::Link, "l", "../../etc/passwd");
    assert!(matches!(fault(&with_member(hard)), ArchiveFault::UnsafeMember { .. }));
    let harmless = TarMaker::new().file("./x//y", "x").symlink("./a/b", "../x/./y");
    assert!(read_all(&with_member(harmless)).is_ok());
}

#[test]
fn impossible_sizes_are_refused() {
    let mut negative = header(EntryType::Regular, "x", "", 0);
    negative.as_old_mut().size = [0xff; 12];
    let mut two_to_the_63 = header(EntryType::Regular, "x", "", 0);
    two_to_the_63.as_old_mut().size = *b"\x80\0\0\0\x80\0\0\0\0\0\0\0";
    let mut almost = header(EntryType::Regular, "x", "", 0);
    almost.as_old_mut().size = *b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    let past_the_end = header(EntryType::Regular, "x", "", 1 << 32);
    let extension = header(EntryType::XHeader, "x", "", 1 << 30);
    let long_name = header(EntryType::GNULongName, "x", "", 1 << 30);
    for mut header in [negative, two_to_the_63, almost, past_the_end, extension, long_name] {
        header.set_cksum();
        for compression in COMPRESSIONS {
            let bytes = with_member(TarMaker::new().raw(header.as_bytes()));
            let fault = fault(&compress(&bytes, compression));
            assert!(matches!(fault, ArchiveFault::Tar(_)), "{fault:?}");
        }
    }
}

#[test]
fn many_members_and_long_chains_end_in_an_error() {
    let limits = ReadLimits { max_members: 20, ..ReadLimits::default() };
    let names: Vec<String> = (0..21).map(|i| format!("{i}")).collect();
    let maker = names.iter().fold(TarMaker::new(), |maker, name| maker.file(name, ""));
    let error = open_with(&with_member(maker), &PlatformChoice::Host, &limits).unwrap_err();
    assert!(matches!(*error.fault, ArchiveFault::TooMany { limit: 20, .. }));

    let limits = ReadLimits { max_metadata_bytes: 4096, ..ReadLimits::default() };
    let name = "n".repeat(90);
    let names: Vec<String> = (0..30).map(|i| format!("{name}{i}")).collect();
    let maker = names.iter().fold(TarMaker::new(), |maker, name| maker.file(name, ""));
    let error = open_with(&with_member(maker), &PlatformChoice::Host, &limits).unwrap_err();
    assert!(matches!(*error.fault, ArchiveFault::TooMany { limit: 4096, .. }));

    let empty_pax = header(EntryType::XHeader, "x", "", 0);
    let chain = TarMaker::new().raw(&empty_pax.as_bytes().repeat(100_000));
    assert!(matches!(fault(&with_member(chain)), ArchiveFault::Tar(_)));
}

#[test]
fn documents_are_bounded_and_unambiguous() {
    let huge = vec![b' '; 9 << 20];
    let bytes = TarMaker::new().file("manifest.json", &huge).finish();
    assert!(matches!(fault(&bytes), ArchiveFault::Json { .. }));
    let twice = with_member(TarMaker::new().file("manifest.json", "[]"));
    assert!(matches!(fault(&twice), ArchiveFault::Duplicate { .. }));
    let version = TarMaker::new()
        .file("oci-layout", r#"{"imageLayoutVersion":"2.0"}"#)
        .file("index.json", r#"{"manifests":[]}"#)
        .finish();
    assert!(matches!(fault(&version), ArchiveFault::Unreadable { .. }));
    let empty = TarMaker::new().file("index.json", r#"{"manifests":[]}"#).finish();
    assert!(matches!(fault(&empty), ArchiveFault::NoImage));
}

#[test]
fn links_between_members_are_followed_but_not_for_ever() {
    let bytes = layer("linked");
    let config = config(&[&bytes, &bytes, &bytes], "linux/amd64");
    let manifest = json!([{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar", "c"]}]);
    let archive = |target: &str| {
        TarMaker::new()
            .file("c.json", &config)
            .file("a/layer.tar", &bytes)
            .symlink("b/layer.tar", target)
            .link(EntryType::Link, "c", "b/layer.tar")
            .symlink("loop", "loop")
            .file("manifest.json", manifest.to_string())
            .finish()
    };
    let read = read_all(&archive("../a/layer.tar")).unwrap();
    assert_eq!(read[0].1, vec![bytes.clone(); 3]);
    assert!(matches!(fault(&archive("../loop")), ArchiveFault::Unreadable { .. }));
    let absent = open(&archive("../nothing")).unwrap();
    assert!(absent.images()[0].layers[1].stored.is_none());
}

#[test]
fn manifests_that_disagree_with_their_config_are_refused() {
    let [one, two] = [layer("one"), layer("two")];
    let both = config(&[&one, &two], "linux/amd64");
    let fewer = docker_archive(&both, &[&one], &[]);
    let ArchiveFault::LayerCount { layers: 1, diff_ids: 2, .. } = fault(&fewer) else {
        panic!("one layer, two diffIDs")
    };
    let swapped = docker_archive(&both, &[&two, &one], &[]);
    let ArchiveFault::Digest { what, expected, found } = fault(&swapped) else {
        panic!("another layer")
    };
    assert_eq!((expected, found), (Digest::of(&one), Digest::of(&two)));
    assert!(what.contains(&Digest::of(&one).to_string()));
    let bad_name = docker_archive(&both, &[&one, &two], &["Bad Name:x"]);
    assert!(matches!(fault(&bad_name), ArchiveFault::Name(_)));
    let config_name = format!("{}.json", Digest::of(b"another").hex());
    let manifest = json!([{"Config": config_name, "Layers": []}]).to_string();
    let wrong = TarMaker::new()
        .file(&config_name, config(&[], "linux/amd64"))
        .file("manifest.json", &manifest)
        .finish();
    assert!(matches!(fault(&wrong), ArchiveFault::Digest { .. }));
    let missing = TarMaker::new().file("manifest.json", manifest).finish();
    assert!(matches!(fault(&missing), ArchiveFault::Missing { .. }));
}

#[test]
fn a_layer_that_is_left_out_is_known_and_not_opened() {
    let [one, two] = [layer("one"), layer("two")];
    let config = config(&[&one, &two], "linux/amd64");
    let manifest = json!([{"Config": "c.json", "Layers": ["one.tar", "two.tar"]}]);
    let bytes = TarMaker::new()
        .file("c.json", config)
        .file("two.tar", &two)
        .file("manifest.json", manifest.to_string())
        .finish();
    let archive = open(&bytes).unwrap();
    let layers = &archive.images()[0].layers;
    assert!(layers[0].stored.is_none());
    assert_eq!(layers[1].stored.unwrap().bytes, two.len() as u64);
    let error = archive.open_layer(&layers[0]).err().unwrap();
    assert!(matches!(*error.fault, ArchiveFault::Missing { .. }));
}

#[test]
fn blobs_must_be_what_their_descriptors_say() {
    let bytes = layer("content");
    let mut maker = LayoutMaker::default();
    let entry = maker.image(&config(&[&bytes], "linux/amd64"), &[&bytes]);
    maker.entries.push(entry.clone());
    assert!(read_all(&maker.finish()).is_ok());

    let mut wrong_size = maker.clone();
    wrong_size.entries[0]["size"] = json!(entry["size"].as_u64().unwrap() + 1);
    assert!(matches!(fault(&wrong_size.finish()), ArchiveFault::Size { .. }));

    for index in 0..maker.blobs.len() {
        let mut files = maker.files();
        let (_, blob) = &mut files[2 + index];
        let last = blob.len() - 2;
        blob[last] ^= 1;
        let tar =
            files.iter().fold(TarMaker::new(), |maker, (name, bytes)| maker.file(name, bytes));
        let fault = fault(&tar.finish());
        assert!(matches!(fault, ArchiveFault::Digest { .. }), "{index}: {fault:?}");
    }
}

#[test]
fn sparse_members_are_refused_where_an_image_needs_them() {
    let mut sparse = header(EntryType::GNUSparse, "l0/layer.tar", "", 0);
    sparse.set_cksum();
    let config = config(&[&layer("x")], "linux/amd64");
    let manifest = json!([{"Config": "c.json", "Layers": ["l0/layer.tar"]}]).to_string();
    let members = TarMaker::new().raw(sparse.as_bytes()).file("c.json", config);
    let needed = members.file("manifest.json", manifest).finish();
    assert!(matches!(fault(&needed), ArchiveFault::Unreadable { .. }));
    let other = header(EntryType::GNUSparse, "elsewhere", "", 0);
    assert!(read_all(&with_member(TarMaker::new().raw(other.as_bytes()))).is_ok());
}

#[test]
fn a_directory_is_not_left_through_links_or_pipes() {
    let bytes = layer("secret");
    let mut maker = LayoutMaker::default();
    let entry = maker.image(&config(&[&bytes], "linux/amd64"), &[&bytes]);
    maker.entries.push(entry);
    let (choice, limits) = Default::default();
    let open = |spoil: &dyn Fn(&Path)| {
        let outside = tempfile::tempdir().unwrap();
        let directory = outside.path().join("layout");
        maker.finish_directory(&directory);
        spoil(&directory);
        Archive::open_directory(&directory, &choice, &limits)
    };
    assert_eq!(open(&|_| {}).unwrap().images().len(), 1);

    let blob = format!("blobs/sha256/{}", Digest::of(&bytes).hex());
    let linked_blob = open(&|layout| {
        std::fs::rename(layout.join(&blob), layout.join("../secret")).unwrap();
        std::os::unix::fs::symlink("../../../secret", layout.join(&blob)).unwrap();
    });
    let linked_directory = open(&|layout| {
        std::fs::rename(layout.join("blobs"), layout.join("../blobs")).unwrap();
        std::os::unix::fs::symlink("../blobs", layout.join("blobs")).unwrap();
    });
    let pipe = open(&|layout| {
        let path = layout.join(&blob);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    });
    for refused in [linked_blob, linked_directory, pipe] {
        let fault = *refused.unwrap_err().fault;
        assert!(matches!(fault, ArchiveFault::Unreadable { .. }), "{fault:?}");
    }
}
