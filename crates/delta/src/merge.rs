//! Two deltas, one after the other, as one: what the second copies of the layers that the first
//! makes is followed to where the first has it from.
//!
//! [`follow`] does that for the [`Content`] that
//! [`LayerDecoder::record`](crate::native::LayerDecoder::record) notes. Covers are followed whatever
//! differences lie on them: these are found out when the merged delta is encoded. A region is followed
//! where the bytes that it is made of are the same in the layer that the first delta makes and in
//! the one that it makes that of, or where it comes whole out of the first delta. What cannot be followed is
//! listed, to be matched anew.

use std::ops::Range;

use crate::cover::{Cover, OriginId};
use crate::deflate;
use crate::read_at::{ReadAt, ReadError};
use crate::region::{Content, Deflate, Inflated, References, Region, Transform};

/// What is counted for each cover, region or range.
const ENTRY_BYTES: u64 = 64;
/// Bytes are compared in pieces of this size.
const PIECE_BYTES: u64 = 64 << 10;

/// How a layer is made of the origins of a merged delta.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// What is known of it; without headers.
    pub content: Content,
    /// Ranges of the layer of which it is not known, in order; none overlaps another.
    pub unknown: Vec<Range<u64>>,
    /// Regions that were followed.
    pub regions: u64,
    /// Memory that it takes, as it is counted.
    pub memory_bytes: u64,
}

/// What an origin of a delta is to the merged one.
#[derive(Clone, Copy)]
pub enum Reach<'a> {
    /// One of its origins, of that number.
    Origin(OriginId),
    /// What the first delta makes.
    Made {
        /// How.
        way: &'a Way,
        /// Its bytes.
        bytes: &'a dyn ReadAt,
    },
    /// Nothing: what is copied from there is to be carried as it is.
    Gone,
    /// Nothing that can be followed: what is copied from there is to be matched anew.
    Lost,
}

/// The layers at hand.
pub struct Layers<'a> {
    /// The layer that a delta makes.
    pub target: &'a dyn ReadAt,
    /// What its origins are, in its numbers.
    pub reach: &'a [Reach<'a>],
    /// The origins of the merged delta.
    pub origins: &'a [&'a dyn ReadAt],
}

/// What following may take.
#[derive(Debug, Clone, Copy)]
pub struct FollowLimits {
    /// Memory that making one region may take on the device, in bytes.
    pub region_bytes: u64,
    /// Memory that a way may take here, in bytes: short covers may copy from long lists of others.
    pub memory_bytes: u64,
}

/// What a delta says could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A layer could not be read.
    #[error("cannot read what the deltas make")]
    Read(#[from] ReadError),
    /// There is more of it than there may be.
    #[error("the merged delta would have too many covers for {limit_bytes} bytes of memory")]
    Memory {
        /// How much there may be.
        limit_bytes: u64,
    },
}

type Result<T = ()> = std::result::Result<T, FollowError>;

/// Follows what a delta says of its target.
pub fn follow(content: &Content, layers: &Layers<'_>, limits: &FollowLimits) -> Result<Way> {
    let left_bytes = limits.memory_bytes;
    let mut follower = Follower { layers, limits, left_bytes, way: Way::default() };
    for cover in &content.covers {
        follower.cover(cover)?;
    }
    for region in &content.regions {
        follower.region(region)?;
    }
    let memory_bytes = limits.memory_bytes - follower.left_bytes;
    let mut way = Way { memory_bytes, ..follower.way };
    way.content.covers.sort_by_key(|cover| cover.target);
    way.content.regions.sort_by_key(|region| region.target.start);
    way.unknown.sort_by_key(|range| range.start);
    Ok(way)
}

struct Follower<'a> {
    layers: &'a Layers<'a>,
    limits: &'a FollowLimits,
    left_bytes: u64,
    way: Way,
}

