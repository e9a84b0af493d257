//! Where in an instruction of x86-64 a byte is, which says much of what it can be.
//!
//! Lengths alone are followed: whether there is a ModRM byte, a SIB byte, a displacement and an immediate. Begun in the
//! middle of an instruction this finds the beginning of one within a few, as disassemblers do. What is no code
//! shows by opcodes that code hardly has.

use super::hash;
use super::opcodes::{Immediate, Map, Shape, is_strange};
use super::tail::Tail;

/// Parts of an instruction that are told apart.
pub(super) const PARTS: u8 = 24;

/// The first byte, or after a REX prefix, or after others.
const BEGIN: u8 = 0;
const AFTER_REX: u8 = 1;
const AFTER_PREFIX: u8 = 2;
/// The opcode after `0f`, and after `0f 38` and `0f 3a`.
const OPCODE: u8 = 3;
const LONG_OPCODE: u8 = 4;
const MODRM: u8 = 5;
const SIB: u8 = 6;
/// What follows on `c4`, `c5` and `62`.
const VECTOR_PREFIX: u8 = 7;
/// A displacement of one byte, or the first of four, and from there on.
const DISPLACEMENT_8: u8 = 8;
const DISPLACEMENT_32: u8 = 9;
/// An immediate of one byte, or the first of two, or of more.
const IMMEDIATE_8: u8 = 13;
const IMMEDIATE_16: u8 = 14;
const IMMEDIATE: u8 = 16;

/// Parts that are alike: beginning, after prefixes, opcodes, ModRM, SIB, then the first bytes of numbers, those in the middle
/// and the last.
const KINDS: [u8; PARTS as usize] =
    [0, 1, 1, 2, 2, 3, 4, 2, 5, 5, 6, 6, 7, 5, 5, 6, 5, 6, 6, 7, 7, 7, 7, 7];

/// An instruction, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Instruction {
    /// The part that comes next.
    part: u8,
    /// Its bytes so far without SIB, displacement and immediate, the last four.
    head: u32,
    /// That of the instruction before it.
    last_head: u32,
    /// Opcodes of the two instructions before it, their last bytes, the last one low.
    opcodes: u16,
    /// Whether that is one that code hardly has.
    was_strange: bool,
    map: Map,
    opcode: u8,
    modrm: u8,
    is_short: bool,
    is_long: bool,
    /// Bytes of a vector prefix that are still to come, and of the numbers.
    prefix_left: u8,
    displacement_left: u8,
    immediate_left: u8,
}

impl Instruction {
    /// What comes after these bytes, as if an instruction began with the first.
    pub(super) fn after(tail: &Tail) -> Self {
        let mut instruction = Self::default();
        tail.bytes().iter().for_each(|byte| instruction.push(*byte));
        instruction
    }

    /// The part that comes next, below [`PARTS`].
    pub(super) fn part(&self) -> u8 {
        self.part
    }

    /// Its kind, below 8.
    pub(super) fn kind(&self) -> u8 {
        KINDS[usize::from(self.part)]
    }

    /// The instruction so far, or the one before where none has begun.
    pub(super) fn as_it_is(&self) -> u32 {
        let head = if self.part == BEGIN { self.last_head } else { self.head };
        hash(head, self.part.into())
    }

    /// The instruction so far after two others.
    pub(super) fn in_order(&self) -> u32 {
        hash(self.head, u32::from(self.part) | u32::from(self.opcodes) << 8)
    }

    /// Whether an instruction ends here, and if so whether it is one that code hardly has.
    pub(super) fn ended(&self) -> Option<bool> {
        (self.part == BEGIN).then_some(self.was_strange)
    }

    /// Takes in the next byte.
    pub(super) fn push(&mut self, byte: u8) {
        if self.part <= MODRM || self.part == VECTOR_PREFIX {
            self.head = self.head << 8 | u32::from(byte);
        }
        match self.part {
            BEGIN..=AFTER_PREFIX => self.begin(byte),
            OPCODE => match byte {
                0x38 => self.expect_opcode(Map::Long38),
                0x3a => self.expect_opcode(Map::Long3a),
                _ => self.opcode(byte),
            },
            LONG_OPCODE => self.opcode(byte),
            MODRM => self.modrm(byte),
            SIB => {
                if self.modrm >> 6 == 0 && byte & 7 == 5 {
                    self.displacement_left = 4;
                }
                self.numbers();
            }
            VECTOR_PREFIX => self.vector_prefix(byte),
            _ => self.number(),
        }
    }

    fn begin(&mut self, byte: u8) {
        match byte {
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 => {
                self.is_short |= byte == 0x66;
                self.part = AFTER_PREFIX;
            }
            0x40..=0x4f => {
                self.is_long = byte & 8 != 0;
                self.part = AFTER_REX;
            }
            0x0f => self.expect_opcode(Map::Two),
            0x62 => self.expect_vector_prefix(3),
            0xc4 => self.expect_vector_prefix(2),
            0xc5 => self.expect_vector_prefix(1),
            _ => self.opcode(byte),
        }
    }

    fn expect_opcode(&mut self, map: Map) {
        self.map = map;
        self.part = if map == Map::Two { OPCODE } else { LONG_OPCODE };
    }

    fn expect_vector_prefix(&mut self, bytes: u8) {
        self.map = Map::One;
        self.prefix_left = bytes;
        self.part = VECTOR_PREFIX;
    }

