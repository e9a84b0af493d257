//! What covers of an executable come to: the decoder's work is done, and what it would have to be
//! told is collected.

use super::plan::Plan;
use super::site::{Group, Prediction};
use super::{Machine, Predictor, ReferenceError, RegionCover, Residuals};
use crate::byte_match::ByteCover;
use crate::read_at::ReadError;
use crate::varint;

/// Level of the trial compression: quick, and enough to tell which is smaller.
const TRIAL_LEVEL: i32 = 3;

/// Bytes of zstd's framing.
const FRAME_BYTES: usize = 9;

/// What a set of covers costs.
pub(super) struct Trial {
    /// Bytes of all streams, compressed.
    pub(super) bytes: usize,
    /// What each cover costs, in order.
    pub(super) covers: Vec<CoverCost>,
    /// Bytes that a byte outside of covers comes to, in 256ths.
    pub(super) literal_cost: usize,
}

/// What is unequal within a cover.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoverCost {
    pub(super) differences: usize,
    pub(super) residuals: usize,
}

impl CoverCost {
    /// What it comes to when it is compressed, in 256ths of a byte.
    pub(super) fn cost(&self) -> usize {
        self.differences * 358 + self.residuals * 563
    }
}

/// Streams of the native format, roughly.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) lengths: Vec<u8>,
    pub(super) offsets: Vec<u8>,
    pub(super) gaps: Vec<u8>,
    pub(super) differences: Vec<u8>,
    pub(super) literals: Vec<u8>,
    /// By group.
    pub(super) residual_gaps: [Vec<u8>; Group::ALL.len()],
    pub(super) residuals: [Vec<u8>; Group::ALL.len()],
}

impl Streams {
    fn beside_literals(&self) -> impl Iterator<Item = &Vec<u8>> {
        [&self.lengths, &self.offsets, &self.gaps, &self.differences]
            .into_iter()
            .chain(&self.residual_gaps)
            .chain(&self.residuals)
    }
}

/// Answers with the bytes of the new file, and notes how far predictions were from them.
struct Truth<'a> {
    new: &'a [u8],
    streams: Streams,
    hits: [u64; Group::ALL.len()],
    misses: usize,
}

impl Residuals for Truth<'_> {
    type Error = ReadError;

    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        let actual = prediction.found_in(self.new, 0)?;
        let group = prediction.group as usize;
        if actual == prediction.predicted {
            self.hits[group] += 1;
            return Ok(actual);
        }
        self.misses += 1;
        let residual = prediction.residual(actual).cast_unsigned();
        let hits = std::mem::take(&mut self.hits[group]);
        varint::put(&mut self.streams.residual_gaps[group], hits);
        varint::put(&mut self.streams.residuals[group], varint::zigzag(0, residual));
        Ok(actual)
    }
}

/// What the decoder would need for `new` with these covers.
pub(super) fn streams(
    machine: Machine,
    old: &[u8],
    new: &[u8],
    parameters: &[u8],
    covers: &[ByteCover],
) -> Result<(Streams, Vec<CoverCost>), ReferenceError> {
    let region_covers = covers.iter().map(RegionCover::of).collect::<Option<Vec<_>>>();
    let region_covers = region_covers.ok_or(ReferenceError::Covers)?;
    let old_range = 0..old.len() as u64;
    let region_bytes = new.len() as u64;
    let mut predictor =
        Predictor::new(machine, &old, old_range, parameters, region_covers, region_bytes)?;
    let mut truth = Truth { new, streams: Streams::default(), hits: Default::default(), misses: 0 };
    let mut costs = vec![CoverCost::default(); covers.len()];
    let (mut piece_bytes, mut equal) = (Vec::new(), 0);
    while let Some(piece) = predictor.next_piece(&old, &mut truth, &mut piece_bytes)? {
        let cost = &mut costs[piece.cover];
        cost.residuals += std::mem::take(&mut truth.misses);
        let start = usize::try_from(piece.target).unwrap_or(usize::MAX);
        let new = &new[start..start + piece_bytes.len()];
        cost.differences += add_differences(&piece_bytes, new, &mut truth.streams, &mut equal);
    }
    let mut streams = truth.streams;
    let (mut new_end, mut old_end) = (0, 0);
    for cover in covers {
        streams.literals.extend(&new[new_end..cover.new]);
        varint::put(&mut streams.lengths, (cover.new - new_end) as u64);
        varint::put(&mut streams.lengths, cover.length as u64);
        if cover.old != old_end + (cover.new - new_end) {
            varint::put(&mut streams.offsets, varint::zigzag(old_end as u64, cover.old as u64));
        }
        (new_end, old_end) = (cover.new + cover.length, cover.old + cover.length);
    }
    streams.literals.extend(&new[new_end..]);
    Ok((streams, costs))
}

fn add_differences(old: &[u8], new: &[u8], streams: &mut Streams, equal: &mut u64) -> usize {
    if old == new {
        *equal += old.len() as u64;
        return 0;
    }
    let mut differences = 0;
    for (old, new) in old.iter().zip(new) {
        if old == new {
            *equal += 1;
            continue;
        }
        varint::put(&mut streams.gaps, std::mem::take(equal));
        streams.differences.push(new.wrapping_sub(*old));
        differences += 1;
    }
    differences
}

impl Trial {
    /// Tries the covers of a plan; `None` where the predictor refuses them.
    pub(super) fn of(old: &[u8], new: &[u8], plan: &Plan) -> Option<Self> {
        let (streams, covers) =
            streams(plan.machine, old, new, &plan.parameters, &plan.covers).ok()?;
        let literals = compressed(&streams.literals);
        let others = streams.beside_literals().map(|stream| compressed(stream)).sum::<usize>();
        // Few literals say little about what more of them would cost.
        let literal_cost = (literals * 256 + 64 * 128) / (streams.literals.len() + 64);
        let bytes = literals + others + plan.parameters.len();
        Some(Self { bytes, covers, literal_cost })
    }

    /// The same without compressing anything: what code costs as literals is about the same everywhere.
    pub(super) fn roughly_of(old: &[u8], new: &[u8], plan: &Plan) -> Option<Self> {
        let (_, covers) = streams(plan.machine, old, new, &plan.parameters, &plan.covers).ok()?;
        Some(Self { bytes: usize::MAX, covers, literal_cost: 160 })
    }
}

pub(super) fn compressed(stream: &[u8]) -> usize {
    if stream.is_empty() {
        return 0;
    }
    // Without memory for a trial, plain sizes are compared. The streams of a layer go on from file to
    // file: they are not begun for each.
    let bytes = zstd::bulk::compress(stream, TRIAL_LEVEL).map_or(stream.len(), |bytes| bytes.len());
    bytes.saturating_sub(FRAME_BYTES)
}
