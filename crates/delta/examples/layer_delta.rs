//! Makes a native delta of one layer tar from others, applies it, and says where the bytes went:
//!
//!     cargo run --release --example layer_delta -- TARGET.tar BASE.tar...
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::time::Instant;

use delta::Effort;
use delta::by_file::{Aim, FileIndex, MatchOptions, match_layer};
use delta::exact::{ExactOptions, encode_exact};
use delta::native::{Compression, EncodeOptions, LayerDecoder, Limits, Origin, encode};
use delta::read_at::{Concat, FileBasis, ReadAt};
use std::process::{Command, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = std::env::args().skip(1).map(|path| FileBasis::new(File::open(path)?));
    let target = files.next().ok_or("which TARGET.tar?")??;
    let bases = files.collect::<Result<Vec<_>, _>>()?;
    let bases: Vec<&dyn ReadAt> = bases.iter().map(|base| base as &dyn ReadAt).collect();

    let (aim, region_bytes) = match std::env::var_os("EXACT") {
        Some(_) => (Aim::ExactRuns, 0),
        None => (Aim::Differences, 5 << 20),
    };
    let start = Instant::now();
    let index = FileIndex::build(&bases, &[&target])?;
    println!("index   {:>9.2?}", start.elapsed());
    let matched = match_layer(
        &target,
        &index,
        &MatchOptions {
            memory_bytes: 400 << 20,
            aim,
            region_bytes,
            largest_region_bytes: region_bytes,
            effort: Effort::Default,
        },
    )?;
    println!("match   {:>9.2?}  {} covers", start.elapsed(), matched.covers.len());

    let starts = bases.iter().scan(0, |end, base| {
        *end += base.size();
        Some(*end - base.size())
    });
    let starts: Vec<u64> = starts.collect();
    let basis = Concat::new(bases.clone());
    let exact = ExactOptions::default();
    let (plain, report) =
        encode_exact(&target, &basis, &starts, &matched.covers, &exact, Vec::new())?;
    let mut gzip =
        Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = gzip.stdin.take().ok_or("no gzip")?;
    let writing = std::thread::spawn(move || input.write_all(&plain).map(|()| plain.len()));
    let zipped = gzip.wait_with_output()?.stdout.len();
    let length = writing.join().map_err(|_| "gzip")??;
    println!("exact   {:>9.2?}  {length} bytes, {zipped} by gzip -9, {report:?}", start.elapsed());

    // The first byte of each made-up diffID is the number of the base.
    let mut origins = Vec::new();
    for (number, base) in (0u8..).zip(&bases) {
        let mut diff_id = [0; 32];
        diff_id[0] = number;
        origins.push((Origin::Layer { diff_id, size: base.size() }, *base));
    }
    origins.push((Origin::Itself { diff_id: [0; 32], size: target.size() }, &target));
    let mut delta = Vec::new();
    let compression = match std::env::var("ZSTD") {
        Ok(level) => Compression::Zstd { level: level.parse()? },
        Err(_) => Compression::Lzma2 { preset: 9 },
    };
    let options =
        EncodeOptions { compression, memory_bytes: 16 << 20, compress_memory_bytes: 256 << 20 };
    let report = encode(&target, [0; 32], &origins, &matched, &options, &mut delta)?;
    println!("encode  {:>9.2?}  {report:?}", start.elapsed());

    let limits = Limits { memory_bytes: 16 << 20, output_bytes: u64::MAX };
    let mut decoder = LayerDecoder::new(delta.as_slice(), &limits)?;
    let number = |origin: &Origin| usize::from(origin.diff_id()[0]);
    let bytes = |origin: &Origin| match origin.is_itself() {
        true => &target as &dyn ReadAt,
        false => bases[number(origin)],
    };
    let used: Vec<_> = decoder.needs().origins.iter().map(bytes).collect();
    let mut check = Check { target: &target, at: 0, is_right: true };
    while decoder.next_frame(&used, &mut check)?.is_some() {}
    println!("apply   {:>9.2?}  memory {}", start.elapsed(), decoder.needs().memory_bytes);
    println!("correct {}", check.is_right && check.at == target.size());
    Ok(())
}

/// Compares what is written with the target.
struct Check<'a> {
    target: &'a dyn ReadAt,
    at: u64,
    is_right: bool,
}

impl Write for Check<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut expected = vec![0; bytes.len()];
        self.is_right &= self.target.read_exact_at(&mut expected, self.at).is_ok();
        self.is_right &= expected == bytes;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
