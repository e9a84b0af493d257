//! Several deltas to one target, of which a device needs any one, and what they share.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use delta::by_file::{FileIndex, MatchOptions, match_layer};
use delta::native::{Origin, encode};
use delta::read_at::{Part, ReadAt};
use delta::region::Content;
use delta::tar_map::TarMap;
use rayon::prelude::*;
use store::Store;

use super::base::{Base, bytes_of};
use super::layer::Maker;
use super::levels::{encode_options, match_options, unmixed};
use super::pool::{POOL_MEMORY_BYTES, Pool, gaps_of, part_of, without};
use super::{CreateError, CreatedDelta, Creation, DeltaOptions, thread_pool};
use crate::delta_image::{DeltaFormat, DeltaImage};
use crate::place::{SourceImage, SourceLayer};
use crate::progress::{Progress, Step};
use crate::scratch::scratch_file;

/// Smaller files are shared as far as nothing is like them.
const MIN_FILE_BYTES: u64 = 16 << 10;
/// A delta of a file of which nothing changed has at most so many bytes: its header, mostly.
const SAME_FILE_BYTES: u64 = 512;

/// What a device has.
pub enum From {
    /// An image.
    Image(Box<SourceImage>),
    /// Layers, of whatever images.
    Layers(Vec<SourceLayer>),
}

/// Makes a native delta from each of `bases` to `target`, of which any one will do, and with `with_full`
/// one that needs nothing. What more than one of them would carry stands in layers that they share.
/// Temporary files are in `scratch`, or where the system has them if that is no store.
pub fn create_deltas(
    bases: Vec<From>,
    target: &SourceImage,
    with_full: bool,
    scratch: &Store,
    options: &DeltaOptions,
    progress: &dyn Progress,
) -> Result<Vec<CreatedDelta>, CreateError> {
    if options.format != DeltaFormat::Silt {
        return Err(CreateError::SeveralBases { images: bases.len() });
    }
    let images = bases.iter().filter_map(|base| match base {
        From::Image(image) => Some(&**image),
        From::Layers(_) => None,
    });
    for image in images.chain([target]) {
        if let Ok(Some(_)) = DeltaImage::of(&image.config) {
            return Err(CreateError::IsADelta { image: image.config.id });
        }
    }
    let mut ways = Vec::new();
    for base in bases {
        ways.push(match base {
            From::Image(image) => Base::of(vec![*image], options.format)?,
            From::Layers(listed) if listed.is_empty() => {
                return Err(CreateError::NoListedLayer { listed: 0 });
            }
            From::Layers(listed) => Base::of_layers(listed),
        });
    }
    if with_full {
        ways.push(Base::of_layers(Vec::new()));
    }
    let several = Several { target, options, progress, scratch };
    thread_pool(options)?.install(|| several.run(ways))
}

struct Several<'a> {
    target: &'a SourceImage,
    options: &'a DeltaOptions,
    progress: &'a dyn Progress,
    scratch: &'a Store,
}

/// How each layer of the target is made from one base; `None` where it needs no delta.
type Matched = Vec<Option<Content>>;

