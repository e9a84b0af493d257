//! References in x86-64 code, found by opcode patterns.
//!
//! No instruction stream is followed: at every byte the bytes from there on are compared with
//! patterns, and what they would refer to must be there. That needs no table of all instructions,
//! falls into no step that it could lose, and gives the same sites wherever it starts.

use super::segments::Segments;
use super::site::{Form, Kind, Meaning, Site, sign_extend};

/// Code around a place that is looked at.
pub(super) struct Code<'a> {
    /// The bytes from the place on, to the end of the code or of what may be read.
    pub(super) bytes: &'a [u8],
    /// Up to three bytes before it.
    pub(super) before: &'a [u8],
    /// Offset of the place in the file.
    pub(super) at: u64,
    /// Its address.
    pub(super) address: u64,
}

/// The references of an instruction that may start, but for its prefixes, at a place.
pub(super) type Found = [Option<Site>; 2];

/// Addresses below this are taken for numbers where code holds them whole.
const MIN_ABSOLUTE: u64 = 0x10000;

const NONE: Found = [None, None];

/// Whether there is any use in [`find`] where an opcode and the byte after it stand: by far most bytes are told apart by
/// this alone.
pub(super) fn may_refer(opcode: u8, modrm: u8, is_fixed: bool) -> bool {
    WANTED[usize::from(is_fixed)][usize::from(opcode)] & SHAPES[usize::from(modrm)] != 0
}

/// Shapes of a ModRM byte that can be told from it: all, of operands of which one is at a distance from the
/// instruction, and of those that may have four bytes of displacement otherwise.
const ANY: u8 = 1;
const DISTANCE: u8 = 2;
const DISPLACEMENT: u8 = 4;

static SHAPES: [u8; 256] = shapes();

const fn shapes() -> [u8; 256] {
    let mut shapes = [ANY; 256];
    let mut modrm = 0;
    while modrm < 256 {
        shapes[modrm] |= match modrm & 0xc7 {
            5 => DISTANCE,
            4 | 0x80..=0x87 => DISPLACEMENT,
            _ => 0,
        };
        modrm += 1;
    }
    shapes
}

/// By whether code is fixed, and by opcode: the shapes of what may have references.
static WANTED: [[u8; 256]; 2] = [wanted(false), wanted(true)];

const fn wanted(is_fixed: bool) -> [u8; 256] {
    let mut wanted = [0; 256];
    let mut opcode = 0;
    while opcode < 256 {
        wanted[opcode] = match (classes()[opcode], opcode) {
            (Class::None, _) => 0,
            (Class::Branch | Class::Escape | Class::Vex2 | Class::Vex3 | Class::Evex, _) => ANY,
            (Class::Immediate, _) => is_fixed as u8 * ANY,
            // These have four bytes of a number after any operands.
            (Class::Operands, 0x69 | 0x81 | 0xc7 | 0xf7) if is_fixed => ANY,
            (Class::Operands, _) if is_fixed => DISTANCE | DISPLACEMENT,
            (Class::Operands, _) => DISTANCE,
        };
        opcode += 1;
    }
    wanted
}

/// Whether a ModRM byte is of operands of which one is at a distance from the instruction.
fn has_distance(modrm: u8) -> bool {
    modrm & 0xc7 == 5
}

/// Finds the references of what may be an instruction.
pub(super) fn find(code: &Code<'_>, segments: &Segments, is_fixed: bool) -> Found {
    let opcode = *code.bytes.first().unwrap_or(&0);
    match CLASSES[usize::from(opcode)] {
        Class::None => NONE,
        Class::Branch => {
            let kind = if opcode == 0xe8 { Kind::Call } else { Kind::Jump };
            [branch(code, 1, kind, segments), None]
        }
        Class::Escape => escaped(code, segments, is_fixed),
        Class::Vex2 => operands(code, 3, 0, segments, is_fixed),
        Class::Vex3 => {
            let has_immediate = code.bytes.get(1).is_some_and(|byte| byte & 0x1f == 3);
            operands(code, 4, has_immediate.into(), segments, is_fixed)
        }
        Class::Evex => {
            let has_immediate = code.bytes.get(1).is_some_and(|byte| byte & 0x07 == 3);
            operands(code, 5, has_immediate.into(), segments, is_fixed)
        }
        Class::Immediate if is_fixed => [absolute(code, 1, segments), None],
        Class::Immediate => NONE,
        Class::Operands => operands(code, 1, immediate_bytes(code), segments, is_fixed),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    None,
    /// Followed by the distance of a target.
    Branch,
    /// Followed by a four-byte number.
    Immediate,
    /// Followed by a ModRM byte.
    Operands,
    Escape,
    Vex2,
    Vex3,
    Evex,
}

static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::None; 256];
    let mut i = 0;
    while i < 256 {
        classes[i] = match i {
            0x0f => Class::Escape,
            0x62 => Class::Evex,
            0xc4 => Class::Vex3,
            0xc5 => Class::Vex2,
            0xe8 | 0xe9 => Class::Branch,
            // Arithmetic of the accumulator with a number, push, mov of a number to a register.
            0x00..=0x3f if i & 7 == 5 => Class::Immediate,
            0x68 | 0xa9 | 0xb8..=0xbf => Class::Immediate,
            0x00..=0x3f if i & 7 < 4 => Class::Operands,
            0x63 | 0x69 | 0x6b | 0x80 | 0x81 | 0x83..=0x8f => Class::Operands,
            0xc0 | 0xc1 | 0xc6 | 0xc7 | 0xd0..=0xd3 | 0xd8..=0xdf => Class::Operands,
            0xf6 | 0xf7 | 0xfe | 0xff => Class::Operands,
            _ => Class::None,
        };
        i += 1;
    }
    classes
}

