//! The deflate streams in files.

use delta::deflate::{AnalyseLimits, Stream, analyse, find};

/// What a stream may hold.
const PLAIN_LIMIT_BYTES: u64 = 64 << 10;
/// So many streams are taken apart.
const MAX_ANALYSED: usize = 8;

/// Any file. What is found lies in it, in order; what is taken apart has the length that stands beside it, and was
/// put together again.
pub(crate) fn deflate_streams(file: &[u8]) {
    let streams = find(&file, PLAIN_LIMIT_BYTES).expect("memory can be read");
    let mut end = 0;
    for stream in &streams {
        assert!(stream.range.start >= end && stream.range.start < stream.range.end);
        end = stream.range.end;
    }
    assert!(end <= file.len() as u64);
    let small = streams.iter().filter(|stream| stream.plain_bytes <= PLAIN_LIMIT_BYTES);
    small.take(MAX_ANALYSED).for_each(|stream| take_apart(file, stream));
}

fn take_apart(file: &[u8], stream: &Stream) {
    let [start, end] =
        [stream.range.start, stream.range.end].map(|at| usize::try_from(at).expect("in memory"));
    let plain_bytes = usize::try_from(stream.plain_bytes).expect("within the limit");
    if let Some(analysed) = analyse(&file[start..end], &AnalyseLimits { plain_bytes }) {
        assert!(analysed.compressed_bytes <= end - start);
        assert!(analysed.plain.len() <= plain_bytes);
    }
}
