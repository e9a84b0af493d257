//! What a level of effort and the memory there is mean for matching and for coding.

use delta::Effort;
use delta::by_file::{Aim, MatchOptions};
use delta::native::{Compression, EncodeOptions};
use delta::region::Content;

use super::{DeltaOptions, LayerReport, Level};
use crate::delta_image::DeltaFormat;

/// The flag of liblzma's presets that looks at more matches.
const EXTREME: u32 = 1 << 31;

/// In a delta of so many bytes mixing has learnt enough to be the smaller coding, …
const MIXING_LEARNS_BYTES: u64 = 64 << 10;

/// … but where there is nothing to be learnt, of bytes that are compressed already.
pub(super) fn has_learnt(report: &LayerReport) -> bool {
    let delta_bytes = report.delta_bytes;
    delta_bytes > MIXING_LEARNS_BYTES && delta_bytes < report.literal_bytes / 10 * 9
}

/// Mixing takes half a microsecond or one for each literal, on both sides. At the default level it is done where at most one byte in so
/// many is one, …
const MIXED_SHARE: u64 = 128;

/// … or where there are no more: that is less than a tenth of a second.
const ALWAYS_MIXED_BYTES: u64 = 80 << 10;

/// Of so many literals instructions of ARM are about as small unmixed, and load in three fifths of the time.
const MANY_LITERAL_BYTES: u64 = 1 << 20;

/// In less memory on the device its tables are too small to be worth it.
const MIN_MEMORY_TO_MIX: u64 = 8 << 20;

/// How the native delta of a layer of `target_bytes` is compressed.
pub(super) fn compression_of(
    options: &DeltaOptions,
    level: Level,
    matched: &Content,
    target_bytes: u64,
) -> Compression {
    let most_mixed = (target_bytes / MIXED_SHARE).max(ALWAYS_MIXED_BYTES);
    let literal_bytes = matched.literal_bytes(target_bytes);
    let is_mixing_quick = literal_bytes <= most_mixed;
    let mixed = |preset| match literal_bytes >= MANY_LITERAL_BYTES {
        true => Compression::MixedButArm { preset },
        false => Compression::Mixed { preset },
    };
    match level {
        level if options.apply_memory_bytes < MIN_MEMORY_TO_MIX => unmixed(level),
        Level::Default if is_mixing_quick => mixed(7),
        Level::Best => mixed(9 | EXTREME),
        level => unmixed(level),
    }
}

/// How native deltas are compressed where time counts.
pub(super) fn unmixed(level: Level) -> Compression {
    match level {
        Level::Fast => Compression::Zstd { level: 9 },
        Level::Default => Compression::Lzma2 { preset: 7 },
        Level::Best => Compression::Lzma2 { preset: 9 | EXTREME },
    }
}

/// How native deltas are written.
pub(super) fn encode_options(options: &DeltaOptions, compression: Compression) -> EncodeOptions {
    EncodeOptions {
        compression,
        memory_bytes: options.apply_memory_bytes,
        // What matching took is free again.
        compress_memory_bytes: options.memory_bytes / 4 * 3,
    }
}

/// What a device needs beside a region at least: a frame, and small windows.
const SMALLEST_REST_BYTES: u64 = 5 << 20;

/// How layers are matched. What is left of the memory pays for the buffers of compression.
pub(super) fn match_options(options: &DeltaOptions, level: Level) -> MatchOptions {
    let aim = match options.format {
        DeltaFormat::Silt => Aim::Differences,
        DeltaFormat::Balena => Aim::ExactRuns,
    };
    let effort = match level {
        Level::Fast => Effort::Fast,
        Level::Default => Effort::Default,
        Level::Best => Effort::Best,
    };
    let memory_bytes = options.memory_bytes / 4 * 3;
    let region_bytes = region_bytes(options);
    let largest_region_bytes = match level {
        // Contexts of zstd leave no room.
        Level::Fast => region_bytes,
        _ if region_bytes == 0 => 0,
        _ => options.apply_memory_bytes.saturating_sub(SMALLEST_REST_BYTES).max(region_bytes),
    };
    MatchOptions { memory_bytes, aim, region_bytes, largest_region_bytes, effort }
}

/// What a region may take of the memory that is promised, as a rule: the rest is for windows and a frame.
pub(super) fn region_bytes(options: &DeltaOptions) -> u64 {
    match options.format {
        DeltaFormat::Silt => options.apply_memory_bytes / 16 * 5,
        DeltaFormat::Balena => 0,
    }
}
