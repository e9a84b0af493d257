//! Compiled modules of CPython (`.pyc`): a header, then one object as its `marshal` module writes it.
//!
//! What is referred to again is flagged, and a reference is a number: how many flagged objects came before.
//! So one that comes or goes changes all references to later ones, as a line of source does all numbers
//! of later functions' first lines.

use std::ops::Range;

use super::segments::{Segment, Segments};
use super::site::{Form, Kind, Meaning, Site};
use super::structure::Area;
use super::window::{Ahead, Window};
use crate::read_at::{ReadAt, ReadError};

/// A magic number, flags, and the time and size of the source, or its hash.
pub(super) const HEADER_BYTES: u64 = 16;

/// Of a module so much is read, which bounds the work that a small region can ask for.
pub(super) const MAX_BYTES: u64 = 16 << 20;

/// How code objects are written, by magic number.
const SHAPES: [(Range<u16>, Shape); 3] = [
    // CPython 3.7
    (3390..3400, Shape { numbers: 20, before_line: 8, after_line: 1 }),
    // 3.8 to 3.10
    (3400..3450, Shape { numbers: 24, before_line: 8, after_line: 1 }),
    // 3.11 to 3.15
    (3450..3700, Shape { numbers: 20, before_line: 8, after_line: 2 }),
];

/// The parts of a code object.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Bytes of the numbers that it begins with.
    numbers: u64,
    /// Objects between these and the number of its first line.
    before_line: u64,
    /// Objects after that.
    after_line: u64,
}

/// Lines are counted from this address, references from 0.
const LINES: u64 = 1 << 32;

/// Sites that are remembered; a module has a few hundred.
const MAX_MARKS: usize = 16384;
/// Objects within objects; Python itself stops at 2000.
const MAX_DEPTH: usize = 512;

/// The bit of an object's type that says that it has a number.
const FLAG: u8 = 0x80;

/// Whether a file that starts like this is a compiled module.
pub(super) fn is_module(start: [u8; 4]) -> bool {
    shape(start).is_some()
}

fn shape(start: [u8; 4]) -> Option<Shape> {
    let [low, high, b'\r', b'\n'] = start else { return None };
    let magic = u16::from_le_bytes([low, high]);
    SHAPES.into_iter().find_map(|(magics, shape)| magics.contains(&magic).then_some(shape))
}

/// Addresses of references, of the place that lines are counted from, and of lines. No byte of the file
/// stands behind them: neighbours move together.
pub(super) fn segments() -> Segments {
    let segment = |address, memory_bytes| Segment { address, memory_bytes, ..Segment::default() };
    Segments(vec![segment(0, LINES - 1), segment(LINES, 0), segment(LINES + 1, LINES - 2)])
}

/// Where the sites of a module are.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Twice the offset in the file, and 1 for a line.
    marks: Vec<u32>,
}

impl Marks {
    #[cfg(test)]
    pub(super) const MEMORY_BYTES: u64 = 2 * (4 * MAX_MARKS as u64)
        + 2 * (MAX_DEPTH * size_of::<Open>()) as u64
        + 4 * Ahead::READ_BYTES;

    /// Reads through the module once.
    pub(super) fn of(
        origin: &dyn ReadAt,
        old: &Range<u64>,
        area: &Area,
    ) -> Result<Self, ReadError> {
        let Some(mut reader) = Reader::new(origin, old, area)? else { return Ok(Self::default()) };
        let mut marks = Vec::new();
        while marks.len() < MAX_MARKS
            && let Some((at, is_line)) = reader.next_mark()?
            && let Ok(at) = u32::try_from(at << 1)
        {
            marks.push(at | u32::from(is_line));
        }
        Ok(Self { marks })
    }

    /// Finds the sites that start in `range`, in order.
    pub(super) fn find(&self, window: &Window, range: &Range<u64>, sites: &mut Vec<Site>) {
        let place = |mark: u32| u64::from(mark >> 1);
        let first = self.marks.partition_point(|mark| place(*mark) < range.start);
        for mark in self.marks[first..].iter().take_while(|mark| place(**mark) < range.end) {
            let at = place(*mark);
            let Some(number) = window.u32(at).map(u64::from) else { break };
            let (kind, meaning) = match (mark & 1, number) {
                (0, target) => (Kind::Object, Meaning::Absolute { target }),
                (_, 0) => continue,
                (_, line) => (Kind::Line, Meaning::Based { target: LINES + line, base: LINES }),
            };
            sites.push(Site { at, form: Form::Unsigned32, kind, meaning });
        }
    }
}

/// An object whose parts are not all read.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// So many objects follow.
    Parts(u64),
    /// So many objects follow, then the number of a line, then what a code object ends with.
    Code(u64),
}

/// Reads objects in the order of the file.
struct Reader<'a> {
    ahead: Ahead<'a>,
    at: u64,
    open: Vec<Open>,
    shape: Shape,
}

impl<'a> Reader<'a> {
    fn new(
        origin: &'a dyn ReadAt,
        old: &'a Range<u64>,
        area: &Area,
    ) -> Result<Option<Self>, ReadError> {
        let mut start = [0; 4];
        origin.read_exact_at(&mut start, old.start)?;
        Ok(shape(start).map(|shape| Self {
            ahead: Ahead::new(origin, old, area.range.end),
            at: area.range.start,
            open: vec![Open::Parts(1)],
            shape,
        }))
    }

    /// The next number, of 1 or 4 bytes; `None` at the end of the file.
    fn number(&mut self, width: u8) -> Result<Option<u64>, ReadError> {
        let at = self.at;
        let Some(window) = self.ahead.reach(at, width.into())? else { return Ok(None) };
        self.at += u64::from(width);
        Ok(match width {
            1 => window.u8(at).map(u64::from),
            _ => window.number(at, width),
        })
    }

