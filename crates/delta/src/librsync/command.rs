//! The commands of a delta, and how each is spelled in bytes.

/// First byte of a literal whose length follows in 1, 2, 4 or 8 bytes.
const LITERAL_N1: u8 = 0x41;
/// Longest literal whose length is the command byte itself.
const LITERAL_IMMEDIATE_MAX: u8 = 0x40;
/// First byte of a copy with one byte of offset and one of length.
const COPY_N1_N1: u8 = 0x45;
/// First byte of a copy with eight bytes of offset and eight of length.
const COPY_N8_N8: u8 = 0x54;
/// The command byte that ends a delta.
pub(super) const END: u8 = 0x00;

/// Command byte and operands at their longest: a copy with two operands of eight bytes.
pub(super) const ENCODED_BYTES_MAX: usize = 1 + 8 + 8;

/// One step in making the target. The end of a delta is not a command here: it is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The next `length` bytes of the delta are the next bytes of the target.
    Literal {
        /// Bytes; never zero.
        length: u64,
    },
    /// The next bytes of the target stand in the basis.
    Copy {
        /// Offset of the first byte in the basis.
        offset: u64,
        /// Bytes; never zero, and `offset + length` does not overflow.
        length: u64,
    },
}

impl Command {
    /// Bytes of the target that the command makes.
    pub fn length(&self) -> u64 {
        match *self {
            Self::Literal { length } | Self::Copy { length, .. } => length,
        }
    }

    /// Command byte and operands, as short as librsync spells them, without a literal's bytes.
    pub(super) fn encode(&self) -> EncodedCommand {
        match *self {
            Self::Literal { length } => encode_literal(length),
            Self::Copy { offset, length } => {
                let byte = COPY_N1_N1 + 4 * width_class(offset) + width_class(length);
                let mut encoded = EncodedCommand::new(byte);
                encoded.push(offset);
                encoded.push(length);
                encoded
            }
        }
    }
}

/// What a command byte says about what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    End,
    ImmediateLiteral { length: u8 },
    Literal { length_width: usize },
    Copy { offset_width: usize, length_width: usize },
    Unknown,
}

impl Opcode {
    pub(super) fn from_byte(byte: u8) -> Self {
        match byte {
            END => Self::End,
            1..=LITERAL_IMMEDIATE_MAX => Self::ImmediateLiteral { length: byte },
            LITERAL_N1..COPY_N1_N1 => Self::Literal { length_width: 1 << (byte - LITERAL_N1) },
            COPY_N1_N1..=COPY_N8_N8 => Self::Copy {
                offset_width: 1 << ((byte - COPY_N1_N1) / 4),
                length_width: 1 << ((byte - COPY_N1_N1) % 4),
            },
            _ => Self::Unknown,
        }
    }
}

/// A command's bytes, on the stack: there are millions of them.
pub(super) struct EncodedCommand {
    bytes: [u8; ENCODED_BYTES_MAX],
    length: usize,
}

impl EncodedCommand {
    fn new(byte: u8) -> Self {
        let mut bytes = [0; ENCODED_BYTES_MAX];
        bytes[0] = byte;
        Self { bytes, length: 1 }
    }

    /// Appends an operand, big-endian, in the smallest of the four widths.
    fn push(&mut self, operand: u64) {
        let width = 1 << width_class(operand);
        self.bytes[self.length..self.length + width]
            .copy_from_slice(&operand.to_be_bytes()[8 - width..]);
        self.length += width;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn encode_literal(length: u64) -> EncodedCommand {
    match u8::try_from(length) {
        Ok(immediate) if immediate <= LITERAL_IMMEDIATE_MAX => EncodedCommand::new(immediate),
        _ => {
            let mut encoded = EncodedCommand::new(LITERAL_N1 + width_class(length));
            encoded.push(length);
            encoded
        }
    }
}

/// 0, 1, 2 or 3 for an operand that needs 1, 2, 4 or 8 bytes.
fn width_class(operand: u64) -> u8 {
    match operand {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_take_the_smallest_width() {
        let literal = |length| Command::Literal { length }.encode().as_bytes().to_vec();
        assert_eq!(literal(1), [0x01]);
        assert_eq!(literal(64), [0x40]);
        assert_eq!(literal(65), [0x41, 65]);
        assert_eq!(literal(256), [0x42, 1, 0]);
        assert_eq!(literal(0x1_0000), [0x43, 0, 1, 0, 0]);
        assert_eq!(literal(1 << 32), [0x44, 0, 0, 0, 1, 0, 0, 0, 0]);

        let copy = |offset, length| Command::Copy { offset, length }.encode().as_bytes().to_vec();
        assert_eq!(copy(0, 1), [0x45, 0, 1]);
        assert_eq!(copy(0, 256), [0x46, 0, 1, 0]);
        assert_eq!(copy(256, 1), [0x49, 1, 0, 1]);
        assert_eq!(copy(1 << 32, 0x1_0000), [0x53, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(copy(u64::MAX - 1, 1)[0], 0x51);
    }

    #[test]
    fn command_bytes_above_the_copies_are_unknown() {
        let unknown = (0..=u8::MAX).filter(|&byte| Opcode::from_byte(byte) == Opcode::Unknown);
        assert_eq!(unknown.collect::<Vec<_>>(), (0x55..=u8::MAX).collect::<Vec<_>>());
    }
}
