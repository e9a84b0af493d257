//! What an image is, and the archives and layouts that hold images.
//!
//! - [`digest`]: typed content digests ([`Digest`], [`DiffId`], [`ChainId`], [`ImageId`]).
//! - [`name`]: image names as Docker spells them ([`Name`]).

pub mod digest;
pub mod name;

pub use digest::{ChainId, DiffId, Digest, Digester, ImageId};
pub use name::Name;
