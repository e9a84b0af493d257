//! Huffman codes: lengths as zlib chooses them, and what is made of lengths.

use super::symbols::*;

/// Leaves and inner nodes of the largest tree.
const MAX_NODES: usize = 2 * LITERAL_SYMBOLS - 1;
/// No code is longer.
pub(super) const MAX_CODE_BITS: u8 = 15;

/// Lengths of an optimal code for symbols that occur so often, none longer than `max_bits`, as zlib
/// chooses among those: up to the last symbol that has one. At least two symbols get a code.
///
/// `counts` has at most [`LITERAL_SYMBOLS`] entries; their sum fits 32 bits.
pub(super) fn optimal_lengths(counts: &[u32], max_bits: u8) -> Vec<u8> {
    let mut tree = Tree::new(counts);
    tree.join_all(counts.len());
    tree.lengths(max_bits)
}

/// The tree as zlib builds it: which of equal choices it takes decides what its streams look like.
struct Tree {
    /// Nodes by index: symbols first, then inner ones.
    counts: [u32; MAX_NODES],
    depth: [u8; MAX_NODES],
    parent: [u16; MAX_NODES],
    /// A heap of those without a parent; its first entry is not used.
    heap: Vec<u16>,
    /// Nodes by the order in which they found a parent, the root last.
    joined: Vec<u16>,
    /// The last symbol that has a code.
    last_symbol: usize,
}

impl Tree {
    fn new(counts: &[u32]) -> Self {
        let mut tree = Self {
            counts: [0; MAX_NODES],
            depth: [0; MAX_NODES],
            parent: [0; MAX_NODES],
            heap: vec![0],
            joined: Vec::new(),
            last_symbol: 0,
        };
        tree.counts[..counts.len()].copy_from_slice(counts);
        let used = (0u16..).zip(counts).filter(|(_, count)| **count != 0);
        tree.heap.extend(used.map(|(symbol, _)| symbol));
        // A code has two symbols at least, so that none has length 0.
        let mut next = tree.heap.last().filter(|_| tree.heap.len() > 1).map_or(0, |last| last + 1);
        while tree.heap.len() < 3 {
            let symbol = if next < 3 && usize::from(next) < counts.len() { next } else { 0 };
            next = symbol + 1;
            tree.counts[usize::from(symbol)] = 1;
            tree.heap.push(symbol);
        }
        tree.last_symbol = tree.heap.iter().copied().max().unwrap_or(0).into();
        for place in (1..=(tree.heap.len() - 1) / 2).rev() {
            tree.sift(place);
        }
        tree
    }

    fn is_before(&self, a: u16, b: u16) -> bool {
        let key = |node: u16| (self.counts[usize::from(node)], self.depth[usize::from(node)]);
        key(a) <= key(b)
    }

    /// Moves the node at `place` down until no smaller one is below it.
    fn sift(&mut self, mut place: usize) {
        let node = self.heap[place];
        let last = self.heap.len() - 1;
        while 2 * place <= last {
            let mut below = 2 * place;
            if below < last && self.is_before(self.heap[below + 1], self.heap[below]) {
                below += 1;
            }
            if self.is_before(node, self.heap[below]) {
                break;
            }
            self.heap[place] = self.heap[below];
            place = below;
        }
        self.heap[place] = node;
    }

    fn join_all(&mut self, first_inner: usize) {
        let mut inner = first_inner;
        while self.heap.len() > 2 {
            let smallest = self.heap.swap_remove(1);
            self.sift(1);
            let second = self.heap[1];
            self.joined.extend([smallest, second]);
            let [a, b] = [usize::from(smallest), usize::from(second)];
            self.counts[inner] = self.counts[a].saturating_add(self.counts[b]);
            self.depth[inner] = self.depth[a].max(self.depth[b]).saturating_add(1);
            let node = u16::try_from(inner).unwrap_or(0);
            self.parent[a] = node;
            self.parent[b] = node;
            self.heap[1] = node;
            self.sift(1);
            inner += 1;
        }
        self.joined.push(self.heap[1]);
    }

    fn lengths(&self, max_bits: u8) -> Vec<u8> {
        let mut lengths = [0u8; MAX_NODES];
        let mut with_length = [0u32; MAX_CODE_BITS as usize + 1];
        let max = usize::from(max_bits);
        let mut overflow = 0i32;
        // From the root down, so that a parent comes before its children.
        for node in self.joined.iter().rev().skip(1).map(|node| usize::from(*node)) {
            let wanted = lengths[usize::from(self.parent[node])] + 1;
            overflow += i32::from(wanted > max_bits);
            lengths[node] = wanted.min(max_bits);
            if node <= self.last_symbol {
                with_length[usize::from(lengths[node])] += 1;
            }
        }
        if overflow > 0 {
            while overflow > 0 {
                // There is a shorter code: all symbols cannot have the longest ones.
                let bits = (1..max).rev().find(|bits| with_length[*bits] != 0).unwrap_or(1);
                with_length[bits] = with_length[bits].saturating_sub(1);
                with_length[bits + 1] += 2;
                with_length[max] = with_length[max].saturating_sub(1);
                overflow -= 2;
            }
            // The rarest symbols, which were joined first, get the longest codes.
            let leaves = self.joined.iter().map(|node| usize::from(*node));
            let mut leaves = leaves.filter(|node| *node <= self.last_symbol);
            for bits in (1..=max_bits).rev() {
                for _ in 0..with_length[usize::from(bits)] {
                    if let Some(leaf) = leaves.next() {
                        lengths[leaf] = bits;
                    }
                }
            }
        }
        lengths[..=self.last_symbol].to_vec()
    }
}

