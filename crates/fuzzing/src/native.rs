//! Native deltas: the header alone, whole deltas, and operations that need no compressor to be said.
//!
//! The framing is that of `docs/formats`; a test here fails when it is another.

use delta::ReadAt;
use delta::native::{DecodeError, EncodeReport, LayerDecoder, Limits, Needs, VERSION, read_needs};
use delta::read_at::{ReadError, check_range};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use crate::reframe;

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 4 << 20 };
/// Frames whose output digest is made right before it is given up.
const MAX_ROUNDS: usize = 6;

/// The header, with its digest right.
pub(crate) fn header(data: &[u8]) {
    let _ = read_needs(&mut &*data, &LIMITS);
    let reframed = reframe::native(data);
    if let Ok(needs) = read_needs(&mut reframed.as_slice(), &LIMITS) {
        assert!(needs.memory_bytes <= LIMITS.memory_bytes);
        assert!(needs.output_bytes <= LIMITS.output_bytes);
    }
}

/// A whole delta, with all digests of what is stored right.
pub(crate) fn decode(data: &[u8]) {
    decode_to_the_end(reframe::native(data));
}

/// One frame whose streams are not compressed yet: the lengths of all but the last, two bytes each;
/// the length of its output, three bytes; then the streams.
pub(crate) fn streams(data: &[u8]) {
    if let Some(frame) = frame_of_streams(data) {
        decode_to_the_end([&header_of_a_small_delta()[..], &frame].concat());
    }
}

/// Decodes, and each time that only the output digest of a frame is wrong, makes it right and begins
/// again. Tells whether the end was reached.
fn decode_to_the_end(mut delta: Vec<u8>) -> bool {
    for _ in 0..MAX_ROUNDS {
        match decode_once(&delta) {
            Ended::WrongOutput { frame, output } => {
                let starts = reframe::frame_starts(&delta);
                let Some(at) = usize::try_from(frame).ok().and_then(|frame| starts.get(frame))
                else {
                    return false;
                };
                reframe::set_frame_output(&mut delta, *at, &output);
            }
            Ended::Well => {
                check_accepts(&delta);
                return true;
            }
            Ended::Badly => return false,
        }
    }
    false
}

enum Ended {
    Well,
    Badly,
    /// What this frame makes is not what it says.
    WrongOutput {
        frame: u64,
        output: Vec<u8>,
    },
}

fn decode_once(delta: &[u8]) -> Ended {
    let Ok(mut decoder) = LayerDecoder::new(delta, &LIMITS) else {
        return Ended::Badly;
    };
    let origins: Vec<Repeated> = sizes_of_origins(decoder.needs()).map(Repeated).collect();
    let origins: Vec<&dyn ReadAt> = origins.iter().map(|origin| origin as &dyn ReadAt).collect();
    let mut made = 0;
    loop {
        let mut output = Vec::new();
        match decoder.next_frame(&origins, &mut output) {
            Ok(Some(info)) => {
                made += output.len() as u64;
                assert_eq!(info.target_bytes, made);
                assert!(info.delta_bytes <= delta.len() as u64);
            }
            Ok(None) => {
                assert_eq!(made, decoder.needs().output_bytes);
                return Ended::Well;
            }
            Err(DecodeError::OutputWrong { frame, .. }) => {
                return Ended::WrongOutput { frame, output };
            }
            Err(_) => return Ended::Badly,
        }
    }
}

fn sizes_of_origins(needs: &Needs) -> impl Iterator<Item = u64> {
    needs.origins.iter().map(|origin| origin.size())
}

/// What can be applied passes the check that is made before anything is written.
fn check_accepts(delta: &[u8]) {
    let mut decoder = LayerDecoder::new(delta, &LIMITS).expect("was decoded before");
    while decoder.check_frame().expect("was decoded before").is_some() {}
}

/// As many bytes as a header claims, few of them in memory: a small tar and a library, again and again.
struct Repeated(u64);

const TAR: &[u8] = include_bytes!("../../../testdata/vectors/silt-1/base.tar");
const LIBRARY: &[u8] = include_bytes!("../../../testdata/executables/x86_64.old");