/// Bytes of the number after the operands of a one-byte opcode.
fn immediate_bytes(code: &Code<'_>) -> u8 {
    let register = code.bytes.get(1).map_or(0, |byte| byte >> 3 & 7);
    match code.bytes.first() {
        Some(0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6) => 1,
        Some(0xf6) if register < 2 => 1,
        Some(0xf7) if register >= 2 => 0,
        Some(0x69 | 0x81 | 0xc7 | 0xf7) if is_sixteen_bit(code.before) => 2,
        Some(0x69 | 0x81 | 0xc7 | 0xf7) => 4,
        _ => 0,
    }
}

/// Whether an operand-size prefix stands before the opcode, a REX prefix between them or not.
fn is_sixteen_bit(before: &[u8]) -> bool {
    matches!(before, [.., 0x66] | [.., 0x66, 0x40..=0x4f])
}

/// What follows the byte 0F.
fn escaped(code: &Code<'_>, segments: &Segments, is_fixed: bool) -> Found {
    let Some(&opcode) = code.bytes.get(1) else { return NONE };
    match opcode {
        0x80..=0x8f => [branch(code, 2, Kind::Jump, segments), None],
        0x38 => operands(code, 3, 0, segments, is_fixed),
        0x3a => operands(code, 3, 1, segments, is_fixed),
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => {
            operands(code, 2, 1, segments, is_fixed)
        }
        _ => operands(code, 2, 0, segments, is_fixed),
    }
}

fn number_at(code: &Code<'_>, at: usize) -> Option<u64> {
    let bytes = code.bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes).into())
}

fn branch(code: &Code<'_>, at: usize, kind: Kind, segments: &Segments) -> Option<Site> {
    let distance = sign_extend(number_at(code, at)?, 32);
    let place = code.address.wrapping_add(at as u64);
    let target = place.wrapping_add(4).wrapping_add(distance);
    let meaning = Meaning::Relative { target, bias: 4 };
    let site = Site { at: code.at + at as u64, form: Form::Signed32, kind, meaning };
    segments.is_code(target).then_some(site)
}

fn absolute(code: &Code<'_>, at: usize, segments: &Segments) -> Option<Site> {
    let target = number_at(code, at)?;
    let meaning = Meaning::Absolute { target };
    let (form, kind) = (Form::Unsigned32, Kind::CodeData);
    let site = Site { at: code.at + at as u64, form, kind, meaning };
    (target > MIN_ABSOLUTE && segments.is_mapped(target)).then_some(site)
}

/// Sites among the operands whose ModRM byte is at `at`, a number of `immediate` bytes after them.
fn operands(
    code: &Code<'_>,
    at: usize,
    immediate: u8,
    segments: &Segments,
    is_fixed: bool,
) -> Found {
    let Some(&modrm) = code.bytes.get(at) else { return NONE };
    if has_distance(modrm) {
        let relative = relative_data(code, at + 1, immediate, segments);
        let number = (is_fixed && immediate == 4).then(|| absolute(code, at + 5, segments));
        return [relative, number.flatten()];
    }
    if !is_fixed {
        return NONE;
    }
    let has_index = modrm & 7 == 4 && modrm < 0xc0;
    let displacement_at = at + 1 + usize::from(has_index);
    let has_no_base = has_index && code.bytes.get(at + 1).is_some_and(|byte| byte & 7 == 5);
    let displacement_bytes = match modrm >> 6 {
        0 if has_no_base => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    let displacement = (displacement_bytes == 4).then(|| absolute(code, displacement_at, segments));
    let number_at = displacement_at + displacement_bytes;
    let number = (immediate == 4).then(|| absolute(code, number_at, segments));
    [displacement.flatten(), number.flatten()]
}

/// Data whose distance is counted from the end of the instruction.
fn relative_data(code: &Code<'_>, at: usize, immediate: u8, segments: &Segments) -> Option<Site> {
    let distance = sign_extend(number_at(code, at)?, 32);
    let bias = 4 + u64::from(immediate);
    let place = code.address.wrapping_add(at as u64);
    let target = place.wrapping_add(bias).wrapping_add(distance);
    let meaning = Meaning::Relative { target, bias };
    let (form, kind) = (Form::Signed32, Kind::CodeData);
    let site = Site { at: code.at + at as u64, form, kind, meaning };
    segments.is_mapped(target).then_some(site)
}

#[cfg(test)]
mod tests {
    use super::super::segments::Segment;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_has_references_is_never_passed_over(
            bytes in prop::array::uniform12(any::<u8>()),
            before in prop::array::uniform3(any::<u8>()),
            is_fixed: bool,
        ) {
            let everywhere = Segment { memory_bytes: u64::MAX, file_bytes: u64::MAX, is_code: true, ..Segment::default() };
            let segments = Segments(vec![everywhere]);
            let code = Code { bytes: &bytes, before: &before, at: 0, address: 1 << 32 };
            if find(&code, &segments, is_fixed).iter().any(Option::is_some) {
                prop_assert!(may_refer(bytes[0], bytes[1], is_fixed));
            }
        }
    }
}
