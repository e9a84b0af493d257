//! Decompressed pieces of layers that were read last: one bound for all layers that are open.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept of all layers together.
const MAX_BYTES: usize = 8 << 20;
/// However small they are.
const MAX_PIECES: usize = 256;

/// Pieces by layer and number.
#[derive(Default)]
pub(crate) struct PieceCache {
    kept: Mutex<Kept>,
    layers: AtomicU64,
}

/// The part of a cache that is one layer's.
pub(crate) struct LayerPieces {
    cache: Arc<PieceCache>,
    layer: u64,
}

/// A layer, and a piece of it.
type Key = (u64, u64);

#[derive(Default)]
struct Kept {
    /// The one that was used last is at the end.
    pieces: VecDeque<(Key, Arc<[u8]>)>,
    bytes: usize,
}

impl PieceCache {
    /// A place for the pieces of one more layer.
    pub(crate) fn layer(self: &Arc<Self>) -> LayerPieces {
        let layer = self.layers.fetch_add(1, Ordering::Relaxed);
        LayerPieces { cache: self.clone(), layer }
    }
}

impl LayerPieces {
    pub(crate) fn get(&self, number: u64) -> Option<Arc<[u8]>> {
        let mut kept = self.cache.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.layer, number);
        let at = kept.pieces.iter().position(|(known, _)| *known == key)?;
        let found = kept.pieces.remove(at)?;
        let piece = found.1.clone();
        kept.pieces.push_back(found);
        Some(piece)
    }

    pub(crate) fn add(&self, number: u64, piece: Arc<[u8]>) {
        let mut kept = self.cache.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += piece.len();
        kept.pieces.push_back(((self.layer, number), piece));
        while kept.bytes > MAX_BYTES || kept.pieces.len() > MAX_PIECES {
            let Some((_, oldest)) = kept.pieces.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layers_together_have_one_bound() {
        let cache = Arc::new(PieceCache::default());
        let layers: Vec<LayerPieces> = (0..20).map(|_| cache.layer()).collect();
        for (number, layer) in (0..).zip(&layers) {
            layer.add(7, vec![number; 1 << 20].into());
            // The first one is asked for again and again, and stays.
            assert_eq!(layers[0].get(7).unwrap()[0], 0);
        }
        let kept = |layer: &LayerPieces| layer.get(7).is_some();
        assert_eq!(layers.iter().filter(|layer| kept(layer)).count(), MAX_BYTES >> 20);
        assert_eq!(layers[19].get(7).unwrap()[0], 19);
        assert!(layers[19].get(8).is_none());
        assert!(layers[1].get(7).is_none());
    }
}
