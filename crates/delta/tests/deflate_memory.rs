//! What taking streams apart and making them again allocates, against what is promised.
#![allow(missing_docs, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use delta::deflate::*;

/// Counts bytes that are in use, and the most there were.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// Passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(USED.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), SeqCst);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were in use at once beside those before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = USED.load(SeqCst);
    PEAK.store(before, SeqCst);
    let result = work();
    (result, (PEAK.load(SeqCst) - before) as u64)
}

/// Tests run at once in one program: one test measures everything.
#[test]
fn memory_is_as_promised() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/deflate");
    let one = inflate(&std::fs::read(format!("{folder}/zlib-6")).unwrap(), 0, 42_704, u64::MAX)
        .unwrap()
        .0;
    // Bytes without a match fill the list of a block's tokens.
    let noise: Vec<u8> =
        (0u32..1_000_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    for plain in [one.repeat(100), noise, one, b"a few words".to_vec()] {
        for level in [1, 6, 9] {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
            std::io::Write::write_all(&mut encoder, &plain).unwrap();
            let stream = encoder.finish().unwrap();
            let limits = AnalyseLimits { plain_bytes: plain.len() };

            let (analysed, used) = peak(|| analyse(&stream, &limits));
            let promised = analyse_memory_bytes(&limits);
            assert!(used <= promised, "analyse {}: {used} > {promised}", plain.len());

            let (_, used) = peak(|| inflate(&stream, 0, plain.len() as u64, u64::MAX).unwrap());
            let promised = plain.len() as u64 + INFLATE_STATE_BYTES;
            assert!(used <= promised, "inflate {}: {used} > {promised}", plain.len());

            // One block of all settings, whatever the stream: as many tokens as there may be.
            let corrections = analysed.map_or(vec![1, 9, 9], |analysed| analysed.corrections);
            for corrections in [corrections, vec![1, 0, 9, 1, 0xff, 0xff, 7], vec![1, 9, 9]] {
                let expected = Expected::of_length(stream.len() as u64);
                let mut out = std::io::sink();
                let (_, used) = peak(|| recreate(&plain, &corrections, &expected, &mut out));
                let promised = recreate_memory_bytes(plain.len() as u64);
                assert!(used <= promised, "recreate {}: {used} > {promised}", plain.len());
            }
        }
    }
}
