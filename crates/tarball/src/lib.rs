//! What an image is, and the archives and layouts that hold images.
//!
//! - [`digest`]: typed content digests ([`Digest`], [`DiffId`], [`ChainId`], [`ImageId`]).
//! - [`name`]: image names as Docker spells them ([`Name`]).
//! - [`platform`]: what an image is for, and what a machine takes ([`Platform`]).
//! - [`config`], [`manifest`]: an image's documents, as exact bytes and parsed.
//! - [`archive`]: reading archives and layouts ([`Archive`]).
//! - [`mod@write`]: writing archives ([`write_archive`]).
//! - [`unpack`]: from layers to a root file system ([`unpack::unpack`]).
//! - [`compression`]: compressed streams, told apart and read in bounded memory.

pub mod archive;
pub mod compression;
pub mod config;
pub mod digest;
mod json;
pub mod manifest;
pub mod name;
pub mod platform;
mod tar_stream;
pub mod unpack;
pub mod write;

pub use archive::{Archive, ArchiveError, ArchivedImage, ArchivedLayer, ReadLimits};
pub use compression::{Compression, CompressionError};
pub use config::ImageConfig;
pub use digest::{ChainId, DiffId, Digest, Digester, ImageId};
pub use json::JsonError;
pub use manifest::{Descriptor, Index, Manifest};
pub use name::Name;
pub use platform::{Platform, PlatformChoice};
pub use tar_stream::TarError;
pub use write::{ArchiveFormat, BlobToWrite, ImageToWrite, WriteError, write_archive};
