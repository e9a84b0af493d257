//! Where in an instruction a byte is: lengths alone are followed, whether there is a ModRM byte, a SIB byte, a displacement and
//! an immediate. Begun in the middle of an instruction this finds the beginning of one within a few, as disassemblers do.

use super::opcodes::{Immediate, Map, Shape};

/// Parts of an instruction that are told apart.
pub(in crate::native) const PARTS: u8 = 24;

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

/// An instruction, as far as its layout is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(in crate::native) struct Layout {
    /// The part that comes next.
    part: u8,
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

/// An operand of four bytes that says where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::native) enum Operand {
    /// Of `e8` and `e9`.
    Call,
    /// Of `0f 80` to `0f 8f`.
    Jump,
    /// Of a ModRM byte: it counts from the instruction's end, so many bytes after the operand.
    Place { after: u8 },
}

impl Layout {
    /// The part that comes next, below [`PARTS`].
    pub(in crate::native) fn part(&self) -> u8 {
        self.part
    }

    /// Whether the next byte begins an instruction.
    pub(in crate::native) fn is_at_begin(&self) -> bool {
        self.part == BEGIN
    }

    /// Whether the next byte is no SIB byte, and of no displacement or immediate.
    pub(in crate::native) fn is_in_head(&self) -> bool {
        self.part <= MODRM || self.part == VECTOR_PREFIX
    }

    /// The opcode, once it is known, until the next instruction begins.
    pub(in crate::native) fn opcode(&self) -> (Map, u8) {
        (self.map, self.opcode)
    }

    /// The operand that comes next, if one does.
    pub(in crate::native) fn operand(&self) -> Option<Operand> {
        match (self.part, self.map, self.opcode) {
            (DISPLACEMENT_32, ..) if self.modrm & 0xc7 == 5 => {
                Some(Operand::Place { after: self.immediate_left })
            }
            (IMMEDIATE, Map::One, 0xe8 | 0xe9) => Some(Operand::Call),
            (IMMEDIATE, Map::Two, 0x80..=0x8f) => Some(Operand::Jump),
            _ => None,
        }
    }

    /// The same without what says nothing of the bytes to come and of their operands.
    pub(super) fn reduced(&self) -> Self {
        let Self { part, prefix_left, displacement_left, immediate_left, .. } = *self;
        let reduced =
            Self { part, prefix_left, displacement_left, immediate_left, ..Self::default() };
        match (part, self.operand()) {
            (_, Some(Operand::Call)) => Self { opcode: 0xe8, ..reduced },
            (_, Some(Operand::Jump)) => Self { map: Map::Two, opcode: 0x80, ..reduced },
            (_, Some(Operand::Place { .. })) => Self { modrm: 5, ..reduced },
            (AFTER_REX..=LONG_OPCODE | VECTOR_PREFIX, None) => {
                Self { map: self.map, is_short: self.is_short, is_long: self.is_long, ..reduced }
            }
            (MODRM, None) if self.map == Map::One && matches!(self.opcode, 0xf6 | 0xf7) => {
                Self { opcode: self.opcode, is_short: self.is_short, ..reduced }
            }
            (SIB, None) => Self { modrm: self.modrm & 0xc0, ..reduced },
            _ => reduced,
        }
    }

    /// Takes in the next byte.
    pub(in crate::native) fn push(&mut self, byte: u8) {
        match self.part {
            BEGIN => {
                *self = Self::default();
                self.begin(byte);
            }
            AFTER_REX | AFTER_PREFIX => self.begin(byte),
            OPCODE => match byte {
                0x38 => self.expect_opcode(Map::Long38),
                0x3a => self.expect_opcode(Map::Long3a),
                _ => self.take_opcode(byte),
            },
            LONG_OPCODE => self.take_opcode(byte),
            MODRM => self.take_modrm(byte),
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
            _ => self.take_opcode(byte),
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

    fn take_opcode(&mut self, byte: u8) {
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

    fn take_modrm(&mut self, byte: u8) {
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
            (0, 0) => BEGIN,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of some bytes.
    fn parts(bytes: &[u8]) -> Vec<u8> {
        let mut layout = Layout::default();
        let part_before = |byte: &u8| {
            let part = layout.part();
            layout.push(*byte);
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
        let mut layout = Layout::default();
        for i in 0..1u32 << 16 {
            layout.push((i.wrapping_mul(0x9e37_79b1) >> 24).to_le_bytes()[0]);
            assert!(layout.part() < PARTS);
        }
    }
}
