//! The bodies of the fuzz targets: each takes any bytes, gives them to one decoder, and panics where
//! that breaks a promise. `fuzz/` runs them under libFuzzer; the test of this crate runs them over
//! `fuzz/corpus` and `fuzz/regressions`.
//!
//! Only what callers of the other crates see is used. Where a checksum would end every run at once,
//! the harness first makes it right:
//!
//! - [`sections`]: several small files in one input, which may name one another's digests;
//! - [`reframe`]: the checksums of tar headers and the digests of native frames.

mod archives;
mod compression;
mod deltas;
mod documents;
mod engines;
mod native;
mod references;
pub mod reframe;
pub mod sections;
mod signed;
mod stores;
mod streams;
mod tars;

pub use native::{input_of_an_executable, input_of_streams};
pub use stores::native_delta;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its folder in the corpus too.
    pub name: &'static str,
    /// What is done with an input.
    pub run: fn(&[u8]),
}

/// All targets; `fuzz/fuzz_targets` has a file for each.
pub const TARGETS: &[Target] = &[
    Target { name: "archive", run: archives::archive },
    Target { name: "archive_documents", run: archives::documents },
    Target { name: "compression", run: compression::compression },
    Target { name: "config", run: documents::config },
    Target { name: "deflate_streams", run: streams::deflate_streams },
    Target { name: "device_files", run: signed::device_files },
    Target { name: "layout_directory", run: archives::layout_directory },
    Target { name: "librsync_delta", run: deltas::librsync_delta },
    Target { name: "librsync_signature", run: deltas::librsync_signature },
    Target { name: "load", run: stores::load },
    Target { name: "load_delta", run: stores::load_delta },
    Target { name: "manifest", run: documents::manifest },
    Target { name: "name", run: documents::name },
    Target { name: "native_decode", run: native::decode },
    Target { name: "native_header", run: native::header },
    Target { name: "native_streams", run: native::streams },
    Target { name: "references", run: references::references },
    Target { name: "round_trip", run: stores::round_trip },
    Target { name: "signed_archive", run: signed::archive },
    Target { name: "store", run: stores::store },
    Target { name: "tar_map", run: tars::tar_map },
    Target { name: "tar_split", run: engines::tar_split },
    Target { name: "unpack", run: tars::unpack },
];

/// Runs one target; panics where there is none of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no fuzz target {name}")).run)(data);
}
