//! Reading a layer of the input whole before anything is written: its digests, and of a delta its
//! frames or commands.

use std::io::{self, Read};

use delta::librsync::{self, ApplyLimits};
use delta::native::{LayerDecoder, Limits, Needs};
use store::FreeSpace;
use tarball::{DiffId, Digest};

use super::known::Base;
use super::source::Candidate;
use super::{LoadError, Room};
use crate::delta_image::DeltaFormat;
use crate::delta_layer::with_member;
use crate::progress::{Progress, moved};

/// Reads a plain layer; gives its size.
pub(super) fn full_layer(
    candidate: &Candidate<'_>,
    index: usize,
    space: &FreeSpace,
    progress: &dyn Progress,
) -> Result<u64, LoadError> {
    let layer = Counted { inner: candidate.open_layer(index)?, progress };
    let mut layer = Bounded::new(layer, space);
    let read = io::copy(&mut layer, &mut io::sink());
    layer.check()?;
    read.map_err(|source| LoadError::ReadLayer { layer: candidate.diff_id(index), source })
}

/// Reads a native delta layer, which should make `target`.
pub(super) fn native_layer(
    candidate: &Candidate<'_>,
    index: usize,
    target: DiffId,
    max_memory_bytes: u64,
    space: &FreeSpace,
    progress: &dyn Progress,
) -> Result<Needs, LoadError> {
    let tar = Counted { inner: candidate.open_layer(index)?, progress };
    let mut tar = Bounded::new(tar, space);
    let delta_layer = candidate.diff_id(index);
    let needs = with_member(DeltaFormat::Silt, delta_layer, &mut tar, |member| {
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
    });
    tar.check()?;
    needs
}

/// Reads a `balena` delta layer against `base`; gives the size of what it makes.
pub(super) fn balena_layer(
    candidate: &Candidate<'_>,
    index: usize,
    target: DiffId,
    base: &Base,
    space: &FreeSpace,
    progress: &dyn Progress,
) -> Result<u64, LoadError> {
    let limits = ApplyLimits { max_output_bytes: u64::MAX };
    let tar = Counted { inner: candidate.open_layer(index)?, progress };
    let mut tar = Bounded::new(tar, space);
    let delta_layer = candidate.diff_id(index);
    let size_bytes = with_member(DeltaFormat::Balena, delta_layer, &mut tar, |member| {
        let report = librsync::check(member, base.bytes, &limits)
            .map_err(|source| LoadError::Librsync { layer: target, source })?;
        Ok(report.output_bytes())
    });
    tar.check()?;
    size_bytes
}

/// Ends a layer that is larger than the whole file system of the store: it is of no use, and a kilobyte
/// can become a terabyte, which would be hashed for hours.
struct Bounded<'a, R> {
    inner: R,
    space: &'a FreeSpace,
    read_bytes: u64,
}

impl<'a, R> Bounded<'a, R> {
    fn new(inner: R, space: &'a FreeSpace) -> Self {
        Self { inner, space, read_bytes: 0 }
    }

    /// Fails where there was more than there is room for; whatever else failed came of that.
    fn check(&self) -> Result<(), LoadError> {
        if self.read_bytes <= self.space.total_bytes {
            return Ok(());
        }
        let room = Room {
            mount_point: self.space.mount_point.clone(),
            needed_bytes: self.read_bytes,
            mended_bytes: 0,
            staged_bytes: 0,
            free_bytes: self.space.free_bytes,
            needed_inodes: 1,
            free_inodes: self.space.free_inodes,
        };
        Err(LoadError::NoRoom { room: Box::new(room) })
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read_bytes > self.space.total_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = self.inner.read(buffer)?;
        self.read_bytes += count as u64;
        Ok(count)
    }
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
