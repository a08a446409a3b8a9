//! A file of a Unix: a descriptor that is known to `descriptors.rs`, read and written at places.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Bound;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use redb::{BackendError, StorageBackend};

use crate::descriptors;

#[derive(Debug)]
pub(crate) struct UnixFile {
    file: File,
    /// Its note.
    place: usize,
}

impl UnixFile {
    pub(super) fn new(file: File) -> io::Result<UnixFile> {
        let place = descriptors::note(file.as_raw_fd());
        let place = place.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        Ok(UnixFile { file, place })
    }

    /// What is there reads as zeros. That it cannot be done is no error: it saves room only.
    #[cfg(target_os = "linux")]
    pub(super) fn make_hole(&self, place: &std::ops::Range<u64>) {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (offset, len) = (place.start as i64, (place.end - place.start) as i64);
        // SAFETY: an open descriptor; no memory is concerned.
        unsafe { libc::fallocate64(self.file.as_raw_fd(), mode, offset, len) };
    }

    #[cfg(target_os = "linux")]
    pub(super) fn forget_cache(&self) {
        // SAFETY: an open descriptor; it changes nothing of what is stored.
        unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    }
}

impl Drop for UnixFile {
    /// The file itself closes after that.
    fn drop(&mut self) {
        // A child may have the descriptor for a moment: by name, so that the lock ends now.
        let _ = self.file.unlock();
        descriptors::forget(self.place);
    }
}

impl StorageBackend for UnixFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    /// Of the whole file, whatever the range.
    fn try_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(BackendError::Io(error)),
        }
    }
}
