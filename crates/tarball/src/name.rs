//! Names of images, as Docker spells them: `[REGISTRY/]REPOSITORY[:TAG]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name with its tag, in Docker's familiar form: `docker.io/library/busybox` is `busybox:latest`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    repository: String,
    tag: String,
}

/// A string that is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not an image name: {why}")]
pub struct ParseNameError {
    /// The string, shortened to 300 characters.
    pub name: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// The longest repository, as in the distribution specification.
const MAX_REPOSITORY_CHARS: usize = 255;
/// The longest tag, as in the distribution specification.
const MAX_TAG_CHARS: usize = 128;

impl Name {
    /// Everything before the tag.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, `latest` where none was given.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The name with its registry spelled out: `docker.io/library/busybox:latest`.
    pub fn qualified(&self) -> String {
        match self.repository.contains('/') {
            true if begins_with_registry(&self.repository) => self.to_string(),
            true => format!("docker.io/{self}"),
            false => format!("docker.io/library/{self}"),
        }
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ParseNameError { name: text.chars().take(300).collect(), why };
        if text.contains('@') {
            return Err(error("a reference by digest names no tag"));
        }
        let last_slash = text.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match text[last_slash..].find(':') {
            Some(colon) => (&text[..last_slash + colon], &text[last_slash + colon + 1..]),
            None => (text, "latest"),
        };
        let repository = familiar(repository);
        check_repository(repository).map_err(error)?;
        check_tag(tag).map_err(error)?;
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

/// Docker shows and accepts names of its own hub without the registry, and those of its own images
/// without `library/`. What would then be taken for another registry's keeps its prefix.
fn familiar(repository: &str) -> &str {
    let hub = ["docker.io/", "index.docker.io/"];
    let rest = hub.iter().find_map(|prefix| repository.strip_prefix(prefix));
    let rest = match rest {
        Some(rest) if begins_with_registry(rest) => return repository,
        Some(rest) => rest,
        None => repository,
    };
    rest.strip_prefix("library/").filter(|name| !name.contains('/')).unwrap_or(rest)
}

/// Whether the first of several parts is a host: how Docker tells it from a folder of its hub.
fn begins_with_registry(repository: &str) -> bool {
    let first = repository.split_once('/').map_or("", |(first, _)| first);
    first.contains(['.', ':']) || first == "localhost"
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.is_empty() {
        return Err("the repository is empty");
    }
    if repository.len() > MAX_REPOSITORY_CHARS {
        return Err("the repository is longer than 255 characters");
    }
    let mut components = repository.split('/');
    if begins_with_registry(repository) {
        check_registry(components.next().unwrap_or_default())?;
    }
    components.try_for_each(check_component)
}

fn check_registry(host: &str) -> Result<(), &'static str> {
    let (host, port) = host.split_once(':').unwrap_or((host, "0"));
    let host_ok = !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        });
    if host_ok && !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) {
        Ok(())
    } else {
        Err("the registry is not a host with an optional port")
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the distribution specification's path component.
fn check_component(component: &str) -> Result<(), &'static str> {
    const WHY: &str =
        "a part of the repository is not lower-case letters, digits and single separators";
    let is_word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_in_words =
        bytes.first().is_some_and(|c| is_word(*c)) && bytes.last().is_some_and(|c| is_word(*c));
    let separators_ok = component
        .split(|c: char| c.is_ascii() && is_word(c as u8))
        .all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|c| c == b'-'));
    if ends_in_words && separators_ok { Ok(()) } else { Err(WHY) }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_tag = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    match tag.as_bytes() {
        [] => Err("the tag is empty"),
        [b'.' | b'-', ..] => Err("the tag starts with a separator"),
        all if all.len() > MAX_TAG_CHARS => Err("the tag is longer than 128 characters"),
        all if !all.iter().all(|c| is_tag(*c)) => {
            Err("the tag has a character that tags cannot have")
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_the_familiar_form() {
        for (given, kept) in [
            ("busybox", "busybox:latest"),
            ("docker.io/library/busybox:1.36", "busybox:1.36"),
            ("library/busybox:1.36", "busybox:1.36"),
            ("docker.io/library/a/b:1", "library/a/b:1"),
            ("docker.io/a.b/c:1", "docker.io/a.b/c:1"),
            ("docker.io/balena/app", "balena/app:latest"),
            ("localhost/my-service:old", "localhost/my-service:old"),
            ("registry:5000/a__b/c.d:v_1-x", "registry:5000/a__b/c.d:v_1-x"),
            ("registry:5000/x", "registry:5000/x:latest"),
        ] {
            assert_eq!(given.parse::<Name>().unwrap().to_string(), kept);
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let long = "a".repeat(256);
        for bad in [
            "",
            ":tag",
            "A",
            "a:",
            "a:.x",
            "a//b",
            "a/",
            "/a",
            "../a",
            "a:b c",
            "-a",
            "a___b",
            "a@sha256:00",
            "a:b/c:d e",
            &long,
            "exa mple.com/a",
            "é",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn qualified_names_carry_their_registry() {
        for (given, qualified) in [
            ("a", "docker.io/library/a:latest"),
            ("b/c:1", "docker.io/b/c:1"),
            ("ghcr.io/b/c:1", "ghcr.io/b/c:1"),
            ("localhost/c", "localhost/c:latest"),
        ] {
            assert_eq!(given.parse::<Name>().unwrap().qualified(), qualified);
        }
    }
}
