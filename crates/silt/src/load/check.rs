//! Reading a layer of the input whole before anything is written: its digests, and of a delta its
//! frames or commands.

use std::io::{self, Read};

use delta::librsync::{self, ApplyLimits};
use delta::native::{LayerDecoder, Limits, Needs};
use tarball::{DiffId, Digest};

use super::LoadError;
use super::known::Base;
use super::source::Candidate;
use crate::delta_image::DeltaFormat;
use crate::delta_layer::with_member;
use crate::progress::{Progress, moved};

/// Reads a plain layer; gives its size.
pub(super) fn full_layer(
    candidate: &Candidate<'_>,
    index: usize,
    progress: &dyn Progress,
) -> Result<u64, LoadError> {
    let mut layer = Counted { inner: candidate.open_layer(index)?, progress };
    let read = io::copy(&mut layer, &mut io::sink());
    read.map_err(|source| LoadError::ReadLayer { layer: candidate.diff_id(index), source })
}

/// Reads a native delta layer, which should make `target`.
pub(super) fn native_layer(
    candidate: &Candidate<'_>,
    index: usize,
    target: DiffId,
    max_memory_bytes: u64,
    progress: &dyn Progress,
) -> Result<Needs, LoadError> {
    let mut tar = Counted { inner: candidate.open_layer(index)?, progress };
    let delta_layer = candidate.diff_id(index);
    with_member(DeltaFormat::Silt, delta_layer, &mut tar, |member| {
        let error = |source| LoadError::Decode { layer: target, origins: Vec::new(), source };
        let memory_bytes = candidate.left_memory_bytes(max_memory_bytes);
        let limits = Limits { memory_bytes, output_bytes: u64::MAX };
        let mut decoder = LayerDecoder::new(member, &limits).map_err(error)?;
        let made = DiffId(Digest::from_bytes(decoder.needs().output_digest));
        if made != target {
            return Err(LoadError::WrongTarget { layer: target, made });
        }
        while decoder.check_frame().map_err(error)?.is_some() {}
        Ok(decoder.needs().clone())
    })
}

/// Reads a `balena` delta layer against `base`; gives the size of what it makes.
pub(super) fn balena_layer(
    candidate: &Candidate<'_>,
    index: usize,
    target: DiffId,
    base: &Base,
    progress: &dyn Progress,
) -> Result<u64, LoadError> {
    let limits = ApplyLimits { max_output_bytes: u64::MAX };
    let mut tar = Counted { inner: candidate.open_layer(index)?, progress };
    let delta_layer = candidate.diff_id(index);
    with_member(DeltaFormat::Balena, delta_layer, &mut tar, |member| {
        let report = librsync::check(member, base.bytes, &limits)
            .map_err(|source| LoadError::Librsync { layer: target, source })?;
        Ok(report.output_bytes())
    })
}

/// Tells of the bytes that pass.
pub(super) struct Counted<'a, R> {
    pub(super) inner: R,
    pub(super) progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        moved(self.progress, count)?;
        Ok(count)
    }
}
