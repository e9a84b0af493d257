//! The operations on images: load, delta, save, and what the store answers.
//!
//! - [`load`]: plan, then write, what an archive or a stored delta holds.
//! - [`delta_image`], [`delta_layer`]: how a delta is packed as an image.
//! - [`sink`]: the trait through which every place takes in images.
//! - [`failure`]: what kind of failure an error is, and what there is to do.
//! - [`place`]: where images are: the store, or an engine.
//! - [`progress`]: what users see while it runs.
//! - [`query`]: what a store answers.
//! - [`trust`], [`policy`]: whose files are loaded, and which images.

pub mod create;
pub mod delta_image;
pub mod delta_layer;
mod durable;
pub mod failure;
mod gzip;
pub mod hooks;
mod layer_digest;
pub mod load;
pub mod parts;
pub mod place;
pub mod policy;
pub mod progress;
pub mod query;
pub mod report;
pub mod save;
pub mod scratch;
mod sequential;
pub mod show;
pub mod sink;
pub mod trust;

pub use failure::{Failure, FailureKind};
pub use progress::{NoProgress, Progress, Step};
pub use signing;
pub use store::{OpenError, OpenMode, RemoveOptions, Store};
pub use tarball::{DiffId, Digest, ImageConfig, ImageId, Name, Platform, PlatformChoice};
