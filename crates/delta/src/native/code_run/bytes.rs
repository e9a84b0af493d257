//! Code of x86-64, whose instructions are followed byte by byte.

use super::{Apart, Place, Result};
use crate::native::streams::{StreamId, StreamReaders, StreamWriters, Tail};
use crate::native::x86_64::{Follower, Operand};

/// So many bytes before a run are followed, to find where instructions begin.
const BYTES_BEFORE: usize = 16;
const OPERAND_BYTES: u64 = 4;

pub(super) fn begin(tail: &Tail) -> Follower {
    let mut follower = Follower::default();
    tail.bytes().iter().rev().take(BYTES_BEFORE).rev().for_each(|byte| follower.push(*byte));
    follower
}

/// The operand that comes next, if one does and the run still has room for it.
fn apart(follower: &Follower, place: Place) -> Option<Apart> {
    let (stream, after) = match follower.operand()? {
        Operand::Call => (StreamId::Calls, 0),
        Operand::Jump => (StreamId::Jumps, 0),
        Operand::Place { after } => (StreamId::Places, after),
    };
    let next = place.at.wrapping_add(OPERAND_BYTES + u64::from(after));
    (place.left >= OPERAND_BYTES).then(|| Apart::new(stream, next))
}

pub(super) fn say(
    follower: &mut Follower,
    streams: &mut StreamWriters,
    piece: &[u8],
    place: Place,
) -> usize {
    let mut said = 0;
    while said < piece.len() {
        let rest = &piece[said..];
        let Some(apart) = apart(follower, place.after(said)) else {
            follower.push(rest[0]);
            streams.raw(StreamId::Literals).push(rest[0]);
            said += 1;
            continue;
        };
        let Some(operand) = rest.first_chunk() else { break };
        apart.say(streams, u32::from_le_bytes(*operand));
        operand.iter().for_each(|byte| follower.push(*byte));
        said += operand.len();
    }
    said
}

pub(super) fn make(
    follower: &mut Follower,
    streams: &mut StreamReaders,
    frame: &[u8],
    piece: &mut [u8],
    place: Place,
) -> Result<usize> {
    let mut made = 0;
    while made < piece.len() {
        let Some(apart) = apart(follower, place.after(made)) else {
            made += streams.bytes_until(StreamId::Literals, frame, &mut piece[made..], |byte| {
                follower.push(byte);
                follower.operand().is_some()
            })?;
            continue;
        };
        let Some(operand) = piece[made..].first_chunk_mut() else { break };
        *operand = apart.make(streams, frame)?.to_le_bytes();
        operand.iter().for_each(|byte| follower.push(*byte));
        made += operand.len();
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_targets_and_jumps_by_their_distances() {
        let mut follower = begin(&Tail::default());
        let mut operand_after = |bytes: &[u8], at| {
            bytes.iter().for_each(|byte| follower.push(*byte));
            let found = apart(&follower, Place { at, left: 4 }).unwrap();
            assert_eq!(apart(&follower, Place { at, left: 3 }), None);
            (0..4).for_each(|_| follower.push(0));
            found
        };
        let call = operand_after(&[0xe8], 0x1_0000_1000);
        assert_eq!((call.stream, call.stored(0xffff_fffc)), (StreamId::Calls, [0, 0, 0x10, 0]));
        let jump = operand_after(&[0x0f, 0x84], 0x1000);
        assert_eq!((jump.stream, jump.stored(0xffff_fffe)), (StreamId::Jumps, [0, 0, 0, 3]));
        // cmp byte [rip + 0x100], 1: the immediate is still to come.
        let place = operand_after(&[0x80, 0x3d], 0x2000);
        assert_eq!((place.stream, place.stored(0x100)), (StreamId::Places, [0, 0, 0x21, 5]));
    }
}
