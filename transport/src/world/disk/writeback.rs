//! The one system call of the project that no safe wrapper offers.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Asks the kernel to start writing all dirty pages of a file (`sync_file_range` with `SYNC_FILE_RANGE_WRITE` alone).
///
/// It promises nothing about durability, and it reports no failed write: the next sync does. Done for many files before
/// they are synced one by one, it lets the device work on all of them at once (1,000 files: 28 instead of 33 ms).
#[expect(unsafe_code, reason = "rustix does not offer sync_file_range")]
pub(super) fn start(file: &File) -> io::Result<()> {
    // SAFETY: takes no pointers; the descriptor is open for as long as `file` is borrowed.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // File systems that cannot do it leave the work to the sync.
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE) => Ok(()),
        _ => Err(error),
    }
}
