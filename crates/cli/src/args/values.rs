//! Values of arguments, and what is said where they are wrong.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ErrorKind;

use crate::error::UsageError;

/// A number of bytes: `512`, `64M`, `1G`. Units are binary, as those of memory are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Bytes a second: a size, perhaps with `/s`, and not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// An IMAGE: a name, an ID or its first digits, perhaps behind a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnyReference(pub(super) String);

/// Why a value is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("a size is a number, perhaps followed by K, M, G or T")]
    Size,
    #[error("the size is too large")]
    SizeTooLarge,
    #[error("at 0 bytes a second nothing gets done")]
    NoRate,
    #[error("an image needs a name or an ID")]
    Empty,
    #[error("the transport {0} is not built yet")]
    Transport(&'static str),
}

/// What comes from a registry.
const REGISTRY: &str = "docker://";

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() {
            return Err(ValueError::Size);
        }
        let shift = match unit.to_ascii_uppercase().trim_end_matches("IB") {
            "" | "B" if unit.len() < 2 => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(ValueError::Size),
        };
        let number: u64 = digits.parse().map_err(|_| ValueError::SizeTooLarge)?;
        number.checked_mul(1 << shift).map(Self).ok_or(ValueError::SizeTooLarge)
    }
}

impl FromStr for Rate {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.strip_suffix("/s").unwrap_or(text).parse()? {
            Size(0) => Err(ValueError::NoRate),
            Size(bytes) => Ok(Self(bytes)),
        }
    }
}

impl FromStr for AnyReference {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "" => Err(ValueError::Empty),
            _ if text.starts_with(REGISTRY) => Err(ValueError::Transport(REGISTRY)),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// The texts of references.
pub(super) fn any_texts(references: Vec<AnyReference>) -> Vec<String> {
    references.into_iter().map(|reference| reference.0).collect()
}

/// An environment variable. An empty one is what shell scripts make of one that is not set.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where the store is when nobody says: for root with the system's data, else with the user's.
pub(crate) fn default_root() -> Result<PathBuf, UsageError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/silt"));
    }
    // The XDG specification has relative paths ignored.
    let directory =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = directory("XDG_DATA_HOME");
    let data = data.or_else(|| Some(directory("HOME")?.join(".local/share")));
    Ok(data.ok_or(UsageError::NoRoot)?.join("silt"))
}

/// clap's message as one line, and where to read more.
pub(super) fn usage_error(error: &clap::Error) -> UsageError {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let usage = text.lines().find(|line| line.starts_with("Usage:")).unwrap_or_default();
        let hint = Some(format!("{} --help", usage_of(usage)));
        return UsageError::Arguments { message: "a command is missing".to_owned(), hint };
    }
    let mut paragraphs = text.split("\n\n").map(words);
    let message = paragraphs.next().unwrap_or_default();
    let mut hint = None;
    for paragraph in paragraphs {
        if let Some(tip) = paragraph.strip_prefix("tip: ") {
            hint = Some(tip.replace(" tip: ", "; "));
        } else if paragraph.starts_with("Usage:") && hint.is_none() {
            hint = Some(format!("{} --help", usage_of(&paragraph)));
        }
    }
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    UsageError::Arguments { message, hint }
}

/// The words of a paragraph, without its line breaks.
fn words(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command of a usage line: `silt image tag` of `Usage: silt image tag [OPTIONS] IMAGE NAME`.
fn usage_of(usage: &str) -> String {
    let words = usage.split_whitespace().skip(1);
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    words.take_while(is_word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("1G", 1 << 30),
            ("3900M", 3900 << 20),
            ("2T", 2 << 40),
        ] {
            assert_eq!(text.parse::<Size>().ok(), Some(Size(bytes)), "{text}");
        }
        for bad in [
            "",
            "M",
            "-1",
            "1.5G",
            "64 M",
            "1X",
            "1MB",
            "1iB",
            "0x10",
            "99999999999999999999",
            "16777216T",
        ] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_is_anywhere_but_in_a_registry() {
        for image in ["busybox", "oci/x:1", "oci:dir", "docker-daemon:x", "docker:5000/x"] {
            let parsed = image.parse::<AnyReference>().ok();
            assert_eq!(parsed, Some(AnyReference(image.to_owned())));
        }
        for neither in ["docker://r/x", ""] {
            assert!(neither.parse::<AnyReference>().is_err(), "{neither:?}");
        }
    }
}
