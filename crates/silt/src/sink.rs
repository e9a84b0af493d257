//! The trait through which every place takes in images, and the store's way of doing it.

use std::collections::HashSet;
use std::io::Write;

use delta::read_at::{FileBasis, ReadAround, ReadAt};
use store::{CommitReport, LayerRepair, LayerWriter, NewImage, Transaction};
use tarball::DiffId;

use crate::failure::{Failure, FailureKind};
use crate::progress::{Progress, passed};

/// Images on their way into a place: layers first, invisible, then all images at once.
///
/// Dropped without a commit, it leaves the place as it was.
pub trait ImageTransaction {
    /// A layer that is being written.
    type Layer: Write;
    /// A layer that is there, and that is being mended.
    type Repair: Write;

    /// Keeps the layers that are there from going away until the end; returns those that are not.
    fn hold(&mut self, layers: &[DiffId]) -> Result<Vec<DiffId>, SinkError>;

    /// Says which of the layers that will be made are read again before the end.
    fn expect_reads(&mut self, _layers: HashSet<DiffId>) {}

    /// Starts a layer. With `size_bytes`, room is made for it at once.
    fn layer(&mut self, expect: DiffId, size_bytes: Option<u64>) -> Result<Self::Layer, SinkError>;

    /// What was written of a layer and flushed, to be read while more is written; `None` where it was not
    /// expected to be read.
    fn read_back(&self, layer: &Self::Layer) -> Result<Option<Box<dyn ReadAt>>, SinkError>;

    /// Keeps what is there of a layer for a later transaction, where the place can do that.
    fn set_aside(&mut self, layer: Self::Layer);

    /// Ends a layer and checks its digest.
    fn finish_layer(&mut self, layer: Self::Layer) -> Result<(), SinkError>;

    /// Lets a layer that is written replace one that is there, which is damaged.
    fn replace(&mut self, layer: DiffId);

    /// Starts to mend a layer that is there; it takes in all of the layer's bytes, which were checked.
    fn repair(&mut self, layer: DiffId) -> Result<Self::Repair, SinkError>;

    /// Ends the mending of a layer, and checks all of it. Returns how many bytes were written.
    fn finish_repair(
        &mut self,
        repair: Self::Repair,
        progress: &dyn Progress,
    ) -> Result<u64, SinkError>;

    /// Makes what the place keeps to check a layer by, out of the layer, which is whole.
    fn renew_digests(&mut self, layer: DiffId, progress: &dyn Progress) -> Result<(), SinkError>;

    /// Opens a layer that is there, or that was finished; `None` where it is neither.
    fn open_layer(&self, layer: DiffId) -> Result<Option<Box<dyn ReadAt>>, SinkError>;

    /// The files of a layer that is there which were changed since it was unpacked, where the place noted
    /// what they had; for messages.
    fn changed_files(&self, _layer: DiffId) -> Vec<String> {
        Vec::new()
    }

    /// Ends without a commit, and without taking back what a later transaction can go on with.
    fn suspend(self);

    /// Makes the images visible, all of them together.
    fn commit(self, images: Vec<NewImage>) -> Result<CommitReport, SinkError>;
}

/// A place could not take in an image.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A layer could not be written, or is not what it should be.
    #[error(transparent)]
    Layer(#[from] store::LayerError),
    /// A layer could not be opened.
    #[error(transparent)]
    File(#[from] store::FileError),
    /// The images could not be made visible.
    #[error(transparent)]
    Commit(#[from] store::CommitError),
    /// An engine did not take in what it was sent.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
}

impl Failure for SinkError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Layer(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Commit(error) => error.kind(),
            Self::Engine(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(error) => error.hint(),
            Self::File(_) => None,
            Self::Commit(error) => error.hint(),
            Self::Engine(error) => error.hint(),
        }
    }
}

impl ImageTransaction for Transaction {
    type Layer = LayerWriter;
    type Repair = LayerRepair;

    fn hold(&mut self, layers: &[DiffId]) -> Result<Vec<DiffId>, SinkError> {
        Ok(self.pin(layers)?.missing)
    }

    fn layer(&mut self, expect: DiffId, size_bytes: Option<u64>) -> Result<LayerWriter, SinkError> {
        Ok(Transaction::layer(self, expect, size_bytes)?)
    }

    fn read_back(&self, layer: &LayerWriter) -> Result<Option<Box<dyn ReadAt>>, SinkError> {
        let (file, size_bytes) = layer.read_back()?;
        Ok(Some(Box::new(FileBasis::with_size(file, size_bytes))))
    }

    fn set_aside(&mut self, layer: LayerWriter) {
        Transaction::set_aside(self, layer);
    }

    fn suspend(self) {
        Transaction::suspend(self);
    }

    fn finish_layer(&mut self, layer: LayerWriter) -> Result<(), SinkError> {
        Transaction::finish_layer(self, layer)?;
        Ok(())
    }

    fn replace(&mut self, layer: DiffId) {
        self.replace_layer(layer);
    }

    fn repair(&mut self, layer: DiffId) -> Result<LayerRepair, SinkError> {
        Ok(self.repair_layer(layer)?)
    }

    fn finish_repair(
        &mut self,
        repair: LayerRepair,
        progress: &dyn Progress,
    ) -> Result<u64, SinkError> {
        Ok(Transaction::finish_repair(self, repair, &mut |bytes| passed(progress, bytes))?)
    }

    fn renew_digests(&mut self, layer: DiffId, progress: &dyn Progress) -> Result<(), SinkError> {
        Ok(self.renew_blocks(layer, &mut |bytes| passed(progress, bytes))?)
    }

    fn open_layer(&self, layer: DiffId) -> Result<Option<Box<dyn ReadAt>>, SinkError> {
        let Some(layer) = Transaction::open_layer(self, layer)? else { return Ok(None) };
        let file = FileBasis::with_size(layer.file, layer.size_bytes);
        Ok(Some(Box::new(ReadAround::new(file))))
    }

    fn commit(self, images: Vec<NewImage>) -> Result<CommitReport, SinkError> {
        Ok(Transaction::commit(self, images)?)
    }
}
