//! The tar that a layer of a delta image is: one member, which holds the delta.

use std::io::{self, Read};

use tarball::DiffId;

use crate::delta_image::DeltaFormat;

/// The longest extended header that is read, as in Go's `archive/tar`.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// Extended headers that may stand before the member: honest ones have one, for a huge size.
const MAX_EXTENSIONS: usize = 4;

/// A delta layer's tar could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeltaLayerError {
    /// The tar could not be read.
    #[error("cannot read the tar of delta layer {layer}")]
    Read {
        /// The layer of the delta image.
        layer: DiffId,
        /// Why not.
        source: io::Error,
    },
    /// The tar does not hold what a delta layer holds.
    #[error("delta layer {layer} does not hold the one file {expected:?}")]
    Member {
        /// The layer of the delta image.
        layer: DiffId,
        /// The name of the one member that it should have.
        expected: &'static str,
    },
}

/// Calls `apply` with the delta inside the tar of a delta layer, then reads the tar to its end, so
/// that what checks its digest has seen all of it.
pub fn with_member<T, E: From<DeltaLayerError>>(
    format: DeltaFormat,
    layer: DiffId,
    tar: &mut dyn Read,
    apply: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> Result<T, E> {
    let expected = format.member_name();
    let read_error = |source| DeltaLayerError::Read { layer, source };
    let member_error = DeltaLayerError::Member { layer, expected };
    let Some(headers) = take_headers(tar).map_err(read_error)? else {
        return Err(member_error.into());
    };
    let mut archive = tar::Archive::new(headers.as_slice().chain(&mut *tar));
    let mut entries = archive.entries().map_err(read_error)?;
    let mut entry = match entries.next() {
        Some(entry) => entry.map_err(read_error)?,
        None => return Err(member_error.into()),
    };
    let is_expected = entry.header().entry_type().is_file()
        && entry.path_bytes().strip_prefix(b"./").unwrap_or(&entry.path_bytes())
            == expected.as_bytes();
    if !is_expected {
        return Err(member_error.into());
    }
    let result = apply(&mut entry)?;
    io::copy(tar, &mut io::sink()).map_err(read_error)?;
    Ok(result)
}

/// Reads a delta layer's tar up to the contents of its first member.
pub fn skip_to_member(layer: DiffId, tar: &mut dyn Read) -> Result<(), DeltaLayerError> {
    let expected = DeltaFormat::Silt.member_name();
    match take_headers(tar).map_err(|source| DeltaLayerError::Read { layer, source })? {
        Some(_) => Ok(()),
        None => Err(DeltaLayerError::Member { layer, expected }),
    }
}

/// Reads the headers in front of the contents of a tar's first member, since the tar crate would
/// read an extended header into memory however long it is. `None` where no delta has such ones.
fn take_headers(tar: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut headers = Vec::new();
    for _ in 0..=MAX_EXTENSIONS {
        let mut header = tar::Header::new_old();
        tar.read_exact(header.as_mut_bytes())?;
        headers.extend_from_slice(header.as_bytes());
        match header.as_bytes()[156] {
            b'x' | b'g' | b'L' | b'K' => {}
            type_flag => return Ok(matches!(type_flag, b'0' | 0).then_some(headers)),
        }
        let size_bytes = header.entry_size().unwrap_or(u64::MAX);
        if size_bytes > MAX_EXTENSION_BYTES {
            return Ok(None);
        }
        let start = headers.len();
        let length = usize::try_from(size_bytes.next_multiple_of(512)).unwrap_or(0);
        headers.resize(start + length, 0);
        tar.read_exact(&mut headers[start..])?;
    }
    Ok(None)
}

/// Bytes of the tar of a delta layer before its one member's contents: the header.
pub const MEMBER_OFFSET_BYTES: u64 = 512;

/// The header of the one member of a delta layer's tar; after its contents come the padding to 512
/// bytes and [`TAR_END_BYTES`] zeros.
pub fn member_header(format: DeltaFormat, size_bytes: u64) -> [u8; 512] {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..format.member_name().len()]
        .copy_from_slice(format.member_name().as_bytes());
    header.set_size(size_bytes);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

/// Bytes of the blocks that end a tar.
pub const TAR_END_BYTES: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(tar: &mut dyn Read) -> Result<Vec<u8>, DeltaLayerError> {
        let layer = DiffId::EMPTY_LAYER;
        with_member(DeltaFormat::Balena, layer, tar, |member| {
            let mut delta = Vec::new();
            let read = member.read_to_end(&mut delta);
            read.map(|_| delta).map_err(|source| DeltaLayerError::Read { layer, source })
        })
    }

    fn extension(type_flag: u8, contents: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("extension").unwrap();
        header.set_entry_type(tar::EntryType::new(type_flag));
        header.set_size(contents.len() as u64);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), contents].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn delta_tar() -> Vec<u8> {
        let header = member_header(DeltaFormat::Balena, 5);
        [&header[..], b"delta", &[0; 507 + 1024]].concat()
    }

    #[test]
    fn the_member_is_found_also_behind_an_extended_header() {
        assert_eq!(open(&mut delta_tar().as_slice()).unwrap(), b"delta");
        let extended = [extension(b'x', b"17 comment=hello\n"), delta_tar()].concat();
        assert_eq!(open(&mut extended.as_slice()).unwrap(), b"delta");
        for other in [extension(b'5', b""), extension(b'S', b""), vec![b'x'; 2048]] {
            assert!(open(&mut [other, delta_tar()].concat().as_slice()).is_err());
        }
        assert!(open(&mut &delta_tar()[..100]).is_err());
    }

    #[test]
    fn no_extended_header_is_read_beyond_the_bound() {
        let long = extension(b'L', &[b'n'; 3 << 20]);
        let many = extension(b'g', b"").repeat(5000);
        for headers in [long, many] {
            let tar = [headers, delta_tar()].concat();
            let mut rest = tar.as_slice();
            assert!(matches!(open(&mut rest), Err(DeltaLayerError::Member { .. })));
            assert!(tar.len() - rest.len() <= 512 * (1 + MAX_EXTENSIONS), "{}", rest.len());
        }
    }
}
