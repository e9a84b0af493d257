//! The operations on images: load, delta, save, and what the store answers.
//!
//! - [`load`]: plan, then write, what an archive or a stored delta holds.
//! - [`delta_image`]: how a delta is packed as an image.
//! - [`sink`]: the trait through which every place takes in images.
//! - [`failure`]: what kind of failure an error is, and what there is to do.
//! - [`progress`]: what users see while it runs.

pub mod delta_image;
pub mod failure;
pub mod progress;
pub mod sink;

pub use failure::{Failure, FailureKind};
pub use progress::{NoProgress, Progress, Step};
