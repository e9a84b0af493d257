//! CRC-64 as Go's `hash/crc64` has it for the ISO polynomial, which tar-split notes for each file.

/// The polynomial of ISO 3309, reversed.
const POLYNOMIAL: u64 = 0xd800_0000_0000_0000;

const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// The checksum of `bytes` after what had the checksum `before`, which is 0 at the start.
pub(super) fn update(before: u64, bytes: &[u8]) -> u64 {
    let step = |crc: u64, byte: &u8| {
        // The lowest byte.
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        TABLE[index] ^ (crc >> 8)
    };
    !bytes.iter().fold(!before, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_go() {
        // From Go's own tests of hash/crc64.
        assert_eq!(update(0, b""), 0);
        assert_eq!(update(0, b"a"), 0x3420_0000_0000_0000);
        assert_eq!(update(0, b"abc"), 0x3776_c420_0000_0000);
        assert_eq!(update(update(0, b"abcd"), b"efghij"), update(0, b"abcdefghij"));
    }
}
