//! An open file, its lock, and what the system is asked about it. It stays open and locked when
//! redb gives up its database, and opens it again (`recovery.rs`).

#[cfg(test)]
pub(crate) mod chaos;
#[cfg(unix)]
mod unix;

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Bound, Range};
use std::path::Path;

use redb::StorageBackend;

#[cfg(not(unix))]
type Inner = redb::backends::FileBackend;
#[cfg(unix)]
type Inner = unix::UnixFile;

/// What redb begins a file with, when all of the rest of a new one is on the disk.
const MAGIC_LEN: usize = 9;
/// The page where that is, and more than a new file has.
const HEADER_LEN: u64 = 4096;
const NEW_LEN: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) inner: Inner,
    #[cfg(test)]
    pub(crate) chaos: chaos::Chaos,
}

impl Disk {
    /// Opens a file, which is made if it is not there and `creates`.
    pub(crate) fn open(path: &Path, creates: bool) -> io::Result<Disk> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(creates);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Disk {
            inner: inner(options.open(path)?)?,
            #[cfg(test)]
            chaos: chaos::Chaos::default(),
        })
    }

    /// Takes the lock that keeps other processes, and other descriptors of this one, from the file.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        Ok(self
            .inner
            .try_lock_range(Bound::Unbounded, Bound::Unbounded)?)
    }

    /// Empties a file whose maker did not live to finish it: redb writes its mark last, so nothing
    /// was ever stored. Any other file stays as it is.
    pub(crate) fn empty_if_half_made(&self) -> io::Result<()> {
        let len = self.inner.len()?;
        if len == 0 || len > NEW_LEN {
            return Ok(());
        }
        let mut bytes = vec![0; len as usize];
        self.inner.read(0, &mut bytes)?;
        let mark = &bytes[..bytes.len().min(MAGIC_LEN)];
        let behind = bytes.get(HEADER_LEN as usize..).unwrap_or_default();
        if mark.iter().chain(behind).all(|byte| *byte == 0) {
            self.inner.set_len(0)?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.inner.len()? == 0)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    /// Has these places be holes, but for the header, where the system has a way to say so.
    pub(crate) fn give_back(&self, places: &[Range<u64>]) {
        #[cfg(target_os = "linux")]
        for place in places.iter().filter(|it| it.start >= HEADER_LEN) {
            self.inner.make_hole(place);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = places;
    }

    /// Has what is read next come from the disk, where the system has a way to say so: after a
    /// failed sync it takes for stored what is not.
    pub(crate) fn forget_cache(&self) {
        #[cfg(target_os = "linux")]
        self.inner.forget_cache();
    }
}

#[cfg(unix)]
fn inner(file: File) -> io::Result<Inner> {
    Inner::new(file)
}

#[cfg(not(unix))]
fn inner(file: File) -> io::Result<Inner> {
    Inner::new(file).map_err(io::Error::other)
}

/// Has a new file's name be on the disk.
#[cfg(unix)]
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match File::open(folder)?.sync_all() {
        // Not every file system can.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        synced => synced,
    }
}

/// Windows writes it by itself.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