impl Several<'_> {
    fn run(&self, ways: Vec<Base>) -> Result<Vec<CreatedDelta>, CreateError> {
        let mut matched: Vec<Matched> =
            ways.iter().map(|base| self.match_all(base)).collect::<Result<_, _>>()?;
        let origins: Vec<_> = ways.iter().map(|base| self.origins(base)).collect();
        self.progress.begin(&Step::Sharing, None);
        for layer in 0..self.target.layers.len() {
            self.share_files(layer, &mut matched, &origins)?;
        }
        drop(origins);
        self.progress.end();
        let pools = self.pools(&matched)?;
        let mut created = Vec::new();
        for (base, matched) in ways.iter().zip(matched) {
            created.push(self.create(base, matched, &pools)?);
        }
        Ok(created)
    }

    fn creation<'b>(&'b self, base: &'b Base) -> Creation<'b> {
        let Self { target, options, progress, .. } = *self;
        Creation { base, target, options, progress }
    }

    /// The matches of all layers, made one after the other: later ones may be like earlier ones.
    fn match_all(&self, base: &Base) -> Result<Matched, CreateError> {
        let creation = self.creation(base);
        let is_shared = creation.shared_layers();
        let layers = self.target.layers.iter().zip(&is_shared);
        let new: Vec<&dyn ReadAt> =
            layers.filter(|(_, shared)| !**shared).map(|(layer, _)| bytes_of(layer)).collect();
        self.progress.begin(&Step::Fingerprinting, None);
        let mut index: FileIndex<'_> = creation.checked_index(&new)?;
        self.progress.end();
        let options: MatchOptions = match_options(self.options, self.options.level);
        let count = self.target.layers.len();
        let mut matched = Vec::new();
        for (i, (layer, is_shared)) in self.target.layers.iter().zip(is_shared).enumerate() {
            if is_shared {
                matched.push(None);
                continue;
            }
            let (number, diff_id, action) = (i + 1, &layer.diff_id, "Matching");
            let step = Step::Layer { number, count, diff_id, action };
            self.progress.begin(&step, Some(layer.size()));
            matched.push(Some(match_layer(layer, &index, &options)?));
            index.add(layer)?;
            self.progress.end();
        }
        Ok(matched)
    }

    /// What the delta from a base reads, by the numbers that its matches have: the base's layers, and
    /// those of the target that are not shared.
    fn origins<'b>(&'b self, base: &'b Base) -> Vec<(Origin, &'b dyn ReadAt)> {
        let is_shared = self.creation(base).shared_layers();
        let mut origins = base.origins();
        for (layer, _) in self.target.layers.iter().zip(is_shared).filter(|(_, shared)| !*shared) {
            let (diff_id, size) = (*layer.diff_id.0.as_bytes(), layer.size());
            origins.push((Origin::Layer { diff_id, size }, layer));
        }
        origins
    }

    /// Lets files be taken from what is shared that take less as they are than the differences of all
    /// ways together: found out by encoding each.
    fn share_files(
        &self,
        layer: usize,
        matched: &mut [Matched],
        origins: &[Vec<(Origin, &dyn ReadAt)>],
    ) -> Result<(), CreateError> {
        let target = &self.target.layers[layer];
        let count = matched.iter().filter(|way| way[layer].is_some()).count();
        if count < 2 {
            return Ok(());
        }
        let members = TarMap::of(target).map_err(CreateError::target)?.members;
        let large = members.iter().filter(|member| {
            member.is_file() && member.data.end - member.data.start >= MIN_FILE_BYTES
        });
        let files: Vec<Range<u64>> = large.map(|member| member.data.clone()).collect();
        let ways: &[Matched] = matched;
        let takes = |file: &Range<u64>| -> Result<bool, CreateError> {
            let mut sum = 0;
            for (way, origins) in ways.iter().zip(origins) {
                if let Some(content) = &way[layer] {
                    sum += self.encoded_bytes(target, file, &part_of(content, file), origins)?;
                }
            }
            // What is nearly the same everywhere need not be tried.
            let alone = || self.encoded_bytes(target, file, &Content::default(), &[]);
            Ok(sum > MIN_FILE_BYTES / 4 && sum > alone()?)
        };
        let taken: Vec<bool> = files.par_iter().map(takes).collect::<Result<_, _>>()?;
        for (file, _) in files.iter().zip(taken).filter(|(_, taken)| *taken) {
            for (way, origins) in matched.iter_mut().zip(origins) {
                let Some(content) = &mut way[layer] else { continue };
                let own = self.encoded_bytes(target, file, &part_of(content, file), origins)?;
                // Who has the file needs nothing of it.
                if own > SAME_FILE_BYTES {
                    *content = without(content, file);
                }
            }
        }
        Ok(())
    }

    /// What a file takes in a delta.
    fn encoded_bytes(
        &self,
        target: &dyn ReadAt,
        file: &Range<u64>,
        content: &Content,
        origins: &[(Origin, &dyn ReadAt)],
    ) -> Result<u64, CreateError> {
        let part = Part::new(target, file.clone());
        let options = encode_options(self.options, unmixed(self.options.level));
        let encoded = encode(&part, [0; 32], origins, content, &options, &mut io::sink())?;
        Ok(encoded.delta_bytes)
    }

    /// What the ways share, of each layer.
    fn pools(&self, matched: &[Matched]) -> Result<Vec<Option<Arc<Pool>>>, CreateError> {
        let empty = Base::of_layers(Vec::new());
        let options =
            DeltaOptions { apply_memory_bytes: POOL_MEMORY_BYTES, ..self.options.clone() };
        let mut maker = Maker::new(&empty, &options, scratch_file(self.scratch)?);
        let mut pools = Vec::new();
        for (i, layer) in self.target.layers.iter().enumerate() {
            let gaps = matched.iter().filter_map(|way| way[i].as_ref());
            let gaps: Vec<_> = gaps.map(|content| gaps_of(content, layer.size())).collect();
            let pool = Pool::collect(layer, &gaps, scratch_file(self.scratch)?)?;
            pools.push(match pool {
                Some(pool) => {
                    let layer = maker.pool(&pool)?;
                    Some(pool.with_layer(layer))
                }
                None => None,
            });
        }
        Ok(pools)
    }

    fn create(
        &self,
        base: &Base,
        matched: Matched,
        pools: &[Option<Arc<Pool>>],
    ) -> Result<CreatedDelta, CreateError> {
        let mut maker = Maker::new(base, self.options, scratch_file(self.scratch)?);
        let (mut layers, mut reports, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        let count = self.target.layers.len();
        for (i, (target, content)) in self.target.layers.iter().zip(matched).enumerate() {
            let Some(content) = content else {
                let (layer, report) = maker.empty(target.diff_id, target.size())?;
                layers.push(layer);
                reports.push(report);
                continue;
            };
            let (number, diff_id, action) = (i + 1, &target.diff_id, "Writing delta");
            let step = Step::Layer { number, count, diff_id, action };
            self.progress.begin(&step, Some(target.size()));
            let pool = pools[i].as_deref();
            let (layer, report) = maker.matched_delta(target, &content, pool)?;
            maker.add_origin(i, target);
            shared.extend(pools[i].clone());
            self.progress.end();
            layers.push(layer);
            reports.push(report);
        }
        let scratch_bytes = maker.scratch_bytes();
        drop(maker);
        self.creation(base).pack(layers, reports, &shared, scratch_bytes)
    }
}
