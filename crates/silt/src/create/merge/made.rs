//! The layers that the two deltas make, in temporary files, with what each delta says of them.

use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, Write};

use delta::native::{DecodeError, LayerDecoder, Limits, Needs};
use delta::read_at::{FileBasis, ReadAt};
use delta::region::Content;
use store::Store;
use tarball::{DiffId, Digester};

use super::MergeError;
use super::chain::{Chain, needs_of, origins_of, with_stream};
use crate::create::base::Base;
use crate::create::{CreateError, DeltaOptions};
use crate::delta_image::DeltaFormat;
use crate::place::SourceLayer;
use crate::progress::{Progress, Step, moved};
use crate::scratch::scratch_file;

/// A layer that was made.
pub(super) struct Made {
    pub(super) layer: SourceLayer,
    /// What its delta says.
    pub(super) content: Content,
    /// What that reads, in its numbers.
    pub(super) origins: Vec<DiffId>,
}

/// Makes layers, each once.
pub(super) struct Workshop<'a> {
    chain: &'a Chain,
    streams: HashMap<DiffId, &'a SourceLayer>,
    base: &'a Base,
    store: &'a Store,
    options: &'a DeltaOptions,
    progress: &'a dyn Progress,
    /// In the order in which they were made: each after those that it reads.
    pub(super) made: Vec<Made>,
    numbers: HashMap<DiffId, usize>,
    begun: HashSet<DiffId>,
    /// Memory that is left for what deltas say, in bytes.
    pub(super) left_bytes: u64,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(
        chain: &'a Chain,
        base: &'a Base,
        store: &'a Store,
        options: &'a DeltaOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        let mut streams = chain.second.makes();
        // What the first makes, the second knows nothing of, as a rule.
        streams.extend(chain.first.makes());
        let (made, numbers, begun) = (Vec::new(), HashMap::new(), HashSet::new());
        let left_bytes = options.memory_bytes / 4;
        Self { chain, streams, base, store, options, progress, made, numbers, begun, left_bytes }
    }

    /// Makes a layer, and before it what its delta reads. `None` where neither the base has it nor
    /// a delta makes it.
    pub(super) fn make(&mut self, diff_id: DiffId) -> Result<Option<()>, MergeError> {
        if self.bytes(diff_id).is_some() {
            return Ok(Some(()));
        }
        let Some(stream) = self.streams.get(&diff_id).copied() else { return Ok(None) };
        if !self.begun.insert(diff_id) {
            // The second delta may make a layer of the base again, out of what the first makes of it.
            let mut unfinished = self.begun.iter().filter(|layer| self.get(**layer).is_none());
            return match unfinished.any(|layer| self.chain.is_of_base(*layer)) {
                true => Ok(None),
                false => Err(MergeError::Circle { layer: diff_id }),
            };
        }
        let needs = needs_of(stream)?;
        let origins = origins_of(&needs);
        for origin in origins.iter().filter(|origin| **origin != diff_id) {
            if self.make(*origin)?.is_none() {
                return Ok(None);
            }
        }
        let made = self.apply(diff_id, stream, &needs, origins)?;
        self.numbers.insert(diff_id, self.made.len());
        self.made.push(made);
        Ok(Some(()))
    }

    /// A layer of the base, or one that was made.
    pub(super) fn bytes(&self, diff_id: DiffId) -> Option<&dyn ReadAt> {
        let made = || self.get(diff_id).map(|made| &made.layer as &dyn ReadAt);
        self.base.layer(diff_id).or_else(made)
    }

    /// A layer that was made.
    pub(super) fn get(&self, diff_id: DiffId) -> Option<&Made> {
        self.numbers.get(&diff_id).map(|number| &self.made[*number])
    }

    fn apply(
        &mut self,
        layer: DiffId,
        stream: &SourceLayer,
        needs: &Needs,
        origins: Vec<DiffId>,
    ) -> Result<Made, MergeError> {
        let scratch_error = |source| CreateError::Scratch { source };
        let mut file = scratch_file(self.store).map_err(CreateError::from)?;
        let itself =
            FileBasis::with_size(file.try_clone().map_err(scratch_error)?, needs.output_bytes);
        let bytes_of = |origin: &DiffId| match *origin == layer {
            true => Some(&itself as &dyn ReadAt),
            false => self.bytes(*origin),
        };
        let bytes: Vec<&dyn ReadAt> = origins.iter().filter_map(bytes_of).collect();
        let memory_bytes = self.options.memory_bytes / 4 * 3;
        let limits = Limits { memory_bytes, output_bytes: u64::MAX };
        let count = self.streams.len();
        let (number, action) = (self.made.len() + 1, "Applying");
        self.progress.begin(&Step::Layer { number, count, diff_id: &layer, action }, None);
        let error = |source| match source {
            DecodeError::Output(source) => CreateError::Scratch { source }.into(),
            source => MergeError::Decode { layer, source },
        };
        let (content, digest, size_bytes, noted_bytes) =
            with_stream(DeltaFormat::Silt, stream, |stream| {
                let mut decoder = LayerDecoder::new(stream, &limits).map_err(error)?;
                decoder.record(self.left_bytes);
                let (out, digester) = (BufWriter::new(&mut file), Digester::new());
                let mut out = Tee { out, digester, progress: self.progress };
                while decoder.next_frame(&bytes, &mut out).map_err(error)?.is_some() {}
                out.out.flush().map_err(|source| CreateError::Scratch { source })?;
                let size_bytes = out.digester.length();
                let (digest, noted_bytes) =
                    (DiffId(out.digester.finish()), decoder.recorded_bytes());
                Ok((decoder.into_content(), digest, size_bytes, noted_bytes))
            })?;
        self.left_bytes -= noted_bytes;
        self.progress.end();
        if digest != layer {
            return Err(MergeError::WrongLayer { layer, made: digest });
        }
        let layer = SourceLayer::of_file(layer, file, size_bytes)
            .map_err(|source| CreateError::Scratch { source })?;
        Ok(Made { layer, content, origins })
    }
}

/// Writes bytes and digests them.
struct Tee<'a, W> {
    out: W,
    digester: Digester,
    progress: &'a dyn Progress,
}

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.digester.update(&bytes[..count]);
        moved(self.progress, count)?;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
