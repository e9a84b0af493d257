//! Mixing: a byte is coded bit by bit, each as likely as several contexts together say.
//!
//! Specified in `docs/formats/silt-mixing.md`. The method is that of Mahoney's
//! [PAQ](https://mattmahoney.net/dc/dce.html#Section_43) family: adaptive probabilities by context, mixed in the
//! logistic domain by weights that learn, then refined, and an arithmetic coder behind. What is ours are the contexts:
//! they know the old bytes that a delta is made against.
//!
//! - `model` predicts and learns, over `slots` (probabilities by context), `repeats` and `refinement`, in vectors of
//!   `lanes`; the same code runs on both sides;
//! - [`Literals`] and [`Differences`]: the contexts of the two streams that are mixed, over `instructions` and [`Tail`];
//! - `arithmetic`: the coder; [`MixedWriter`] and [`MixedReader`]: a stream, frame by frame.

mod arithmetic;
mod contexts;
mod instructions;
mod lanes;
mod logistic;
mod model;
mod refinement;
mod repeats;
mod run;
mod slots;
mod tail;

pub(super) use contexts::{Differences, Literals};
pub(super) use run::{MixedReader, MixedWriter};
pub(in crate::native) use tail::Tail;

/// Contexts of one byte, which have tables of their own.
const DIRECT: usize = 3;
/// Contexts that share a table, by hashes.
const HASHED: usize = 4;
/// Contexts that a byte is predicted from. With what is repeated they fill a vector.
const CONTEXTS: usize = DIRECT + HASHED;

/// Parts of instructions, and of what is no code eight by the byte before.
const PARTS: usize = crate::native::x86_64::PARTS as usize + 8;

/// What a byte is predicted from.
struct Context {
    direct: [u8; DIRECT],
    /// A hash of each other context.
    keys: [u32; HASHED],
    /// Chooses one of the weights, with the bits so far; below [`PARTS`].
    part: u8,
    /// Chooses the other.
    selector: u8,
    /// Chooses what refines the prediction; below 8.
    refinement: u8,
}

/// What a model takes beside its table and its repeats: weights, refinements, tables of contexts.
const FIXED_BYTES: u64 = 800 << 10;

/// Memory that a model takes whose table has `2^log` bytes.
pub(super) fn memory_bytes(log: u8) -> u64 {
    (1 << log) + repeats::Repeats::memory_bytes(log) + FIXED_BYTES
}

/// Spreads two numbers over 32 bits.
fn hash(a: u32, b: u32) -> u32 {
    let x = (a.wrapping_mul(0x9e37_79b1) ^ b).wrapping_mul(0x85eb_ca6b);
    x ^ (x >> 15)
}

/// Moves a probability of 65,536 a 64th of the way.
fn nudged(probability: u16, is_towards_one: bool) -> u16 {
    match is_towards_one {
        true => probability + ((u16::MAX - probability) >> 6),
        false => probability - (probability >> 6),
    }
}

/// The low 16 bits of a number, with a sign.
fn low_16(x: i32) -> i16 {
    let [a, b, ..] = x.to_le_bytes();
    i16::from_le_bytes([a, b])
}

/// The low 16 bits of a number.
fn low_u16(x: u32) -> u16 {
    let [a, b, ..] = x.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn low_byte(x: u32) -> u8 {
    x.to_le_bytes()[0]
}
