//! What the two streams that are mixed are predicted from.

use super::arithmetic::BitCoder;
use super::model::Model;
use super::tail::Tail;
use super::{Context, HASHED, hash};
use crate::native::streams::DifferenceSite;

/// The model of literals: they go on after the bytes that were made before them.
pub(in crate::native::streams) struct Literals {
    model: Model,
    /// By the last two bytes: the two that came after these the last two times, the last one low.
    followed: Box<[u16]>,
}

impl Literals {
    pub(in crate::native::streams) fn new(log: u8) -> Self {
        Self { model: Model::new(log), followed: vec![0; 1 << 16].into_boxed_slice() }
    }

    /// Codes bytes that come after `tail`.
    pub(in crate::native::streams) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        mut tail: Tail,
        bytes: &mut [u8],
    ) {
        for byte in bytes {
            let last = tail.last();
            let pair = (last[0] | last[1] << 8) as usize;
            let context = context_of_literal(last, self.followed[pair].into());
            *byte = self.model.code(coder, &context, *byte);
            tail.push_byte(*byte);
            self.followed[pair] = self.followed[pair] << 8 | u16::from(*byte);
        }
    }
}

fn context_of_literal([a, b, c, d, e, f]: [u32; 6], followed: u32) -> Context {
    let high = |byte: u32| byte >> 5;
    let values = [
        a | b << 8,
        high(a) | high(b) << 3 | high(c) << 6 | high(d) << 9 | high(e) << 12,
        followed,
        a | e << 8 | f << 16,
    ];
    let direct = [a, b, c].map(low_byte);
    Context { direct, keys: keys(values) }
}

/// The model of differences: what changes depends on what was there.
pub(in crate::native::streams) struct Differences {
    model: Model,
    /// The last two, the last one low.
    last: u32,
    /// By the old byte: the last difference to such a one.
    last_of: [u8; 256],
}

impl Differences {
    pub(in crate::native::streams) fn new(log: u8) -> Self {
        Self { model: Model::new(log), last: 0, last_of: [0; 256] }
    }

    /// Codes a difference.
    pub(in crate::native::streams) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        site: DifferenceSite,
        difference: u8,
    ) -> u8 {
        let (old, [a, b, ..]) = (u32::from(site.old), site.before.last());
        let (last, before) = (self.last & 0xff, self.last >> 8 & 0xff);
        let values = [
            old | u32::from(self.last_of[usize::from(site.old)]) << 8,
            old | a << 8 | b << 16,
            old | last << 8 | a << 16,
            old | last << 8 | before << 16,
        ];
        let direct = [last, old, a].map(low_byte);
        let context = Context { direct, keys: keys(values) };
        let difference = self.model.code(coder, &context, difference);
        self.last = self.last << 8 | u32::from(difference);
        self.last_of[usize::from(site.old)] = difference;
        difference
    }
}

/// The same value is another key in another context.
fn keys(values: [u32; HASHED]) -> [u32; HASHED] {
    let mut number = 0;
    values.map(|value| {
        number += 1;
        hash(value, number)
    })
}

fn low_byte(x: u32) -> u8 {
    x.to_le_bytes()[0]
}
