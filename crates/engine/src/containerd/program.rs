//! The `ctr` program, which comes with containerd.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tarball::config::MAX_CONFIG_BYTES;
use tarball::{Digest, Name};

use crate::error::{EngineError, Unreachable};
use crate::place::{EngineKind, ImageRecord, Where};
use crate::program::{ProgramStream, refused, run};
use crate::saved::{SaveStream, SavedStream};

const KIND: EngineKind = EngineKind::Containerd;
const SOCKET: &str = "/run/containerd/containerd.sock";
const NAMESPACE: &str = "default";

/// The program, and which containerd it talks to.
pub(super) struct Ctr {
    address: PathBuf,
    namespace: String,
}

/// A line of `images ls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedImage {
    pub(super) name: String,
    /// Of its manifest, or of an index.
    pub(super) digest: Digest,
}

impl Ctr {
    pub(super) fn new(place: &Where) -> Self {
        let address = place.containerd_address.clone().unwrap_or_else(|| SOCKET.into());
        let namespace = place.containerd_namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
        Self { address, namespace }
    }

    pub(super) fn address(&self) -> String {
        self.address.display().to_string()
    }

    /// Reaches the socket first: what `ctr` says of one that is not there takes it ten seconds.
    pub(super) fn version(&self) -> Result<String, EngineError> {
        std::os::unix::net::UnixStream::connect(&self.address)
            .map_err(|error| self.unreachable(&error))?;
        let out = self.run(&["version"], "say what it is")?;
        // First the program's own version, then the daemon's.
        let mut versions = out.lines().filter_map(|line| line.trim().strip_prefix("Version:"));
        Ok(versions.next_back().unwrap_or_default().trim().to_owned())
    }

    /// Where the content store is.
    pub(super) fn content_root(&self) -> Result<PathBuf, EngineError> {
        let out = self.run(&["plugins", "ls", "--detailed", "id==content"], "list its plugins")?;
        let root = out.lines().filter_map(|line| line.trim().strip_prefix("root "));
        root.map(|path| PathBuf::from(path.trim())).next().ok_or(EngineError::Protocol {
            kind: KIND,
            why: "it does not say where its content store is",
        })
    }

    pub(super) fn images(&self) -> Result<Vec<ListedImage>, EngineError> {
        let out = self.run(&["images", "ls"], "list images")?;
        Ok(out.lines().skip(1).filter_map(ListedImage::parse).collect())
    }

    /// A document of the content store, through the program.
    pub(super) fn document(&self, digest: Digest) -> Result<Option<Vec<u8>>, EngineError> {
        let digest_text = digest.to_string();
        let command = self.command(&["content", "get", &digest_text]);
        let bytes = match run(command, KIND, &self.address(), "read a document") {
            Ok(bytes) => bytes,
            Err(EngineError::Refused { message, .. }) if message.contains("not found") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_right = bytes.len() as u64 <= MAX_CONFIG_BYTES && Digest::of(&bytes) == digest;
        match is_right {
            true => Ok(Some(bytes)),
            false => Err(EngineError::Damaged {
                path: digest_text.into(),
                why: "its digest is not its name".to_owned(),
            }),
        }
    }

    pub(super) fn tag(&self, from: &str, to: &str) -> Result<(), EngineError> {
        self.run(&["images", "tag", "--force", from, to], &format!("tag an image {to}")).map(drop)
    }

    pub(super) fn remove(&self, names: &[String]) -> Result<(), EngineError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.run(&[&["images", "rm", "--sync"], names.as_slice()].concat(), "remove an image")
            .map(drop)
    }

    /// Starts to import an archive, which comes through its input.
    pub(super) fn start_import(&self) -> Result<Child, EngineError> {
        let mut command = self.command(&["images", "import", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map_err(|error| self.missing(&error))
    }

    fn run(&self, arguments: &[&str], action: &str) -> Result<String, EngineError> {
        let out = run(self.command(arguments), KIND, &self.address(), action)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&self.address);
        command.args(["--namespace", &self.namespace]).args(arguments).stdin(Stdio::null());
        command
    }

    fn unreachable(&self, error: &io::Error) -> EngineError {
        let why = Unreachable::from(error);
        EngineError::Unreachable { kind: KIND, address: self.address(), why }
    }

    fn missing(&self, error: &io::Error) -> EngineError {
        let why = Unreachable::from(error);
        EngineError::Unreachable { kind: KIND, address: "ctr".to_owned(), why }
    }
}

impl ListedImage {
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split_whitespace();
        let (name, _type) = (columns.next()?, columns.next()?);
        Some(Self { name: name.to_owned(), digest: columns.next()?.parse().ok()? })
    }
}

/// A name as Silt shows it. What is called by a digest has none.
pub(super) fn own_name(name: &str) -> Option<Name> {
    let is_digest = name.starts_with("sha256:") || name.contains('@');
    (!is_digest).then(|| name.parse().ok()).flatten()
}

/// `ctr images export`, as a stream.
pub(super) struct ExportImage(pub(super) Arc<Ctr>);

impl SavedStream for ExportImage {
    fn open(&self, image: &ImageRecord) -> Result<SaveStream, EngineError> {
        let command = self.0.command(&["images", "export", "-", &image.key]);
        Ok(Box::new(ProgramStream::start(command, KIND, "ctr", "export an image")?))
    }
}

/// What went wrong with a child that has ended.
pub(super) fn import_refused(stderr: &[u8]) -> EngineError {
    refused(KIND, "load an image", stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_off_the_table() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let line = format!(
            "docker.io/library/a:1 application/vnd.oci.image.manifest.v1+json {digest} 2.0 MiB linux/amd64 -"
        );
        let parsed = ListedImage::parse(&line).unwrap();
        assert_eq!(parsed.name, "docker.io/library/a:1");
        assert_eq!(parsed.digest.to_string(), digest);
        assert_eq!(ListedImage::parse("a b"), None);
        assert_eq!(own_name("docker.io/library/a:1"), "a:1".parse().ok());
        assert_eq!(own_name(&digest), None);
        assert_eq!(own_name(&format!("r.io/a@{digest}")), None);
    }
}
