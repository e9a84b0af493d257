//! What covers come to when they are encoded, roughly: to choose between several sets of them.

use super::ByteCover;

/// Level of the trial compression: quick, and enough to tell which is smaller.
const TRIAL_LEVEL: i32 = 3;

/// Bytes that the native format takes for `new` with these covers, before the rest of the layer
/// helps to compress it.
pub(crate) fn estimate_bytes(old: &[u8], new: &[u8], covers: &[ByteCover]) -> usize {
    let mut streams = Streams::default();
    let (mut new_end, mut old_end) = (0, 0);
    for cover in covers {
        streams.literals.extend(&new[new_end..cover.new]);
        put(&mut streams.lengths, cover.new - new_end);
        put(&mut streams.lengths, cover.length);
        let diagonal = old_end + (cover.new - new_end);
        if cover.old != diagonal {
            put(&mut streams.offsets, cover.old.abs_diff(old_end));
        }
        (new_end, old_end) = (cover.new + cover.length, cover.old + cover.length);
        streams.add_differences(&old[cover.old..old_end], &new[cover.new..new_end]);
    }
    streams.literals.extend(&new[new_end..]);
    let Streams { lengths, offsets, gaps, differences, literals, .. } = streams;
    [lengths, offsets, gaps, differences, literals].iter().map(|stream| compressed(stream)).sum()
}

#[derive(Default)]
struct Streams {
    lengths: Vec<u8>,
    offsets: Vec<u8>,
    gaps: Vec<u8>,
    differences: Vec<u8>,
    literals: Vec<u8>,
    equal: usize,
}

impl Streams {
    fn add_differences(&mut self, old: &[u8], new: &[u8]) {
        for (old, new) in old.iter().zip(new) {
            if old == new {
                self.equal += 1;
                continue;
            }
            put(&mut self.gaps, std::mem::take(&mut self.equal));
            self.differences.push(new.wrapping_sub(*old));
        }
    }
}

/// A number as the format spells it, nearly: the size is what counts.
fn put(stream: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        stream.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    stream.push(value.to_le_bytes()[0]);
}

fn compressed(stream: &[u8]) -> usize {
    compressed_bytes(stream, TRIAL_LEVEL)
}

/// What `stream` comes to by itself.
pub(crate) fn compressed_bytes(stream: &[u8], level: i32) -> usize {
    // Without memory for a trial, plain sizes are compared.
    zstd::bulk::compress(stream, level).map_or(stream.len(), |bytes| bytes.len())
}