impl Follower<'_> {
    fn reach(&self, origin: OriginId) -> Reach<'_> {
        self.layers.reach.get(origin.0 as usize).copied().unwrap_or(Reach::Gone)
    }

    fn cover(&mut self, cover: &Cover) -> Result {
        match self.layers.reach.get(cover.origin.0 as usize) {
            Some(Reach::Origin(origin)) => self.push(Cover { origin: *origin, ..*cover })?,
            Some(Reach::Made { way, bytes }) => {
                for piece in way.pieces(cover) {
                    self.push(piece)?;
                }
                self.regions_under(cover, way, *bytes)?;
                let unknown = touching(&way.unknown, &origin_range(cover), |range| range);
                for range in unknown {
                    self.give_up(moved(range, cover))?;
                }
            }
            Some(Reach::Lost) => self.give_up(cover.target..cover.target_end())?,
            Some(Reach::Gone) | None => {}
        }
        Ok(())
    }

    fn push(&mut self, cover: Cover) -> Result {
        let covers = &mut self.way.content.covers;
        if let Some(last) = covers.last_mut().filter(|last| last.is_continued_by(&cover)) {
            last.length += cover.length;
            return Ok(());
        }
        covers.push(cover);
        self.count(1)
    }

    fn give_up(&mut self, range: Range<u64>) -> Result {
        self.way.unknown.push(range);
        self.count(1)
    }

    fn count(&mut self, entries: u64) -> Result {
        let limit_bytes = self.limits.memory_bytes;
        let left = self.left_bytes.checked_sub(entries.saturating_mul(ENTRY_BYTES));
        self.left_bytes = left.ok_or(FollowError::Memory { limit_bytes })?;
        Ok(())
    }

    /// What a cover copies that the first delta makes as regions.
    fn regions_under(&mut self, cover: &Cover, way: &Way, bytes: &dyn ReadAt) -> Result {
        let wanted = origin_range(cover);
        for region in touching(&way.content.regions, &wanted, |region| &region.target) {
            let target = moved(&region.target, cover);
            let is_whole = length(&target) == length(&region.target);
            let old = (bytes, region.target.start);
            if is_whole && is_equal((self.layers.target, target.start), old, length(&target))? {
                let transform = region.transform.clone();
                self.take(Region { target, transform })?;
            } else {
                self.give_up(target)?;
            }
        }
        Ok(())
    }

    fn region(&mut self, region: &Region) -> Result {
        let transform = match &region.transform {
            Transform::References(references) => {
                self.references(references)?.map(Transform::References)
            }
            Transform::Deflate(deflate) => self.deflate(deflate)?.map(Transform::Deflate),
        };
        match transform {
            Some(transform) => self.take(Region { target: region.target.clone(), transform }),
            None => self.give_up(region.target.clone()),
        }
    }

    fn take(&mut self, region: Region) -> Result {
        if region.resident_bytes() > self.limits.region_bytes {
            return self.give_up(region.target);
        }
        let entries = match &region.transform {
            Transform::References(references) => references.cover_count(),
            Transform::Deflate(deflate) => {
                deflate.corrections.len() as u64 / ENTRY_BYTES + deflate.content.entries()
            }
        };
        self.way.content.regions.push(region);
        self.way.regions += 1;
        self.count(entries.saturating_add(1))
    }

    fn references(&self, references: &References) -> Result<Option<References>> {
        let place = self.place(references.origin, &references.old)?;
        Ok(place.map(|(origin, at)| {
            let old = at..at + length(&references.old);
            References { origin, old, ..references.clone() }
        }))
    }

    /// Where a range of an origin is in one of the merged delta, byte for byte.
    fn place(&self, origin: OriginId, range: &Range<u64>) -> Result<Option<(OriginId, u64)>> {
        if origin.as_inflated().is_some() {
            return Ok(Some((origin, range.start)));
        }
        let (way, bytes) = match self.reach(origin) {
            Reach::Origin(origin) => return Ok(Some((origin, range.start))),
            Reach::Made { way, bytes } => (way, bytes),
            Reach::Gone | Reach::Lost => return Ok(None),
        };
        let wanted = Cover { target: 0, length: length(range), origin, at: range.start };
        let mut pieces = way.pieces(&wanted);
        let whole = pieces.next().filter(|piece| piece.length == wanted.length);
        let Some(piece) = whole else { return Ok(None) };
        let Some(found) = self.layers.origins.get(piece.origin.0 as usize) else { return Ok(None) };
        let is_same = is_equal((bytes, range.start), (*found, piece.at), wanted.length)?;
        Ok(is_same.then_some((piece.origin, piece.at)))
    }

    fn deflate(&self, deflate: &Deflate) -> Result<Option<Deflate>> {
        let mut inflated = Vec::with_capacity(deflate.inflated.len());
        for member in &deflate.inflated {
            match self.inflated(member)? {
                Some(member) => inflated.push(member),
                None => return Ok(None),
            }
        }
        let Some(content) = self.inner(&deflate.content)? else { return Ok(None) };
        let corrections = deflate.corrections.clone();
        Ok(Some(Deflate { corrections, inflated, content, ..*deflate }))
    }

    fn inflated(&self, member: &Inflated) -> Result<Option<Inflated>> {
        let at = member.at;
        let bytes = match self.reach(member.origin) {
            _ if member.origin.as_inflated().is_some() => return Ok(Some(*member)),
            Reach::Origin(origin) => return Ok(Some(Inflated { origin, ..*member })),
            Reach::Made { bytes, .. } => bytes,
            Reach::Gone | Reach::Lost => return Ok(None),
        };
        let Ok((_, compressed_bytes)) =
            deflate::inflate(bytes, at, member.plain_bytes, member.compressed_bytes)
        else {
            return Ok(None);
        };
        let place = self.place(member.origin, &(at..at.saturating_add(compressed_bytes)))?;
        Ok(place.map(|(origin, at)| Inflated { origin, at, ..*member }))
    }

    /// What a member holds, if all that it copies of layers can be followed as covers.
    fn inner(&self, content: &Content) -> Result<Option<Content>> {
        let mut inner = Content::default();
        for cover in &content.covers {
            match self.reach(cover.origin) {
                _ if cover.origin.as_inflated().is_some() => inner.covers.push(*cover),
                Reach::Origin(origin) => inner.covers.push(Cover { origin, ..*cover }),
                Reach::Made { way, .. } => {
                    let wanted = origin_range(cover);
                    let regions = touching(&way.content.regions, &wanted, |region| &region.target);
                    let unknown = touching(&way.unknown, &wanted, |range| range);
                    if !regions.is_empty() || !unknown.is_empty() {
                        return Ok(None);
                    }
                    let most = usize::try_from(self.left_bytes / ENTRY_BYTES).unwrap_or(usize::MAX);
                    inner.covers.extend(way.pieces(cover).take(most));
                    if inner.covers.len() >= most {
                        return Ok(None);
                    }
                }
                Reach::Gone | Reach::Lost => return Ok(None),
            }
        }
        for region in &content.regions {
            let transform = match &region.transform {
                Transform::References(references) => {
                    self.references(references)?.map(Transform::References)
                }
                Transform::Deflate(deflate) => self.deflate(deflate)?.map(Transform::Deflate),
            };
            let Some(transform) = transform else { return Ok(None) };
            inner.regions.push(Region { target: region.target.clone(), transform });
        }
        Ok(Some(inner))
    }
}

