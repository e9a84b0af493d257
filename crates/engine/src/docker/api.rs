//! The Docker API, from 1.24 on.

use std::io;

use serde::de::DeserializeOwned;
use tarball::{ImageId, JsonError, Name};

use super::answers::{LoadLine, Refusal, RemovalStep, Version};
use crate::error::{EngineError, Unreachable};
use crate::http::{self, Address, HttpError, RequestBody, Response, escaped};
use crate::place::EngineKind;

/// Where Docker listens, and where balenaEngine does.
const SOCKETS: [&str; 3] =
    ["/var/run/docker.sock", "/var/run/balena-engine.sock", "/var/run/balena.sock"];
/// The oldest version that has all that is asked, and the newest that is known.
const MIN_VERSION: (u32, u32) = (1, 24);
const MAX_VERSION: (u32, u32) = (1, 55);
/// Lists of thousands of images, and configs, are far smaller.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

const KIND: EngineKind = EngineKind::Docker;

/// An engine's API, in a version that both speak.
pub(super) struct Api {
    address: Address,
    version: String,
}

impl Api {
    /// Finds the engine and agrees on a version.
    pub(super) fn open(host: Option<&str>) -> Result<(Self, Version), EngineError> {
        let address = match host {
            Some(host) => Address::parse(host)
                .ok_or_else(|| EngineError::Address { address: host.to_owned() })?,
            None => default_address(),
        };
        let mut api = Self { address, version: String::new() };
        let version: Version = api.get_json("/version")?;
        api.version = agree(&version)?;
        Ok((api, version))
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Whether its folders may be those of this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }

    pub(super) fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let response = self.ask("GET", path)?;
        self.parse(self.accept(response, path)?, path)
    }

    /// The same; `None` where there is no such thing.
    pub(super) fn find_json<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, EngineError> {
        let response = self.ask("GET", path)?;
        if response.status == 404 {
            return Ok(None);
        }
        self.parse(self.accept(response, path)?, path).map(Some)
    }

    /// The stream of an image that the engine saves.
    pub(super) fn save(&self, image: ImageId) -> Result<Response, EngineError> {
        let response = self.ask("GET", &format!("/images/{image}/get"))?;
        self.accept(response, "save an image")
    }

    pub(super) fn has_image(&self, image: ImageId) -> Result<bool, EngineError> {
        let found: Option<serde_json::Value> = self.find_json(&format!("/images/{image}/json"))?;
        Ok(found.is_some())
    }

    pub(super) fn tag(&self, image: ImageId, name: &Name) -> Result<(), EngineError> {
        let (repository, tag) = (escaped(name.repository()), escaped(name.tag()));
        let path = format!("/images/{image}/tag?repo={repository}&tag={tag}");
        let response = self.ask("POST", &path)?;
        self.accept(response, "tag an image").map(drop)
    }

    pub(super) fn remove(
        &self,
        reference: &str,
        is_forced: bool,
    ) -> Result<Vec<RemovalStep>, EngineError> {
        let force = u8::from(is_forced);
        let path = format!("/images/{}?force={force}", escaped_path(reference));
        let response = self.ask("DELETE", &path)?;
        if response.status == 404 {
            let reference = reference.to_owned();
            return Err(EngineError::NoSuchImage { kind: KIND, reference });
        }
        let action = format!("remove {reference}");
        self.parse(self.accept(response, &action)?, &action)
    }

    /// Starts to send an archive.
    pub(super) fn start_load(&self) -> Result<RequestBody, EngineError> {
        let path = self.path("/images/load?quiet=1");
        http::start_upload(&self.address, &path, "application/x-tar")
            .map_err(|error| self.error(error, "taking in an image"))
    }

    /// Ends an archive and waits until the engine has taken it in.
    pub(super) fn finish_load(&self, body: RequestBody) -> Result<(), EngineError> {
        self.loaded(body.finish())
    }

    /// What became of an archive that the engine did not read to its end.
    pub(super) fn broken_load(&self, body: RequestBody, error: io::Error) -> EngineError {
        match self.loaded(body.answer_or(error)) {
            Err(error) => error,
            Ok(()) => EngineError::Protocol {
                kind: KIND,
                why: "it took in an archive that it did not read to its end",
            },
        }
    }

    fn loaded(&self, response: Result<Response, HttpError>) -> Result<(), EngineError> {
        let error = |error| self.error(error, "taking in an image");
        let mut response = self.accept(response.map_err(error)?, "load an image")?;
        let lines = response.read_all(MAX_ANSWER_BYTES).map_err(error)?;
        let lines = serde_json::Deserializer::from_slice(&lines).into_iter::<LoadLine>();
        // What is not JSON is what it says to people.
        match lines.map_while(Result::ok).find_map(|line| line.error) {
            Some(message) => {
                Err(EngineError::Refused { kind: KIND, action: "load an image".into(), message })
            }
            None => Ok(()),
        }
    }

    fn ask(&self, method: &str, path: &str) -> Result<Response, EngineError> {
        http::request(&self.address, method, &self.path(path))
            .map_err(|error| self.error(error, "answering"))
    }

    fn path(&self, path: &str) -> String {
        match self.version.as_str() {
            "" => path.to_owned(),
            version => format!("/v{version}{path}"),
        }
    }

    /// Turns refusals into errors.
    fn accept(&self, mut response: Response, action: &str) -> Result<Response, EngineError> {
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        let body = response.read_all(1 << 20).unwrap_or_default();
        let message = serde_json::from_slice::<Refusal>(&body).map_or_else(
            |_| format!("status {} {}", response.status, String::from_utf8_lossy(&body)),
            |refusal| refusal.message,
        );
        let action =
            action.strip_prefix('/').map_or(action.to_owned(), |what| format!("say {what}"));
        Err(EngineError::Refused { kind: KIND, action, message: message.trim().to_owned() })
    }

    fn parse<T: DeserializeOwned>(
        &self,
        mut response: Response,
        question: &str,
    ) -> Result<T, EngineError> {
        let body = response.read_all(MAX_ANSWER_BYTES);
        let body = body.map_err(|error| self.error(error, "answering"))?;
        serde_json::from_slice(&body).map_err(|error| EngineError::Answer {
            kind: KIND,
            question: question.to_owned(),
            source: JsonError::Parse(error),
        })
    }

    fn error(&self, error: HttpError, doing: &'static str) -> EngineError {
        let (kind, address) = (KIND, self.address.to_string());
        match error {
            HttpError::Connect(error) => {
                EngineError::Unreachable { kind, address, why: Unreachable::from(&error) }
            }
            HttpError::Broken(source) => EngineError::Lost { kind, address, doing, source },
            HttpError::Protocol(why) => EngineError::Protocol { kind, why },
        }
    }
}

