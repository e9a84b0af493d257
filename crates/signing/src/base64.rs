//! Base64 with padding, of which there is one spelling for each array of bytes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (group >> (18 - 6 * place)) & 63;
            text.push(match place <= chunk.len() {
                true => char::from(ALPHABET[index as usize]),
                false => '=',
            });
        }
    }
    text
}

/// Exactly `N` bytes; `None` where the text is any but the one that [`encode`] makes of them.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    let mut bytes = Vec::with_capacity(N + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut group = 0u32;
        for digit in chunk {
            group = group << 6 | value(*digit)?;
        }
        bytes.extend_from_slice(&group.to_be_bytes()[1..]);
    }
    let bytes: [u8; N] = bytes.get(..N)?.try_into().ok()?;
    (encode(&bytes) == text).then_some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    if digit == b'=' {
        return Some(0);
    }
    ALPHABET.iter().zip(0..).find(|(known, _)| **known == digit).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_has_these() {
        let cases: [(&[u8], &str); 4] =
            [(b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")];
        for (bytes, text) in cases {
            assert_eq!(encode(bytes), text);
        }
        assert_eq!(decode::<4>("Zm9vYg=="), Some(*b"foob"));
    }

    #[test]
    fn there_is_one_spelling() {
        assert_eq!(decode::<1>("Zg=="), Some(*b"f"));
        for other in ["Zh==", "Zg=A", "Z===", "Zg", "Zg= ", " Zg==", "=g==", "Zg==\n", "Zg-="] {
            assert_eq!(decode::<1>(other), None, "{other:?}");
        }
    }
}
