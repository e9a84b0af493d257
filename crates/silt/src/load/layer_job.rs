//! Making one layer as its plan says: copied, written, made out of a delta, or mended in its place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};
use std::sync::Arc;

use delta::OriginId;
use delta::librsync::{self, ApplyLimits};
use delta::native::{DecodeError, LayerDecoder, Limits};
use delta::read_at::{Concat, FileBasis, ReadAround, ReadAt};
use engine::EngineError;
use tarball::{DiffId, Digester};

use super::plan::{Action, ImagePlan, LayerPlan, LoadPlan};
use super::pool::Pool;
use super::repair::Repair;
use super::source::Candidate;
use super::{LoadError, RepairedLayer};
use crate::delta_image::DeltaFormat;
use crate::delta_layer::with_member;
use crate::layer_digest::is_whole;
use crate::progress::{Progress, Step, moved};
use crate::sequential::Sequential;
use crate::sink::{ImageTransaction, SinkError};

/// One layer to be made.
pub(super) struct Job<'a> {
    pub(super) candidate: &'a Candidate<'a>,
    pub(super) image: &'a ImagePlan,
    pub(super) index: usize,
    pub(super) layer: &'a LayerPlan,
    pub(super) plan: &'a LoadPlan,
    pub(super) progress: &'a dyn Progress,
}

/// What making a layer took and did.
#[derive(Default)]
pub(super) struct Made {
    /// Bytes of the input.
    pub(super) read_bytes: u64,
    pub(super) repaired: Option<RepairedLayer>,
}

