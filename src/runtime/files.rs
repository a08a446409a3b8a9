//! Files that are there as a whole, or not at all.
//!
//! A new file is written beside the one that it is to replace, under a name that nobody has, brought
//! to the disk, renamed, and then its folder is brought there too. So a crash at any moment leaves
//! the old file or the new one, and at worst one that nobody looks for.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Error;
use crate::memory;

/// No system takes a longer path.
pub(crate) const PATH_LIMIT: usize = 32_767;

const SAVING: &str = "saving a bucket";

/// So many names that others have are passed over.
const NAMES: usize = 100;

static NAMED: AtomicU32 = AtomicU32::new(0);

/// A file that is removed unless it was put in its place.
pub(crate) struct NewFile {
    /// Until it is whole.
    file: Option<File>,
    name: PathText,
    goal: PathText,
    /// How long the folder's part of the goal is; 0: there is none.
    folder: usize,
}

/// A path followed by NUL.
struct PathText(Vec<u8>);

impl PathText {
    /// What is too long for a path is told by the system.
    fn new(parts: &[&[u8]]) -> Result<PathText, Error> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut text = Vec::new();
        memory::reserve(&mut text, len + 1)?;
        parts.iter().for_each(|part| text.extend_from_slice(part));
        text.push(0);
        Ok(PathText(text))
    }
}

fn check(path: &str) -> Result<(), Error> {
    match path.is_empty() || path.len() > PATH_LIMIT || path.contains('\0') {
        true => Err(Error::InvalidArgument(
            "a path has 1 to 32767 bytes, without NUL",
        )),
        false => Ok(()),
    }
}

impl NewFile {
    pub(crate) fn beside(path: &str) -> Result<NewFile, Error> {
        check(path)?;
        let path = path.as_bytes();
        let is_end = |byte: &u8| std::path::is_separator(char::from(*byte));
        let folder = path.iter().rposition(is_end).map_or(0, |at| at + 1);
        let goal = PathText::new(&[path])?;
        for _ in 0..NAMES {
            let mut own = [0; 40];
            let number = NAMED.fetch_add(1, Ordering::Relaxed);
            let mut rest = &mut own[..];
            let written = write!(rest, ".kvreg-{}-{number}.tmp", std::process::id());
            let left = rest.len();
            debug_assert!(written.is_ok());
            let name = PathText::new(&[&path[..folder], &own[..own.len() - left]])?;
            match system::create(&name) {
                Ok(file) => {
                    return Ok(NewFile {
                        file: Some(file),
                        name,
                        goal,
                        folder,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(SAVING, &error)),
            }
        }
        Err(Error::Io {
            what: SAVING,
            code: None,
        })
    }

    /// Answers when it is on the disk, and the file at the path.
    pub(crate) fn put_in_place(mut self) -> Result<(), Error> {
        let refused = |error: io::Error| Error::io(SAVING, &error);
        if let Some(file) = &self.file {
            file.sync_all().map_err(refused)?;
        }
        let file = self.file.take(); // Windows renames no open file
        drop(file);
        if let Err(error) = system::rename(&self.name, &self.goal) {
            system::remove(&self.name);
            return Err(refused(error));
        }
        let folder = match self.folder {
            0 => PathText::new(&[b"."])?,
            len => PathText::new(&[&self.goal.0[..len]])?,
        };
        system::sync_folder(&folder).map_err(refused)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            system::remove(&self.name);
        }
    }
}

/// A file to be read, and how many bytes it has.
pub(crate) fn open(path: &str) -> Result<(File, u64), Error> {
    check(path)?;
    let path = PathText::new(&[path.as_bytes()])?;
    let opened = system::open(&path).and_then(|file| {
        let about = file.metadata()?;
        match about.is_file() {
            true => Ok((file, about.len())),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    });
    opened.map_err(|error| Error::io("opening a saved bucket", &error))
}

/// Called with paths as they are: std would copy a long one, and end the process if it could not.
#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::fd::FromRawFd;

    use super::PathText;

    impl PathText {
        fn pointer(&self) -> *const libc::c_char {
            self.0.as_ptr().cast()
        }
    }

    fn opened(path: &PathText, flags: libc::c_int) -> io::Result<File> {
        let mode: libc::c_uint = 0o666; // the umask takes from it
        loop {
            // SAFETY: the path ends with NUL.
            let file = unsafe { libc::open(path.pointer(), flags | libc::O_CLOEXEC, mode) };
            if file >= 0 {
                // SAFETY: opened just now.
                return Ok(unsafe { File::from_raw_fd(file) });
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    pub(super) fn create(path: &PathText) -> io::Result<File> {
        opened(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)
    }

    /// Waits for no pipe's other end.
    pub(super) fn open(path: &PathText) -> io::Result<File> {
        opened(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
    }

    pub(super) fn rename(from: &PathText, to: &PathText) -> io::Result<()> {
        // SAFETY: the paths end with NUL.
        match unsafe { libc::rename(from.pointer(), to.pointer()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) fn remove(path: &PathText) {
        // SAFETY: the path ends with NUL.
        unsafe { libc::unlink(path.pointer()) };
    }

    pub(super) fn sync_folder(path: &PathText) -> io::Result<()> {
        let folder = opened(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
        match folder.sync_all() {
            // Of a file system whose folders are never behind.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            synced => synced,
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::path::Path;

    use super::PathText;

    impl PathText {
        fn path(&self) -> &Path {
            let text = self.0.strip_suffix(&[0]).unwrap_or(&self.0);
            Path::new(std::str::from_utf8(text).unwrap_or("")) // it was a text
        }
    }

    pub(super) fn create(path: &PathText) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path.path())
    }

    pub(super) fn open(path: &PathText) -> io::Result<File> {
        File::open(path.path())
    }

    pub(super) fn rename(from: &PathText, to: &PathText) -> io::Result<()> {
        fs::rename(from.path(), to.path())
    }

    pub(super) fn remove(path: &PathText) {
        let _ = fs::remove_file(path.path());
    }

    /// The system has no such thing.
    pub(super) fn sync_folder(_path: &PathText) -> io::Result<()> {
        Ok(())
    }
}
