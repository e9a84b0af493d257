//! Doing what a plan says: layers in order, then all images at once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

use delta::OriginId;
use delta::librsync::{self, ApplyLimits};
use delta::native::{DecodeError, LayerDecoder, Limits};
use delta::read_at::{Concat, ReadAt};
use store::NewImage;
use tarball::DiffId;

use super::plan::{Action, ImagePlan, LayerPlan, LoadPlan};
use super::source::Candidate;
use super::{Candidates, LoadError, LoadReport, LoadedImage};
use crate::delta_image::DeltaFormat;
use crate::delta_layer::with_member;
use crate::layer_digest::is_whole;
use crate::progress::{Progress, Step};
use crate::sink::{ImageTransaction, SinkError};

pub(super) fn execute<T: ImageTransaction>(
    candidates: &Candidates<'_>,
    plan: &LoadPlan,
    mut sink: T,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    hold_all(&mut sink, plan)?;
    let mut read_bytes = 0;
    for (candidate, image) in candidates.iter().zip(&plan.images) {
        for (index, layer) in image.layers.iter().enumerate() {
            let max_memory_bytes = plan.max_memory_bytes;
            let job = Job { candidate, image, index, layer, max_memory_bytes, progress };
            read_bytes += job.make(&mut sink)?;
        }
    }
    progress.begin(&Step::Publishing, None);
    let committed = sink.commit(plan.images.iter().map(new_image).collect())?;
    progress.end();
    let images = committed.images.iter().zip(&plan.images).map(|(done, image)| LoadedImage {
        id: done.id,
        names: image.names.clone(),
        was_present: done.was_there,
    });
    Ok(LoadReport {
        images: images.collect(),
        read_bytes,
        written_bytes: committed.written_bytes,
        spooled_bytes: plan.spooled_bytes,
    })
}

/// Whatever was there when the plan was made, and is needed, stays until the end.
fn hold_all(sink: &mut impl ImageTransaction, plan: &LoadPlan) -> Result<(), LoadError> {
    let mut seen = HashSet::new();
    for image in &plan.images {
        let mut needed = Vec::new();
        for layer in &image.layers {
            match &layer.action {
                Action::Present => {
                    needed.extend(seen.insert(layer.diff_id).then_some(layer.diff_id))
                }
                Action::Rebuild { origins, .. } => {
                    needed.extend(origins.iter().filter(|origin| seen.insert(**origin)));
                    seen.insert(layer.diff_id);
                }
                Action::Write { .. } => drop(seen.insert(layer.diff_id)),
            }
        }
        if let [layer, ..] = sink.hold(&needed)?[..] {
            return Err(LoadError::LayerGone { image: image.id, layer });
        }
    }
    Ok(())
}

fn new_image(plan: &ImagePlan) -> NewImage {
    NewImage {
        config: plan.config.clone(),
        names: plan.names.clone(),
        original_manifest: plan.manifest.clone(),
        ..NewImage::default()
    }
}