impl ReadAt for Repeated {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        check_range(self.0, offset, buffer.len())?;
        let period = (TAR.len() + LIBRARY.len()) as u64;
        let start = usize::try_from(offset % period).unwrap_or(0);
        let files = TAR.iter().chain(LIBRARY).cycle().skip(start);
        buffer.iter_mut().zip(files).for_each(|(byte, from)| *byte = *from);
        Ok(())
    }
}

/// How many streams a delta may have.
fn stream_count() -> usize {
    EncodeReport::default().stream_bytes.len()
}

/// An input of [`streams`].
pub fn input_of_streams(streams: &[&[u8]], output_bytes: u32) -> Vec<u8> {
    let mut streams = streams.to_vec();
    streams.resize(stream_count(), &[]);
    let length = |stream: &&[u8]| u16::try_from(stream.len()).unwrap_or(u16::MAX).to_le_bytes();
    let lengths = streams[..streams.len() - 1].iter().flat_map(length);
    let output = &output_bytes.to_le_bytes()[..3];
    [&lengths.collect::<Vec<_>>(), output, &streams.concat()].concat()
}

/// Bytes of the executable of [`input_of_an_executable`].
const EXECUTABLE_BYTES: u64 = 2500;

/// References in the executable.
const SITES: u64 = 107;

/// An input of [`streams`] that is an executable made out of most of the library: a cover of the map, five literals,
/// two covers beside the map, three literals.
pub fn input_of_an_executable() -> Vec<u8> {
    let parameters = [&[0, 4][..], &[0; 16]].concat();
    let numbers = |numbers: &[u64]| {
        let mut stream = Vec::new();
        numbers.iter().for_each(|number| put_varint(&mut stream, *number));
        stream
    };
    let (library, parameter_bytes) = (LIBRARY.len() as u64, parameters.len() as u64);
    let (mapped, first) = (1200, 700);
    let second = EXECUTABLE_BYTES - mapped - first - 8;
    let lengths = numbers(&[mapped, first, second]);
    let between = numbers(&[1, library, EXECUTABLE_BYTES, parameter_bytes, 1, 0, 5, 0, 3]);
    // The library is behind the tar; code is at 0x1050 of it.
    // All that is equal, and all references that are right, to the end.
    let (gaps, right) = (numbers(&[10, 30, mapped + first + second - 42]), numbers(&[SITES]));
    let place = numbers(&[0, 2 * TAR.len() as u64]);
    let old = numbers(&[2 * 0x1050, 20, 2 * 64 + 1]);
    let streams: [&[u8]; 12] = [
        &[6],
        &lengths,
        &place,
        &gaps,
        &[1, 2],
        b"hello!!!",
        &[],
        &parameters,
        &between,
        &old,
        &right,
        &[],
    ];
    let output_bytes = u32::try_from(EXECUTABLE_BYTES).unwrap_or(0);
    input_of_streams(&streams, output_bytes)
}

/// The id of zstd.
const CODEC: u8 = 1;
const WINDOW_LOG: u8 = 16;

/// All streams, each zstd with a window of 64 KiB, two origins of 1 MiB and 2^40 bytes, and the layer itself.
fn header_of_a_small_delta() -> Vec<u8> {
    let mut payload = vec![0];
    payload.extend([7; 32]);
    // Output, memory, memory of regions, what frames store and make at most, and three origins.
    for number in [1 << 20, 12 << 20, 2 << 20, 1 << 20, 1 << 20, 3] {
        put_varint(&mut payload, number);
    }
    for (diff_id, size) in [(1, 1 << 20), (2, 1 << 40)] {
        payload.push(0);
        payload.extend([diff_id; 32]);
        put_varint(&mut payload, size);
    }
    payload.push(2);
    put_varint(&mut payload, stream_count() as u64);
    for (id, _) in (0..).zip(0..stream_count()) {
        payload.extend([id, CODEC, WINDOW_LOG]);
    }
    let length = u32::try_from(payload.len()).unwrap_or(0).to_le_bytes();
    let fixed = [&[0; 8][..], &VERSION.to_le_bytes(), &length].concat();
    reframe::native(&[&fixed[..], &payload, &[0; 8]].concat())
}