    /// The first byte of a long vector prefix names the opcodes; the short one always has those of `0f`.
    fn vector_prefix(&mut self, byte: u8) {
        if self.map == Map::One {
            self.map = match byte & 3 {
                2 if self.prefix_left > 1 => Map::Long38,
                3 if self.prefix_left > 1 => Map::Long3a,
                _ => Map::Two,
            };
        }
        self.prefix_left -= 1;
        if self.prefix_left == 0 {
            self.expect_opcode(self.map);
        }
    }

    fn opcode(&mut self, byte: u8) {
        self.opcode = byte;
        let Shape { has_modrm, immediate } = Shape::of(self.map, byte);
        self.immediate_left = self.bytes_of(immediate);
        if has_modrm {
            self.part = MODRM;
        } else {
            self.numbers();
        }
    }

    fn bytes_of(&self, immediate: Immediate) -> u8 {
        match immediate {
            Immediate::Bytes(bytes) => bytes,
            Immediate::LongWord if self.is_long => 8,
            _ if self.is_short => 2,
            _ => 4,
        }
    }

    fn modrm(&mut self, byte: u8) {
        self.modrm = byte;
        let (mode, memory) = (byte >> 6, byte & 7);
        // Of these opcodes only the first two operations have an immediate.
        if self.map == Map::One && byte & 0x38 <= 8 {
            match self.opcode {
                0xf6 => self.immediate_left = 1,
                0xf7 => self.immediate_left = self.bytes_of(Immediate::Word),
                _ => {}
            }
        }
        self.displacement_left = match mode {
            0 if memory == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        if mode != 3 && memory == 4 {
            self.part = SIB;
        } else {
            self.numbers();
        }
    }

    /// Goes on to the displacement, to the immediate, or to the next instruction.
    fn numbers(&mut self) {
        self.part = match (self.displacement_left, self.immediate_left) {
            (0, 0) => return self.end(),
            (1, _) => DISPLACEMENT_8,
            (2.., _) => DISPLACEMENT_32,
            (0, 1) => IMMEDIATE_8,
            (0, 2) => IMMEDIATE_16,
            (0, _) => IMMEDIATE,
        };
    }

    fn number(&mut self) {
        let left = match self.displacement_left {
            0 => &mut self.immediate_left,
            _ => &mut self.displacement_left,
        };
        *left -= 1;
        match left {
            0 => self.numbers(),
            _ => self.part += 1,
        }
    }

    fn end(&mut self) {
        *self = Self {
            last_head: self.head,
            opcodes: self.opcodes << 8 | u16::from(self.opcode),
            was_strange: is_strange(self.map, self.opcode),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::low_byte;
    use super::*;

    /// The parts of some bytes.
    fn parts(bytes: &[u8]) -> Vec<u8> {
        let mut instruction = Instruction::default();
        let part_before = |byte: &u8| {
            let part = instruction.part();
            instruction.push(*byte);
            part
        };
        bytes.iter().map(part_before).collect()
    }

    #[test]
    fn instructions_end_where_the_next_ones_begin() {
        let instructions: [(&[u8], &[u8]); 14] = [
            // push rbp; mov rbp, rsp
            (&[0x55], &[0]),
            (&[0x48, 0x89, 0xe5], &[0, 1, 5]),
            // mov eax, [rsp+8]; lea rax, [rip+n]; mov [rax*4+n], 5
            (&[0x8b, 0x44, 0x24, 8], &[0, 5, 6, 8]),
            (&[0x48, 0x8d, 5, 1, 2, 3, 4], &[0, 1, 5, 9, 10, 11, 12]),
            (&[0xc7, 4, 0x85, 1, 2, 3, 4, 5, 0, 0, 0], &[0, 5, 6, 9, 10, 11, 12, 16, 17, 18, 19]),
            // mov ax, n; movabs rax, n; test bl, n; not bl
            (&[0x66, 0xb8, 1, 2], &[0, 2, 14, 15]),
            (&[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], &[0, 1, 16, 17, 18, 19, 20, 21, 22, 23]),
            (&[0xf6, 0xc3, 1], &[0, 5, 13]),
            (&[0xf6, 0xd3], &[0, 5]),
            // je n; pshufb xmm0, xmm1; palignr xmm0, xmm1, n
            (&[0x0f, 0x84, 1, 2, 3, 4], &[0, 3, 16, 17, 18, 19]),
            (&[0x66, 0x0f, 0x38, 0, 0xc1], &[0, 2, 3, 4, 5]),
            (&[0x66, 0x0f, 0x3a, 0x0f, 0xc1, 4], &[0, 2, 3, 4, 5, 13]),
            // vzeroupper; vpshufb ymm0, ymm1, ymm2
            (&[0xc5, 0xf8, 0x77], &[0, 7, 3]),
            (&[0xc4, 0xe2, 0x75, 0, 0xc2], &[0, 7, 7, 4, 5]),
        ];
        for (bytes, expected) in instructions {
            assert_eq!(parts(bytes), expected, "{bytes:x?}");
        }
        let (bytes, expected): (Vec<_>, Vec<_>) = instructions.into_iter().unzip();
        assert_eq!(parts(&bytes.concat()), expected.concat());
    }

    #[test]
    fn any_bytes_have_parts() {
        let mut instruction = Instruction::default();
        for i in 0..1u32 << 16 {
            instruction.push(low_byte(hash(i, 1)));
            assert!(instruction.part() < PARTS && instruction.kind() < 8);
        }
    }
}
