//! Layouts, numbered: a table says which comes after each byte. To follow instructions by their rules a processor
//! guesses wrong at nearly each.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::layout::{Layout, Operand};

static AUTOMATON: LazyLock<Automaton> = LazyLock::new(Automaton::new);

/// An instruction, as far as it takes to know which operands come.
#[derive(Debug, Clone, Copy)]
pub(in crate::native) struct Follower {
    automaton: &'static Automaton,
    state: u8,
}

impl Default for Follower {
    fn default() -> Self {
        Self { automaton: &AUTOMATON, state: 0 }
    }
}

impl Follower {
    /// The operand that comes next, if one does.
    pub(in crate::native) fn operand(&self) -> Option<Operand> {
        self.automaton.operands[usize::from(self.state)]
    }

    /// Takes in the next byte.
    pub(in crate::native) fn push(&mut self, byte: u8) {
        self.state = self.automaton.next[usize::from(self.state)][usize::from(byte)];
    }
}

/// What there is about each state; the first is the beginning of an instruction.
#[derive(Debug)]
struct Automaton {
    /// The state after each byte.
    next: Vec<[u8; 256]>,
    operands: Vec<Option<Operand>>,
}

impl Automaton {
    fn new() -> Self {
        let mut layouts = vec![Layout::default()];
        let mut numbers = HashMap::from([(Layout::default(), 0)]);
        let mut next = Vec::new();
        while let Some(layout) = layouts.get(next.len()).copied() {
            let mut after = [0; 256];
            for (byte, number) in (0..=u8::MAX).zip(&mut after) {
                let mut layout = layout;
                layout.push(byte);
                let layout = layout.reduced();
                *number = *numbers.entry(layout).or_insert_with(|| {
                    layouts.push(layout);
                    u8::try_from(layouts.len() - 1).unwrap_or(0)
                });
            }
            next.push(after);
        }
        Self { next, operands: layouts.iter().map(Layout::operand).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_few() {
        assert!((64..=256).contains(&AUTOMATON.next.len()), "{}", AUTOMATON.next.len());
    }

    #[test]
    fn a_follower_is_where_the_layout_is() {
        let (mut layout, mut follower) = (Layout::default(), Follower::default());
        let (mut x, mut operands) = (1u64, 0);
        for _ in 0..1_000_000 {
            x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            // Opcodes and prefixes that matter are frequent.
            let bytes = [0x0f, 0x48, 0x66, 0xe8, 0x8d, 0x05, 0x84, 0xc7, 0xf7, 0xc5, 0x62];
            let [low, .., high] = x.to_le_bytes();
            let byte = bytes.get(usize::from(high & 15)).copied().unwrap_or(low ^ high);
            layout.push(byte);
            follower.push(byte);
            assert_eq!(layout.operand(), follower.operand());
            operands += u32::from(layout.operand().is_some());
        }
        assert!(operands > 10_000, "{operands}");
    }
}
