//! The crash-safe local image store.
//!
//! An OCI image layout that every OCI tool can read, with layers kept uncompressed under their
//! diffIDs, digests of their blocks beside them, and an order of writes after which a power cut at
//! any point leaves what was there before. `docs/formats/store.md` describes the directory.
//!
//! - [`store`](Store): the directory, opening and making it.
//! - [`Snapshot`]: what it holds; reading takes no lock.
//! - [`Transaction`]: a load: pins, [`LayerWriter`], commit.

mod blocks;
mod commit;
mod durable;
mod edit;
mod error;
mod index;
mod layer_check;
mod layer_writer;
mod lock;
mod manifest;
mod order;
mod pins;
mod prune;
mod repair;
mod resolve;
mod snapshot;
mod space;
mod store;
mod transaction;
mod usage;
mod verify;

pub use blocks::{BLOCK_SIZE_BYTES, BlockDigests, BlocksError, blocks_file_size_bytes};
pub use commit::{CommitReport, CommittedImage, NewImage};
pub use edit::{RemoveOptions, RemoveReport, TagReport};
pub use error::*;
pub use layer_check::{LayerCheck, LayerDamage};
pub use layer_writer::LayerWriter;
pub use manifest::{DOCUMENT_LIMIT_BYTES, StoredLayer, Subject};
pub use pins::{Pinned, Pins};
pub use prune::{PruneOptions, PrunePlan};
pub use repair::LayerRepair;
pub use resolve::resolve;
pub use snapshot::{BrokenImage, LayerFile, LayerInfo, Snapshot, StoredImage};
pub use space::{FreeSpace, free_space};
pub use store::{OpenMode, STORE_VERSION, Store};
pub use transaction::Transaction;
pub use usage::{DiskUsage, FilesUsage};
pub use verify::{DamagedDocument, DamagedLayer, VerifyReport};
