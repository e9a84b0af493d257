//! What a compressor of zlib's family would choose next.
//!
//! The search is that of zlib's `deflate_fast` and `deflate_slow`, which GNU gzip shares: hash
//! chains of three bytes, and at levels above 3 a second look one byte further on.

use super::symbols::*;

/// How the compressor is predicted to have worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// 0 makes no matches, 1 to 9 are zlib's levels.
    pub(super) level: u8,
    pub(super) strategy: Strategy,
    /// zlib's `memLevel`, 1 to 9, or 0 for what GNU gzip does.
    pub(super) memory: u8,
}

/// zlib's strategies, as far as they change matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    Default = 0,
    Filtered = 1,
    Runs = 2,
}

impl Settings {
    /// The two bytes that stand for it.
    pub(super) fn to_bytes(self) -> [u8; 2] {
        [self.level | (self.strategy as u8) << 4, self.memory]
    }

    /// The settings of two bytes, where they are any.
    pub(super) fn from_bytes([how, memory]: [u8; 2]) -> Option<Self> {
        let strategy = match how >> 4 {
            0 => Strategy::Default,
            1 => Strategy::Filtered,
            2 => Strategy::Runs,
            _ => return None,
        };
        let level = how & 15;
        (level <= 9 && memory <= 9).then_some(Self { level, strategy, memory })
    }

    /// Tokens after which a block ends, if nothing else ends it.
    pub(super) fn block_tokens(self) -> usize {
        match self.memory {
            0 => (1 << 15) - 1,
            memory => (1 << (memory + 6)) - 1,
        }
    }

    fn hash_bits(self) -> u32 {
        match self.memory {
            0 => 15,
            memory => u32::from(memory) + 7,
        }
    }

    pub(super) fn is_fast(self) -> bool {
        self.level < 4
    }

    fn effort(self) -> Effort {
        let [good_length, lazy_length, nice_length, chain] = match self.level {
            0 | 1 => [4, 4, 8, 4],
            2 => [4, 5, 16, 8],
            3 => [4, 6, 32, 32],
            4 => [4, 4, 16, 16],
            5 => [8, 16, 32, 32],
            6 => [8, 16, 128, 128],
            7 => [8, 32, 128, 256],
            8 => [32, 128, 258, 1024],
            _ => [32, 258, 258, 4096],
        };
        Effort { good_length, lazy_length, nice_length, chain }
    }
}

/// zlib's table of levels.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// With a match of this length at hand, a better one is looked for a quarter as long.
    good_length: usize,
    /// With a match of this length, none is looked for at the next byte; for the fast levels:
    /// the bytes within longer ones are not remembered.
    lazy_length: usize,
    /// A match of this length ends the search.
    nice_length: usize,
    /// So many places are looked at.
    chain: usize,
}

/// Matches are not farther away than this, so that a whole match fits the window.
const MAX_DISTANCE: usize = WINDOW_BYTES - (MAX_MATCH + MIN_MATCH + 1);
/// A match of three bytes that is farther away costs more than its literals.
const TOO_FAR: u16 = 4096;

/// So far away is nothing that is searched.
const BEYOND: u16 = u16::MAX;

/// Predicts tokens, one after the other, told of each what it really was.
pub(super) struct Predictor<'a> {
    plain: &'a [u8],
    settings: Settings,
    effort: Effort,
    hash_shift: u32,
    hash_mask: u32,
    /// The last place with each hash; 0 for none, which is why a match never starts at 0.
    head: Vec<u32>,
    /// How far before each place of the window the last one with the same hash is, or [`BEYOND`].
    previous: Box<[u16; WINDOW_BYTES]>,
    /// Places before this one are remembered.
    remembered: usize,
    position: usize,
    /// The match at `position` where it was looked for before.
    found: Option<Token>,
    /// The match one byte further on, where that is why a literal was predicted.
    ahead: Option<Token>,
    /// Places that were looked at so far.
    steps: u64,
}

