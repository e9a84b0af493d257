//! Charging the bytes of a delta to the sorts of files that they make.
//!
//! An encoder says what it has said up to which offset; what its streams grew by meanwhile is
//! charged to the files in between, by their lengths. When a frame is compressed, each sort
//! pays for its share of each stream.

use super::FileKind;
use super::map::{KindMap, Span};

/// What one sort of file takes in a target, and in the delta that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindTotals {
    /// The sort.
    pub kind: FileKind,
    /// Files of the target.
    pub files: u64,
    /// Bytes of the target; the four counts that follow sum to it.
    pub target_bytes: u64,
    /// Of these, bytes that are equal to an origin's.
    pub copied_bytes: u64,
    /// Bytes that are an origin's with differences.
    pub added_bytes: u64,
    /// Bytes that a transform makes: headers said by their fields, padding, compressed members,
    /// executables.
    pub transformed_bytes: u64,
    /// Bytes that the delta carries itself.
    pub literal_bytes: u64,
    /// Bytes of the delta, after compression: an estimate.
    pub stored_bytes: u64,
}

/// How a stretch of the target is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Copied,
    Added,
    Transformed,
    Literal,
}

/// Keeps account of a target that is said from front to back in `STREAMS` streams.
#[derive(Debug)]
pub(crate) struct Ledger<const STREAMS: usize> {
    spans: Vec<Span>,
    /// The span in which the next byte lies.
    next: usize,
    position: u64,
    totals: [KindTotals; FileKind::ALL.len()],
    /// What each stream of the frame at hand held when it was last looked at.
    seen: [u64; STREAMS],
    /// What each sort put into each stream of the frame at hand.
    raw: [[u64; STREAMS]; FileKind::ALL.len()],
}

impl<const STREAMS: usize> Ledger<STREAMS> {
    pub(crate) fn new(map: KindMap) -> Self {
        let blank = |kind| KindTotals {
            kind,
            files: 0,
            target_bytes: 0,
            copied_bytes: 0,
            added_bytes: 0,
            transformed_bytes: 0,
            literal_bytes: 0,
            stored_bytes: 0,
        };
        Self {
            spans: map.spans,
            next: 0,
            position: 0,
            totals: FileKind::ALL.map(blank),
            seen: [0; STREAMS],
            raw: [[0; STREAMS]; FileKind::ALL.len()],
        }
    }

    /// The target was said up to `end`, after which the streams of the frame hold `held` bytes each.
    pub(crate) fn said(&mut self, how: How, end: u64, held: [u64; STREAMS]) {
        let grown: [u64; STREAMS] = std::array::from_fn(|i| held[i].saturating_sub(self.seen[i]));
        self.seen = held;
        let length = end.saturating_sub(self.position);
        let mut charged = [0; STREAMS];
        let start = self.position;
        while self.position < end && self.next < self.spans.len() {
            let kind = self.advance(how, end);
            let so_far = u128::from(self.position - start);
            for (i, raw) in self.raw[kind as usize].iter_mut().enumerate() {
                let share = share(grown[i], so_far, u128::from(length));
                *raw += share - charged[i];
                charged[i] = share;
            }
        }
        if length == 0 {
            self.charge_last(&grown);
        }
    }

    /// Passes over the rest of the span at hand, or what lies before `end` of it.
    fn advance(&mut self, how: How, end: u64) -> FileKind {
        let span = self.spans[self.next];
        let count = span.end.min(end) - self.position;
        let totals = &mut self.totals[span.kind as usize];
        totals.target_bytes += count;
        *match how {
            How::Copied => &mut totals.copied_bytes,
            How::Added => &mut totals.added_bytes,
            How::Transformed => &mut totals.transformed_bytes,
            How::Literal => &mut totals.literal_bytes,
        } += count;
        self.position += count;
        if self.position == span.end {
            totals.files += u64::from(span.is_file);
            self.next += 1;
        }
        span.kind
    }

