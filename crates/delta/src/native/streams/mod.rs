//! The streams that a delta is spread over, each compressed by itself so that like lies with like.
//!
//! A stream's compression goes on from frame to frame: what one frame said helps to compress the next.

mod codec;
mod mixing;
mod read;
mod write;

pub use codec::Compression;
pub(super) use mixing::Tail;
pub(super) use read::StreamReaders;
pub(super) use write::StreamWriters;

use super::varint;
use codec::Codec;

use crate::references::Machine;

type Result<T = ()> = std::result::Result<T, &'static str>;

/// What a stream holds. The number is its id in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamId {
    /// One byte for each operation.
    Operations = 0,
    /// Lengths of covers and literals, those of executables too.
    Lengths = 1,
    /// Where covers start in their origins, and changes of the origin.
    Offsets = 2,
    /// Bytes without a difference between two with one.
    Gaps = 3,
    /// Differences, target minus origin.
    Differences = 4,
    /// Bytes that have no like in any origin.
    Literals = 5,
    /// Fields of tar headers.
    Headers = 6,
    /// How deflate streams depart from the predicted, and parameters of executables.
    Corrections = 7,
    /// What lies between the covers of executables, and lengths that begin one.
    RegionLengths = 8,
    /// Where the covers of executables start, from the diagonal of the last one.
    RegionOffsets = 9,
    /// References that are predicted rightly between two that are not.
    ResidualGaps = 10,
    /// Actual reference minus predicted.
    Residuals = 11,
    /// Operands of literals: where calls go.
    Calls = 12,
    /// Where data is.
    Places = 13,
    /// How far jumps go.
    Jumps = 14,
    /// Literals of code that are words.
    Words = 15,
    /// Literals of code that are halfwords.
    Halves = 16,
}

impl StreamId {
    /// Whether the stream may be mixed: its bytes are coded after what is around them.
    fn is_mixable(self) -> bool {
        matches!(self, Self::Literals | Self::Differences)
    }

    const ALL: [Self; STREAM_COUNT] = [
        Self::Operations,
        Self::Lengths,
        Self::Offsets,
        Self::Gaps,
        Self::Differences,
        Self::Literals,
        Self::Headers,
        Self::Corrections,
        Self::RegionLengths,
        Self::RegionOffsets,
        Self::ResidualGaps,
        Self::Residuals,
        Self::Calls,
        Self::Places,
        Self::Jumps,
        Self::Words,
        Self::Halves,
    ];

    /// Base-2 logarithm of what its bytes come in multiples of.
    fn unit_log(self) -> u32 {
        match self {
            Self::Calls | Self::Places | Self::Jumps | Self::Words => 2,
            Self::Halves => 1,
            _ => 0,
        }
    }

    /// Whether it has bytes without a like.
    fn is_of_literals(self) -> bool {
        matches!(self, Self::Literals | Self::Words | Self::Halves)
    }
}

/// Which streams a delta has: those up to some [`StreamId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum StreamSet {
    /// Of a layer without transforms.
    Plain,
    /// With regions.
    Regions,
    /// With regions whose literals of x86-64 have operands apart …
    Operands,
    /// … and those of AArch64 words …
    Words,
    /// … and those of 32-bit ARM words or halfwords.
    Halves,
}

impl StreamSet {
    const ALL: [Self; 5] = [Self::Plain, Self::Regions, Self::Operands, Self::Words, Self::Halves];

    /// What there has to be for literals next to a machine's code.
    fn of_code(machine: Machine) -> Option<Self> {
        match machine {
            Machine::X86_64 => Some(Self::Operands),
            Machine::Aarch64 => Some(Self::Words),
            Machine::Arm => Some(Self::Halves),
            Machine::Python => None,
        }
    }

    /// What a target with executables of some machines needs, where literals are not mixed.
    pub(super) fn of_machines(has_machine: impl Fn(Machine) -> bool) -> Self {
        let machines = [Machine::Arm, Machine::Aarch64, Machine::X86_64];
        let most = machines.into_iter().find(|machine| has_machine(*machine));
        most.and_then(Self::of_code).unwrap_or(Self::Regions)
    }