impl<'a> Predictor<'a> {
    pub(super) fn new(plain: &'a [u8], settings: Settings) -> Self {
        let hash_bits = settings.hash_bits();
        Self {
            plain,
            settings,
            effort: settings.effort(),
            hash_shift: hash_bits.div_ceil(3),
            hash_mask: (1 << hash_bits) - 1,
            head: vec![0; 1 << hash_bits],
            previous: Box::new([BEYOND; WINDOW_BYTES]),
            remembered: 0,
            position: 0,
            found: None,
            ahead: None,
            steps: 0,
        }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Where the next token starts.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Places that were looked at so far: what predicting takes is about in proportion to these.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Bytes that are not in a token yet.
    pub(super) fn left(&self) -> usize {
        self.plain.len() - self.position
    }

    /// The next token, where there is one.
    pub(super) fn predict(&mut self) -> Token {
        self.ahead = None;
        if self.settings.level == 0 {
            return Token::LITERAL;
        }
        if self.settings.strategy == Strategy::Runs {
            return self.run();
        }
        let found = self.found.take().or_else(|| self.search(self.position, MIN_MATCH - 1));
        let Some(found) = found else { return Token::LITERAL };
        if self.settings.is_fast() || found.bytes() >= self.effort.lazy_length {
            return found;
        }
        self.ahead = self.search(self.position + 1, found.bytes());
        if self.ahead.is_some() { Token::LITERAL } else { found }
    }

    /// Goes on after the next token, which is `token`; it fits what is left.
    pub(super) fn advance(&mut self, token: Token) {
        self.found = self.ahead.take().filter(|_| token.is_literal());
        let end = self.position + token.bytes();
        if self.settings.is_fast() && token.bytes() > self.effort.lazy_length {
            self.remember(self.position + 1);
            self.remembered = end;
        }
        self.position = end;
    }

    /// Goes on after bytes that are in no token.
    pub(super) fn skip(&mut self, bytes: usize) {
        (self.found, self.ahead) = (None, None);
        self.position += bytes;
    }

    /// Repetitions of the byte before, as the strategy for runs takes them.
    fn run(&self) -> Token {
        let Some(before) = self.position.checked_sub(1).map(|at| self.plain[at]) else {
            return Token::LITERAL;
        };
        let rest = self.plain[self.position..].iter().take(MAX_MATCH);
        let length = rest.take_while(|byte| **byte == before).count();
        match u16::try_from(length) {
            Ok(length) if usize::from(length) >= MIN_MATCH => Token { length, distance: 1 },
            _ => Token::LITERAL,
        }
    }

    fn hash(&self, at: usize) -> usize {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(self.plain[at + i]));
        let shift = self.hash_shift;
        (((a << (2 * shift)) ^ (b << shift) ^ c) & self.hash_mask) as usize
    }

    /// Remembers the places before `end`.
    fn remember(&mut self, end: usize) {
        // The last places have no three bytes to be found by.
        let last = end.min(self.plain.len().saturating_sub(MIN_MATCH - 1));
        for at in self.remembered..last {
            let hash = self.hash(at);
            let head = &mut self.head[hash];
            let distance = u16::try_from(at - *head as usize).unwrap_or(BEYOND);
            self.previous[at % WINDOW_BYTES] = if *head == 0 { BEYOND } else { distance };
            *head = u32::try_from(at).unwrap_or(0);
        }
        self.remembered = self.remembered.max(end);
    }

    /// The match at `at` that is longer than `least` bytes and found first among the longest.
    fn search(&mut self, at: usize, least: usize) -> Option<Token> {
        self.remember(at);
        let left = self.plain.len() - at;
        if left < MIN_MATCH || least >= left {
            return None;
        }
        let (match_at, length) = self.longest(at, least, left)?;
        let token = Token {
            length: u16::try_from(length).ok()?,
            distance: u16::try_from(at - match_at).ok()?,
        };
        let is_dropped = !self.settings.is_fast()
            && ((length == MIN_MATCH && token.distance > TOO_FAR)
                || (length <= 5 && self.settings.strategy == Strategy::Filtered));
        (!is_dropped).then_some(token)
    }

    fn longest(&mut self, at: usize, least: usize, left: usize) -> Option<(usize, usize)> {
        let mut most = self.effort.chain;
        if least >= self.effort.good_length {
            most /= 4;
        }
        let mut chain = most;
        let nice_length = self.effort.nice_length.min(left);
        let here = &self.plain[at..at + left.min(MAX_MATCH)];
        let limit = u32::try_from(at.saturating_sub(MAX_DISTANCE)).ok()?;
        let mut candidate = self.head[self.hash(at)];
        // The first candidate may be one byte farther away than the others.
        if candidate == 0 || candidate < limit {
            return None;
        }
        let (mut best, mut length) = (None, least);
        let mut last_two = pair(&here[length - 1..], 0);
        let mut ends = &self.plain[length - 1..];
        loop {
            chain -= 1;
            // Most candidates fail here: nothing longer can agree without these two.
            if pair(ends, candidate) == last_two {
                let there = &self.plain[candidate as usize..][..here.len()];
                let common = common_prefix(there, here);
                if common > length {
                    (best, length) = (Some(candidate as usize), common);
                    if length >= nice_length {
                        break;
                    }
                    last_two = pair(&here[length - 1..], 0);
                    ends = &self.plain[length - 1..];
                }
            }
            let distance = u32::from(self.previous[candidate as usize % WINDOW_BYTES]);
            if chain == 0 || candidate <= limit + distance {
                break;
            }
            candidate -= distance;
        }
        self.steps += (most - chain) as u64;
        best.map(|best| (best, length))
    }
}

/// Two bytes at once, zeros after the end.
fn pair(bytes: &[u8], at: u32) -> u16 {
    let at = at as usize;
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_le_bytes([pair[0], pair[1]]))
}

/// How many bytes two strings of one length have in common at the front.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words, _) = a.as_chunks::<8>();
    let (others, _) = b.as_chunks::<8>();
    for (i, (word, other)) in words.iter().zip(others).enumerate() {
        let different = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return 8 * i + (different.trailing_zeros() / 8) as usize;
        }
    }
    let done = 8 * words.len();
    done + a[done..].iter().zip(&b[done..]).take_while(|(a, b)| a == b).count()
}
