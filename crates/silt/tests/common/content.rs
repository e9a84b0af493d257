//! The bytes of random layers.

use tar::EntryType;

use super::random::{Edit, Ending, Entry, Layer, What};
use super::tars::{self, Member, append};

pub fn layer_bytes(layer: &Layer) -> Vec<u8> {
    let (members, ending) = match layer {
        Layer::Tar { members, ending } => (members, ending),
        Layer::Opaque { seed, length } => return content(seed + 100, usize::from(*length)),
        Layer::Empty => return vec![0; 1024],
        Layer::Nothing => return Vec::new(),
    };
    let mut tar = Vec::new();
    members.iter().for_each(|member| append_entry(&mut tar, member));
    match ending {
        Ending::Missing => {}
        Ending::Proper => tars::end(&mut tar),
        Ending::Record => {
            tars::end(&mut tar);
            tar.resize(tar.len().next_multiple_of(10_240), 0);
        }
        Ending::Garbage(seed) => {
            tars::end(&mut tar);
            tar.extend(content(*seed, 777));
        }
        Ending::Cut(bytes) => tar.truncate(tar.len().saturating_sub(usize::from(*bytes % 3_000))),
    }
    tar
}

fn append_entry(tar: &mut Vec<u8>, entry: &Entry) {
    let path = path(entry.name);
    let member = Member {
        mtime: 1_600_000_000 + entry.mtime,
        dialect: entry.dialect,
        ..tars::plain(&path, EntryType::Regular)
    };
    match &entry.what {
        What::File { seed, length, edits } => {
            let content = edits.iter().fold(content(*seed, *length), edit_bytes);
            append(tar, &Member { content: &content, ..member });
        }
        What::Folder => {
            append(
                tar,
                &Member { path: &format!("{path}.d/"), kind: EntryType::Directory, ..member },
            );
        }
        What::Symlink(to) => {
            append(tar, &Member { kind: EntryType::Symlink, link: &self::path(*to), ..member });
        }
        What::HardLink(to) => {
            append(tar, &Member { kind: EntryType::Link, link: &self::path(*to), ..member });
        }
        What::Fifo => append(tar, &Member { kind: EntryType::Fifo, ..member }),
        What::Whiteout => append(tar, &Member { path: "etc/.wh.motd", ..member }),
        What::OpaqueWhiteout => append(tar, &Member { path: "etc/.wh..wh..opq", ..member }),
    }
}

/// One of some names: plain, with versions, not ASCII, and too long for a header.
fn path(name: usize) -> String {
    match name % 12 {
        0 => "etc/motd".into(),
        1 => "usr/lib/libfoo.so.1.2.3".into(),
        2 => "usr/lib/libfoo.so.1.2.4".into(),
        3 => "usr/lib/foo-1.0.dist-info/RECORD".into(),
        4 => "usr/lib/foo-1.1.dist-info/RECORD".into(),
        5 => "app/übung/naïve.txt".into(),
        6 => "./app/data.bin".into(),
        7 => "app/data.bin".into(),
        8 => format!("{}file", "deep/".repeat(19)),
        9 => format!("{}file", "deeper/".repeat(20)),
        10 => format!("{}äöü", "tief/ß".repeat(40)),
        _ => format!("{}x", "very-deep/".repeat(120)),
    }
}

/// Text for even seeds, noise for odd ones.
pub fn content(seed: u8, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(seed) << 32);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        match seed % 2 {
            0 => bytes.extend(format!("line {} of {seed}\n", next() % 500).bytes()),
            _ => bytes.extend(next().to_le_bytes()),
        }
    }
    bytes.truncate(length);
    bytes
}

/// Bytes of which nothing repeats, other ones for each seed (the generator of MMIX).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let step = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn edit_bytes(mut bytes: Vec<u8>, edit: &Edit) -> Vec<u8> {
    let length = bytes.len();
    let at = |position: u16| usize::from(position) % (length + 1);
    match *edit {
        Edit::Overwrite(position) => {
            bytes[at(position)..].iter_mut().take(9).for_each(|byte| *byte = !*byte);
        }
        Edit::Insert(position) => drop(bytes.splice(at(position)..at(position), *b"inserted")),
        Edit::Delete(position) => drop(bytes.drain(at(position)..length.min(at(position) + 7))),
        Edit::Append => bytes.extend(b"appended"),
    }
    bytes
}
