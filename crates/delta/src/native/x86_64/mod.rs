//! Instructions of x86-64, as far as it takes to know where in one a byte is.

mod automaton;
mod layout;
mod opcodes;

pub(super) use automaton::Follower;
pub(super) use layout::{Layout, Operand, PARTS};
pub(super) use opcodes::is_strange;
