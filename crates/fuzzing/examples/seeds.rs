//! Writes the seeds of `fuzz/corpus` anew, from `testdata` and by hand:
//!
//!     cargo run -p fuzzing --example seeds

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fuzzing::sections::to_bytes;
use tarball::Digest;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let seeds = Seeds { root };
    seeds.archives()?;
    seeds.documents()?;
    seeds.librsync()?;
    seeds.native()?;
    seeds.stores()?;
    seeds.references()?;
    seeds.signing()?;
    seeds.engines()?;
    seeds.tars()
}

struct Seeds {
    root: PathBuf,
}

/// A config of one layer, whose diffID is to be filled in.
const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"Labels":{"a":"b"}},"history":[{"created_by":"x","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:{{0}}"]}}"#;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &[u8] = b"a layer need not be a tar";

impl Seeds {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join("testdata").join(path))
    }

    fn write(&self, target: &str, name: &str, data: &[u8]) -> io::Result<()> {
        let folder = self.root.join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), data)
    }

    fn signing(&self) -> io::Result<()> {
        self.write("signed_archive", "oci", &self.read("signing/signed.tar")?)?;
        for file in ["signed.minisig", "test.pub", "test.key", "encrypted.key"] {
            self.write("device_files", file, &self.read(&format!("signing/{file}"))?)?;
        }
        let digest = Digest::of(LAYER);
        let list = format!(
            r#"{{"version":1,"bytes":5,"parts":[{{"file":"a.000","bytes":5,"digest":"{digest}"}}]}}"#
        );
        self.write("device_files", "parts", list.as_bytes())?;
        let policy = "require = true\nrepositories = ['a/*']\nplatforms = ['linux/arm/v7', 'host']\n\
                      device-type = 'x'\nno-downgrade = true\nversion-label = 'v'\n";
        self.write("device_files", "policy", policy.as_bytes())
    }

    /// What Docker noted, and notes that lead to links.
    fn engines(&self) -> io::Result<()> {
        let folder = self.root.join("testdata/engines/docker");
        let mut stored: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
        stored.sort_by_key(fs::DirEntry::file_name);
        for (number, stored) in stored.iter().enumerate() {
            let mut notes = Vec::new();
            let stored = fs::File::open(stored.path())?;
            flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut notes)?;
            let input = to_bytes([("notes", notes.as_slice()), ("etc/version", b"1\n")]);
            self.write("tar_split", &format!("docker-{number}"), &input)?;
        }
        let notes =
            ["d/a", "link", "up/beside", "../beside", "/d/a", "d/./../d/a"].iter().enumerate();
        let notes: String = notes
            .map(|(number, name)| {
                format!(
                    "{{\"type\":2,\"payload\":\"aGVhZA==\",\"position\":{}}}\n\
                     {{\"type\":1,\"name\":\"{name}\",\"size\":3,\"payload\":\"d2IpAAAAAAA=\",\"position\":{}}}\n",
                    2 * number,
                    2 * number + 1
                )
            })
            .collect();
        let two: String = notes.lines().take(4).map(|line| format!("{line}\n")).collect();
        let two = two.replace("link", "d/b");
        for (name, notes) in [("links", &notes), ("two", &two)] {
            let files: [(&str, &[u8]); 3] =
                [("notes", notes.as_bytes()), ("d/a", b"one"), ("d/b", b"two")];
            self.write("tar_split", name, &to_bytes(files))?;
        }
        Ok(())
    }

    fn archives(&self) -> io::Result<()> {
        let docker = docker_files();
        let layout = layout_files(r#""org.opencontainers.image.ref.name":"a:b""#);
        for (name, files) in [("docker", &docker), ("layout", &layout)] {
            let files = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
            let input = to_bytes(files);
            self.write("archive_documents", name, &input)?;
            self.write("load", name, &input)?;
            self.write("layout_directory", name, &input)?;
            let tar = fuzzing::sections::to_tar(&fuzzing::sections::parse(&input));
            self.write("archive", name, &tar)?;
            for (format, bytes) in compressed(&tar)? {
                self.write("archive", &format!("{name}.{format}"), &bytes)?;
            }
        }
        self.write("archive", "links", &links())?;
        for (format, bytes) in compressed(LAYER)? {
            self.write("compression", format, &bytes)?;
            self.write("compression", &format!("{format}-twice"), &[&bytes[..], &bytes].concat())?;
        }
        self.write("compression", "plain", LAYER)
    }

    fn documents(&self) -> io::Result<()> {
        let diff_id = Digest::of(LAYER).hex();
        let config = CONFIG.replace("{{0}}", &diff_id);
        self.write("config", "plain", config.as_bytes())?;
        let version = delta::native::VERSION;
        let quoted = config.replace('"', "\\\"");
        for (name, labels) in [
            (
                "silt",
                format!(
                    r#""io.silt.delta.version":"{version}","io.silt.delta.config":"{quoted}","io.silt.delta.names":"[\"a:b\"]","io.silt.delta.base":"sha256:{diff_id}","io.silt.delta.base-layers":"[\"sha256:{diff_id}\"]""#
                ),
            ),
            (
                "balena",
                format!(
                    r#""io.resin.delta.base":"sha256:{diff_id}","io.resin.delta.config":"{quoted}""#
                ),
            ),
        ] {
            let delta = config.replace(r#""a":"b""#, &labels);
            self.write("config", name, delta.as_bytes())?;
        }
        let manifest = oci_manifest().replace("{{0}}", &diff_id).replace("{{#0}}", "25");
        let manifest = manifest.replace("{{1}}", &diff_id).replace("{{#1}}", "100");
        self.write("manifest", "manifest", manifest.as_bytes())?;
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{MANIFEST_TYPE}","digest":"sha256:{diff_id}","size":7,"platform":{{"os":"linux","architecture":"arm","variant":"v7"}},"annotations":{{"a":"b"}}}}]}}"#
        );
        self.write("manifest", "index", index.as_bytes())?;
        for (i, name) in [
            "busybox",
            "docker.io/library/busybox:1.36",
            "localhost:5000/a/b:c_d-e.f",
            "linux/arm/v7",
            &format!("sha256:{diff_id}"),
        ]
        .iter()
        .enumerate()
        {
            self.write("name", &i.to_string(), name.as_bytes())?;
        }
        Ok(())
    }

    fn librsync(&self) -> io::Result<()> {
        self.write("librsync_delta", "rdiff", &self.read("vectors/librsync/rdiff.delta")?)?;
        let by_hand = b"\x72\x73\x02\x36\x05hello\x45\x10\x20\x4a\x01\x00\x01\x00\x00";
        self.write("librsync_delta", "by-hand", by_hand)?;
        for kind in ["rollsum-blake2", "rabinkarp-blake2", "rollsum-blake2-short"] {
            let signature = self.read(&format!("vectors/librsync/{kind}.signature"))?;
            let target = self.read("vectors/librsync/target")?;
            let cut = u16::try_from(signature.len()).map_err(io::Error::other)?;
            let input = [&cut.to_le_bytes()[..], &[15, 0], &signature, &target[..1000]].concat();
            self.write("librsync_signature", kind, &input)?;
        }
        let text = [
            &[40, 0, 3, 1][..],
            &b"the quick brown fox jumps over the lazy dog; the quick red fox jumps".repeat(2),
        ]
        .concat();
        self.write("librsync_signature", "honest", &text)
    }

    fn native(&self) -> io::Result<()> {
        let delta = self.read("vectors/silt-1/delta.silt")?;
        self.write("native_header", "vector", &delta[..delta.len().min(200)])?;
        self.write("native_decode", "vector", &delta)?;
        for name in ["mixed", "operands", "units"] {
            let delta = self.read(&format!("vectors/silt-1/{name}-delta.silt"))?;
            self.write("native_decode", name, &delta)?;
        }
        let real = fuzzing::native_delta();
        self.write("load_delta", "silt", &[&[0], &real[..]].concat())?;
        let whole = self.read("vectors/silt-1/target.tar")?;
        let length = u16::try_from(whole.len()).map_err(io::Error::other)?.to_be_bytes();
        let balena = [&[1][..], b"\x72\x73\x02\x36\x42", &length, &whole, &[0]].concat();
        self.write("load_delta", "balena", &balena)?;
        // A literal, a copy, a copy with differences, padding, and a header by its fields.
        let streams: [&[u8]; 7] = [
            &[1, 0x80, 0x81, 2, 0x40],
            &[5, 100, 0x80, 2],
            &[],
            &[10, 200, 1],
            &[1],
            b"hello",
            &[0, 0, 0, 0, 0],
        ];
        self.write("native_streams", "all", &fuzzing::input_of_streams(&streams, 1 << 10))?;
        self.write("native_streams", "executable", &fuzzing::input_of_an_executable())
    }

    fn stores(&self) -> io::Result<()> {
        let mut files = layout_files(
            r#""org.opencontainers.image.ref.name":"a:b","io.silt.image-id":"sha256:{{1}}","io.silt.order":"3""#,
        );
        files.push(("silt.json".into(), br#"{"storeVersion":1}"#.to_vec()));
        files.push(("blocks/{{0}}".into(), b"SILTBLK\n\x01\0\0\0\0\0\x01\0".to_vec()));
        files.push(("tmp/abc".into(), b"left over".to_vec()));
        let files = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
        self.write("store", "one-image", &to_bytes(files))
    }

    /// Most of small files; their segments are as before.
    fn references(&self) -> io::Result<()> {
        // Where covers are in the new file and in the old one; each ends where the next begins in the old.
        let library: &[[u16; 2]] = &[[0, 0], [0x1410, 0x1400], [0x1c20, 0x1c00]];
        let arm: &[[u16; 2]] = &[[0, 0], [0x608, 0x600]];
        let module: &[[u16; 2]] = &[[0, 0], [0x840, 0x900]];
        let go: &[[u16; 2]] = &[[0, 0], [0x1008, 0x1000]];
        let seeds = [
            ("library", 1, library, self.read("executables/x86_64.old")?),
            // A tar with one member.
            ("go", 1, go, self.read("vectors/silt-1/go-base")?.split_off(512)),
            ("armv6", 3, arm, self.read("executables/armv6.old")?),
            ("armv6-fixed", 3, arm, self.read("executables/armv6-fixed.old")?),
            ("armv7-thumb-fixed", 3, arm, self.read("executables/armv7-thumb-fixed.old")?),
            ("module", 4, module, self.read("modules/3.11.old.pyc")?),
        ];
        for (name, machine, starts, old) in seeds {
            let size = u16::try_from(old.len()).map_err(io::Error::other)?;
            let ends = starts.iter().skip(1).map(|start| start[1]).chain([size]);
            let covers =
                starts.iter().zip(ends).flat_map(|(&[new, old], end)| [new, old, end - old]);
            let covers: Vec<u8> = covers.flat_map(u16::to_le_bytes).collect();
            let count = u8::try_from(starts.len()).map_err(io::Error::other)?;
            // No parameters: the segments of the old file.
            let seed = [&[machine, count][..], &covers, &[0], &old].concat();
            self.write("references", name, &seed)?;
        }
        Ok(())
    }

    fn tars(&self) -> io::Result<()> {
        let (base, target) =
            (self.read("vectors/silt-1/base.tar")?, self.read("vectors/silt-1/target.tar")?);
        let cut = u16::try_from(base.len() / 16).map_err(io::Error::other)?.to_le_bytes();
        self.write("round_trip", "vector", &[&cut[..], &base, &target].concat())?;
        self.write("tar_map", "vector", &base)?;
        self.write("tar_map", "members", &members())?;
        let lower = u8::try_from(base.len() / 512).unwrap_or(u8::MAX);
        self.write("unpack", "vector", &[&[lower][..], &base, &members()].concat())?;
        self.write("unpack", "members", &[&[4][..], &members(), &members()].concat())?;
        self.write("unpack", "links", &[&[0][..], &links()].concat())
    }
}

fn docker_files() -> Vec<(String, Vec<u8>)> {
    let manifest = r#"[{"Config":"{{1}}.json","RepoTags":["a:b"],"Layers":["x/layer.tar"]}]"#;
    vec![
        ("x/layer.tar".into(), LAYER.to_vec()),
        ("{{1}}.json".into(), CONFIG.into()),
        ("manifest.json".into(), manifest.into()),
    ]
}

fn oci_manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{{{{1}}}}","size":{{{{#1}}}}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{{{{0}}}}","size":{{{{#0}}}}}}]}}"#
    )
}

fn layout_files(annotations: &str) -> Vec<(String, Vec<u8>)> {
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST_TYPE}","digest":"sha256:{{{{2}}}}","size":{{{{#2}}}},"annotations":{{{annotations}}}}}]}}"#
    );
    vec![
        ("blobs/sha256/{{0}}".into(), LAYER.to_vec()),
        ("blobs/sha256/{{1}}".into(), CONFIG.into()),
        ("blobs/sha256/{{2}}".into(), oci_manifest().into_bytes()),
        ("index.json".into(), index.into_bytes()),
        ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ]
}

fn compressed(bytes: &[u8]) -> io::Result<[(&'static str, Vec<u8>); 4]> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes)?;
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bzip2.write_all(bytes)?;
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(bytes)?;
    let zstd = zstd::encode_all(bytes, 19)?;
    Ok([("gzip", gzip.finish()?), ("bzip2", bzip2.finish()?), ("xz", xz.finish()?), ("zstd", zstd)])
}

fn header(kind: tar::EntryType, path: &str) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(path).unwrap_or_default();
    header.set_mode(0o644);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_cksum();
    header
}

/// One member of most kinds, whiteouts, a long name and a PAX header.
fn members() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |mut header: tar::Header, path: &str, data: &[u8]| {
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, path, data).unwrap_or_default();
    };
    use tar::EntryType as Kind;
    append(header(Kind::Directory, "d/"), "d/", b"");
    append(header(Kind::Regular, "d/f"), "d/f", b"hello");
    append(header(Kind::Regular, "d/g"), &("d/".repeat(60) + "g"), b"deep");
    append(header(Kind::Regular, "d/.wh.f"), "d/.wh.f", b"");
    append(header(Kind::Regular, "d/.wh..wh..opq"), "d/.wh..wh..opq", b"");
    append(header(Kind::Fifo, "p"), "p", b"");
    append(header(Kind::Char, "c"), "c", b"");
    append(header(Kind::XHeader, "pax"), "pax", b"12 path=d/h\n30 mtime=1700000000.123456789\n");
    append(header(Kind::Regular, "short"), "short", b"by another name");
    tar.into_inner().unwrap_or_default()
}

/// Links to each other, out of the archive, and over one another.
fn links() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, path, target) in [
        (tar::EntryType::Symlink, "a", ".."),
        (tar::EntryType::Symlink, "b", "/"),
        (tar::EntryType::Symlink, "c", "c"),
        (tar::EntryType::Link, "d", "a/beside/file"),
        (tar::EntryType::Link, "e", "../beside/file"),
    ] {
        tar.append_link(&mut header(kind, path), path, target).unwrap_or_default();
    }
    for path in ["a/beside/file", "b/tmp/x", "c/x", "e"] {
        let mut header = header(tar::EntryType::Regular, path);
        header.set_size(2);
        tar.append_data(&mut header, path, &b"hi"[..]).unwrap_or_default();
    }
    tar.into_inner().unwrap_or_default()
}
