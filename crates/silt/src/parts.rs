//! The parts of an archive, and the list of them (`docs/formats/parts.md`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tarball::{Digest, Digester};

use crate::failure::{Failure, FailureKind, kind_of_input};
use crate::progress::{Progress, moved};

/// As many as three digits can number.
pub(crate) const MAX_PARTS: usize = 1000;
/// No list is longer.
const MAX_LIST_BYTES: u64 = 1 << 20;

/// What lies beside the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartList {
    /// [`PartList::VERSION`].
    pub version: u32,
    /// Bytes of the archive.
    pub bytes: u64,
    /// The parts in order.
    pub parts: Vec<ListedPart>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPart {
    /// The file, in the folder of the list.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Something is wrong with one of the parts.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A part could not be opened or read.
    #[error("cannot read part {}", path.display())]
    Io {
        /// The part.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A part is not there.
    #[error("part {} is missing", path.display())]
    Missing {
        /// The part.
        path: PathBuf,
    },
    /// A part is cut, or of another archive.
    #[error("part {} should have {expected} bytes, but has {found}: it is cut, or of another archive", path.display())]
    Size {
        /// The part.
        path: PathBuf,
        /// By the list.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// A part is damaged, or of another archive.
    #[error("part {} should have digest {expected}, but has {found}: it is damaged, or of another archive", path.display())]
    Digest {
        /// The part.
        path: PathBuf,
        /// By the list.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// The list is not one.
    #[error("{} is not a list of parts: {why}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// The parts of an archive, found and of the right sizes.
#[derive(Debug)]
pub(crate) struct PartSet {
    paths: Vec<PathBuf>,
    list: Option<PartList>,
}

impl PartList {
    /// The only version.
    pub const VERSION: u32 = 1;

    /// Reads a list. Its files lie in its folder.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let list: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if list.version != Self::VERSION {
            return Err(format!("it is of version {}", list.version));
        }
        if list.parts.is_empty() || list.parts.len() > MAX_PARTS {
            return Err(format!("it lists {} parts", list.parts.len()));
        }
        let is_plain = |part: &ListedPart| {
            !part.file.is_empty() && !part.file.contains(['/', '\0']) && part.file != ".."
        };
        if !list.parts.iter().all(is_plain) {
            return Err("it names files elsewhere".to_owned());
        }
        let sum = list.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.bytes));
        match sum == Some(list.bytes) {
            true => Ok(list),
            false => Err("its sizes do not sum up".to_owned()),
        }
    }
}

/// The file of a part.
pub(crate) fn part_path(path: &Path, number: usize) -> PathBuf {
    with_suffix(path, &format!(".{number:03}"))
}

/// The list of an archive's parts. It is not called `NAME.…`, so that `cat NAME.*` is the archive.
pub(crate) fn list_path(path: &Path) -> PathBuf {
    with_suffix(path, "-parts.json")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// The name of the archive whose parts a user means: by its first part, or by its own name where only
/// parts are there.
pub(crate) fn whole_path(path: &Path) -> Option<PathBuf> {
    if path.extension().is_some_and(|extension| extension == "000") {
        return Some(path.with_extension(""));
    }
    (!path.exists() && part_path(path, 0).exists()).then(|| path.to_owned())
}

impl PartSet {
    /// Finds the parts of the archive `path`, by their list or, where there is none, by their numbers.
    pub(crate) fn find(path: &Path) -> Result<Self, PartError> {
        let list_path = list_path(path);
        match File::open(&list_path) {
            Ok(file) => Self::listed(&list_path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::numbered(path),
            Err(source) => Err(PartError::Io { path: list_path, source }),
        }
    }

    fn listed(path: &Path, file: File) -> Result<Self, PartError> {
        let mut text = Vec::new();
        let read = file.take(MAX_LIST_BYTES).read_to_end(&mut text);
        read.map_err(|source| PartError::Io { path: path.to_owned(), source })?;
        let list = PartList::parse(&text);
        let list = list.map_err(|why| PartError::List { path: path.to_owned(), why })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let paths: Vec<PathBuf> = list.parts.iter().map(|part| folder.join(&part.file)).collect();
        for (path, part) in paths.iter().zip(&list.parts) {
            let found = match path.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(PartError::Missing { path: path.clone() });
                }
                found => found.map_err(|source| PartError::Io { path: path.clone(), source })?,
            };
            if found.len() != part.bytes {
                let (path, expected, found) = (path.clone(), part.bytes, found.len());
                return Err(PartError::Size { path, expected, found });
            }
        }
        Ok(Self { paths, list: Some(list) })
    }

    fn numbered(path: &Path) -> Result<Self, PartError> {
        let is_there: Vec<bool> = (0..MAX_PARTS).map(|n| part_path(path, n).exists()).collect();
        let count = is_there.iter().position(|is_there| !is_there).unwrap_or(MAX_PARTS);
        if count == 0 || is_there[count..].contains(&true) {
            return Err(PartError::Missing { path: part_path(path, count) });
        }
        Ok(Self { paths: (0..count).map(|n| part_path(path, n)).collect(), list: None })
    }

    pub(crate) fn open(&self) -> Result<Vec<File>, PartError> {
        let open = |path: &PathBuf| {
            File::open(path).map_err(|source| PartError::Io { path: path.clone(), source })
        };
        self.paths.iter().map(open).collect()
    }

    /// The first part that is not what the list says. Asked when the archive was found damaged: else
    /// there is no need to read all of it for this.
    pub(crate) fn find_wrong(&self, progress: &dyn Progress) -> Option<PartError> {
        let parts = self.list.as_ref().map(|list| &list.parts)?;
        self.paths.iter().zip(parts).find_map(|(path, part)| {
            let found = match digest_of(path, progress) {
                Ok(found) => found,
                Err(source) => return Some(PartError::Io { path: path.clone(), source }),
            };
            let (path, expected) = (path.clone(), part.digest);
            (found != expected).then_some(PartError::Digest { path, expected, found })
        })
    }
}

fn digest_of(path: &Path, progress: &dyn Progress) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digester.finish()),
            count => digester.update(&buffer[..count]),
        }
        moved(progress, 0)?;
    }
}

impl Failure for PartError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Io { source, .. } => kind_of_input(source),
            Self::Missing { .. } | Self::Size { .. } | Self::Digest { .. } | Self::List { .. } => {
                FailureKind::Damaged
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            _ => Some("copy all parts of the archive, and its list, once more".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_of_files_beside_it_and_sums_up() {
        let digest = Digest::of(b"");
        let list = |file: &str, bytes: u64| {
            format!(
                r#"{{"version":1,"bytes":{bytes},"parts":[{{"file":{file:?},"bytes":7,"digest":"{digest}"}}]}}"#
            )
        };
        assert!(PartList::parse(list("x.000", 7).as_bytes()).is_ok());
        for bad in [list("../x", 7), list("", 7), list("x", 8), list("x", 7).replace(":1,", ":2,")]
        {
            assert!(PartList::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(PartList::parse(br#"{"version":1,"bytes":0,"parts":[]}"#).is_err());
    }
}
