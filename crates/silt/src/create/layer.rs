//! The delta of one layer: matched, written into a file, and proved.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use delta::OriginId;
use delta::by_file::{FileIndex, MatchOptions, match_layer};
use delta::exact::{ExactOptions, encode_exact};
use delta::librsync::{self, ApplyLimits};
use delta::native::{LayerDecoder, Limits, Origin, bounded, encode};
use delta::read_at::{Concat, ReadAround, ReadAt};
use delta::region::Content;
use tarball::{DiffId, Digester};

use super::base::{Base, bytes_of};
use super::levels::{compression_of, encode_options, has_learnt, match_options, region_bytes};
use super::pool::Pool;
use super::{CreateError, DeltaLayer, DeltaOptions, KindReport, LayerReport, Level};
use crate::delta_image::DeltaFormat;
use crate::delta_layer::{MEMBER_OFFSET_BYTES, TAR_END_BYTES, member_header};
use crate::place::SourceLayer;
use crate::progress::{Progress, moved};

/// Makes the layers of a delta, one after the other.
pub(super) struct Maker<'a> {
    base: &'a Base,
    options: &'a DeltaOptions,
    /// The deltas, one after the other, and where the next one begins.
    scratch: Arc<File>,
    end: u64,
    /// What native deltas can read so far: the base, and layers of the target that were made.
    origins: Vec<(Origin, &'a dyn ReadAt)>,
    empty: Option<DeltaLayer>,
    scratch_bytes: u64,
}

impl<'a> Maker<'a> {
    pub(super) fn new(base: &'a Base, options: &'a DeltaOptions, scratch: File) -> Self {
        let (scratch, origins) = (Arc::new(scratch), base.origins());
        Self { base, options, scratch, end: 0, origins, empty: None, scratch_bytes: 0 }
    }

    /// Lets later layers read one that was made.
    pub(super) fn add_origin(&mut self, index: usize, layer: &'a SourceLayer) {
        let origin = Origin::Produced {
            layer: u32::try_from(index).unwrap_or(u32::MAX),
            diff_id: *layer.diff_id.0.as_bytes(),
            size: layer.size(),
        };
        self.origins.push((origin, bytes_of(layer)));
    }

