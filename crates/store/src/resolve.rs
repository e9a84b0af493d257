//! From what a user types to one image.

use tarball::{Digest, ImageId, Name};

use crate::error::ResolveError;

/// Fewer digits fit too easily by accident.
const MIN_PREFIX_DIGITS: usize = 4;

/// The image that `reference` means among `images`: a full ID, else a name, else at least four digits
/// that an ID begins with.
pub fn resolve(reference: &str, images: &[(ImageId, &[Name])]) -> Result<ImageId, ResolveError> {
    let not_found = || ResolveError::NotFound { reference: reference.chars().take(300).collect() };
    if let Some(id) = full_id(reference) {
        return images
            .iter()
            .map(|(image, _)| *image)
            .find(|image| *image == id)
            .ok_or_else(not_found);
    }
    if let Ok(name) = reference.parse::<Name>()
        && let Some((id, _)) = images.iter().find(|(_, names)| names.contains(&name))
    {
        return Ok(*id);
    }
    let digits = prefix_digits(reference).ok_or_else(not_found)?;
    let fits = images.iter().map(|(id, _)| *id).filter(|id| id.0.hex().starts_with(digits));
    match *fits.collect::<Vec<_>>() {
        [] => Err(not_found()),
        [id] => Ok(id),
        ref candidates => Err(ResolveError::Ambiguous {
            reference: reference.to_owned(),
            candidates: candidates.to_vec(),
        }),
    }
}

fn full_id(reference: &str) -> Option<ImageId> {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    Digest::from_hex(digits).map(ImageId)
}

fn prefix_digits(reference: &str) -> Option<&str> {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    let is_hex = digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && digits.len() >= MIN_PREFIX_DIGITS).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(hex_start: &str) -> ImageId {
        ImageId(Digest::from_hex(&format!("{hex_start:0<64}")).unwrap())
    }

    #[test]
    fn names_win_over_digits_and_digits_must_be_enough() {
        let named = ["abcd".parse().unwrap(), "x:1".parse().unwrap()];
        let (a, b, c) = (id("abcd1"), id("abcd2"), id("1234"));
        let images: [(ImageId, &[Name]); 3] = [(a, &[]), (b, &[]), (c, &named)];
        let resolved = |reference: &str| resolve(reference, &images);
        assert_eq!(resolved("abcd").unwrap(), c);
        assert_eq!(resolved("x:1").unwrap(), c);
        assert_eq!(resolved("abcd1").unwrap(), a);
        assert_eq!(resolved("sha256:abcd2").unwrap(), b);
        assert_eq!(resolved(&a.to_string()).unwrap(), a);
        assert_eq!(resolved(&b.0.hex()).unwrap(), b);
        for missing in ["123", "x", "x:2", "", "sha256:", "ABCD1", &id("77").to_string()] {
            assert!(matches!(resolved(missing), Err(ResolveError::NotFound { .. })), "{missing:?}");
        }
        let unnamed: [(ImageId, &[Name]); 2] = [(a, &[]), (b, &[])];
        let Err(ResolveError::Ambiguous { candidates, .. }) = resolve("abcd", &unnamed) else {
            panic!("two images fit");
        };
        assert_eq!(candidates, [a, b]);
    }
}
