//! Names with what changes from version to version set aside.

/// `path` with each version number and each hexadecimal hash replaced by `#`.
///
/// A version is digits, with dots and release words (`post`, `rc`, `dev`, …) between digits.
pub(super) fn without_versions(path: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(first) = rest.first() {
        let starts_word = !name.last().is_some_and(u8::is_ascii_alphanumeric);
        let length = match if starts_word { hash_length(rest) } else { 0 } {
            0 => version_length(rest),
            length => length,
        };
        match length {
            0 => name.push(*first),
            _ => name.push(b'#'),
        }
        rest = &rest[length.max(1)..];
    }
    name
}

/// The part of a path after the last slash.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|c| *c == b'/').next().unwrap_or_default()
}

/// How many whole components two paths share, from the front and from the back.
pub(super) fn shared_components(a: &[u8], b: &[u8]) -> usize {
    let split = |path| <[u8]>::split(path, |c: &u8| *c == b'/');
    let front = split(a).zip(split(b)).take_while(|(x, y)| x == y).count();
    let back = split(a).rev().zip(split(b).rev()).take_while(|(x, y)| x == y).count();
    front + back
}

const RELEASE_WORDS: [&[u8]; 8] = [b"post", b"dev", b"rc", b"alpha", b"beta", b"pre", b"a", b"b"];

/// Length of the version number that `text` starts with, 0 where it starts with none.
fn version_length(text: &[u8]) -> usize {
    let digits = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
    let mut length = digits(text);
    while length > 0 {
        let rest = &text[length..];
        let dot = usize::from(rest.first() == Some(&b'.'));
        let word = RELEASE_WORDS.iter().find(|word| rest[dot..].starts_with(word));
        let joint = dot + word.map_or(0, |word| word.len());
        match digits(&rest[joint..]) {
            0 => break,
            more => length += joint + more,
        }
    }
    length
}

/// The longest hash that is taken for one: SHA-512 in hex. A bound, since names may be long.
const MAX_HASH_DIGITS: usize = 128;

/// Length of the hash of 8 or more hex digits, a decimal one among them, that `text` starts with.
fn hash_length(text: &[u8]) -> usize {
    let start = &text[..text.len().min(MAX_HASH_DIGITS + 1)];
    let word = start.iter().take_while(|c| c.is_ascii_alphanumeric()).count();
    let is_hex = text[..word].iter().all(u8::is_ascii_hexdigit);
    let has_digit = text[..word].iter().any(u8::is_ascii_digit);
    let is_hash = (8..=MAX_HASH_DIGITS).contains(&word) && is_hex && has_digit;
    if is_hash { word } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_hashes_are_set_aside() {
        for (path, name) in [
            ("usr/lib/libssl.so.3.0.17", "usr/lib/libssl.so.#"),
            ("numpy-1.26.3.dist-info/RECORD", "numpy-#.dist-info/RECORD"),
            ("dateutil-2.9.0.post0.dist-info", "dateutil-#.dist-info"),
            ("static/app.3f9a2b1c.js", "static/app.#.js"),
            ("x/deadbeefs.txt", "x/deadbeefs.txt"),
            ("python3.11/site-packages", "python#/site-packages"),
            ("", ""),
        ] {
            assert_eq!(without_versions(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }

    #[test]
    fn what_is_longer_than_any_hash_is_none() {
        let digits = "ab1c".repeat(MAX_HASH_DIGITS / 4);
        assert_eq!(without_versions(format!("x-{digits}.js").as_bytes()), b"x-#.js");
        assert_ne!(without_versions(format!("x-{digits}a.js").as_bytes()), b"x-#.js");
    }

    #[test]
    fn components_are_counted_from_both_ends() {
        assert_eq!(shared_components(b"a/b/c", b"a/x/c"), 2);
        assert_eq!(shared_components(b"a/b", b"c/d"), 0);
    }
}
