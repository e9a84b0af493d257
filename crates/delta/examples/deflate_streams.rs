//! Takes the gzip files whose names are on the standard input apart and makes them again:
//!
//!     find /usr/share -name '*.gz' | cargo run --release --example deflate_streams
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::time::Instant;

use delta::deflate::{AnalyseLimits, Expected, analyse, recreate};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut files, mut refused, mut compressed, mut corrected, mut plain) = (0, 0, 0, 0, 0);
    let (mut analysing, mut recreating) = (0.0, 0.0);
    let limits = AnalyseLimits { plain_bytes: 64 << 20 };
    for line in std::io::stdin().lines() {
        let name = line?;
        let bytes = std::fs::read(&name)?;
        let Some(start) = gzip_start(&bytes) else { continue };
        let begun = Instant::now();
        let Some(analysed) = analyse(&bytes[start..], &limits) else {
            println!("refused {name} {}", bytes.len());
            refused += 1;
            continue;
        };
        analysing += begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let length = analysed.compressed_bytes as u64;
        let expected = Expected::of_length(length);
        recreate(&analysed.plain, &analysed.corrections, &expected, &mut std::io::sink())?;
        recreating += begun.elapsed().as_secs_f64();
        files += 1;
        compressed += analysed.compressed_bytes;
        corrected += analysed.corrections.len();
        plain += analysed.plain.len();
        if analysed.corrections.len() > 3 {
            let head = &analysed.corrections[..analysed.corrections.len().min(24)];
            println!("{:>8} of {length:>8} {head:02x?} {name}", analysed.corrections.len());
        }
    }
    println!(
        "{files} files: {compressed} bytes compressed, {plain} plain, {corrected} corrections"
    );
    println!("{refused} refused, analysing {analysing:.2} s, recreating {recreating:.2} s");
    Ok(())
}

fn gzip_start(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let flags = bytes[3];
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += bytes[at..].iter().position(|byte| *byte == 0)? + 1;
        }
    }
    Some(if flags & 2 != 0 { at + 2 } else { at })
}
