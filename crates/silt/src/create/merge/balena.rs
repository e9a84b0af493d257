//! Merging deltas of the format `balena`: copies of copies are copies.

use std::io::{self, BufWriter, Write};

use delta::librsync::merge::{CommandMap, Source, merge as merge_commands};
use delta::read_at::FileBasis;
use store::Store;
use tarball::DiffId;

use super::chain::{Chain, with_stream};
use super::{MergeCounts, MergeError, MergedDelta, pack};
use crate::create::base::Base;
use crate::create::layer::{Maker, apply_balena, stream_in};
use crate::create::{CreateError, DeltaLayer, DeltaOptions, LayerReport};
use crate::delta_image::DeltaFormat;
use crate::place::SourceLayer;
use crate::progress::{Progress, Step};
use crate::scratch::scratch_file;

pub(super) fn merge(
    chain: &Chain,
    base: &Base,
    store: &Store,
    options: &DeltaOptions,
    progress: &dyn Progress,
) -> Result<MergedDelta, MergeError> {
    let between = Between::of(chain, base, store, options)?;
    let scratch = scratch_file(store).map_err(CreateError::from)?;
    let mut maker = Maker::new(base, options, scratch);
    let mut counts = MergeCounts { merged_bytes: chain.bytes(), ..MergeCounts::default() };
    let target = &chain.second.image.target.diff_ids;
    let mut layers = Vec::new();
    for (i, diff_id) in target.iter().enumerate() {
        let (number, count, action) = (i + 1, target.len(), "Merging");
        progress.begin(&Step::Layer { number, count, diff_id, action }, None);
        // Where the second delta has nothing, the stacks are the same up to here.
        layers.push(match (chain.second.layer(i), chain.first.layer(i)) {
            (None, None) => maker.empty(*diff_id, base.layer(*diff_id).map_or(0, |l| l.size()))?,
            (None, Some(stream)) => {
                counts.carried_layers += 1;
                carry(&mut maker, *diff_id, stream)?
            }
            (Some(stream), _) => {
                counts.composed_layers += 1;
                let (layer, report) = between.compose(&mut maker, *diff_id, stream)?;
                counts.copied_bytes += report.copied_bytes;
                counts.literal_bytes += report.literal_bytes;
                (layer, report)
            }
        });
        if let Some((layer, report)) = layers.last().filter(|(_, report)| !report.is_shared) {
            prove(chain, base, *diff_id, layer, report)?;
        }
        progress.end();
    }
    drop(maker);
    pack(chain, options, layers, counts)
}

/// The image between the two deltas, as the second one's basis.
struct Between {
    /// Bytes of the layers that it shares with the base, which lie at the front of both; `None` where these
    /// are not here.
    shared_bytes: Option<u64>,
    missing: Option<DiffId>,
    base: Option<tarball::ImageId>,
    /// The others, with the bytes before them, those that are shared not counted.
    made: Vec<(u64, CommandMap)>,
    literals: FileBasis,
}

impl Between {
    fn of(
        chain: &Chain,
        base: &Base,
        store: &Store,
        options: &DeltaOptions,
    ) -> Result<Self, MergeError> {
        let mut file = scratch_file(store).map_err(CreateError::from)?;
        let mut out = BufWriter::new(&mut file);
        let (mut literal_bytes, mut before, mut made) = (0, 0u64, Vec::new());
        let (mut shared_bytes, mut missing) = (Some(0u64), None);
        let limit_bytes = options.memory_bytes / 4;
        for (i, diff_id) in chain.first.image.target.diff_ids.iter().enumerate() {
            let Some(stream) = chain.first.layer(i) else {
                match (base.layer(*diff_id), shared_bytes) {
                    (Some(layer), Some(sum)) => shared_bytes = sum.checked_add(layer.size()),
                    _ => (shared_bytes, missing) = (None, missing.or(Some(*diff_id))),
                }
                continue;
            };
            let map = with_stream(DeltaFormat::Balena, stream, |delta| {
                Ok(CommandMap::read(delta, &mut out, &mut literal_bytes, limit_bytes)?)
            })?;
            let size = map.size;
            made.push((before, map));
            before = before.saturating_add(size);
        }
        out.flush().map_err(|source| CreateError::Scratch { source })?;
        drop(out);
        let literals = FileBasis::with_size(file, literal_bytes);
        let base = chain.first.image.base;
        Ok(Self { shared_bytes, missing, base, made, literals })
    }

    fn find(&self, shared_bytes: u64, offset: u64) -> Option<Source<'_>> {
        let Some(offset) = offset.checked_sub(shared_bytes) else {
            return Some(Source::Basis { end: shared_bytes });
        };
        let next = self.made.partition_point(|(before, _)| *before <= offset);
        let (before, map) = self.made.get(next.checked_sub(1)?)?;
        Some(Source::Made { map, start: shared_bytes + before })
    }

    fn compose(
        &self,
        maker: &mut Maker<'_>,
        diff_id: DiffId,
        stream: &SourceLayer,
    ) -> Result<(DeltaLayer, LayerReport), MergeError> {
        let Some(shared_bytes) = self.shared_bytes else {
            let (layer, base) = (self.missing.unwrap_or(diff_id), self.base);
            return Err(MergeError::NoBase { layer, base, layers: 1 });
        };
        let find = |offset| self.find(shared_bytes, offset);
        with_stream(DeltaFormat::Balena, stream, |delta| {
            maker.written(diff_id, |out| {
                let report = merge_commands(delta, &find, &self.literals, out)?;
                Ok((report.output_bytes(), report.copied_bytes, report.literal_bytes))
            })
        })
    }
}

fn carry(
    maker: &mut Maker<'_>,
    diff_id: DiffId,
    stream: &SourceLayer,
) -> Result<(DeltaLayer, LayerReport), MergeError> {
    with_stream(DeltaFormat::Balena, stream, |delta| {
        maker.written(diff_id, |out| {
            io::copy(delta, out).map_err(|source| CreateError::Scratch { source })?;
            Ok((0, 0, 0))
        })
    })
}

/// Applies a delta where all of the base is at hand, and compares the digest.
fn prove(
    chain: &Chain,
    base: &Base,
    diff_id: DiffId,
    layer: &DeltaLayer,
    report: &LayerReport,
) -> Result<(), MergeError> {
    let listed = chain.first.image.base_layers.iter().flatten();
    let Some(layers) = listed.map(|layer| base.layer(*layer)).collect::<Option<Vec<_>>>() else {
        return Ok(());
    };
    if layers.is_empty() {
        return Ok(());
    }
    let delta = stream_in(&layer.file, layer.start, report.delta_bytes)?;
    let made = apply_balena(diff_id, delta, layers, u64::MAX)?;
    match made == diff_id {
        true => Ok(()),
        false => Err(MergeError::WrongLayer { layer: diff_id, made }),
    }
}