fn frame_of_streams(data: &[u8]) -> Option<Vec<u8>> {
    let lengths_end = 2 * (stream_count() - 1);
    let (lengths, rest) = data.split_at_checked(lengths_end)?;
    let (output, mut rest) = rest.split_first_chunk::<3>()?;
    let output_bytes = u32::from_le_bytes([output[0], output[1], output[2], 0]);
    let mut table = Vec::new();
    let mut stored = Vec::new();
    for i in 0..stream_count() {
        let length = match lengths.get(2 * i..2 * i + 2) {
            Some(length) => usize::from(u16::from_le_bytes([length[0], length[1]])),
            None => rest.len(),
        };
        let (stream, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        let chunk = compress(stream);
        put_varint(&mut table, stream.len() as u64);
        put_varint(&mut table, chunk.len() as u64);
        stored.extend(chunk);
    }
    let mut frame = vec![0; 8];
    frame.extend(u32::try_from(table.len() + stored.len()).ok()?.to_le_bytes());
    frame.extend(output_bytes.to_le_bytes());
    frame.extend([0; 8]);
    frame.extend(table);
    frame.extend(stored);
    let end = reframe::seal_frame(&mut frame, 0);
    (end == frame.len()).then_some(frame)
}

/// A zstd frame that is flushed and not ended; nothing where there is nothing.
fn compress(stream: &[u8]) -> Vec<u8> {
    if stream.is_empty() {
        return Vec::new();
    }
    let mut encoder = Encoder::new(1).expect("memory for a compressor");
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG.into())).expect("a small window");
    encoder.set_parameter(CParameter::ContentSizeFlag(false)).expect("a known parameter");
    let mut out = vec![0; zstd::zstd_safe::compress_bound(stream.len()) + 1024];
    let mut output = OutBuffer::around(&mut out[..]);
    let mut input = InBuffer::around(stream);
    while input.pos() < stream.len() {
        encoder.run(&mut input, &mut output).expect("room for all of it");
    }
    while encoder.flush(&mut output).expect("room for all of it") > 0 {}
    let length = output.pos();
    out.truncate(length);
    out
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &[u8] = include_bytes!("../../../testdata/vectors/silt-1/delta.silt");

    /// The framing that the harness knows is the one that is written.
    #[test]
    fn a_right_delta_is_left_as_it_is() {
        assert_eq!(reframe::native(VECTOR), VECTOR);
        let mut damaged = VECTOR.to_vec();
        let starts = reframe::frame_starts(VECTOR);
        for at in [0, starts[0], starts[0] + 8] {
            damaged[at] ^= 0x55;
        }
        damaged[starts[0] + 8..starts[0] + 12].copy_from_slice(&[0xff; 4]);
        let end = VECTOR.len() - 1;
        assert_eq!(reframe::native(&damaged)[..end], VECTOR[..end]);
    }

    /// Where only a frame's output digest is wrong, the harness goes on.
    #[test]
    fn a_delta_is_decoded_to_its_end() {
        let mut delta = VECTOR.to_vec();
        let first = reframe::frame_starts(VECTOR)[0];
        delta[first + 16] ^= 1;
        assert!(decode_to_the_end(reframe::native(&delta)));
    }

    #[test]
    fn streams_that_are_put_together_by_hand_are_read() {
        let input = input_of_streams(&[&[1, 0x80], &[5, 100], &[], &[], &[], b"hello"], 105);
        let frame = frame_of_streams(&input).unwrap();
        let delta = [&header_of_a_small_delta()[..], &frame].concat();
        let Ended::WrongOutput { frame: 0, output } = decode_once(&delta) else {
            panic!("a literal and a copy were not read");
        };
        assert_eq!((output.len(), &output[..5]), (105, b"hello".as_slice()));
    }

    #[test]
    fn an_executable_that_is_put_together_by_hand_is_made() {
        let frame = frame_of_streams(&input_of_an_executable()).unwrap();
        let delta = [&header_of_a_small_delta()[..], &frame].concat();
        let Ended::WrongOutput { frame: 0, output } = decode_once(&delta) else {
            panic!("an executable was not read");
        };
        assert_eq!(output.len() as u64, EXECUTABLE_BYTES);
        assert_eq!((&output[1200..1205], &output[2497..]), (&b"hello"[..], &b"!!!"[..]));
        let equal = output.iter().zip(&LIBRARY[0x1050..]).take(1200).filter(|(a, b)| a == b);
        assert!(equal.count() > 1100);
    }
}
