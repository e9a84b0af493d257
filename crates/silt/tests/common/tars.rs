//! Members of tars, written header by header, in all the ways in which names are written.

use tar::{EntryType, Header};

/// How a name that does not fit a header is written, and what else the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Gnu,
    Pax,
    /// PAX, with an extended attribute.
    PaxWithAttribute,
}

/// One member of a layer.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    pub path: &'a str,
    pub kind: EntryType,
    /// Target of a link.
    pub link: &'a str,
    pub content: &'a [u8],
    pub mtime: u64,
    pub dialect: Dialect,
}

pub fn append_file(tar: &mut Vec<u8>, path: &str, content: &[u8]) {
    append(tar, &Member { content, ..plain(path, EntryType::Regular) });
}

pub fn append_link(tar: &mut Vec<u8>, kind: EntryType, path: &str, link: &str) {
    append(tar, &Member { link, ..plain(path, kind) });
}

/// A layer with one file.
pub fn one_file(content: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    append_file(&mut tar, "file", content.as_bytes());
    end(&mut tar);
    tar
}

/// The two blocks that end a tar.
pub fn end(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 1024, 0);
}

pub fn plain(path: &str, kind: EntryType) -> Member<'_> {
    Member { path, kind, link: "", content: &[], mtime: 0, dialect: Dialect::Gnu }
}

pub fn append(tar: &mut Vec<u8>, member: &Member<'_>) {
    match member.dialect {
        Dialect::Gnu => {
            append_gnu_long(tar, EntryType::GNULongName, member.path);
            append_gnu_long(tar, EntryType::GNULongLink, member.link);
        }
        Dialect::Pax | Dialect::PaxWithAttribute => append_pax(tar, member),
    }
    let mut header = header(member.kind, member.path, member.content.len(), member.dialect);
    let link = short(member.link);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_mtime(member.mtime);
    header.set_mode(if member.kind == EntryType::Directory { 0o755 } else { 0o640 });
    append_block(tar, header, member.content);
}

fn append_gnu_long(tar: &mut Vec<u8>, kind: EntryType, text: &str) {
    if text.len() > 100 {
        let content = [text.as_bytes(), &[0]].concat();
        append_block(tar, header(kind, "././@LongLink", content.len(), Dialect::Gnu), &content);
    }
}

fn append_pax(tar: &mut Vec<u8>, member: &Member<'_>) {
    let mut records = Vec::new();
    if member.path.len() > 100 {
        records.extend(pax_record("path", member.path));
    }
    if member.link.len() > 100 {
        records.extend(pax_record("linkpath", member.link));
    }
    if member.dialect == Dialect::PaxWithAttribute {
        records.extend(pax_record("SCHILY.xattr.user.note", "läßt sich\nlesen"));
        records.extend(pax_record("mtime", "1700000000.123456789"));
    }
    if !records.is_empty() {
        let header = header(EntryType::XHeader, "PaxHeaders/x", records.len(), Dialect::Pax);
        append_block(tar, header, &records);
    }
}

/// `LENGTH KEY=VALUE\n`, whose length counts its own digits.
fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = |length: usize| length.to_string().len();
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    format!("{length} {key}={value}\n").into_bytes()
}

fn header(kind: EntryType, path: &str, size: usize, dialect: Dialect) -> Header {
    let mut header = match dialect {
        Dialect::Gnu => Header::new_gnu(),
        _ => Header::new_ustar(),
    };
    let path = short(path);
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn short(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(100)]
}

fn append_block(tar: &mut Vec<u8>, mut header: Header, content: &[u8]) {
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
