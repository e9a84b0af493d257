//! The digest of bytes that are read at random, in bounded memory.

use delta::read_at::{ReadAt, ReadError};
use tarball::{DiffId, Digester};

/// Hashes the whole of a layer.
pub(crate) fn compute_diff_id(layer: &dyn ReadAt) -> Result<DiffId, ReadError> {
    compute_diff_id_with(layer, &mut |_| true)
}

/// The same; `advance` is told of bytes that were read, and stops it by `false`.
pub(crate) fn compute_diff_id_with(
    layer: &dyn ReadAt,
    advance: &mut dyn FnMut(u64) -> bool,
) -> Result<DiffId, ReadError> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 << 10];
    let mut at = 0;
    while at < layer.size() {
        let left = usize::try_from(layer.size() - at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        layer.read_exact_at(&mut buffer[..count], at)?;
        digester.update(&buffer[..count]);
        at += count as u64;
        if !advance(count as u64) {
            let (offset, length) = (at, layer.size() - at);
            let source = std::io::Error::other("stopped");
            return Err(ReadError::Io { offset, length, source });
        }
    }
    Ok(DiffId(digester.finish()))
}

/// Whether a layer's bytes can be read and still have its digest.
pub(crate) fn is_whole(layer: &dyn ReadAt, diff_id: DiffId) -> bool {
    compute_diff_id(layer).is_ok_and(|found| found == diff_id)
}