impl Way {
    /// The covers of what `cover` copies of this layer, as covers of its target.
    fn pieces(&self, cover: &Cover) -> impl Iterator<Item = Cover> {
        let wanted = origin_range(cover);
        let covers = &self.content.covers;
        let first = covers.partition_point(|own| own.target_end() <= wanted.start);
        let touched = covers[first..].iter().take_while(move |own| own.target < wanted.end);
        let cover = *cover;
        touched.map(move |own| {
            let target = moved(&(own.target..own.target_end()), &cover);
            let skipped = (cover.at + (target.start - cover.target)) - own.target;
            let (length, at) = (length(&target), own.at + skipped);
            Cover { target: target.start, length, origin: own.origin, at }
        })
    }
}

/// Those that share bytes with `wanted`, of items that are in order and do not overlap.
fn touching<'a, T>(
    items: &'a [T],
    wanted: &Range<u64>,
    range: impl Fn(&T) -> &Range<u64>,
) -> &'a [T] {
    let first = items.partition_point(|item| range(item).end <= wanted.start);
    let items = &items[first..];
    &items[..items.partition_point(|item| range(item).start < wanted.end)]
}

fn origin_range(cover: &Cover) -> Range<u64> {
    cover.at..cover.origin_end()
}

/// The part of a range of an origin that a cover copies, as a range of the cover's target.
fn moved(range: &Range<u64>, cover: &Cover) -> Range<u64> {
    let start = range.start.max(cover.at) - cover.at;
    let end = range.end.min(cover.origin_end()) - cover.at;
    cover.target + start..cover.target + end
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// Whether so many bytes of two places are the same.
fn is_equal(
    (a, a_start): (&dyn ReadAt, u64),
    (b, b_start): (&dyn ReadAt, u64),
    length: u64,
) -> std::result::Result<bool, ReadError> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < length {
        let count = usize::try_from((length - done).min(PIECE_BYTES)).unwrap_or(0);
        left.resize(count, 0);
        right.resize(count, 0);
        a.read_exact_at(&mut left, a_start + done)?;
        b.read_exact_at(&mut right, b_start + done)?;
        if left != right {
            return Ok(false);
        }
        done += count as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(target: u64, length: u64, origin: u32, at: u64) -> Cover {
        Cover { target, length, origin: OriginId(origin), at }
    }

    fn limits(memory_bytes: u64) -> FollowLimits {
        FollowLimits { region_bytes: 1 << 20, memory_bytes }
    }

    /// A way of three covers with gaps between, and ranges that are not known.
    fn between() -> Way {
        let covers = vec![cover(0, 10, 0, 100), cover(20, 10, 1, 0), cover(30, 5, 0, 500)];
        let content = Content { covers, ..Content::default() };
        Way { content, unknown: vec![12..18, 40..50], ..Way::default() }
    }

    #[test]
    fn covers_are_cut_where_the_first_delta_changes_its_origin() {
        let (way, bytes) = (between(), vec![0; 60]);
        let reach =
            [Reach::Made { way: &way, bytes: &bytes }, Reach::Origin(OriginId(7)), Reach::Gone];
        let layers = Layers { target: &bytes, reach: &reach, origins: &[] };
        let covers = vec![
            cover(0, 27, 0, 5),
            cover(27, 3, 2, 0),
            cover(30, 10, 1, 3),
            cover(40, 4, 0, 44),
            cover(44, 2, 9, 0),
        ];
        let content = Content { covers, ..Content::default() };
        let found = follow(&content, &layers, &limits(1 << 20)).unwrap();
        let expected =
            [cover(0, 5, 0, 105), cover(15, 10, 1, 0), cover(25, 2, 0, 500), cover(30, 10, 7, 3)];
        assert_eq!(found.content.covers, expected);
        assert_eq!(found.unknown, [7..13, 40..44]);
        assert!(found.memory_bytes > 0);
    }

    #[test]
    fn short_covers_of_long_lists_are_not_all_remembered() {
        let covers = (0..1000).map(|i| cover(2 * i, 1, 0, 3 * i)).collect();
        let content = Content { covers, ..Content::default() };
        let (way, bytes) = (Way { content, ..Way::default() }, vec![0; 4]);
        let reach = [Reach::Made { way: &way, bytes: &bytes }];
        let layers = Layers { target: &bytes, reach: &reach, origins: &[] };
        let covers = (0..1000).map(|i| cover(2000 * i, 2000, 0, 0)).collect();
        let content = Content { covers, ..Content::default() };
        let error = follow(&content, &layers, &limits(1 << 20)).unwrap_err();
        assert!(matches!(error, FollowError::Memory { limit_bytes } if limit_bytes == 1 << 20));
    }
}
