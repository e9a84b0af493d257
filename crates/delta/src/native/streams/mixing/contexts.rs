//! What the two streams that are mixed are predicted from.

use super::arithmetic::BitCoder;
use super::instructions::Instruction;
use super::model::Model;
use super::tail::Tail;
use super::{Context, HASHED, hash, low_byte, nudged};
use crate::native::streams::DifferenceSite;
use crate::native::x86_64::PARTS;

/// The model of literals: they go on after the bytes that were made before them.
pub(in crate::native::streams) struct Literals {
    model: Model,
    /// By the last two bytes: the two that came after these the last two times, the last one low.
    followed: Box<[u16]>,
    /// How many of the last instructions code hardly has, of 65,536.
    strangeness: u16,
}

/// What is stranger is no code.
const MOST_STRANGENESS: u16 = 1000;

impl Literals {
    pub(in crate::native::streams) fn new(log: u8) -> Self {
        let followed = vec![0; 1 << 16].into_boxed_slice();
        Self { model: Model::new(log), followed, strangeness: 0 }
    }

    /// Codes bytes that come after `tail`.
    pub(in crate::native::streams) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        mut tail: Tail,
        bytes: &mut [u8],
    ) {
        let mut instruction = Instruction::after(&tail);
        for byte in bytes {
            let [a, b, ..] = tail.last();
            let pair = (a | b << 8) as usize;
            let context = self.context(&tail, self.followed[pair].into(), &instruction);
            *byte = self.model.code(coder, &context, *byte);
            tail.push_byte(*byte);
            instruction.push(*byte);
            self.followed[pair] = self.followed[pair] << 8 | u16::from(*byte);
            if let Some(is_strange) = instruction.ended() {
                self.strangeness = nudged(self.strangeness, is_strange);
            }
        }
    }

    fn context(&self, tail: &Tail, followed: u32, instruction: &Instruction) -> Context {
        let [a, b, c, d, e, f] = tail.last();
        let high = |byte: u32| byte >> 5;
        let highs = high(a) | high(b) << 3 | high(c) << 6 | high(d) << 9 | high(e) << 12;
        let is_text = tail.is_text();
        if is_text || self.strangeness > MOST_STRANGENESS {
            let third = if is_text { b << 8 | c << 16 | 1 << 24 } else { e << 8 | f << 16 };
            return Context {
                direct: [a, b, c].map(low_byte),
                keys: keys([highs, followed, a | b << 8, a | third]),
                part: PARTS + low_byte(high(a)),
                selector: low_byte(b),
                refinement: low_byte(high(a)),
            };
        }
        let kind = instruction.kind();
        Context {
            direct: [u32::from(kind) << 5 | a >> 3, b, c].map(low_byte),
            keys: keys([highs, followed, instruction.as_it_is(), instruction.in_order()]),
            part: instruction.part(),
            selector: low_byte(b),
            refinement: kind,
        }
    }
}

/// The model of differences: what changes depends on what was there.
pub(in crate::native::streams) struct Differences {
    model: Model,
    /// The last two, the last one low.
    last: u32,
}

impl Differences {
    pub(in crate::native::streams) fn new(log: u8) -> Self {
        Self { model: Model::new(log), last: 0 }
    }

    /// Codes a difference.
    pub(in crate::native::streams) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        site: DifferenceSite,
        difference: u8,
    ) -> u8 {
        let [old, next, second] = site.old.map(u32::from);
        let [a, b, ..] = site.before.last();
        let (last, before) = (self.last & 0xff, self.last >> 8 & 0xff);
        let values = [
            old | next << 8 | second << 16,
            old | a << 8 | b << 16,
            old | last << 8 | a << 16,
            old | last << 8 | before << 16,
        ];
        let context = Context {
            direct: [last, old, next].map(low_byte),
            keys: keys(values),
            part: 0,
            selector: low_byte(next),
            refinement: low_byte(last >> 5),
        };
        let difference = self.model.code(coder, &context, difference);
        self.last = self.last << 8 | u32::from(difference);
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
