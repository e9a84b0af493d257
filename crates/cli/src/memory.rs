//! How the C library's allocator keeps memory.

/// Has all threads take memory from one heap.
///
/// glibc gives each thread one of its own, and what one thread frees there no other can use: a delta made with
/// `--memory 64M` took 118 MB so, and takes 77 MB from one heap, in the same time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn share_one_heap() {
    // SAFETY: it sets a number in the allocator, before there are other threads. A refusal is no matter.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Other allocators have nothing to set.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_one_heap() {}