impl Job<'_> {
    /// Makes the layer.
    pub(super) fn make<T: ImageTransaction>(&self, sink: &mut T) -> Result<Made, LoadError> {
        let (action, read_bytes) = match &self.layer.action {
            Action::Present => return Ok(Made::default()),
            Action::Repair(repair) => return self.repair(sink, repair),
            Action::Copy { .. } => ("Copying", 0),
            Action::Write { stored_bytes } => ("Writing", *stored_bytes),
            Action::Rebuild { stored_bytes, .. } => ("Rebuilding", *stored_bytes),
        };
        self.step(action, || self.make_new(sink))?;
        Ok(Made { read_bytes, repaired: None })
    }

    fn begin(&self, action: &str) {
        let (number, count) = (self.index + 1, self.image.layers.len());
        let step = Step::Layer { number, count, diff_id: &self.layer.diff_id, action };
        self.progress.begin(&step, self.layer.size_bytes);
    }

    /// Makes the layer as a new file.
    fn make_new<T: ImageTransaction>(&self, sink: &mut T) -> Result<(), LoadError> {
        let layer = sink.layer(self.layer.diff_id, self.layer.size_bytes)?;
        let itself = if self.layer.reads_itself() { sink.read_back(&layer)? } else { None };
        let itself = itself.map(Arc::from);
        let mut out = Counted { inner: layer, progress: self.progress };
        if let Err(error) = self.produce(sink, itself, &mut out) {
            if is_worth_resuming(&error, self.progress) {
                sink.set_aside(out.inner);
            }
            return Err(error);
        }
        self.finish(sink, out.inner)
    }

    /// Writes all bytes of the layer to `out`; they can be read again through `itself`.
    fn produce<T: ImageTransaction>(
        &self,
        sink: &T,
        itself: Option<Arc<dyn ReadAt>>,
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        match &self.layer.action {
            Action::Rebuild { format, origins, .. } => {
                self.rebuild(sink, *format, origins, itself, out)
            }
            Action::Copy { .. } => self.copy(sink, out),
            Action::Repair(Repair::Blocks { from, .. } | Repair::Whole { from }) => {
                match from.format {
                    Some(format) => self.rebuild(sink, format, &from.origins, itself, out),
                    None => self.write(out),
                }
            }
            _ => self.write(out),
        }
    }

    fn repair<T: ImageTransaction>(
        &self,
        sink: &mut T,
        repair: &Repair,
    ) -> Result<Made, LoadError> {
        let diff_id = self.layer.diff_id;
        let (written_bytes, read_bytes) = match repair {
            Repair::Impossible { .. } => return Ok(Made::default()),
            Repair::Digests => {
                self.step("Repairing", || Ok(sink.renew_digests(diff_id, self.progress)?))?;
                (0, 0)
            }
            Repair::Whole { from } => {
                sink.replace(diff_id);
                self.step("Repairing", || self.make_new(sink))?;
                (self.layer.size_bytes.unwrap_or(0), from.stored_bytes)
            }
            Repair::Blocks { from, .. } => (self.mend(sink)?, from.stored_bytes),
        };
        Ok(Made { read_bytes, repaired: Some(RepairedLayer { diff_id, written_bytes }) })
    }

    /// Mends the layer in its place; gives how many bytes were written.
    fn mend<T: ImageTransaction>(&self, sink: &mut T) -> Result<u64, LoadError> {
        self.step("Checking what is made", || self.prove(sink))?;
        let mended = self.step("Repairing", || {
            let inner = sink.repair(self.layer.diff_id)?;
            let mut out = Counted { inner, progress: self.progress };
            self.produce(sink, None, &mut out)?;
            Ok(out.inner)
        })?;
        self.step("Reading again", || Ok(sink.finish_repair(mended, self.progress)?))
    }

    /// One step of the work on the layer, all of whose bytes pass by.
    fn step<R>(
        &self,
        action: &str,
        work: impl FnOnce() -> Result<R, LoadError>,
    ) -> Result<R, LoadError> {
        self.begin(action);
        let done = work()?;
        self.progress.end();
        Ok(done)
    }

    /// Makes the layer for its digest alone: bytes that others will read are written only when all of
    /// the layer is known to be right, and block digests are no proof of that.
    fn prove<T: ImageTransaction>(&self, sink: &T) -> Result<(), LoadError> {
        let expected = self.layer.diff_id;
        let mut out = Counted { inner: Digester::new(), progress: self.progress };
        self.produce(sink, None, &mut out)?;
        let found = DiffId(out.inner.finish());
        match found == expected {
            true => Ok(()),
            false => {
                Err(self.wrong_digest(sink, store::LayerError::WrongDigest { expected, found }))
            }
        }
    }

    /// Another store's layer, or one that an engine has on others; checked by the writer as all are.
    fn copy<T: ImageTransaction>(&self, sink: &T, out: &mut dyn Write) -> Result<(), LoadError> {
        let layer = self.layer.diff_id;
        let found = self.open_origin(sink, layer)?;
        let copied = io::copy(&mut Sequential::new(found.as_ref()), out);
        copied.map(drop).map_err(|source| match sink_error(source) {
            Ok(error) => error,
            Err(source) => LoadError::ReadBase { layer, source },
        })
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), LoadError> {
        let mut tar = self.candidate.open_layer(self.index)?;
        let copied = io::copy(&mut tar, out);
        copied.map(drop).map_err(|source| match sink_error(source) {
            Ok(error) => error,
            Err(source) => LoadError::ReadLayer { layer: self.layer.diff_id, source },
        })
    }

    fn rebuild<T: ImageTransaction>(
        &self,
        sink: &T,
        format: DeltaFormat,
        origins: &[DiffId],
        itself: Option<Arc<dyn ReadAt>>,
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        let bases = self.open_origins(sink, origins, itself)?;
        let mut tar = self.candidate.open_layer(self.index)?;
        let delta_layer = self.candidate.diff_id(self.index);
        with_member(format, delta_layer, &mut tar, |member| match format {
            DeltaFormat::Silt => {
                let changed_files = |layer| sink.changed_files(layer);
                self.apply_native(member, origins, &bases, &changed_files, out)
            }
            DeltaFormat::Balena => self.apply_balena(member, bases, out),
        })
    }

    fn apply_native(
        &self,
        delta: &mut dyn io::Read,
        origins: &[DiffId],
        bases: &[Arc<dyn ReadAt + '_>],
        changed_files: &dyn Fn(DiffId) -> Vec<String>,
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        let layer = self.layer.diff_id;
        let bases: Vec<&dyn ReadAt> = bases.iter().map(|base| base.as_ref()).collect();
        // The plan has seen this delta; a file that was changed since is held to the same limits.
        let output_bytes = self.layer.size_bytes.unwrap_or(u64::MAX);
        let memory_bytes = self.candidate.left_memory_bytes(self.plan.max_memory_bytes);
        let limits = Limits { memory_bytes, output_bytes };
        let error = |source| match source {
            DecodeError::Output(source) => match sink_error(source) {
                Ok(error) => error,
                Err(source) => LoadError::ReadLayer { layer, source },
            },
            source => {
                let suspects = suspects(&source).into_iter().map(|origin| origin.0 as usize);
                let suspects = suspects.filter_map(|i| Some((*bases.get(i)?, *origins.get(i)?)));
                let damaged =
                    suspects.filter(|(base, origin)| *origin != layer && !is_whole(*base, *origin));
                let origins: Vec<DiffId> = damaged.map(|(_, origin)| origin).collect();
                match origins.first().map(|origin| (*origin, changed_files(*origin))) {
                    Some((layer, files)) if !files.is_empty() => {
                        LoadError::BaseDamaged { layer, files }
                    }
                    _ => LoadError::Decode { layer, origins, source },
                }
            }
        };
        let mut decoder = LayerDecoder::new(delta, &limits).map_err(error)?;
        while decoder.next_frame(&bases, out).map_err(error)?.is_some() {}
        Ok(())
    }

    fn apply_balena(
        &self,
        delta: &mut dyn io::Read,
        bases: Vec<Arc<dyn ReadAt + '_>>,
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        let layer = self.layer.diff_id;
        let max_output_bytes = self.layer.size_bytes.unwrap_or(u64::MAX);
        let basis = Concat::new(bases);
        librsync::apply(delta, &basis, out, &ApplyLimits { max_output_bytes }).map_err(
            |source| match source {
                librsync::ApplyError::Write { source, .. } => match sink_error(source) {
                    Ok(error) => error,
                    Err(source) => LoadError::ReadLayer { layer, source },
                },
                source => LoadError::Librsync { layer, source },
            },
        )?;
        Ok(())
    }

    /// The sink checks the digest.
    fn finish<T: ImageTransaction>(&self, sink: &mut T, layer: T::Layer) -> Result<(), LoadError> {
        match sink.finish_layer(layer) {
            Ok(()) => Ok(()),
            Err(SinkError::Layer(error)) => Err(self.wrong_digest(sink, error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the digest is wrong though the delta was whole, either the base is not what it claims to
    /// be, or the delta's writer was at fault.
    fn wrong_digest<T: ImageTransaction>(&self, sink: &T, error: store::LayerError) -> LoadError {
        let origins = match (&error, &self.layer.action) {
            (
                store::LayerError::WrongDigest { .. } | store::LayerError::WrongSize { .. },
                Action::Copy { .. },
            ) => return self.base_damaged(sink, self.layer.diff_id),
            (store::LayerError::WrongDigest { .. }, _) => self.layer.read_layers(),
            _ => Vec::new(),
        };
        let opened = match self.open_origins(sink, &origins, None) {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        let damaged = opened.iter().zip(&origins).find(|(base, layer)| !is_whole(base, **layer));
        match damaged {
            Some((_, layer)) => self.base_damaged(sink, *layer),
            None => LoadError::Layer(error),
        }
    }

    fn base_damaged<T: ImageTransaction>(&self, sink: &T, layer: DiffId) -> LoadError {
        LoadError::BaseDamaged { layer, files: sink.changed_files(layer) }
    }

    /// The origins in order, each opened once however often it is listed.
    fn open_origins(
        &self,
        sink: &impl ImageTransaction,
        origins: &[DiffId],
        itself: Option<Arc<dyn ReadAt>>,
    ) -> Result<Vec<Arc<dyn ReadAt + '_>>, LoadError> {
        let mut open: HashMap<DiffId, Arc<dyn ReadAt + '_>> = HashMap::new();
        if let Some(itself) = itself {
            open.insert(self.layer.diff_id, itself);
        }
        for layer in origins {
            if let Entry::Vacant(place) = open.entry(*layer) {
                place.insert(self.open_origin(sink, *layer)?);
            }
        }
        Ok(origins.iter().filter_map(|layer| open.get(layer).cloned()).collect())
    }

    fn open_origin(
        &self,
        sink: &impl ImageTransaction,
        layer: DiffId,
    ) -> Result<Arc<dyn ReadAt + '_>, LoadError> {
        if let Some(index) = self.candidate.shared_layer(layer) {
            let pool = Pool::open(self.candidate, index, self.plan.max_memory_bytes)?;
            return Ok(Arc::new(pool));
        }
        if let Some(found) = sink.open_layer(layer)? {
            return Ok(found.into());
        }
        let gone = LoadError::LayerGone { image: self.image.id, layer };
        let found = self.plan.bases.open_layer(layer)?.ok_or(gone)?;
        let file = FileBasis::with_size(found.file, found.size_bytes);
        Ok(Arc::new(ReadAround::new(file)))
    }
}

/// Whether what was made so far is right, and only the rest did not come.
pub(super) fn is_worth_resuming(error: &LoadError, progress: &dyn Progress) -> bool {
    progress.is_stopped() || error.is_input_unreadable()
}

/// The origins whose damage may be what an error comes from.
fn suspects(error: &DecodeError) -> Vec<OriginId> {
    match error {
        DecodeError::OutputWrong { origins, .. } => origins.clone(),
        DecodeError::OriginSize { origin, .. } => vec![*origin],
        _ => Vec::new(),
    }
}

/// The sink's own error, where one came through a writer.
fn sink_error(error: io::Error) -> Result<LoadError, io::Error> {
    match error.downcast::<store::LayerError>() {
        Ok(error) => Ok(LoadError::Layer(error)),
        Err(error) => {
            error.downcast::<EngineError>().map(|error| LoadError::Sink(SinkError::Engine(error)))
        }
    }
}

/// Tells of the bytes that pass.
struct Counted<'a, W> {
    inner: W,
    progress: &'a dyn Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        moved(self.progress, count)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
