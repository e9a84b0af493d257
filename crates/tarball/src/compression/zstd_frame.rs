//! The head of a zstd frame ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878#section-3.1)): read
//! here so that the memory which a frame asks for is known before a decoder allocates it.

/// The longest head: magic, descriptor, window, dictionary id, content size.
pub(super) const MAX_HEAD_BYTES: usize = 18;

/// What a decoder holds beside its window: tables, a block and its literals.
const CONTEXT_BYTES: u64 = 512 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameHead {
    /// Compressed data that needs a window of this many bytes.
    Data { window_bytes: u64 },
    /// Application data of this many bytes, head not included.
    Skippable { bytes: u32 },
}

impl FrameHead {
    /// Reads the head out of the next [`MAX_HEAD_BYTES`] bytes; `None` where no frame starts there.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let magic = u32::from_le_bytes(*head.first_chunk()?);
        if magic & 0xffff_fff0 == 0x184d_2a50 {
            let bytes = u32::from_le_bytes(*head.get(4..)?.first_chunk()?);
            return Some(Self::Skippable { bytes });
        }
        if magic != 0xfd2f_b528 {
            return None;
        }
        let descriptor = *head.get(4)?;
        let window_bytes = if descriptor & 0x20 == 0 {
            window_bytes(*head.get(5)?)
        } else {
            content_bytes(descriptor, head.get(5..)?)?
        };
        Some(Self::Data { window_bytes })
    }
}

/// Memory for a window of this size.
pub(super) fn memory_bytes(window_bytes: u64) -> u64 {
    window_bytes.saturating_add(CONTEXT_BYTES)
}

/// The `window_log_max` that just lets such a window pass.
pub(super) fn window_log(window_bytes: u64) -> u32 {
    let log = u64::BITS - window_bytes.saturating_sub(1).leading_zeros();
    log.clamp(10, if cfg!(target_pointer_width = "32") { 30 } else { 31 })
}

fn window_bytes(descriptor: u8) -> u64 {
    let base = 1u64 << (10 + (descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

/// A frame of a single segment has its content for a window.
fn content_bytes(descriptor: u8, after: &[u8]) -> Option<u64> {
    let dictionary_id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let field = after.get(dictionary_id_bytes..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*field.first()?),
        1 => u64::from(u16::from_le_bytes(*field.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*field.first_chunk()?)),
        _ => u64::from_le_bytes(*field.first_chunk()?),
    })
}