    fn of_count(count: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.count() == count)
    }

    /// The same where they are: mixing follows instructions of x86-64 itself.
    pub(super) fn of_mixed_machines(has_machine: impl Fn(Machine) -> bool) -> Self {
        Self::of_machines(|machine| machine != Machine::X86_64 && has_machine(machine))
    }

    /// Whether literals that are mixed may be beside it.
    fn may_be_mixed(self) -> bool {
        self != Self::Operands
    }

    const fn count(self) -> usize {
        match self {
            Self::Plain => 7,
            Self::Regions => 12,
            Self::Operands => 15,
            Self::Words => 16,
            Self::Halves => STREAM_COUNT,
        }
    }
}

/// For which code there are streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeStreams {
    set: StreamSet,
    mixes_literals: bool,
}

impl CodeStreams {
    /// Whether literals next to a machine's code have streams of their own.
    pub(super) fn has(self, machine: Machine) -> bool {
        let is_apart = machine != Machine::X86_64 || !self.mixes_literals;
        is_apart && StreamSet::of_code(machine).is_some_and(|set| self.set >= set)
    }
}

/// Where a difference is.
#[derive(Debug, Clone, Copy)]
pub(super) struct DifferenceSite {
    /// The byte that it is added to, and the two after it, zeros after the end of the piece.
    pub(super) old: [u8; 3],
    /// The bytes that were made before it.
    pub(super) before: Tail,
}

impl DifferenceSite {
    /// At the first byte of what is left of a piece.
    pub(super) fn new(rest: &[u8], before: Tail) -> Self {
        let old = std::array::from_fn(|i| rest.get(i).copied().unwrap_or(0));
        Self { old, before }
    }
}

/// All streams there are.
pub(super) const STREAM_COUNT: usize = 17;

/// Base-2 logarithms of the windows that each stream may be given, for a large layer.
const WINDOW_LOGS: [u8; STREAM_COUNT] =
    [17, 18, 18, 19, 20, 22, 19, 18, 18, 18, 18, 19, 18, 18, 18, 22, 22];
/// How many bits of the byte before are looked at, where that is for the encoder to choose: more for bytes
/// of code and text, few for numbers. Measured on updates of Debian, BusyBox and an init: 0.7 % of all.
const LITERAL_BITS: [u32; STREAM_COUNT] = [0, 1, 1, 1, 2, 4, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 3];
/// The smallest and the largest window of the compression that are accepted.
const MIN_WINDOW_LOG: u8 = 12;
const MAX_WINDOW_LOG: u8 = 30;

/// A table of what is mixed is halved where it is 2 to the power of this as large as the windows: half of it costs 5 % of
/// the Debian pair's literals.
const TABLE_LOG: u8 = 5;
/// The same of a window for literals: what repeats in them does so over longer distances than numbers do. Less, and what
/// `fast` makes of an update of Debian for ARM is a fifth larger.
const LITERALS_LOG: u8 = 4;

/// The codec and the window of each stream; the first ones of [`StreamId`], in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamTable(Vec<Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    codec: Codec,
    window_log: u8,
}

/// What is to be compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawBytes {
    /// Of the target.
    pub(super) output: u64,
    /// Of the stream of literals, at most.
    pub(super) literals: u64,
}

impl StreamTable {
    /// Windows that are no larger than what they are for can profit from: compressing takes a multiple of them, far apart in memory.
    pub(super) fn for_output(raw: RawBytes, compression: Compression, set: StreamSet) -> Self {
        let entry = |id: &StreamId| {
            let codec = compression.codec(*id);
            let useful = match (id, codec) {
                (id, Codec::Zstd | Codec::Lzma2) if id.is_of_literals() => {
                    raw.literals.min(raw.output)
                }
                _ => raw.output,
            };
            let useful = useful.max(1).next_power_of_two().trailing_zeros();
            let useful = u8::try_from(useful).unwrap_or(MAX_WINDOW_LOG).max(MIN_WINDOW_LOG);
            Entry { codec, window_log: useful.min(WINDOW_LOGS[*id as usize]) }
        };
        Self(StreamId::ALL[..set.count()].iter().map(entry).collect())
    }

