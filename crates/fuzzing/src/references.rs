//! References in executables: an old file, covers and residuals that an enemy wrote.

use delta::read_at::ReadError;
use delta::references::{Machine, Prediction, Predictor, RegionCover, Residuals};

/// Length of the region that is made.
const REGION_BYTES: u16 = u16::MAX;

/// A residual for every site, made out of its place.
struct AnyResiduals;

impl Residuals for AnyResiduals {
    type Error = ReadError;

    fn actual(&mut self, prediction: &Prediction) -> Result<u64, ReadError> {
        assert!(matches!(prediction.width, 4 | 8));
        assert!(prediction.place + u64::from(prediction.width) <= u64::from(REGION_BYTES));
        // Every other one is right.
        let sign = if prediction.place.is_multiple_of(3) { -1 } else { 1 };
        let residual = i64::from(prediction.place.to_le_bytes()[0] & 0x51) * sign;
        let actual = prediction.actual(residual);
        assert_eq!(prediction.residual(actual), residual);
        Ok(actual)
    }
}

/// The machine, the count of covers, 6 bytes for each (target, old offset, length), the length of the
/// parameters and those, and the old file.
///
/// Pieces are the covers, in order and whole.
pub(crate) fn references(data: &[u8]) {
    let Some(Input { machine, covers, parameters, old }) = Input::parse(data) else { return };
    let length = u64::from(REGION_BYTES);
    let range = 0..old.len() as u64;
    let begun = Predictor::new(machine, &old, range, parameters, covers.clone(), length);
    let Ok(mut predictor) = begun else { return };
    let mut out = Vec::new();
    let mut ends: Vec<u32> = covers.iter().map(|cover| cover.target).collect();
    while let Some(piece) =
        predictor.next_piece(&old, &mut AnyResiduals, &mut out).expect("memory can be read")
    {
        assert_eq!(piece.length, out.len() as u64);
        assert!(piece.length <= Predictor::MAX_PIECE_BYTES && piece.length > 0);
        assert_eq!(piece.target, u64::from(ends[piece.cover]));
        ends[piece.cover] += u32::try_from(piece.length).expect("a piece is short");
    }
    assert!(ends.iter().zip(&covers).all(|(end, cover)| *end == cover.target_end()));
}

struct Input<'a> {
    machine: Machine,
    covers: Vec<RegionCover>,
    parameters: &'a [u8],
    old: &'a [u8],
}

impl<'a> Input<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let (&[machine, covers], rest) = data.split_first_chunk()?;
        let (covers, rest) = rest.split_at_checked(usize::from(covers) * 6)?;
        let half = |bytes: &[u8]| u32::from(bytes[0]) | u32::from(bytes[1]) << 8;
        let cover = |bytes: &[u8]| RegionCover {
            target: half(bytes),
            old: half(&bytes[2..]),
            length: half(&bytes[4..]),
        };
        let covers = covers.chunks_exact(6).map(cover).collect();
        let (&parameters, rest) = rest.split_first()?;
        let (parameters, old) = rest.split_at_checked(parameters.into())?;
        Some(Self { machine: Machine::of_id(machine)?, covers, parameters, old })
    }
}
