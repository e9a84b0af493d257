//! Operating system and processor of an image, and which of several a machine takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image is for. Every part may be unknown: `balena` deltas name none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// As in Go's `GOOS`: `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// As in Go's `GOARCH`: `amd64`, `arm`, `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Of the architecture: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Which image is taken where an archive has the same one for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PlatformChoice {
    /// The machine's own where there is one; the only one where there is just one.
    #[default]
    Host,
    /// This one or none.
    Only(Platform),
}

/// A string that is not `OS/ARCH[/VARIANT]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform: it should be OS/ARCH or OS/ARCH/VARIANT")]
pub struct ParsePlatformError {
    /// The string, shortened to 100 characters.
    pub text: String,
}

impl Platform {
    /// The platform of the running program; on ARM the variant is the processor's.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        let variant = (architecture == "arm").then(arm_variant_of_the_processor);
        Self {
            os: Some(std::env::consts::OS.to_owned()),
            architecture: Some(architecture.to_owned()),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether a machine of this platform runs an image of `image`. What an image does not say is
    /// taken to fit.
    pub fn runs(&self, image: &Platform) -> bool {
        self.rank(image).is_some()
    }

    /// How well an image fits this machine, 0 the best, `None` not at all. The order is that of
    /// [containerd](https://github.com/containerd/platforms/blob/main/compare.go): an ARM
    /// processor takes what older ones ran, newest first, and x86-64 takes x86 last.
    pub fn rank(&self, image: &Platform) -> Option<u32> {
        let (ours, theirs) = (self.normalized(), image.normalized());
        if !agree(ours.os.as_ref(), theirs.os.as_ref()) {
            return None;
        }
        let (Some(our_arch), Some(their_arch)) = (&ours.architecture, &theirs.architecture) else {
            return Some(0);
        };
        let our_level = ours.variant_level();
        let their_level = theirs.variant_level();
        match (our_arch.as_str(), their_arch.as_str()) {
            (a, b) if a == b => match (our_level, their_level) {
                (Some(have), Some(need)) => have.checked_sub(need),
                _ if ours.variant == theirs.variant => Some(0),
                _ => None,
            },
            ("arm64", "arm") => Some(100 + 8u32.checked_sub(their_level?)?),
            ("amd64", "386") => Some(100),
            _ => None,
        }
    }

    /// The same platform with the spellings that mean the same made one.
    fn normalized(&self) -> Self {
        let part = |part: &Option<String>| {
            part.as_deref()
                .map(str::to_ascii_lowercase)
                .filter(|text| !text.is_empty() && text != "unknown")
        };
        let architecture = part(&self.architecture).map(|name| match name.as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "i386" | "i686" => "386".to_owned(),
            "armhf" | "armel" => "arm".to_owned(),
            _ => name,
        });
        let variant = match (architecture.as_deref(), part(&self.variant).as_deref()) {
            (Some("amd64"), None) => Some("v1".to_owned()),
            (Some("arm64"), None) => Some("v8".to_owned()),
            (Some("arm"), None) => Some("v7".to_owned()),
            (Some("arm" | "arm64" | "amd64"), Some(v)) => {
                Some(format!("v{}", v.trim_start_matches('v')))
            }
            (_, variant) => variant.map(str::to_owned),
        };
        Self { os: part(&self.os), architecture, variant }
    }

    /// The 7 of `v7`. Of `v8.2` it is 8: minor revisions only add.
    fn variant_level(&self) -> Option<u32> {
        let digits = self.variant.as_deref()?.strip_prefix('v')?;
        digits.split('.').next()?.parse().ok()
    }
}

impl PlatformChoice {
    /// How well an image fits the choice, 0 the best, `None` not at all.
    pub fn rank(&self, image: &Platform) -> Option<u32> {
        match self {
            Self::Host => Platform::host().rank(image),
            // Whoever names an architecture does not mean the other one that happens to run.
            Self::Only(wanted) => wanted.rank(image).filter(|rank| *rank < 100),
        }
    }
}

fn agree(ours: Option<&String>, theirs: Option<&String>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    }
}

/// The kernel names the processor (`armv6l`), a 64-bit kernel under 32-bit programs too.
fn arm_variant_of_the_processor() -> &'static str {
    let uname = rustix::system::uname();
    let machine = uname.machine().to_string_lossy();
    match machine.get(..5) {
        Some("armv5") => "v5",
        Some("armv6") => "v6",
        Some("aarch" | "armv8") => "v8",
        _ => "v7",
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_word) {
            return Err(ParsePlatformError { text: text.chars().take(100).collect() });
        }
        Ok(Self {
            os: Some(parts[0].to_owned()),
            architecture: Some(parts[1].to_owned()),
            variant: parts.get(2).map(|&variant| variant.to_owned()),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".to_owned());
        write!(f, "{}/{}", known(&self.os), known(&self.architecture))?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_processor_runs_what_older_ones_ran() {
        for (host, image, rank) in [
            ("linux/arm/v7", "linux/arm/v7", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64", "linux/arm/v7", Some(101)),
            ("linux/arm/v7", "linux/arm64", None),
            ("linux/amd64", "linux/x86_64", Some(0)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/amd64", "linux/386", Some(100)),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
        ] {
            let found = platform(host).rank(&platform(image));
            assert_eq!(found, rank, "{host} runs {image}");
        }
    }

    #[test]
    fn an_explicit_choice_keeps_to_its_architecture() {
        let choice = PlatformChoice::Only(platform("linux/arm64"));
        assert_eq!(choice.rank(&platform("linux/arm/v7")), None);
        assert_eq!(choice.rank(&platform("linux/arm64")), Some(0));
    }

    #[test]
    fn what_an_image_does_not_say_fits() {
        assert!(Platform::host().runs(&Platform::default()));
        assert!(Platform::host().runs(&Platform::host()));
    }

    #[test]
    fn only_two_or_three_words_are_a_platform() {
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "a//c"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
        assert_eq!(platform("linux/arm/v7").to_string(), "linux/arm/v7");
    }
}
