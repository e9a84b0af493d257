//! How one stream is made of another: a region, and what it costs.

use super::file::FileMatch;
use super::{Old, StreamLimits, StreamMatch, of_target};
use crate::block_match::MatchError;
use crate::by_file::pairs::read_range;
use crate::byte_match::cost::{compressed_bytes, estimate_bytes};
use crate::byte_match::{self, match_bytes};
use crate::cover::OriginId;
use crate::deflate::{AnalyseLimits, InflateError, Stream, analyse, inflate};
use crate::effort::Effort;
use crate::region::{Content, Deflate, Inflated, Region, Transform};

/// Streams within streams are matched to this depth.
pub(super) const MAX_DEPTH: u32 = 3;
/// What a region costs beside its content: its operations, lengths and offsets.
const REGION_COST: usize = 16;
/// Of what a content costs by itself, so much is saved where it is compressed with all others. Compressed
/// streams have nothing in common.
const SHARED_OF_CONTENT: usize = 4;
/// A region is said within one frame of a delta, which has room for more than this.
const MAX_REGION_COST: usize = 1 << 20;
/// A byte that is saved may cost so many places that a device looks at to make a stream again. Most streams take a
/// hundredth of that.
const MAX_STEPS_FOR_A_BYTE: u64 = 512;
/// What nothing is like is compressed better by the whole delta's literals than by itself.
const LITERAL_LEVEL: i32 = 15;

impl FileMatch<'_> {
    /// The region of a stream and what it costs, where that is less than without.
    pub(super) fn region(
        &self,
        stream: &Stream,
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<(Region, usize)>, MatchError> {
        let old_plain_bytes = old.map_or(0, |(_, old)| old.plain_bytes);
        if stream.plain_bytes.saturating_add(old_plain_bytes) > self.limits.region_bytes {
            return Ok(None);
        }
        let compressed = read_range(self.new, &stream.range).map_err(of_target)?;
        let Ok(plain_bytes) = usize::try_from(stream.plain_bytes) else { return Ok(None) };
        let analysed = analyse(&compressed, &AnalyseLimits { plain_bytes })
            .filter(|analysed| analysed.compressed_bytes == compressed.len());
        let Some(analysed) = analysed else { return Ok(None) };
        let Some(made) = self.content(&analysed.plain, old)? else { return Ok(None) };
        let (content, inflated, content_cost) = made;
        let cost = content_cost + REGION_COST + analysed.corrections.len();
        let unlike = match old {
            Some((old, like)) => unlike_bytes(&compressed, &old.read(&like.range)?),
            None => compressed.len(),
        };
        let deflate = Deflate {
            plain_bytes: analysed.plain.len() as u64,
            corrections: analysed.corrections,
            steps: analysed.steps,
            inflated,
            content,
        };
        let target = stream.range.clone();
        let region = Region { target, transform: Transform::Deflate(deflate) };
        let gain = unlike.saturating_sub(cost - content_cost / SHARED_OF_CONTENT);
        let is_quick = self.limits.effort == Effort::Best
            || analysed.steps / MAX_STEPS_FOR_A_BYTE <= gain as u64;
        let is_better = gain > 0
            && is_quick
            && cost <= MAX_REGION_COST
            && region.resident_bytes() <= self.limits.region_bytes;
        Ok(is_better.then_some((region, cost)))
    }

    /// How what a stream holds is made, and what that costs.
    fn content(
        &self,
        plain: &[u8],
        old: Option<(Old<'_>, &Stream)>,
    ) -> Result<Option<MadeContent>, MatchError> {
        let Some((old, like)) = old else { return Ok(Some(literal_content(plain))) };
        let inflated = inflate(old.bytes, like.range.start, like.plain_bytes, u64::MAX);
        let (bytes, compressed_bytes) = match inflated {
            Ok(inflated) => inflated,
            Err(InflateError::Read(error)) => return Err(old.error(error)),
            Err(_) => return Ok(None),
        };
        let inner = Old { bytes: &bytes, origin: OriginId::inflated(self.opened), at: 0 };
        let opened = self.opened + 1;
        let limits = StreamLimits { plain_bytes: self.limits.inner_bytes, ..self.limits };
        let file = FileMatch { new: &plain, old: Some(inner), limits, opened, within: None };
        let matched = if opened < MAX_DEPTH { file.run()? } else { None };
        let matched = matched.or_else(|| as_bytes(&bytes, plain, &inner, self.limits.effort));
        let Some(StreamMatch { covers, regions, cost }) = matched else { return Ok(None) };
        if covers.is_empty() && regions.is_empty() {
            return Ok(Some(literal_content(plain)));
        }
        let at = old.at + like.range.start;
        let plain_bytes = like.plain_bytes;
        let inflated = Inflated { origin: old.origin, at, compressed_bytes, plain_bytes };
        Ok(Some((Content { covers, headers: Vec::new(), regions }, vec![inflated], cost)))
    }
}

/// Content, the streams that are inflated for it, and what it costs.
type MadeContent = (Content, Vec<Inflated>, usize);

/// The content of a stream that nothing is like.
fn literal_content(plain: &[u8]) -> MadeContent {
    (Content::default(), Vec::new(), compressed_bytes(plain, LITERAL_LEVEL))
}

/// The match of what a stream holds, `new`, with the `bytes` of `old`.
fn as_bytes(bytes: &[u8], new: &[u8], old: &Old<'_>, effort: Effort) -> Option<StreamMatch> {
    let found = match_bytes(bytes, new, effort)?;
    let cost = estimate_bytes(bytes, new, &found);
    let cover = |c: &byte_match::ByteCover| old.cover(c.new as u64, c.length as u64, c.old as u64);
    Some(StreamMatch { covers: found.iter().map(cover).collect(), regions: Vec::new(), cost })
}

/// Bytes between the ends of `new` that `old` has too: what a change in the middle leaves to send.
fn unlike_bytes(new: &[u8], old: &[u8]) -> usize {
    let front = new.iter().zip(old).take_while(|(a, b)| a == b).count();
    let (new, old) = (&new[front..], &old[front..]);
    let back = new.iter().rev().zip(old.iter().rev()).take_while(|(a, b)| a == b).count();
    new.len() - back
}
