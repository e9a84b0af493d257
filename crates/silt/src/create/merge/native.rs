//! Merging native deltas.

use std::collections::HashMap;
use std::io;

use delta::OriginId;
use delta::by_file::{FileIndex, match_files};
use delta::merge::{FollowLimits, Layers, Reach, Way, follow};
use delta::native::{DecodeError, Limits, Needs, Origin, read_needs};
use delta::read_at::ReadAt;
use delta::region::Content;
use delta::tar_map::TarMap;
use store::Store;
use tarball::DiffId;

use super::chain::{Chain, checked_needs, origins_of, with_stream};
use super::made::{Made, Workshop};
use super::{MergeCounts, MergeError, MergedDelta, pack};
use crate::create::base::Base;
use crate::create::layer::Maker;
use crate::create::levels::{match_options, region_bytes};
use crate::create::pool::without;
use crate::create::{CreateError, DeltaLayer, DeltaOptions, LayerReport};
use crate::delta_image::DeltaFormat;
use crate::place::SourceLayer;
use crate::progress::{Progress, Step};
use crate::scratch::scratch_file;

/// What becomes of a layer of the target.
enum Plan<'a> {
    /// The base has it, or a lower layer is the same.
    Empty,
    /// Its delta is taken over, with this header.
    Carry(&'a SourceLayer, Box<Needs>),
    /// Its delta reads what the first delta makes.
    Compose,
}

pub(super) fn merge(
    chain: &Chain,
    base: &Base,
    store: &Store,
    options: &DeltaOptions,
    progress: &dyn Progress,
) -> Result<MergedDelta, MergeError> {
    let merge = Merge { chain, base, store, options, progress };
    let plans = merge.plan()?;
    let mut workshop = Workshop::new(chain, base, store, options, progress);
    merge.make_all(&plans, &mut workshop)?;
    merge.run(&plans, &workshop)
}

struct Merge<'a> {
    chain: &'a Chain,
    base: &'a Base,
    store: &'a Store,
    options: &'a DeltaOptions,
    progress: &'a dyn Progress,
}

