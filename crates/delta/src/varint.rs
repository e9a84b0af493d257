//! Numbers of variable length: LEB128, signed ones in zigzag order first.

/// Appends `value`: seven bits a byte, low ones first, the high bit set on all bytes but the last.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Reads one number by taking bytes from `next`; `Ok(None)` where it does not fit 64 bits.
pub(super) fn get<E>(mut next: impl FnMut() -> Result<u8, E>) -> Result<Option<u64>, E> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Ok(None);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Takes a number off the front of `bytes`.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let next = || {
        let (first, rest) = bytes.split_first().ok_or(())?;
        *bytes = rest;
        Ok::<u8, ()>(*first)
    };
    get(next).ok().flatten()
}

/// 0, -1, 1, -2, … become 0, 1, 2, 3, …; the difference wraps, so that any two offsets have one.
pub(super) fn zigzag(from: u64, to: u64) -> u64 {
    let difference = to.wrapping_sub(from);
    (difference << 1) ^ (if difference >> 63 == 1 { u64::MAX } else { 0 })
}

/// The offset that lies the zigzag `step` from `from`, wrapping.
pub(super) fn unzigzag(from: u64, step: u64) -> u64 {
    let difference = (step >> 1) ^ (if step & 1 == 1 { u64::MAX } else { 0 });
    from.wrapping_add(difference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, more: u8) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            bytes.push(more);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &[more]);
        }

        #[test]
        fn steps_come_back(from: u64, to: u64) {
            prop_assert_eq!(unzigzag(from, zigzag(from, to)), to);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(take(&mut &[0xff; 9][..]), None);
        assert_eq!(take(&mut &[&[0xff; 9][..], &[2]].concat()[..]), None);
        assert_eq!(take(&mut &[&[0xff; 9][..], &[1]].concat()[..]), Some(u64::MAX));
        assert_eq!((zigzag(5, 5), zigzag(5, 4), zigzag(5, 6)), (0, 1, 2));
    }
}