    /// Bytes of temporary files so far.
    pub(super) fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }

    /// The empty layer, which stands for one that needs no delta.
    pub(super) fn empty(
        &mut self,
        target: DiffId,
        size_bytes: u64,
    ) -> Result<(DeltaLayer, LayerReport), CreateError> {
        let layer = match &self.empty {
            Some(layer) => layer.clone(),
            None => {
                let (start, file) = (self.end, self.scratch.clone());
                self.end += TAR_END_BYTES;
                file.set_len(self.end).map_err(scratch_error)?;
                let (diff_id, size_bytes) = (DiffId::EMPTY_LAYER, TAR_END_BYTES);
                DeltaLayer { diff_id, size_bytes, start, file }
            }
        };
        self.empty = Some(layer.clone());
        Ok((layer, LayerReport { is_shared: true, ..blank_report(target, size_bytes) }))
    }

    /// A delta that `write` writes; it gives the bytes that the delta makes, and of these those that are
    /// copied and those that it carries.
    pub(super) fn written<E: From<CreateError>>(
        &mut self,
        target: DiffId,
        write: impl FnOnce(&mut dyn Write) -> Result<(u64, u64, u64), E>,
    ) -> Result<(DeltaLayer, LayerReport), E> {
        self.scratch.set_len(self.end).map_err(scratch_error)?;
        self.seek_to_delta()?;
        let mut out = BufWriter::new(&*self.scratch);
        let (size_bytes, copied_bytes, literal_bytes) = write(&mut out)?;
        out.flush().map_err(scratch_error)?;
        drop(out);
        let end = (&*self.scratch).stream_position().map_err(scratch_error)?;
        let delta_bytes = end - self.end - MEMBER_OFFSET_BYTES;
        let layer = self.finish_tar(delta_bytes)?;
        let blank = blank_report(target, size_bytes);
        Ok((layer, LayerReport { delta_bytes, copied_bytes, literal_bytes, ..blank }))
    }

    /// The delta of a layer that the base does not have.
    pub(super) fn delta(
        &mut self,
        target: &SourceLayer,
        index: &FileIndex<'_>,
    ) -> Result<(DeltaLayer, LayerReport), CreateError> {
        let report = self.attempt(target, index)?;
        let layer = self.finish_tar(report.delta_bytes)?;
        Ok((layer, report))
    }

    /// The delta with transforms, or without if they fail: a transform that does not come back is a fault
    /// of ours, and no reason to have no delta.
    fn attempt(
        &self,
        target: &SourceLayer,
        index: &FileIndex<'_>,
    ) -> Result<LayerReport, CreateError> {
        let has_regions = region_bytes(self.options) > 0;
        match self.attempt_with(target, index, has_regions) {
            Err(error) if has_regions && error.is_of_encoding() => {
                self.attempt_with(target, index, false)
            }
            report => report,
        }
    }

    /// Matches, encodes and proves.
    fn attempt_with(
        &self,
        target: &SourceLayer,
        index: &FileIndex<'_>,
        has_regions: bool,
    ) -> Result<LayerReport, CreateError> {
        let matched = |level| {
            let options = match_options(self.options, level);
            let without = MatchOptions { region_bytes: 0, largest_region_bytes: 0, ..options };
            match_layer(target, index, if has_regions { &options } else { &without })
        };
        match (self.options.level, self.options.format) {
            (Level::Best, DeltaFormat::Silt) => {
                self.smallest(target, &matched(Level::Default)?, &matched(Level::Best)?)
            }
            (level, _) => self.write(target, &matched(level)?, None, level),
        }
    }

    /// The smallest of all that can be tried: what is chosen by estimates is mostly smaller than by default,
    /// not always.
    fn smallest(
        &self,
        target: &SourceLayer,
        default: &Content,
        best: &Content,
    ) -> Result<LayerReport, CreateError> {
        // The likeliest comes last of the two that are always tried, since what was tried last lies in the file.
        let ways = [(default, Level::Best), (best, Level::Best), (default, Level::Default)];
        let (mut last, mut smallest) = (0, (0, self.encode(target, ways[0].0, None, ways[0].1)?));
        for (i, (content, coding)) in ways.iter().enumerate().skip(1) {
            if *coding == Level::Default && has_learnt(&smallest.1) {
                break;
            }
            let report = self.encode(target, content, None, *coding)?;
            last = i;
            if report.delta_bytes <= smallest.1.delta_bytes {
                smallest = (i, report);
            }
        }
        let (way, report) = smallest;
        if way != last {
            return self.write(target, ways[way].0, None, ways[way].1);
        }
        self.prove(target, None, report.delta_bytes)?;
        Ok(report)
    }

    /// Encodes and proves.
    fn write(
        &self,
        target: &SourceLayer,
        matched: &Content,
        pool: Option<&Pool>,
        level: Level,
    ) -> Result<LayerReport, CreateError> {
        let report = self.encode(target, matched, pool, level)?;
        self.prove(target, pool, report.delta_bytes)?;
        Ok(report)
    }

    /// Encodes, over what an attempt before this one left there.
    fn encode(
        &self,
        target: &SourceLayer,
        matched: &Content,
        pool: Option<&Pool>,
        level: Level,
    ) -> Result<LayerReport, CreateError> {
        let mut report = blank_report(target.diff_id, target.size());
        // That is not to show behind the end.
        self.scratch.set_len(self.end).map_err(scratch_error)?;
        self.seek_to_delta()?;
        match self.options.format {
            DeltaFormat::Silt => self.encode_native(target, matched, pool, level, &mut report)?,
            DeltaFormat::Balena => self.encode_balena(target, matched, &mut report)?,
        }
        Ok(report)
    }

    /// Goes to where the next tar's one member has its contents.
    fn seek_to_delta(&self) -> Result<(), CreateError> {
        let at = SeekFrom::Start(self.end + MEMBER_OFFSET_BYTES);
        (&*self.scratch).seek(at).map(drop).map_err(scratch_error)
    }

    fn encode_native(
        &self,
        target: &SourceLayer,
        matched: &Content,
        pool: Option<&Pool>,
        level: Level,
        report: &mut LayerReport,
    ) -> Result<(), CreateError> {
        let matched = &*bounded(matched, target.size());
        let compression = compression_of(self.options, level, matched, target.size());
        let options = encode_options(self.options, compression);
        let digest = *target.diff_id.0.as_bytes();
        let mut out = BufWriter::new(&*self.scratch);
        let origins = self.origins_with(target, pool);
        let encoded = encode(target, digest, &origins, matched, &options, &mut out)?;
        out.flush().map_err(scratch_error)?;
        report.delta_bytes = encoded.delta_bytes;
        report.copied_bytes = encoded.copied_bytes;
        report.added_bytes = encoded.added_bytes;
        report.header_bytes = encoded.header_bytes;
        report.recompressed_bytes = encoded.recompressed_bytes;
        report.padding_bytes = encoded.padding_bytes;
        report.literal_bytes = encoded.literal_bytes;
        report.kinds = encoded.kinds.into_iter().map(KindReport::from).collect();
        Ok(())
    }

    /// What is there already, as it was numbered; then the layer itself; then what is shared.
    fn origins_with<'b>(
        &'b self,
        target: &'b SourceLayer,
        pool: Option<&'b Pool>,
    ) -> Vec<(Origin, &'b dyn ReadAt)> {
        let mut origins: Vec<(Origin, &dyn ReadAt)> = self.origins.clone();
        let (diff_id, size) = (*target.diff_id.0.as_bytes(), target.size());
        origins.push((Origin::Itself { diff_id, size }, bytes_of(target)));
        origins.extend(pool.map(|pool| (pool.origin(), &pool.bytes as &dyn ReadAt)));
        origins
    }

    /// The delta of a layer that was matched before, with what it shares with others taken from there.
    pub(super) fn matched_delta(
        &mut self,
        target: &SourceLayer,
        matched: &Content,
        pool: Option<&Pool>,
    ) -> Result<(DeltaLayer, LayerReport), CreateError> {
        let level = self.options.level;
        let number = u32::try_from(self.origins.len() + 1).unwrap_or(u32::MAX);
        let fill = |content: &Content| match pool {
            Some(pool) => pool.fill(content, target.size(), OriginId(number)),
            None => content.clone(),
        };
        let report = match self.write(target, &fill(matched), pool, level) {
            // A transform that does not come back is a fault of ours, and no reason to have no delta.
            Err(error) if error.is_of_encoding() && !matched.regions.is_empty() => {
                let plain = Content { regions: Vec::new(), ..matched.clone() };
                self.write(target, &fill(&plain), pool, level)?
            }
            report => report?,
        };
        let layer = self.finish_tar(report.delta_bytes)?;
        Ok((layer, report))
    }

    /// The layer that makes what deltas share, out of nothing.
    pub(super) fn pool(&mut self, pool: &Pool) -> Result<DeltaLayer, CreateError> {
        self.scratch.set_len(self.end).map_err(scratch_error)?;
        self.seek_to_delta()?;
        let digest = *pool.digest.as_bytes();
        let mut out = BufWriter::new(&*self.scratch);
        let content = Content::default();
        let (level, size) = (self.options.level, pool.bytes.size());
        let compression = compression_of(self.options, level, &content, size);
        let options = encode_options(self.options, compression);
        let encoded = encode(&pool.bytes, digest, &[], &content, &options, &mut out)?;
        out.flush().map_err(scratch_error)?;
        drop(out);
        let layer = self.finish_tar(encoded.delta_bytes)?;
        Ok(layer)
    }

    fn encode_balena(
        &self,
        target: &SourceLayer,
        matched: &Content,
        report: &mut LayerReport,
    ) -> Result<(), CreateError> {
        let basis = Concat::new(self.base.concatenated());
        let (starts, options) = (self.base.starts(), ExactOptions::for_layer(target.size_bytes()));
        let out = BufWriter::new(&*self.scratch);
        let (_, encoded) = encode_exact(target, &basis, starts, &matched.covers, &options, out)?;
        let end = (&*self.scratch).stream_position().map_err(scratch_error)?;
        report.delta_bytes = end - self.end - MEMBER_OFFSET_BYTES;
        report.copied_bytes = encoded.commands.copied_bytes;
        report.literal_bytes = encoded.commands.literal_bytes;
        report.kinds = encoded.kinds.into_iter().map(KindReport::from).collect();
        Ok(())
    }

    /// Applies the delta and compares the digest: what does not come back is not shipped.
    fn prove(
        &self,
        target: &SourceLayer,
        pool: Option<&Pool>,
        delta_bytes: u64,
    ) -> Result<(), CreateError> {
        let delta = stream_in(&self.scratch, self.end, delta_bytes)?;
        let layer = target.diff_id;
        let made = match self.options.format {
            DeltaFormat::Silt => self.apply_native(target, delta, pool)?,
            DeltaFormat::Balena => {
                apply_balena(layer, delta, self.base.concatenated(), target.size())?
            }
        };
        if made == layer { Ok(()) } else { Err(CreateError::Unproven { layer, made }) }
    }

    /// What it reads of itself is read of the target: the digests of frames say that it is the same.
    fn apply_native(
        &self,
        target: &SourceLayer,
        delta: impl Read,
        pool: Option<&Pool>,
    ) -> Result<DiffId, CreateError> {
        let limits =
            Limits { memory_bytes: self.options.apply_memory_bytes, output_bytes: u64::MAX };
        let mut decoder = LayerDecoder::new(delta, &limits)?;
        let all = self.origins_with(target, pool);
        let bytes_of = |wanted: &Origin| {
            let found = all.iter().find(|(origin, _)| origin == wanted);
            found.map(|(_, bytes)| *bytes)
        };
        let origins = decoder.needs().origins.iter().filter_map(bytes_of);
        let origins: Vec<_> = origins.map(ReadAround::new).collect();
        let origins: Vec<_> = origins.iter().map(|origin| origin as &dyn ReadAt).collect();
        let mut made = Digester::new();
        while decoder.next_frame(&origins, &mut made)?.is_some() {}
        Ok(DiffId(made.finish()))
    }

    /// Puts the tar around a delta that lies where its member's contents should; the next tar begins behind it.
    fn finish_tar(&mut self, delta_bytes: u64) -> Result<DeltaLayer, CreateError> {
        let (file, start) = (&self.scratch, self.end);
        let header = member_header(self.options.format, delta_bytes);
        file.write_all_at(&header, start).map_err(scratch_error)?;
        let content_bytes = delta_bytes.next_multiple_of(512);
        let size_bytes = MEMBER_OFFSET_BYTES + content_bytes + TAR_END_BYTES;
        file.set_len(start + size_bytes).map_err(scratch_error)?;
        let mut digester = Digester::new();
        copy_part(file, start, size_bytes, &mut digester, &crate::NoProgress)?;
        let diff_id = DiffId(digester.finish());
        let layer = DeltaLayer { diff_id, size_bytes, start, file: file.clone() };
        self.end += size_bytes;
        self.scratch_bytes += size_bytes;
        Ok(layer)
    }
}