/// One layer to be made.
struct Job<'a> {
    candidate: &'a Candidate<'a>,
    image: &'a ImagePlan,
    index: usize,
    layer: &'a LayerPlan,
    max_memory_bytes: u64,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    /// Makes the layer; gives how many bytes of the input that took.
    fn make<T: ImageTransaction>(&self, sink: &mut T) -> Result<u64, LoadError> {
        let (action, stored_bytes) = match &self.layer.action {
            Action::Present => return Ok(0),
            Action::Write { stored_bytes } => ("Writing", *stored_bytes),
            Action::Rebuild { stored_bytes, .. } => ("Rebuilding", *stored_bytes),
        };
        let diff_id = self.layer.diff_id;
        let (number, count) = (self.index + 1, self.image.layers.len());
        let step = Step::Layer { number, count, diff_id: &diff_id, action };
        self.progress.begin(&step, self.layer.size_bytes);
        let layer = sink.layer(diff_id, self.layer.size_bytes)?;
        let mut out = Counted { inner: layer, progress: self.progress };
        match &self.layer.action {
            Action::Rebuild { format, origins, .. } => {
                self.rebuild(sink, *format, origins, &mut out)?;
            }
            _ => self.write(&mut out)?,
        }
        self.finish(sink, out.inner)?;
        self.progress.end();
        Ok(stored_bytes)
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), LoadError> {
        let mut tar = self.candidate.open_layer(self.index)?;
        let copied = io::copy(&mut tar, out);
        copied.map(drop).map_err(|source| match store_error(source) {
            Ok(error) => error,
            Err(source) => LoadError::ReadLayer { layer: self.layer.diff_id, source },
        })
    }

    fn rebuild<T: ImageTransaction>(
        &self,
        sink: &T,
        format: DeltaFormat,
        origins: &[DiffId],
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        let bases = open_origins(sink, origins, self.image)?;
        let mut tar = self.candidate.open_layer(self.index)?;
        let delta_layer = self.candidate.diff_id(self.index);
        with_member(format, delta_layer, &mut tar, |member| match format {
            DeltaFormat::Silt => self.apply_native(member, origins, &bases, out),
            DeltaFormat::Balena => self.apply_balena(member, bases, out),
        })
    }

    fn apply_native(
        &self,
        delta: &mut dyn io::Read,
        origins: &[DiffId],
        bases: &[Arc<dyn ReadAt>],
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        let layer = self.layer.diff_id;
        let bases: Vec<&dyn ReadAt> = bases.iter().map(|base| base.as_ref()).collect();
        // The plan has seen this delta; a file that was changed since is held to the same limits.
        let output_bytes = self.layer.size_bytes.unwrap_or(u64::MAX);
        let limits = Limits { memory_bytes: self.max_memory_bytes, output_bytes };
        let error = |source| match source {
            DecodeError::Output(source) => match store_error(source) {
                Ok(error) => error,
                Err(source) => LoadError::ReadLayer { layer, source },
            },
            source => {
                let suspects = suspects(&source).into_iter().map(|origin| origin.0 as usize);
                let suspects = suspects.filter_map(|i| Some((*bases.get(i)?, *origins.get(i)?)));
                let damaged = suspects.filter(|(base, origin)| !is_whole(*base, *origin));
                let origins = damaged.map(|(_, origin)| origin).collect();
                LoadError::Decode { layer, origins, source }
            }
        };
        let mut decoder = LayerDecoder::new(delta, &limits).map_err(error)?;
        while decoder.next_frame(&bases, out).map_err(error)?.is_some() {}
        Ok(())
    }

    fn apply_balena(
        &self,
        delta: &mut dyn io::Read,
        bases: Vec<Arc<dyn ReadAt>>,
        out: &mut dyn Write,
    ) -> Result<(), LoadError> {
        let layer = self.layer.diff_id;
        let max_output_bytes = self.layer.size_bytes.unwrap_or(u64::MAX);
        let basis = Concat::new(bases);
        librsync::apply(delta, &basis, out, &ApplyLimits { max_output_bytes }).map_err(
            |source| match source {
                librsync::ApplyError::Write { source, .. } => match store_error(source) {
                    Ok(error) => error,
                    Err(source) => LoadError::ReadLayer { layer, source },
                },
                source => LoadError::Librsync { layer, source },
            },
        )?;
        Ok(())
    }

    /// The sink checks the digest. Where it is wrong though the delta was whole, either the base is
    /// not what it claims to be, or the delta's writer was at fault.
    fn finish<T: ImageTransaction>(&self, sink: &mut T, layer: T::Layer) -> Result<(), LoadError> {
        let error = match sink.finish_layer(layer) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let SinkError::Layer(store::LayerError::WrongDigest { .. }) = error
            && let Action::Rebuild { origins, .. } = &self.layer.action
        {
            for (base, layer) in open_origins(sink, origins, self.image)?.iter().zip(origins.iter())
            {
                if !is_whole(base.as_ref(), *layer) {
                    return Err(LoadError::BaseDamaged { layer: *layer });
                }
            }
        }
        Err(error.into())
    }
}

/// The origins in order, each opened once however often it is listed.
fn open_origins(
    sink: &impl ImageTransaction,
    origins: &[DiffId],
    image: &ImagePlan,
) -> Result<Vec<Arc<dyn ReadAt>>, LoadError> {
    let mut open: HashMap<DiffId, Arc<dyn ReadAt>> = HashMap::new();
    for layer in origins {
        if let Entry::Vacant(place) = open.entry(*layer) {
            let gone = LoadError::LayerGone { image: image.id, layer: *layer };
            place.insert(sink.open_layer(*layer)?.ok_or(gone)?.into());
        }
    }
    Ok(origins.iter().filter_map(|layer| open.get(layer).cloned()).collect())
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
fn store_error(error: io::Error) -> Result<LoadError, io::Error> {
    error.downcast::<store::LayerError>().map(LoadError::Layer)
}

/// Tells of the bytes that pass.
struct Counted<'a, W> {
    inner: W,
    progress: &'a dyn Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.progress.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
