//! Whether bytes that should be a layer's are.

use delta::read_at::ReadAt;
use tarball::{DiffId, Digester};

/// Whether a layer's bytes still have its digest.
pub(super) fn is_whole(layer: &dyn ReadAt, diff_id: DiffId) -> bool {
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 << 10];
    let mut at = 0;
    while at < layer.size() {
        let left = usize::try_from(layer.size() - at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        if layer.read_exact_at(&mut buffer[..count], at).is_err() {
            return false;
        }
        digester.update(&buffer[..count]);
        at += count as u64;
    }
    DiffId(digester.finish()) == diff_id
}