impl<'a> Merge<'a> {
    fn target(&self) -> &'a [DiffId] {
        &self.chain.second.image.target.diff_ids
    }

    fn plan(&self) -> Result<Vec<Plan<'a>>, MergeError> {
        let (first, target) = (self.chain.first.makes(), self.target());
        let mut plans = Vec::new();
        for (i, layer) in target.iter().enumerate() {
            if self.chain.is_of_base(*layer) || target[..i].contains(layer) {
                plans.push(Plan::Empty);
                continue;
            }
            let stream = self.chain.second.layer(i).or_else(|| first.get(layer).copied());
            plans.push(match stream {
                Some(stream) => match self.carried(stream, i)? {
                    Some(needs) => Plan::Carry(stream, Box::new(needs)),
                    None => Plan::Compose,
                },
                // Then the second delta says that the image between has it, and it does not.
                None => {
                    let (made, needed) =
                        (self.chain.first.image.target.id, self.chain.second.image.base);
                    return Err(MergeError::NotNeighbours { made, needed });
                }
            });
        }
        Ok(plans)
    }

    /// The header of a stream as the merged delta can have it, if all that it reads is there.
    fn carried(&self, stream: &SourceLayer, index: usize) -> Result<Option<Needs>, MergeError> {
        let limits =
            Limits { memory_bytes: self.options.apply_memory_bytes, output_bytes: u64::MAX };
        let mut needs = match checked_needs(stream, &limits) {
            Err(MergeError::Decode { source: DecodeError::Limit { .. }, .. }) => return Ok(None),
            needs => needs?,
        };
        let origins = origins_of(&needs);
        for (origin, diff_id) in needs.origins.iter_mut().zip(origins) {
            if origin.is_itself() {
                continue;
            }
            let (diff_id_bytes, size) = (*diff_id.0.as_bytes(), origin.size());
            let below = self.target()[..index].iter().position(|layer| *layer == diff_id);
            *origin = match below {
                _ if self.chain.is_of_base(diff_id) => {
                    Origin::Layer { diff_id: diff_id_bytes, size }
                }
                Some(layer) => {
                    let layer = u32::try_from(layer).unwrap_or(u32::MAX);
                    Origin::Produced { layer, diff_id: diff_id_bytes, size }
                }
                None => return Ok(None),
            };
        }
        Ok(Some(needs))
    }

    /// Makes the layers of the target that are composed, and what they are made of.
    fn make_all(&self, plans: &[Plan<'_>], shop: &mut Workshop<'_>) -> Result<(), MergeError> {
        for (layer, plan) in self.target().iter().zip(plans) {
            if matches!(plan, Plan::Compose) && shop.make(*layer)?.is_none() {
                let listed = self.chain.first.image.base_layers.iter().flatten().copied();
                let missing = listed.into_iter().find(|layer| !self.base.has_layer(*layer));
                return Err(MergeError::NoBase {
                    layer: missing.unwrap_or(*layer),
                    base: self.chain.first.image.base,
                    layers: plans.iter().filter(|plan| matches!(plan, Plan::Compose)).count(),
                });
            }
        }
        Ok(())
    }

    fn run(&self, plans: &[Plan<'_>], shop: &Workshop<'_>) -> Result<MergedDelta, MergeError> {
        let mut counts = MergeCounts { merged_bytes: self.chain.bytes(), ..MergeCounts::default() };
        let scratch = scratch_file(self.store).map_err(CreateError::from)?;
        let mut composer = Composer::new(self, shop, Maker::new(self.base, self.options, scratch))?;
        let mut layers = Vec::new();
        let count = plans.len();
        for (i, (diff_id, plan)) in self.target().iter().zip(plans).enumerate() {
            let (number, action) = (i + 1, "Merging");
            self.progress.begin(&Step::Layer { number, count, diff_id, action }, None);
            layers.push(match plan {
                Plan::Empty => composer
                    .maker
                    .empty(*diff_id, self.base.layer(*diff_id).map_or(0, |layer| layer.size()))?,
                Plan::Carry(stream, needs) => {
                    counts.carried_layers += 1;
                    composer.carry(*diff_id, stream, needs)?
                }
                Plan::Compose => {
                    counts.composed_layers += 1;
                    composer.compose(i, &mut counts)?
                }
            });
            composer.add_origin(i)?;
            self.progress.end();
        }
        drop(composer);
        pack(self.chain, self.options, layers, counts)
    }
}

/// Makes the layers of the merged delta in order.
struct Composer<'a> {
    merge: &'a Merge<'a>,
    shop: &'a Workshop<'a>,
    maker: Maker<'a>,
    /// How the layers that the first delta makes are made of the base.
    ways: HashMap<DiffId, Way>,
    /// The origins of the merged delta so far, as the maker numbers them.
    origins: Vec<(DiffId, &'a dyn ReadAt)>,
    /// The files of the origins, once they are wanted, and how many origins have theirs there.
    index: Option<FileIndex<'a>>,
    indexed: usize,
    /// Memory that is left for what deltas say, in bytes.
    left_bytes: u64,
}

impl<'a> Composer<'a> {
    fn new(
        merge: &'a Merge<'a>,
        shop: &'a Workshop<'a>,
        maker: Maker<'a>,
    ) -> Result<Self, MergeError> {
        let origins = merge.base.layers().collect();
        let (ways, index) = (HashMap::new(), None);
        let (indexed, left_bytes) = (0, shop.left_bytes);
        let mut composer = Self { merge, shop, maker, ways, origins, index, indexed, left_bytes };
        // Each after those that it reads.
        let first = merge.chain.first.makes();
        for made in shop.made.iter().filter(|made| first.contains_key(&made.layer.diff_id)) {
            // What a layer copies of itself could be followed only within the way that is being made.
            let way = composer.follow(made, Reach::Lost)?;
            composer.left_bytes -= way.memory_bytes;
            composer.ways.insert(made.layer.diff_id, way);
        }
        Ok(composer)
    }

    /// Follows what the delta of a layer says to the origins there are so far.
    fn follow(&self, made: &Made, itself: Reach<'_>) -> Result<Way, MergeError> {
        let reach = |origin: &DiffId| match *origin == made.layer.diff_id {
            true => itself,
            false => self.reach(*origin),
        };
        let reach: Vec<Reach<'_>> = made.origins.iter().map(reach).collect();
        let origins: Vec<&dyn ReadAt> = self.origins.iter().map(|(_, bytes)| *bytes).collect();
        let layers = Layers { target: &made.layer, reach: &reach, origins: &origins };
        let options = self.merge.options;
        let (region_bytes, memory_bytes) = (region_bytes(options), self.left_bytes);
        let limits = FollowLimits { region_bytes, memory_bytes };
        Ok(follow(&made.content, &layers, &limits)?)
    }

    fn reach(&self, origin: DiffId) -> Reach<'_> {
        if let Some(number) = self.origins.iter().position(|(diff_id, _)| *diff_id == origin) {
            return Reach::Origin(OriginId(u32::try_from(number).unwrap_or(u32::MAX)));
        }
        let chain = self.merge.chain;
        let is_shared = chain.first.is_shared(origin) || chain.second.is_shared(origin);
        match (self.ways.get(&origin), self.shop.bytes(origin)) {
            (Some(way), Some(bytes)) if !is_shared => Reach::Made { way, bytes },
            _ => Reach::Gone,
        }
    }

    fn carry(
        &mut self,
        diff_id: DiffId,
        stream: &SourceLayer,
        needs: &Needs,
    ) -> Result<(DeltaLayer, LayerReport), MergeError> {
        with_stream(DeltaFormat::Silt, stream, |delta| {
            let limits = Limits { memory_bytes: u64::MAX, output_bytes: u64::MAX };
            let read = read_needs(delta, &limits);
            read.map_err(|source| MergeError::Decode { layer: diff_id, source })?;
            let scratch_error = |source| CreateError::Scratch { source };
            self.maker.written(diff_id, |out| {
                out.write_all(&needs.to_bytes()).map_err(scratch_error)?;
                io::copy(delta, out).map_err(scratch_error)?;
                Ok((needs.output_bytes, 0, 0))
            })
        })
    }

    fn compose(
        &mut self,
        index: usize,
        counts: &mut MergeCounts,
    ) -> Result<(DeltaLayer, LayerReport), MergeError> {
        let diff_id = self.merge.target()[index];
        let Some(made) = self.shop.get(diff_id) else {
            return Err(MergeError::Circle { layer: diff_id });
        };
        let itself = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let way = self.follow(made, Reach::Origin(OriginId(itself)))?;
        counts.carried_regions += way.regions;
        let content = self.rematched(&made.layer, way, counts)?;
        let (layer, report) = self.maker.matched_delta(&made.layer, &content, None)?;
        counts.copied_bytes += report.copied_bytes;
        counts.added_bytes += report.added_bytes;
        counts.literal_bytes += report.literal_bytes;
        Ok((layer, report))
    }

    /// A way with the files of which it is not known matched with the origins anew.
    fn rematched(
        &mut self,
        target: &'a SourceLayer,
        way: Way,
        counts: &mut MergeCounts,
    ) -> Result<Content, MergeError> {
        let mut content = way.content;
        let map = TarMap::of(target).map_err(|source| CreateError::Target { source })?;
        content.headers = map.members.iter().map(|member| member.header).collect();
        if way.unknown.is_empty() {
            return Ok(content);
        }
        let options = match_options(self.merge.options, self.merge.options.level);
        self.bring_index_up_to_date()?;
        let Some(index) = &self.index else { return Ok(content) };
        let files =
            match_files(target, index, &way.unknown, &options).map_err(CreateError::from)?;
        for file in files {
            counts.rematched_files += 1;
            counts.rematched_bytes += file.data.end - file.data.start;
            content = without(&content, &file.data);
            content.covers.extend(file.covers);
            content.regions.extend(file.regions);
        }
        content.covers.sort_by_key(|cover| cover.target);
        content.regions.sort_by_key(|region| region.target.start);
        Ok(content)
    }

    /// Indexes the files of the origins that are not indexed yet.
    fn bring_index_up_to_date(&mut self) -> Result<(), MergeError> {
        let mut index = match self.index.take() {
            Some(index) => index,
            None => {
                let made = self.merge.target().iter().filter_map(|layer| self.shop.get(*layer));
                let targets: Vec<&dyn ReadAt> = made.map(|made| &made.layer as _).collect();
                self.merge.base.check()?;
                FileIndex::build(&[], &targets).map_err(CreateError::from)?
            }
        };
        for (_, origin) in &self.origins[self.indexed..] {
            index.add(*origin).map_err(CreateError::from)?;
        }
        self.indexed = self.origins.len();
        self.index = Some(index);
        Ok(())
    }

    /// Lets later layers read one that was made.
    fn add_origin(&mut self, index: usize) -> Result<(), MergeError> {
        let diff_id = self.merge.target()[index];
        let is_known = self.origins.iter().any(|(known, _)| *known == diff_id);
        if let Some(made) = self.shop.get(diff_id).filter(|_| !is_known) {
            self.maker.add_origin(index, &made.layer);
            self.origins.push((diff_id, &made.layer));
        }
        Ok(())
    }
}
