//! What follows on the opcodes of x86-64.

/// The opcodes of one byte, of `0f`, of `0f 38` and of `0f 3a`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(in crate::native) enum Map {
    #[default]
    One,
    Two,
    Long38,
    Long3a,
}

/// By the high half of an opcode, a bit for each low half, the lowest for 0.
const STRANGE: [u16; 16] = [
    0x40c0, 0xc0c0, 0x8080, 0x8080, 0, 0, 0xf003, 0, 0x5004, 0xf400, 0x000f, 0, 0xed00, 0x00f0,
    0xf4ff, 0x3f32,
];

/// Whether compilers for 64 bits hardly make such an opcode: what has some is no code of x86-64.
pub(in crate::native) const fn is_strange(map: Map, opcode: u8) -> bool {
    matches!(map, Map::One) && STRANGE[opcode as usize >> 4] >> (opcode & 15) & 1 == 1
}

/// What follows on an opcode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) has_modrm: bool,
    pub(super) immediate: Immediate,
}

/// Bytes of an immediate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Immediate {
    Bytes(u8),
    /// Four; two after the prefix `66`.
    Word,
    /// Eight after a REX prefix with W, else as [`Immediate::Word`].
    LongWord,
}

impl Shape {
    const fn plain(immediate: Immediate) -> Self {
        Self { has_modrm: false, immediate }
    }

    const fn modrm(immediate: Immediate) -> Self {
        Self { has_modrm: true, immediate }
    }

    /// What follows on an opcode of one byte.
    const fn of_one(opcode: u8) -> Self {
        use Immediate::{Bytes, LongWord, Word};
        match opcode {
            0x00..=0x3f => match opcode & 7 {
                0..=3 => Self::modrm(Bytes(0)),
                4 => Self::plain(Bytes(1)),
                5 => Self::plain(Word),
                _ => Self::plain(Bytes(0)),
            },
            0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => {
                Self::modrm(Bytes(0))
            }
            0x69 | 0x81 | 0xc7 => Self::modrm(Word),
            0x6b | 0x80 | 0x82 | 0x83 | 0xc0 | 0xc1 | 0xc6 => Self::modrm(Bytes(1)),
            0x68 | 0xa9 | 0xe8 | 0xe9 => Self::plain(Word),
            0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe0..=0xe7 | 0xeb => {
                Self::plain(Bytes(1))
            }
            0xa0..=0xa3 => Self::plain(Bytes(8)),
            0xb8..=0xbf => Self::plain(LongWord),
            0xc2 | 0xca => Self::plain(Bytes(2)),
            0xc8 => Self::plain(Bytes(3)),
            _ => Self::plain(Bytes(0)),
        }
    }

    /// What follows on an opcode after `0f`.
    const fn of_two(opcode: u8) -> Self {
        use Immediate::{Bytes, Word};
        match opcode {
            0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 => Self::plain(Bytes(0)),
            0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => Self::plain(Bytes(0)),
            0x80..=0x8f => Self::plain(Word),
            0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => Self::modrm(Bytes(1)),
            _ => Self::modrm(Bytes(0)),
        }
    }

    /// What follows on an opcode.
    pub(super) fn of(map: Map, opcode: u8) -> Self {
        match map {
            Map::One => ONE[opcode as usize],
            Map::Two => TWO[opcode as usize],
            Map::Long38 => Self::modrm(Immediate::Bytes(0)),
            Map::Long3a => Self::modrm(Immediate::Bytes(1)),
        }
    }
}

static ONE: [Shape; 256] = table(false);
static TWO: [Shape; 256] = table(true);

const fn table(is_two: bool) -> [Shape; 256] {
    let mut shapes = [Shape::plain(Immediate::Bytes(0)); 256];
    let mut opcode: u8 = 0;
    loop {
        shapes[opcode as usize] =
            if is_two { Shape::of_two(opcode) } else { Shape::of_one(opcode) };
        if opcode == u8::MAX {
            return shapes;
        }
        opcode += 1;
    }
}
