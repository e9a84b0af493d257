//! Predicts references of pairs of executables, checks every file, and says what the streams come to:
//!
//!     cargo run --release --example references -- DIR
//!
//! `DIR` holds `0.old`, `0.new`, `1.old` and so on.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use delta::Effort;
use delta::byte_match::{ByteCover, match_bytes};
use delta::read_at::ReadError;
use delta::references::{Group, Plan, Prediction, Predictor, RegionCover, Residuals, plan};

#[derive(Default)]
struct Streams {
    control: [Vec<u8>; 2],
    literals: Vec<u8>,
    gaps: Vec<u8>,
    differences: Vec<u8>,
    residual_gaps: [Vec<u8>; 6],
    residuals: [Vec<u8>; 6],
    parameters: Vec<u8>,
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

impl Streams {
    fn say_covers(&mut self, new: &[u8], covers: &[ByteCover]) {
        let (mut new_end, mut old_end) = (0, 0);
        for cover in covers {
            self.literals.extend(&new[new_end..cover.new]);
            put(&mut self.control[0], (cover.new - new_end) as u64);
            put(&mut self.control[0], cover.length as u64);
            let diagonal = old_end + (cover.new - new_end);
            let step = (cover.old as u64).wrapping_sub(diagonal as u64);
            put(&mut self.control[1], zigzag(step.cast_signed()));
            (new_end, old_end) = (cover.new + cover.length, cover.old + cover.length);
        }
        self.literals.extend(&new[new_end..]);
    }

    fn say_differences(&mut self, old: &[u8], new: &[u8], equal: &mut u64) {
        for (old, new) in old.iter().zip(new) {
            if old == new {
                *equal += 1;
                continue;
            }
            put(&mut self.gaps, std::mem::take(equal));
            self.differences.push(new.wrapping_sub(*old));
        }
    }

    fn report(&self, title: &str) -> Result<(), Box<dyn Error>> {
        let groups: Vec<usize> = (0..6)
            .map(|i| Ok::<_, std::io::Error>(xz(&self.residual_gaps[i])? + xz(&self.residuals[i])?))
            .collect::<Result<_, _>>()?;
        let control = [xz(&self.control[0])?, xz(&self.control[1])?];
        let literals = xz(&self.literals)?;
        let differences = [xz(&self.gaps)?, xz(&self.differences)?];
        let parameters = xz(&self.parameters)?;
        let total = groups.iter().chain(&control).chain(&differences).sum::<usize>()
            + literals
            + parameters;
        println!(
            "{title}: {total} = control {control:?} literals {literals} (raw {}) differences \
             {differences:?} residuals {groups:?} parameters {parameters}",
            self.literals.len()
        );
        Ok(())
    }
}

fn xz(bytes: &[u8]) -> std::io::Result<usize> {
    let mut child = Command::new("xz")
        .args(["-9ec", "-T1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().expect("a pipe was asked for");
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let length = child.wait_with_output()?.stdout.len();
    writing.join().expect("the writer does not panic")?;
    Ok(length)
}

struct Truth<'a> {
    new: &'a [u8],
    streams: &'a mut Streams,
    hits: [u64; 6],
    said: Vec<i64>,
    counts: [[usize; 2]; 6],
}

impl Residuals for Truth<'_> {
    type Error = ReadError;
    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        let at = usize::try_from(prediction.place).expect("a place in a slice");
        let mut bytes = [0; 8];
        let width = usize::from(prediction.width);
        bytes[..width].copy_from_slice(&self.new[at..at + width]);
        let actual = u64::from_le_bytes(bytes);
        let residual = prediction.residual(actual);
        let group = prediction.group as usize;
        self.counts[group][0] += 1;
        self.said.push(residual);
        if residual == 0 {
            self.hits[group] += 1;
        } else {
            self.counts[group][1] += 1;
            put(&mut self.streams.residual_gaps[group], std::mem::take(&mut self.hits[group]));
            put(&mut self.streams.residuals[group], zigzag(residual));
        }
        Ok(actual)
    }
}

struct Said(std::vec::IntoIter<i64>);

impl Residuals for Said {
    type Error = ReadError;
    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        Ok(prediction.actual(self.0.next().expect("as many as were said")))
    }
}

