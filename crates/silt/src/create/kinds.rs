//! Which sorts of files a delta's bytes were spent on.

use delta::kinds::KindTotals;
use serde::Serialize;

use super::LayerReport;
use crate::delta_image::KindShare;

/// What one sort of file takes in a target, and in the delta that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindReport {
    /// The sort: a word such as `elf`; `tar` is what is not in files.
    pub kind: &'static str,
    /// Files of the target.
    pub files: u64,
    /// Bytes of the target; the four counts that follow sum to it.
    pub target_bytes: u64,
    /// Of these, bytes that are copied from other layers.
    pub copied_bytes: u64,
    /// Bytes that are other layers' with differences.
    pub added_bytes: u64,
    /// Bytes that are made by other means: headers said by their fields, padding, compressed
    /// members, executables.
    pub transformed_bytes: u64,
    /// Bytes that the delta carries itself.
    pub literal_bytes: u64,
    /// Bytes of the delta: an estimate.
    pub stored_bytes: u64,
}

impl From<KindTotals> for KindReport {
    fn from(totals: KindTotals) -> Self {
        Self {
            kind: totals.kind.name(),
            files: totals.files,
            target_bytes: totals.target_bytes,
            copied_bytes: totals.copied_bytes,
            added_bytes: totals.added_bytes,
            transformed_bytes: totals.transformed_bytes,
            literal_bytes: totals.literal_bytes,
            stored_bytes: totals.stored_bytes,
        }
    }
}

/// The sums over all layers that are not shared, what is stored most of first.
pub(super) fn sum(layers: &[LayerReport]) -> Vec<KindReport> {
    let mut sums: Vec<KindReport> = Vec::new();
    for report in layers.iter().flat_map(|layer| &layer.kinds) {
        match sums.iter_mut().find(|sum| sum.kind == report.kind) {
            Some(sum) => add(sum, report),
            None => sums.push(*report),
        }
    }
    sums.sort_by(|a, b| b.stored_bytes.cmp(&a.stored_bytes).then(a.kind.cmp(b.kind)));
    sums
}

fn add(sum: &mut KindReport, report: &KindReport) {
    sum.files += report.files;
    sum.target_bytes += report.target_bytes;
    sum.copied_bytes += report.copied_bytes;
    sum.added_bytes += report.added_bytes;
    sum.transformed_bytes += report.transformed_bytes;
    sum.literal_bytes += report.literal_bytes;
    sum.stored_bytes += report.stored_bytes;
}

/// What a delta tells of it to those that have nothing but the delta: sorts that it spends on.
pub(super) fn shares(kinds: &[KindReport]) -> Vec<KindShare> {
    let spent = kinds.iter().filter(|kind| kind.stored_bytes > 0);
    let share = |kind: &KindReport| KindShare {
        kind: kind.kind.to_owned(),
        files: kind.files,
        target_bytes: kind.target_bytes,
        stored_bytes: kind.stored_bytes,
    };
    spent.map(share).collect()
}
