//! Compressed streams, read with a limit.

use std::io::Read;

use tarball::Compression;
use tarball::compression::open_decoder;

const MEMORY_LIMIT_BYTES: u64 = 8 << 20;
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// A stream of any format: what comes out of an uncompressed one is what went in.
pub(crate) fn compression(data: &[u8]) {
    let format = Compression::detect(&data[..data.len().min(Compression::DETECT_BYTES)]);
    let Ok(decoder) = open_decoder(data, MEMORY_LIMIT_BYTES) else {
        return;
    };
    assert_eq!(decoder.format(), format);
    let mut out = Vec::new();
    let result = decoder.take(MAX_OUTPUT_BYTES).read_to_end(&mut out);
    if format == Compression::None && data.len() as u64 <= MAX_OUTPUT_BYTES {
        assert!(result.is_ok() && out == data);
    }
}
