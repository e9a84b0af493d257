//! Compressed streams are read to their true end or not at all.

mod common;

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use common::{COMPRESSIONS, compress, has_tool};
use proptest::prelude::*;
use tarball::compression::open_decoder;
use tarball::{Compression, CompressionError};

const LIMIT: u64 = 64 << 20;

fn decode_with(stored: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_decoder(stored, limit)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(stored: &[u8]) -> io::Result<Vec<u8>> {
    decode_with(stored, LIMIT)
}

fn decode_error(stored: &[u8]) -> CompressionError {
    let error = decode(stored).unwrap_err();
    assert!(CompressionError::of(&error).is_some(), "{error:?}");
    error.downcast().unwrap()
}

/// Text that compresses and still fills several blocks.
fn sample() -> Vec<u8> {
    let lines = (0..20_000u32).map(|i| format!("{i} {}\n", i.wrapping_mul(2_654_435_761)));
    lines.collect::<String>().into_bytes()
}

fn compressed() -> impl Iterator<Item = (Compression, Vec<u8>)> {
    let formats = COMPRESSIONS.into_iter().skip(1);
    formats.map(|format| (format, compress(&sample(), format)))
}

#[test]
fn streams_one_after_the_other_are_one() {
    let sample = sample();
    for (format, stored) in compressed() {
        assert_eq!(Compression::detect(&stored), format);
        assert_eq!(decode(&stored).unwrap(), sample, "{format}");
        let empty = compress(b"", format);
        assert_eq!(decode(&empty).unwrap(), b"", "{format}");
        let several = [&stored[..], &empty, &stored].concat();
        assert_eq!(decode(&several).unwrap(), sample.repeat(2), "{format}");
    }
}

#[test]
fn a_stream_that_is_cut_is_never_taken_for_a_shorter_one() {
    for (format, stored) in compressed() {
        let step = (stored.len() / 150).max(1);
        let near_the_end = stored.len() - 40..stored.len();
        for end in (8..stored.len()).step_by(step).chain(near_the_end) {
            let error = decode_error(&stored[..end]);
            assert!(
                matches!(error, CompressionError::Truncated { .. }),
                "{format} cut at {end}: {error:?}"
            );
        }
    }
}

#[test]
fn what_follows_a_stream_is_noticed() {
    for (format, stored) in compressed() {
        for garbage in [&b"x"[..], b"\0\0\0\0x", b"garbage that is longer than a header"] {
            decode_error(&[&stored[..], garbage].concat());
        }
        let padded = [&stored[..], &[0; 70_000]].concat();
        match format {
            // gzip(1) and xz(1) accept zeros, the latter by fours.
            Compression::Gzip | Compression::Xz => assert_eq!(decode(&padded).unwrap(), sample()),
            _ => drop(decode_error(&padded)),
        }
    }
}

#[test]
fn zstd_frames_may_be_skipped() {
    let frame = compress(b"content", Compression::Zstd);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let stored = [&skippable[..], &frame, &skippable].concat();
    assert_eq!(decode(&stored).unwrap(), b"content");
    let error = decode_error(&stored[..stored.len() - 1]);
    assert!(matches!(error, CompressionError::Truncated { .. }));
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let mut wide = zstd::Encoder::new(Vec::new(), 3).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&sample()).unwrap();
    let wide = wide.finish().unwrap();
    let options = liblzma::stream::LzmaOptions::new_preset(9).unwrap();
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let check = liblzma::stream::Check::Crc64;
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
    let mut xz = Vec::new();
    let mut reader = liblzma::read::XzEncoder::new_stream(&b"small"[..], stream);
    reader.read_to_end(&mut xz).unwrap();
    for (stored, at_least) in [(wide, 128 << 20), (xz, 64 << 20)] {
        let CompressionError::NeedsMemory { needed_bytes, limit_bytes, .. } = decode_error(&stored)
        else {
            panic!("needs memory")
        };
        assert_eq!(limit_bytes, LIMIT);
        assert!((at_least..at_least + (4 << 20)).contains(&needed_bytes), "{needed_bytes}");
        assert!(decode_with(&stored, needed_bytes).is_ok(), "what it asks for is enough");
        assert!(decode_with(&stored, needed_bytes - 1).is_err(), "and less is not");
    }
}

#[test]
fn errors_of_the_source_stay_its_own() {
    struct Failing(Vec<u8>);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.len() {
                0 => Err(io::Error::other("the stick was pulled")),
                left => {
                    let count = left.min(buffer.len());
                    buffer[..count].copy_from_slice(&self.0[..count]);
                    self.0.drain(..count);
                    Ok(count)
                }
            }
        }
    }
    for (format, stored) in compressed() {
        let source = Failing(stored[..stored.len() / 2].to_vec());
        let mut decoder = open_decoder(source, LIMIT).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the stick was pulled", "{format}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_flipped_bit_is_an_error_or_does_not_matter(
        format in 1usize..5, at in any::<prop::sample::Index>(), bit in 0u32..8
    ) {
        let format = COMPRESSIONS[format];
        let content = b"the quick brown fox jumps over the lazy dog, and over the quick brown fox";
        let mut stored = if format == Compression::Zstd {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            compress(content, format)
        };
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        if Compression::detect(&stored) == format && let Ok(bytes) = decode(&stored) {
            prop_assert_eq!(&bytes[..], &content[..]);
        }
    }

    #[test]
    fn noise_never_harms(head in 0usize..5, noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let heads: [&[u8]; 5] =
            [b"", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
        let _ = decode(&[heads[head], &noise].concat());
    }
}

#[test]
fn what_the_tools_write_is_read() {
    for (tool, arguments) in [
        ("gzip", vec!["-9"]),
        ("bzip2", vec!["-9"]),
        ("xz", vec!["-6", "-T2", "--block-size=65536"]),
        ("xz", vec!["--format=xz", "--x86", "--lzma2"]),
        ("zstd", vec!["-q", "-19", "--long=24"]),
        ("zstd", vec!["-q", "-3", "--check"]),
    ] {
        if !has_tool(tool) {
            continue;
        }
        let mut command = Command::new(tool);
        command.args(arguments).arg("-c");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&sample()).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        assert_eq!(decode(&output.stdout).unwrap(), sample(), "{command:?}");
    }
}