    /// Halves the largest window, but as [`TABLE_LOG`] and [`LITERALS_LOG`] say; false where all are as small as they get.
    pub(super) fn shrink(&mut self) -> bool {
        let all = self.0.iter_mut().zip(StreamId::ALL);
        let shrinkable = all.filter(|(entry, _)| entry.window_log > MIN_WINDOW_LOG);
        let largest = shrinkable.max_by_key(|(entry, id)| match entry.codec {
            Codec::Mixed => entry.window_log - TABLE_LOG,
            Codec::Zstd | Codec::Lzma2 if id.is_of_literals() => entry.window_log - LITERALS_LOG,
            Codec::Zstd | Codec::Lzma2 => entry.window_log,
        });
        largest.map(|(entry, _)| entry.window_log -= 1).is_some()
    }

    /// Memory that decoding all streams at once takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.0.iter().map(|entry| entry.codec.memory_bytes(entry.window_log)).sum()
    }

    /// Memory that compressing all streams at once takes, nearly.
    pub(super) fn compress_memory_bytes(&self) -> u64 {
        self.0.iter().map(|entry| entry.codec.compress_memory_bytes(entry.window_log)).sum()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.0.len() as u64);
        for (id, entry) in StreamId::ALL.iter().zip(&self.0) {
            out.extend([*id as u8, entry.codec as u8, entry.window_log]);
        }
    }

    /// For which code there are streams.
    fn code(&self) -> CodeStreams {
        let set = StreamSet::of_count(self.0.len()).unwrap_or(StreamSet::Plain);
        CodeStreams { set, mixes_literals: self.mixes_literals() }
    }

    fn mixes_literals(&self) -> bool {
        self.0.get(StreamId::Literals as usize).is_some_and(|entry| entry.codec == Codec::Mixed)
    }

    fn mixes_any(&self) -> bool {
        self.0.iter().any(|entry| entry.codec == Codec::Mixed)
    }

    /// Version 1 has the first 7, 12, 15, 16 or all 17 streams of [`StreamId`], in order; not 15 where any is mixed.
    pub(super) fn take(rest: &mut &[u8]) -> Option<Self> {
        let count = usize::try_from(varint::take(rest)?).ok()?;
        let set = StreamSet::of_count(count)?;
        let mut entries = Vec::with_capacity(count);
        for id in &StreamId::ALL[..count] {
            let ([found, codec, window_log], after) = rest.split_first_chunk::<3>()?;
            *rest = after;
            let (codec, window_log) = (Codec::of_id(*codec)?, *window_log);
            let is_possible = codec != Codec::Mixed || id.is_mixable();
            if *found != *id as u8
                || !is_possible
                || !(MIN_WINDOW_LOG..=MAX_WINDOW_LOG).contains(&window_log)
            {
                return None;
            }
            entries.push(Entry { codec, window_log });
        }
        let table = Self(entries);
        (set.may_be_mixed() || !table.mixes_any()).then_some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: RawBytes = RawBytes { output: 1 << 30, literals: 1 << 29 };

    #[test]
    fn a_window_for_few_literals_holds_them_and_is_no_larger() {
        for (literals, log) in [(0, 12), (100_000, 17), (131_072, 17), (131_073, 18), (1 << 25, 22)]
        {
            let raw = RawBytes { output: 1 << 30, literals };
            let logs = [Compression::Lzma2 { preset: 7 }, Compression::Mixed { preset: 7 }].map(
                |compression| {
                    let table = StreamTable::for_output(raw, compression, StreamSet::Regions);
                    table.0[StreamId::Literals as usize].window_log
                },
            );
            assert_eq!(logs, [log, 22], "{literals}");
        }
    }

    #[test]
    fn a_delta_has_the_streams_of_its_machines() {
        use Machine::{Aarch64, Arm, Python, X86_64};
        for (machines, count) in [
            (&[][..], 12),
            (&[Python], 12),
            (&[X86_64], 15),
            (&[Aarch64, Python], 16),
            (&[X86_64, Aarch64], 16),
            (&[Aarch64, Arm], 17),
        ] {
            let set = StreamSet::of_machines(|machine| machines.contains(&machine));
            assert_eq!(set.count(), count, "{machines:?}");
            let code = CodeStreams { set, mixes_literals: false };
            for machine in [Python, X86_64, Aarch64, Arm] {
                let has_any = machines.contains(&machine) && machine != Python;
                assert!(code.has(machine) || !has_any, "{machine:?} of {machines:?}");
            }
            assert!(!code.has(Python));
        }
    }

    #[test]
    fn what_is_mixed_has_streams_for_arm() {
        use Machine::{Aarch64, Arm, X86_64};
        for (machines, count) in [(&[X86_64][..], 12), (&[X86_64, Aarch64], 16), (&[Arm], 17)] {
            let set = StreamSet::of_mixed_machines(|machine| machines.contains(&machine));
            assert_eq!(set.count(), count, "{machines:?}");
            let compression = Compression::MixedButArm { preset: 7 };
            let table = StreamTable::for_output(LARGE, compression, set);
            let code = table.code();
            let has = [X86_64, Aarch64, Arm].map(|machine| code.has(machine));
            assert_eq!(has, [false, count >= 16, count >= 17], "{machines:?}");
        }
    }

    #[test]
    fn windows_give_way_before_what_is_mixed_does() {
        let mut table =
            StreamTable::for_output(LARGE, Compression::Mixed { preset: 7 }, StreamSet::Regions);
        let largest = |table: &StreamTable, is_mixed: bool| {
            let entries = table.0.iter().filter(|x| (x.codec == Codec::Mixed) == is_mixed);
            entries.map(|entry| entry.window_log).max().unwrap()
        };
        let before = largest(&table, true);
        let mut windows = 0;
        while largest(&table, true) == before {
            windows = largest(&table, false);
            assert!(table.shrink());
        }
        assert_eq!((largest(&table, true), windows), (before - 1, before - TABLE_LOG));
        while table.shrink() {}
        assert!(table.0.iter().all(|entry| entry.window_log == MIN_WINDOW_LOG));
    }

    #[test]
    fn windows_of_numbers_give_way_before_those_of_literals() {
        let mut table =
            StreamTable::for_output(LARGE, Compression::Lzma2 { preset: 7 }, StreamSet::Halves);
        let largest = |table: &StreamTable, is_of_literals: bool| {
            let entries = StreamId::ALL.iter().zip(&table.0);
            let chosen = entries.filter(|(id, _)| id.is_of_literals() == is_of_literals);
            chosen.map(|(_, entry)| entry.window_log).max().unwrap()
        };
        let before = largest(&table, true);
        while largest(&table, true) == before {
            assert!(table.shrink());
        }
        assert_eq!((largest(&table, true), largest(&table, false)), (21, 18));
        while table.shrink() {}
        assert!(table.0.iter().all(|entry| entry.window_log == MIN_WINDOW_LOG));
    }

    #[test]
    fn what_is_mixed_has_no_streams_for_operands_alone() {
        for (preset, is_possible) in
            [(Compression::Lzma2 { preset: 7 }, true), (Compression::Mixed { preset: 7 }, false)]
        {
            for set in StreamSet::ALL {
                let table = StreamTable::for_output(LARGE, preset, set);
                let mut bytes = Vec::new();
                table.put(&mut bytes);
                let taken = StreamTable::take(&mut &bytes[..]);
                let is_possible = is_possible || set != StreamSet::Operands;
                assert_eq!(taken, is_possible.then_some(table), "{set:?}");
            }
        }
    }

    #[test]
    fn windows_can_be_made_to_fit_a_small_memory() {
        for compression in [Compression::Lzma2 { preset: 7 }, Compression::Zstd { level: 9 }] {
            let mut table = StreamTable::for_output(LARGE, compression, StreamSet::Regions);
            let large = table.compress_memory_bytes();
            assert!((80 << 20..200 << 20).contains(&large), "{large}");
            while table.compress_memory_bytes() > 48 << 20 {
                assert!(table.shrink());
            }
            // Not more than that: half as much would be a window too small.
            assert!(table.compress_memory_bytes() > 24 << 20);
        }
    }
}
