//! What engines keep: notes on tars.

use std::fs;
use std::os::unix::fs::symlink;

use engine::LayerBytes;
use engine::tar_split::{SplitLayer, TarSplit};

use crate::archives::{temporary_folder, write_files};
use crate::sections;

/// A layer that says it is larger is not read to its end.
const MAX_READ_BYTES: u64 = 1 << 20;
/// What nobody may read.
const BESIDE: &[u8] = b"beside the layer's folder, where no note leads";

/// The first file of the input is the notes, the others are those that the engine unpacked.
///
/// Reading in pieces gives what reading at once gives, in any order; and nothing outside the folder comes out.
pub(crate) fn tar_split(data: &[u8]) {
    let files = sections::parse(data);
    let Some((notes, files)) = files.split_first() else { return };
    let Ok(notes) = TarSplit::read(notes.content.as_slice()) else { return };
    let folder = temporary_folder();
    let layer_folder = folder.path().join("diff");
    fs::create_dir(&layer_folder)
        .and_then(|()| fs::write(folder.path().join("beside"), BESIDE))
        .and_then(|()| symlink("..", layer_folder.join("up")))
        .and_then(|()| symlink(folder.path().join("beside"), layer_folder.join("link")))
        .expect("files");
    write_files(&layer_folder, files);
    let layer = SplitLayer::open(notes, &layer_folder).expect("a folder that is there");
    let size = layer.size_bytes();
    let read = |start: u64, end: u64| {
        let length = usize::try_from(end - start).expect("a mebibyte");
        let mut bytes = vec![0; length];
        layer.read_exact_at(&mut bytes, start).map(|()| bytes)
    };
    let end = size.min(MAX_READ_BYTES);
    let whole = read(0, end);
    // The last piece first.
    let mut pieces = Vec::new();
    let mut to = end;
    while to > 0 {
        let from = to.saturating_sub(3001);
        pieces.push(read(from, to));
        to = from;
    }
    let pieces: Result<Vec<Vec<u8>>, _> = pieces.into_iter().rev().collect();
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?}");
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert!(whole == pieces.concat(), "pieces are not the whole");
        let is_beside = whole.windows(BESIDE.len()).any(|window| window == BESIDE);
        assert!(!is_beside, "a file beside the folder was read");
    }
    assert!(layer.read_exact_at(&mut [0], size).is_err(), "a byte after the end was read");
    let _ = layer.changed_files();
}