/// The newest version that both sides speak.
fn agree(engine: &Version) -> Result<String, EngineError> {
    let highest = parse_version(&engine.api_version);
    let lowest = engine.min_api_version.as_deref().map_or((0, 0), parse_version);
    let (product, version) = ("Docker".to_owned(), engine.version.clone());
    let text = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    if highest < MIN_VERSION {
        let api_version = engine.api_version.clone();
        return Err(EngineError::TooOld { product, version, api_version });
    }
    if lowest > MAX_VERSION {
        let (min_api_version, known) = (text(lowest), text(MAX_VERSION));
        return Err(EngineError::TooNew { product, version, min_api_version, known });
    }
    Ok(text(highest.min(MAX_VERSION)))
}

/// The first socket that is there.
fn default_address() -> Address {
    let found = SOCKETS.iter().find(|path| std::path::Path::new(path).exists());
    Address::Unix((*found.unwrap_or(&SOCKETS[0])).into())
}

/// What cannot be read counts as the oldest.
fn parse_version(text: &str) -> (u32, u32) {
    let parts = text.split_once('.');
    parts
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .unwrap_or((0, 0))
}

/// A name as it stands in a path, where its slashes stay.
fn escaped_path(reference: &str) -> String {
    reference.split('/').map(escaped).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// An engine that says it speaks these versions, and that it has no images; what was asked of it.
    fn ask_engine_of(version: &'static str) -> (Result<(), EngineError>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let mut asked = Vec::new();
            for stream in listener.incoming() {
                let (mut stream, mut head, mut byte) = (stream.unwrap(), Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                    head.push(byte[0]);
                }
                let line = String::from_utf8(head).unwrap();
                let line = line.lines().next().unwrap_or_default().to_owned();
                if line.is_empty() {
                    break;
                }
                let body = if line.contains("/version") { version } else { "[]" };
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
                    .unwrap();
                asked.push(line);
            }
            asked
        });
        let opened = Api::open(Some(&format!("unix://{}", path.display())));
        let result = opened.and_then(|(api, _)| {
            let images: Vec<serde_json::Value> = api.get_json("/images/json")?;
            assert!(images.is_empty());
            Ok(())
        });
        drop(std::os::unix::net::UnixStream::connect(&path).unwrap());
        (result, server.join().unwrap())
    }

    #[test]
    fn both_sides_agree_on_a_version() {
        for (says, spoken) in [
            (r#"{"Version":"1.12","ApiVersion":"1.24"}"#, "v1.24"),
            (r#"{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#, "v1.41"),
            (r#"{"Version":"29","ApiVersion":"1.52","MinAPIVersion":"1.44"}"#, "v1.52"),
            (r#"{"Version":"40","ApiVersion":"1.99","MinAPIVersion":"1.44"}"#, "v1.55"),
            (r#"{"Version":"41","ApiVersion":"2.3","MinAPIVersion":"1.52"}"#, "v1.55"),
        ] {
            let (result, asked) = ask_engine_of(says);
            result.unwrap();
            let images = format!("GET /{spoken}/images/json HTTP/1.1");
            assert_eq!(asked, ["GET /version HTTP/1.1", &images], "{says}");
        }
    }

    #[test]
    fn an_engine_that_is_too_old_or_too_new_is_asked_nothing_more() {
        for (says, why) in [
            (
                r#"{"Version":"1.11","ApiVersion":"1.23"}"#,
                "Docker 1.11 speaks API 1.23, and at least 1.24 is needed",
            ),
            (
                r#"{"Version":"0","ApiVersion":"x"}"#,
                "Docker 0 speaks API x, and at least 1.24 is needed",
            ),
            (
                r#"{"Version":"50","ApiVersion":"2.9","MinAPIVersion":"2.0"}"#,
                "Docker 50 speaks API 2.0 and later, and 1.55 is the last that Silt speaks",
            ),
        ] {
            let (result, asked) = ask_engine_of(says);
            assert_eq!(result.unwrap_err().to_string(), why);
            assert_eq!(asked, ["GET /version HTTP/1.1"]);
        }
    }
}