    /// Where the next reference or line stands, and whether it is a line; `None` where the module ends
    /// or is not understood.
    fn next_mark(&mut self) -> Result<Option<(u64, bool)>, ReadError> {
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::Parts(0) => {
                    self.open.pop();
                    continue;
                }
                Open::Code(0) => {
                    *open = Open::Parts(self.shape.after_line);
                    let line = self.at;
                    return Ok(self.number(4)?.map(|_| (line, true)));
                }
                Open::Parts(left) => *left -= 1,
                Open::Code(left) => *left -= 1,
            }
            let Some(kind) = self.number(1)? else { return Ok(None) };
            let kind = u8::try_from(kind).unwrap_or(0) & !FLAG;
            if kind == b'r' {
                let reference = self.at;
                return Ok(self.number(4)?.map(|_| (reference, false)));
            }
            if self.pass(kind)?.is_none() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Passes over an object of this kind, or begins one that has others.
    fn pass(&mut self, kind: u8) -> Result<Option<()>, ReadError> {
        let bytes = match kind {
            b'0' | b'N' | b'F' | b'T' | b'S' | b'.' => Some(0),
            b'i' => Some(4),
            b'g' => Some(8),
            b'y' => Some(16),
            // Digits of 15 bits; the sign of their count is that of the number.
            b'l' => self.number(4)?.map(|digits| 2 * digits.min((1 << 32) - digits)),
            b's' | b't' | b'u' | b'a' | b'A' => self.number(4)?,
            b'z' | b'Z' => self.number(1)?,
            _ => return self.begin(kind),
        };
        let Some(bytes) = bytes else { return Ok(None) };
        self.at = self.at.saturating_add(bytes);
        Ok(Some(()))
    }

    /// Begins an object that has others.
    fn begin(&mut self, kind: u8) -> Result<Option<()>, ReadError> {
        let open = match kind {
            b')' => self.number(1)?.map(Open::Parts),
            b'(' | b'[' | b'<' | b'>' => self.number(4)?.map(Open::Parts),
            b':' => Some(Open::Parts(3)),
            b'c' => {
                self.at = self.at.saturating_add(self.shape.numbers);
                Some(Open::Code(self.shape.before_line))
            }
            _ => None,
        };
        let Some(open) = open.filter(|_| self.open.len() < MAX_DEPTH) else { return Ok(None) };
        self.open.push(open);
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::structure::Structure;
    use super::*;

    /// References and lines of a module.
    fn count(module: &[u8]) -> (usize, usize) {
        let old = 0..module.len() as u64;
        let structure = Structure::read(&module, &old).unwrap();
        let Some(area) = structure.areas.first() else { return (0, 0) };
        let marks = Marks::of(&module, &old, area).unwrap();
        let lines = marks.marks.iter().filter(|mark| **mark & 1 == 1).count();
        assert!(marks.marks.is_sorted());
        (marks.marks.len() - lines, lines)
    }

    #[test]
    fn modules_of_all_shapes_are_read_to_their_end() {
        // Counted by a program in Python that reads objects one within another.
        let counts =
            [("3.7", (152, 16)), ("3.9", (159, 16)), ("3.11", (146, 16)), ("3.13", (133, 13))];
        for (version, expected) in counts {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/modules");
            let module = std::fs::read(format!("{folder}/{version}.old.pyc")).unwrap();
            assert_eq!(count(&module), expected, "{version}");
            let (references, lines) = count(&module[..module.len() / 2]);
            assert!(references > 0 && references < expected.0 && lines <= expected.1, "{version}");
        }
    }

    fn module(objects: &[u8]) -> Vec<u8> {
        [&3495u16.to_le_bytes()[..], b"\r\n", &[0; 12], objects].concat()
    }

    #[test]
    fn what_an_enemy_writes_ends() {
        // Tuples without an end, within one another or not; a number and a string beyond the end.
        assert_eq!(count(&module(&b")\xff".repeat(100_000))), (0, 0));
        let nested = |depth| module(&[&b")\x01".repeat(depth)[..], b"r\x01\0\0\0"].concat());
        assert_eq!([511, 512].map(|depth| count(&nested(depth))), [(1, 0), (0, 0)]);
        assert_eq!(count(&module(b"(\xff\xff\xff\xffr\x01\0\0\0r\x02\0\0\0r")), (2, 0));
        assert_eq!(count(&module(b"(\xff\xff\xff\xffl\0\0\0\x80r\x02\0\0\0")), (0, 0));
        assert_eq!(count(&module(b"(\xff\xff\xff\xffs\xff\xff\xff\xffr\x02\0\0\0")), (0, 0));
        let many = [b"(\xff\xff\xff\xff".to_vec(), b"r\x01\0\0\0".repeat(MAX_MARKS + 1)].concat();
        assert_eq!(count(&module(&many)), (MAX_MARKS, 0));
        assert_eq!(count(&module(b"")), (0, 0));
        let far = |length: u32| {
            let string = [&b"s"[..], &length.to_le_bytes(), &vec![0; length as usize]].concat();
            module(&[b"(\xff\xff\xff\xff", &string[..], b"r\x01\0\0\0r\x02\0\0\0"].concat())
        };
        // Header, tuple and string's beginning take 26 bytes, a reference 5.
        assert_eq!([30, 31, 35, 36].map(|less| count(&far((16 << 20) - less)).0), [0, 1, 1, 2]);
    }
}
