//! From layers to a root file system: a directory in which the layers were applied one after the
//! other, as the [OCI image spec](https://github.com/opencontainers/image-spec/blob/main/layer.md)
//! says and Docker does, whiteouts and all.
//!
//! Nothing is ever written, changed or removed outside that directory, whatever the layers say:
//! links are followed as a process would see them whose root the directory is.

mod error;
mod layer;
mod member;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::digest::DiffId;
use crate::tar_stream::Timestamp;
use crate::write::OpenBlob;

pub use error::UnpackError;

use tree::Tree;

/// A layer to apply.
pub struct LayerToUnpack<'a> {
    /// For messages. The reader checks it, where it is checked.
    pub diff_id: DiffId,
    /// Opens the uncompressed tar.
    pub open: OpenBlob<'a>,
}

/// How to unpack.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Whether to set owners and to make device nodes, which takes root. Else everything belongs to
    /// whoever unpacks.
    pub as_root: bool,
    /// For the paths that must be remembered until a layer, or all, are done. In bytes.
    pub max_metadata_bytes: u64,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnpackReport {
    /// Members of all layers, whiteouts included.
    pub members: u64,
    /// Bytes of all files that were written, those that a later layer removed included.
    pub file_bytes: u64,
    /// How many things could not be made.
    pub skipped_count: u64,
    /// The first hundred of them.
    pub skipped: Vec<SkippedMember>,
}

/// Something that could not be made, with which unpacking went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedMember {
    /// Path in the image, made printable.
    pub path: String,
    /// What is missing.
    pub reason: SkipReason,
}

/// What is missing of a member that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// A device node, which only root may make, and not everywhere.
    Device,
    /// This extended attribute, which the file system or the rights do not allow.
    Attribute(String),
    /// All of it: its type is not one that Linux has.
    Type(u8),
}

/// How many skipped members are told one by one.
const MAX_TOLD: usize = 100;

impl Default for UnpackOptions {
    fn default() -> Self {
        Self { as_root: rustix::process::geteuid().is_root(), max_metadata_bytes: 64 << 20 }
    }
}

/// Applies `layers`, the lowest first, to `directory`, which must be empty or not be there yet. On
/// an error it is left as far as it came.
pub fn unpack(
    layers: &[LayerToUnpack<'_>],
    directory: &Path,
    options: &UnpackOptions,
) -> Result<UnpackReport, UnpackError> {
    let directory_error = |source| UnpackError::Directory { path: directory.to_owned(), source };
    make_empty(directory).map_err(directory_error)?;
    let mut unpacking = Unpacking {
        tree: Tree::open(directory).map_err(directory_error)?,
        options,
        directories: BTreeMap::new(),
        metadata_bytes: 0,
        report: UnpackReport::default(),
    };
    for layer in layers {
        layer::apply(&mut unpacking, layer)?;
    }
    unpacking.finish_directories().map_err(directory_error)?;
    Ok(unpacking.report)
}

fn make_empty(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    match fs::read_dir(directory)?.next() {
        None => Ok(()),
        Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
}

/// What is kept from one layer to the next.
struct Unpacking<'a> {
    tree: Tree,
    options: &'a UnpackOptions,
    /// Directories by path. Their modes and times are set at the very end: until then things are
    /// put into them and taken out.
    directories: BTreeMap<Vec<u8>, DirectoryFacts>,
    metadata_bytes: u64,
    report: UnpackReport,
}

#[derive(Clone, Copy)]
struct DirectoryFacts {
    mode: u32,
    mtime: Timestamp,
}

/// What a remembered path takes beside its bytes.
const PATH_BYTES: u64 = 64;

impl Unpacking<'_> {
    fn skip(&mut self, path: &[u8], reason: SkipReason) {
        self.report.skipped_count += 1;
        if self.report.skipped.len() < MAX_TOLD {
            let path = error::printable(path);
            self.report.skipped.push(SkippedMember { path, reason });
        }
    }

    /// Accounts for a path that must be remembered; `false` where that is too much.
    fn remember(&mut self, path: &[u8]) -> bool {
        self.metadata_bytes += PATH_BYTES + path.len() as u64;
        self.metadata_bytes <= self.options.max_metadata_bytes
    }

    /// What was at `path` is gone, and with it what was remembered of directories there.
    fn forget_directories(&mut self, path: &[u8]) {
        let gone = self.directories.range(beneath(path));
        let mut gone: Vec<Vec<u8>> = gone.map(|(path, _)| path.clone()).collect();
        gone.push(path.to_vec());
        for path in gone {
            if self.directories.remove(&path).is_some() {
                self.metadata_bytes -= PATH_BYTES + path.len() as u64;
            }
        }
    }

    /// The deepest first: a directory that may not be entered hides those in it.
    fn finish_directories(&mut self) -> io::Result<()> {
        for (path, facts) in self.directories.iter().rev() {
            let parts: Vec<&[u8]> = member::parts(path).collect();
            if let Some(directory) = self.tree.directory(&parts)? {
                member::set_mode_and_time(&directory, facts.mode, facts.mtime)?;
            }
        }
        Ok(())
    }
}

/// All paths beneath `path`, in an ordered set or map: `/` and what follows it, up to the next byte.
fn beneath(path: &[u8]) -> Range<Vec<u8>> {
    [path, b"/"].concat()..[path, b"0"].concat()
}
