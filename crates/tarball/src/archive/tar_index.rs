//! Where each member of an archive's tar lies: one pass over the headers.

use std::collections::HashMap;

use super::error::ArchiveFault;
use super::limits::{MetadataBudget, ReadLimits};
use super::member_name::{normalize, shorten, symbolic_target};
use crate::compression::Compression;
use crate::config::MAX_CONFIG_BYTES;
use crate::tar_stream::{BLOCK_BYTES, Member, MemberKind, Skip, TarError, TarStream};

/// What is allowed after the end-of-archive marker. Tools pad to 10 KiB, tapes to a megabyte.
const MAX_TRAILING_BYTES: u64 = 16 << 20;
/// What an entry takes beside its names.
const ENTRY_BYTES: u64 = 128;
/// Most links from one name to the next.
const MAX_LINKS: usize = 8;
/// Only these have no digest to vouch for them, so tools that differ in whether the first or the
/// last counts would see different images.
const UNIQUE_MEMBERS: [&str; 3] = ["manifest.json", "index.json", "oci-layout"];

/// A member with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredMember {
    /// Of the data, in the uncompressed tar.
    pub(super) offset: u64,
    /// Bytes of data.
    pub(super) size: u64,
    /// How the data seems to be compressed, by its first bytes.
    pub(super) compression: Compression,
    /// The data of a document, where the tar cannot be read at any place.
    pub(super) kept: Option<Vec<u8>>,
}

/// All members of a tar that an image can be made of.
#[derive(Debug, Default)]
pub(super) struct TarIndex {
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    File(StoredMember),
    Link(String),
    Unreadable(&'static str),
}

/// Reads all headers of a tar, and the start of each member. With `keep_documents` the members that
/// begin like JSON are kept, as far as `budget` allows.
pub(super) fn read_index<R: Skip>(
    source: R,
    limits: &ReadLimits,
    keep_documents: bool,
    budget: &mut MetadataBudget,
) -> Result<TarIndex, Box<ArchiveFault>> {
    let mut stream = TarStream::new(source);
    let mut index = TarIndex::default();
    let mut count = 0;
    while let Some(member) = next_member(&mut stream)? {
        count += 1;
        if count > limits.max_members {
            let limit = limits.max_members;
            return Err(ArchiveFault::TooMany { what: "members", limit }.into());
        }
        // What is not UTF-8 cannot be named by JSON.
        if let Ok(name) = std::str::from_utf8(&member.path) {
            let name = normalize(name)?;
            let entry = entry(&name, &member, &mut stream, keep_documents, budget)?;
            index.insert(name, entry, budget)?;
        }
    }
    stream.finish(MAX_TRAILING_BYTES).map_err(ArchiveFault::tar)?;
    Ok(index)
}

/// A first header that is none means that this is no tar; a later one, that it is damaged.
fn next_member<R: Skip>(stream: &mut TarStream<R>) -> Result<Option<Member>, Box<ArchiveFault>> {
    stream.next_member().map_err(|error| match error {
        TarError::Checksum { offset: 0 } => {
            Box::new(ArchiveFault::NotAnArchive { why: "it does not start with a tar header" })
        }
        TarError::Truncated { offset, .. } if offset < BLOCK_BYTES => {
            Box::new(ArchiveFault::NotAnArchive { why: "it is shorter than a tar header" })
        }
        error => ArchiveFault::tar(error),
    })
}

fn entry<R: Skip>(
    name: &str,
    member: &Member,
    stream: &mut TarStream<R>,
    keep_documents: bool,
    budget: &mut MetadataBudget,
) -> Result<Option<Entry>, Box<ArchiveFault>> {
    Ok(match member.kind {
        MemberKind::File => {
            Some(Entry::File(stored_member(member, stream, keep_documents, budget)?))
        }
        MemberKind::HardLink => Some(Entry::Link(normalize(&link_text(member))?)),
        MemberKind::SymbolicLink => Some(Entry::Link(symbolic_target(name, &link_text(member))?)),
        MemberKind::Sparse => Some(Entry::Unreadable("is stored as a sparse file")),
        _ => None,
    })
}

/// What is not UTF-8 cannot lead to a member that is.
fn link_text(member: &Member) -> String {
    String::from_utf8_lossy(&member.link).into_owned()
}

fn stored_member<R: Skip>(
    member: &Member,
    stream: &mut TarStream<R>,
    keep_documents: bool,
    budget: &mut MetadataBudget,
) -> Result<StoredMember, Box<ArchiveFault>> {
    let mut head = [0; Compression::DETECT_BYTES];
    let filled = fill(stream, &mut head).map_err(ArchiveFault::tar)?;
    let head = &head[..filled];
    let is_document = matches!(head.first(), Some(b'{' | b'['));
    let fits = member.size <= MAX_CONFIG_BYTES.min(budget.left());
    let kept = if keep_documents && is_document && fits {
        budget.take(member.size)?;
        Some(rest_of_document(head, member.size, stream).map_err(ArchiveFault::tar)?)
    } else {
        None
    };
    Ok(StoredMember {
        offset: member.data_offset,
        size: member.size,
        compression: Compression::detect(head),
        kept,
    })
}

fn rest_of_document<R: Skip>(
    head: &[u8],
    size: u64,
    stream: &mut TarStream<R>,
) -> Result<Vec<u8>, TarError> {
    let mut document = head.to_vec();
    document.resize(usize::try_from(size).unwrap_or(head.len()), 0);
    fill(stream, &mut document[head.len()..])?;
    Ok(document)
}

fn fill<R: Skip>(stream: &mut TarStream<R>, buffer: &mut [u8]) -> Result<usize, TarError> {
    let mut filled = 0;
    loop {
        match stream.read_data(&mut buffer[filled..])? {
            0 => return Ok(filled),
            count => filled += count,
        }
    }
}

impl TarIndex {
    /// The member of this normalized name, links followed.
    pub(super) fn find(&self, name: &str) -> Result<Option<&StoredMember>, Box<ArchiveFault>> {
        let mut at = name;
        for _ in 0..MAX_LINKS {
            match self.entries.get(at) {
                None => return Ok(None),
                Some(Entry::File(member)) => return Ok(Some(member)),
                Some(Entry::Link(target)) => at = target,
                Some(Entry::Unreadable(problem)) => return Err(unreadable(name, problem).into()),
            }
        }
        Err(unreadable(name, "is a link to a link without end").into())
    }

    /// Adds a member that was found by other means.
    pub(super) fn add_file(
        &mut self,
        name: String,
        member: StoredMember,
        budget: &mut MetadataBudget,
    ) -> Result<(), Box<ArchiveFault>> {
        self.insert(name, Some(Entry::File(member)), budget)
    }

    fn insert(
        &mut self,
        name: String,
        entry: Option<Entry>,
        budget: &mut MetadataBudget,
    ) -> Result<(), Box<ArchiveFault>> {
        let Some(entry) = entry else { return Ok(()) };
        let link_bytes = match &entry {
            Entry::Link(target) => target.len() as u64,
            _ => 0,
        };
        budget.take(ENTRY_BYTES + name.len() as u64 + link_bytes)?;
        if UNIQUE_MEMBERS.contains(&name.as_str()) && self.entries.contains_key(&name) {
            return Err(ArchiveFault::Duplicate { member: name }.into());
        }
        // As tar does: the last one counts. Its digest is checked like any other.
        self.entries.insert(name, entry);
        Ok(())
    }
}

fn unreadable(member: &str, problem: &'static str) -> ArchiveFault {
    ArchiveFault::Unreadable { member: shorten(member), problem }
}