/// The stream in a layer of a delta that begins at `start` of a temporary file.
pub(super) fn stream_in(
    mut file: &File,
    start: u64,
    delta_bytes: u64,
) -> Result<impl Read, CreateError> {
    file.seek(SeekFrom::Start(start + MEMBER_OFFSET_BYTES)).map_err(scratch_error)?;
    Ok(io::BufReader::with_capacity(128 << 10, file).take(delta_bytes))
}

/// What a `balena` delta, which is to make `layer`, makes of its basis.
pub(super) fn apply_balena(
    layer: DiffId,
    delta: impl Read,
    basis: Vec<&dyn ReadAt>,
    max_output_bytes: u64,
) -> Result<DiffId, CreateError> {
    let (mut made, limits) = (Digester::new(), ApplyLimits { max_output_bytes });
    librsync::apply(delta, &Concat::new(basis), &mut made, &limits)
        .map_err(|source| CreateError::UnprovenBalena { layer, source })?;
    Ok(DiffId(made.finish()))
}

fn blank_report(diff_id: DiffId, size_bytes: u64) -> LayerReport {
    LayerReport {
        diff_id,
        size_bytes,
        is_shared: false,
        delta_bytes: 0,
        copied_bytes: 0,
        added_bytes: 0,
        header_bytes: 0,
        recompressed_bytes: 0,
        padding_bytes: 0,
        literal_bytes: 0,
        kinds: Vec::new(),
    }
}

/// Copies a part of a temporary file.
pub(super) fn copy_part(
    file: &File,
    start: u64,
    size_bytes: u64,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(), CreateError> {
    let mut buffer = vec![0; 128 << 10];
    let (mut at, end) = (start, start + size_bytes);
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        file.read_exact_at(&mut buffer[..count], at).map_err(scratch_error)?;
        out.write_all(&buffer[..count]).map_err(CreateError::of_writer)?;
        at += count as u64;
        moved(progress, count).map_err(scratch_error)?;
    }
    Ok(())
}

fn scratch_error(source: io::Error) -> CreateError {
    CreateError::Scratch { source }
}