fn predictor(plan: &Plan, old: &[u8], new: &[u8]) -> Result<Predictor, Box<dyn Error>> {
    let cover = |cover: &ByteCover| {
        Ok::<_, std::num::TryFromIntError>(RegionCover {
            target: cover.new.try_into()?,
            old: cover.old.try_into()?,
            length: cover.length.try_into()?,
        })
    };
    let covers = plan.covers.iter().map(cover).collect::<Result<Vec<_>, _>>()?;
    let range = 0..old.len() as u64;
    let (machine, parameters) = (plan.machine, &plan.parameters);
    Ok(Predictor::new(machine, &old, range, parameters, covers, new.len() as u64)?)
}

/// What a predictor may take.
const MEMORY_BYTES: u64 = 5 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("which DIR?")?;
    let only: Vec<usize> = std::env::args().skip(2).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let (mut plain, mut predicted) = (Streams::default(), Streams::default());
    let [mut matching, mut planning, mut encoding, mut decoding] = [Duration::ZERO; 4];
    let (mut files, mut regions, mut bytes, mut most) = (0, 0, 0, 0);
    let mut counts = [[0; 2]; 6];
    for number in 0.. {
        let path = |kind| Path::new(&directory).join(format!("{number}.{kind}"));
        let (Ok(old), Ok(new)) = (std::fs::read(path("old")), std::fs::read(path("new"))) else {
            break;
        };
        if !only.is_empty() && !only.contains(&number) {
            continue;
        }
        let start = Instant::now();
        let covers = match_bytes(&old, &new, Effort::Default).ok_or("too long")?;
        matching += start.elapsed();
        plain.say_covers(&new, &covers);
        let mut equal = 0;
        for cover in &covers {
            let old = &old[cover.old..cover.old + cover.length];
            plain.say_differences(old, &new[cover.new..cover.new + cover.length], &mut equal);
        }
        let start = Instant::now();
        let plan = plan(&old, &new, MEMORY_BYTES, Effort::Default);
        planning += start.elapsed();
        files += 1;
        bytes += new.len();
        let Some(plan) = plan else {
            predicted.say_covers(&new, &covers);
            let mut equal = 0;
            for cover in &covers {
                let old = &old[cover.old..cover.old + cover.length];
                predicted.say_differences(
                    old,
                    &new[cover.new..cover.new + cover.length],
                    &mut equal,
                );
            }
            continue;
        };
        regions += 1;
        predicted.parameters.extend(&plan.parameters);
        predicted.say_covers(&new, &plan.covers);
        most = most.max(Predictor::memory_bytes(new.len() as u64, plan.covers.len() as u64));

        let start = Instant::now();
        let mut encoder = predictor(&plan, &old, &new)?;
        let mut truth =
            Truth { new: &new, streams: &mut predicted, hits: [0; 6], said: Vec::new(), counts };
        let (mut out, mut differences, mut equal) = (Vec::new(), Vec::new(), 0);
        while let Some(piece) = encoder.next_piece(&old, &mut truth, &mut out)? {
            let new = &new[usize::try_from(piece.target)?..][..out.len()];
            differences.extend(new.iter().zip(&out).map(|(new, old)| new.wrapping_sub(*old)));
            truth.streams.say_differences(&out, new, &mut equal);
        }
        encoding += start.elapsed();
        let said = Said(std::mem::take(&mut truth.said).into_iter());
        counts = truth.counts;

        let start = Instant::now();
        let mut decoder = predictor(&plan, &old, &new)?;
        let (mut made, mut said, mut at) = (Vec::with_capacity(new.len()), said, 0);
        while let Some(piece) = decoder.next_piece(&old, &mut said, &mut out)? {
            made.extend(&new[made.len()..usize::try_from(piece.target)?]);
            made.extend(out.iter().zip(&differences[at..]).map(|(a, b)| a.wrapping_add(*b)));
            at += out.len();
        }
        made.extend(&new[made.len()..]);
        decoding += start.elapsed();
        assert!(made == new, "file {number} is not made right");
        assert!(said.0.next().is_none(), "file {number} has residuals left");
    }
    println!(
        "{files} files, {regions} predicted, {bytes} bytes; matching {matching:.2?} planning \
         {planning:.2?} encoding {encoding:.2?} decoding {decoding:.2?}; most memory {most}"
    );
    for (group, counts) in Group::ALL.iter().zip(counts) {
        println!("  {group:?}: {} sites, {} wrong", counts[0], counts[1]);
    }
    plain.report("plain")?;
    predicted.report("predicted")
}