/// A length of codes as it is sent: a symbol of the code for lengths, and how often it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// 0 to 15 are lengths; 16 repeats the one before, 17 and 18 repeat zero.
    pub(super) symbol: u8,
    /// The extra bits of 16, 17 and 18.
    pub(super) extra: u8,
}

impl Run {
    fn plain(length: u8) -> Self {
        Self { symbol: length, extra: 0 }
    }

    /// How many lengths it stands for.
    pub(super) fn count(self) -> usize {
        let extra = usize::from(self.extra);
        match self.symbol {
            16 | 17 => 3 + extra,
            18 => 11 + extra,
            _ => 1,
        }
    }
}

/// Appends the runs of `lengths` as zlib makes them.
pub(super) fn put_runs(lengths: &[u8], runs: &mut Vec<Run>) {
    let mut previous = None;
    let mut rest = lengths;
    while let Some(length) = rest.first().copied() {
        let (min, max) = match (length, previous == Some(length)) {
            (0, _) => (3, 138),
            (_, true) => (3, 6),
            (_, false) => (4, 7),
        };
        let count = rest.iter().take(max).take_while(|other| **other == length).count();
        rest = &rest[count..];
        let extra = |least: usize| u8::try_from(count - least).unwrap_or(0);
        if count < min {
            runs.extend(std::iter::repeat_n(Run::plain(length), count));
        } else if length != 0 && previous != Some(length) {
            runs.extend([Run::plain(length), Run { symbol: 16, extra: extra(4) }]);
        } else if length != 0 {
            runs.push(Run { symbol: 16, extra: extra(3) });
        } else if count <= 10 {
            runs.push(Run { symbol: 17, extra: extra(3) });
        } else {
            runs.push(Run { symbol: 18, extra: extra(11) });
        }
        previous = Some(length);
    }
}

/// The codes of symbols with these lengths, first bit lowest, as they are written.
///
/// Lengths that are no code give bits that mean nothing.
pub(super) fn codes(lengths: &[u8]) -> Vec<(u16, u8)> {
    let mut next = first_codes(lengths);
    let code = |length: &u8| {
        let length = (*length).min(MAX_CODE_BITS);
        if length == 0 {
            return (0, 0);
        }
        let code = next[usize::from(length)];
        next[usize::from(length)] = code.wrapping_add(1);
        (code.reverse_bits() >> (16 - length), length)
    };
    lengths.iter().map(code).collect()
}

/// The first code of each length.
fn first_codes(lengths: &[u8]) -> [u16; MAX_CODE_BITS as usize + 1] {
    let mut with_length = [0u16; MAX_CODE_BITS as usize + 1];
    for length in lengths.iter().filter(|length| **length != 0) {
        with_length[usize::from((*length).min(MAX_CODE_BITS))] += 1;
    }
    let mut first = [0u16; MAX_CODE_BITS as usize + 1];
    for bits in 1..first.len() {
        first[bits] = first[bits - 1].wrapping_add(with_length[bits - 1]).wrapping_shl(1);
    }
    first
}

/// Finds symbols by the bits to come.
pub(super) struct DecodeTable {
    /// For each value of the next bits: the symbol, times 16, and the length of its code, not 0.
    entries: Vec<u16>,
    bits: u32,
}

impl DecodeTable {
    /// The table of a code; `None` where these are not the lengths of one.
    pub(super) fn new(lengths: &[u8]) -> Option<Self> {
        let longest = lengths.iter().copied().max().filter(|longest| *longest <= MAX_CODE_BITS)?;
        let used: u32 = (lengths.iter().filter(|length| **length != 0))
            .map(|length| 1 << (MAX_CODE_BITS - length))
            .sum();
        if used > 1 << MAX_CODE_BITS {
            return None;
        }
        let mut entries = vec![0; 1 << longest];
        for (symbol, (code, length)) in (0u16..).zip(codes(lengths)) {
            if length != 0 {
                let step = 1 << length;
                let places = entries.iter_mut().skip(code.into()).step_by(step);
                places.for_each(|entry| *entry = symbol << 4 | u16::from(length));
            }
        }
        Some(Self { entries, bits: longest.into() })
    }

    /// The next symbol, where the bits to come are one.
    pub(super) fn symbol(&self, bits: &mut super::bits::BitReader<'_>) -> Option<usize> {
        let entry = self.entries[bits.peek(self.bits) as usize];
        bits.skip((entry & 15).into());
        (entry != 0).then_some(usize::from(entry >> 4))
    }
}
