//! PAX extended headers: `"<length> <key>=<value>\n"`, over and over.

use super::Timestamp;

/// What a PAX header says about the member after it. An empty value takes an earlier one back.
#[derive(Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) user_id: Option<u64>,
    pub(super) group_id: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) is_sparse: bool,
}

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

impl PaxRecords {
    /// Reads a header's data.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        while !data.is_empty() {
            let ([key, value], rest) = split_record(data)?;
            records.set(key, value)?;
            data = rest;
        }
        Ok(records)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = unless_empty(value, number, "size is not a number")?,
            b"uid" => self.user_id = unless_empty(value, number, "uid is not a number")?,
            b"gid" => self.group_id = unless_empty(value, number, "gid is not a number")?,
            b"mtime" => self.mtime = unless_empty(value, timestamp, "mtime is not a time")?,
            _ if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
            _ => self.set_xattr(key, value)?,
        }
        Ok(())
    }

    fn set_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let Some(name) = key.strip_prefix(XATTR_PREFIX) else {
            return Ok(());
        };
        if name.is_empty() || name.contains(&0) {
            return Err("an extended attribute has an impossible name");
        }
        self.xattrs.retain(|(known, _)| known != name);
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Key and value, and what follows the record.
fn split_record(data: &[u8]) -> Result<([&[u8]; 2], &[u8]), &'static str> {
    let space = data.iter().take(20).position(|byte| *byte == b' ');
    let space = space.ok_or("a record has no length")?;
    let length = number(&data[..space]).and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or("a record's length is not a number")?;
    let record = data.get(space + 1..length).ok_or("a record's length is wrong")?;
    let record = record.strip_suffix(b"\n").ok_or("a record does not end its line")?;
    let equals = record.iter().position(|byte| *byte == b'=');
    let equals = equals.ok_or("a record has no value")?;
    let record = [&record[..equals], &record[equals + 1..]];
    Ok((record, &data[length..]))
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if value.contains(&0) {
        return Err("a path contains a NUL");
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn unless_empty<T>(
    value: &[u8],
    parse: fn(&[u8]) -> Option<T>,
    problem: &'static str,
) -> Result<Option<T>, &'static str> {
    match value {
        [] => Ok(None),
        _ => parse(value).map(Some).ok_or(problem),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (value <= i64::MAX.cast_unsigned()).then_some(value)
}

/// Decimal seconds with an optional fraction, perhaps negative: `-1.5` is half a second after -2.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = digits.split_at(point.unwrap_or(digits.len()));
    let seconds = i64::try_from(number(whole)?).ok()?;
    let nanoseconds = nanoseconds(fraction.get(1..).unwrap_or_default())?;
    Some(match (negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// The first nine digits; what is finer is dropped.
fn nanoseconds(fraction: &[u8]) -> Option<i32> {
    let digits = fraction.iter().chain(std::iter::repeat(&b'0'));
    let all_digits = fraction.iter().all(u8::is_ascii_digit);
    all_digits.then(|| digits.take(9).fold(0, |value, digit| value * 10 + i32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_taken_back() {
        let records = PaxRecords::parse(
            b"9 path=a\n11 size=77\n18 mtime=-1.25000\n7 uid=\n28 SCHILY.xattr.user.x=\x00=\n \n",
        )
        .unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a"[..]));
        assert_eq!(records.size, Some(77));
        assert_eq!(records.user_id, None);
        let expected = Timestamp { seconds: -2, nanoseconds: 750_000_000 };
        assert_eq!(records.mtime, Some(expected));
        assert_eq!(records.xattrs, [(b"user.x".to_vec(), b"\x00=\n ".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"9 path=a",
            b"8 path=a\n",
            b"99999999999999999999 path=a\n",
            b"0 path=a\n",
            b"1 path=a\n",
            b"8 patha\n",
            b"11 path=\0b\n",
            b"11 size=-1\n",
            b"28 size=9223372036854775808\n",
            b"11 mtime=x\n",
        ] {
            assert!(PaxRecords::parse(bad).is_err(), "{bad:?}");
        }
    }
}
