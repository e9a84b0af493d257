//! Whether a file system keeps the order of renames by itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use crate::store::Store;

/// Where the kernel shows the journals of ext4's mounts, each as `DEVICE-INODE`.
const JOURNALS: &str = "/proc/fs/jbd2";
/// The journal's inode where ext4 keeps it in itself (`EXT4_JOURNAL_INO`).
const JOURNAL_INODE: u32 = 8;

impl Store {
    /// Whether names that change in this store come to the device in the order in which they were
    /// changed, with no sync in between.
    ///
    /// That holds on ext4 with a journal: each rename is a part of one of its transactions, which are
    /// committed one after the other, each as a whole. Waiting for the first of two renames would cost one
    /// commit more, of some seven blocks. Where it is not known, the answer is no.
    pub(crate) fn keeps_order_of_names(&self) -> bool {
        let root = self.root();
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let Some(of_root) = device(root) else { return false };
        let others = [self.blobs(), self.block_files(), self.temporary()];
        others.iter().all(|path| device(path) == Some(of_root)) && has_journal(of_root)
    }
}

fn has_journal(device: u64) -> bool {
    let link = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let target = fs::read_link(link).ok();
    let name = target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.is_some_and(|name| journal_path(name).is_dir())
}

fn journal_path(device_name: &str) -> PathBuf {
    Path::new(JOURNALS).join(format!("{device_name}-{JOURNAL_INODE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ext4_has_no_journal_of_its_kind() {
        let proc = fs::metadata("/proc").unwrap().dev();
        assert!(!has_journal(proc));
        assert_eq!(journal_path("mmcblk0p2"), Path::new("/proc/fs/jbd2/mmcblk0p2-8"));
    }
}