    /// Charges what came after the last byte to the sort of that byte.
    fn charge_last(&mut self, grown: &[u64; STREAMS]) {
        let within = self.spans.get(self.next).filter(|_| self.position > self.start_of(self.next));
        let last = self.next.checked_sub(1).and_then(|before| self.spans.get(before));
        let kind = within.or(last).map_or(FileKind::Tar, |span| span.kind);
        for (raw, grown) in self.raw[kind as usize].iter_mut().zip(grown) {
            *raw += grown;
        }
    }

    fn start_of(&self, span: usize) -> u64 {
        span.checked_sub(1).map_or(0, |before| self.spans[before].end)
    }

    /// The frame was compressed to `stored` bytes for each stream; a new one begins.
    pub(crate) fn finish_frame(&mut self, stored: [u64; STREAMS]) {
        for (i, stored) in stored.into_iter().enumerate() {
            let whole = self.raw.iter().map(|raw| u128::from(raw[i])).sum();
            let (mut so_far, mut charged) = (0, 0);
            for (raw, totals) in self.raw.iter().zip(&mut self.totals) {
                so_far += u128::from(raw[i]);
                let share = share(stored, so_far, whole);
                totals.stored_bytes += share - charged;
                charged = share;
            }
        }
        self.raw = [[0; STREAMS]; FileKind::ALL.len()];
        self.seen = [0; STREAMS];
    }

    /// The sorts that there are in the target.
    pub(crate) fn finish(self) -> Vec<KindTotals> {
        self.totals.into_iter().filter(|totals| totals.target_bytes > 0).collect()
    }
}

/// `part / whole` of `bytes`, rounded down.
fn share(bytes: u64, part: u128, whole: u128) -> u64 {
    let product = u128::from(bytes).saturating_mul(part);
    u64::try_from(product.checked_div(whole).unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger<2> {
        let span = |end, kind, is_file| Span { end, kind, is_file };
        Ledger::new(KindMap {
            spans: vec![
                span(512, FileKind::Tar, false),
                span(1512, FileKind::Elf, true),
                span(2048, FileKind::Tar, false),
                span(2148, FileKind::Text, true),
            ],
        })
    }

    fn of(totals: &[KindTotals], kind: FileKind) -> KindTotals {
        *totals.iter().find(|totals| totals.kind == kind).unwrap()
    }

    #[test]
    fn each_sort_pays_for_its_part_of_each_stream() {
        let mut ledger = ledger();
        ledger.said(How::Transformed, 512, [10, 0]);
        ledger.said(How::Added, 1512, [40, 100]);
        ledger.finish_frame([20, 50]);
        ledger.said(How::Literal, 2148, [0, 636]);
        ledger.said(How::Literal, 2148, [0, 646]);
        ledger.finish_frame([0, 646]);
        let totals = ledger.finish();
        let (tar, elf, text) =
            (of(&totals, FileKind::Tar), of(&totals, FileKind::Elf), of(&totals, FileKind::Text));
        assert_eq!((tar.transformed_bytes, tar.literal_bytes), (512, 536));
        assert_eq!((elf.files, elf.added_bytes, elf.stored_bytes), (1, 1000, 15 + 50));
        assert_eq!((text.files, text.literal_bytes, text.stored_bytes), (1, 100, 110));
        assert_eq!(tar.stored_bytes, 5 + 536);
    }

    #[test]
    fn nothing_is_lost_by_rounding() {
        let mut ledger = ledger();
        ledger.said(How::Copied, 2148, [7, 3]);
        ledger.finish_frame([5, 11]);
        let totals = ledger.finish();
        assert_eq!(totals.iter().map(|totals| totals.stored_bytes).sum::<u64>(), 16);
        assert_eq!(totals.iter().map(|totals| totals.target_bytes).sum::<u64>(), 2148);
    }
}
