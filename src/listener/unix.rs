//! The file of a unix socket: who may connect, what is replaced, and what is removed.
//!
//! **Mode.** Who may connect is the mode of the file, and the process's umask cannot be changed
//! for a moment without other threads' files. So the socket gets its mode before it has a name:
//! Linux makes the file with it, less the umask. What the umask took is given back by `chmod`
//! before `listen`, and where a system ignores the first step the second does all: until `listen`
//! nobody can connect, whatever the mode is.
//!
//! **A file that is there.** A socket that nobody listens at is removed; whether that is so,
//! only `connect` tells. Between its answer and the removal another process could do the same
//! and listen: its new file would be removed. So whoever binds or removes has the lock of the
//! directory meanwhile, and gives it back when it listens. Every kvreg does so; a process that
//! does not can only lose its name, not its connections.
//!
//! **The end.** The file is removed if it is the one that was made: device and number are
//! compared, under the lock, while the socket is open, for until then the number is taken.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::socket::BACKLOG;

/// Who has the lock of a directory gives it back at once: beyond this it is not a kvreg.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// The file of a socket that listens; removed when it is dropped, if it is still the same.
pub(super) struct SocketFile {
    /// From the root: the working directory may change.
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _lock = Lock::of_directory(&self.path);
        if identity(&self.path).ok() == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Listens at the path, whose file has this mode from its first moment on.
pub(super) fn listen(path: &Path, mode: u32) -> io::Result<(SocketFile, UnixListener)> {
    let whole = std::path::absolute(path)?;
    let _lock = Lock::of_directory(&whole)?;
    let socket = match bind(path, mode) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_if_stale(path)?;
            bind(path, mode)?
        }
        bound => bound?,
    };
    match identity(path).and_then(|identity| open(path, mode, &socket).map(|()| identity)) {
        Ok(identity) => {
            let file = SocketFile {
                path: whole,
                identity,
            };
            Ok((file, UnixListener::from(socket)))
        }
        Err(error) => {
            let _ = fs::remove_file(path); // nobody else's: the lock is held
            Err(error)
        }
    }
}

fn open(path: &Path, mode: u32, socket: &OwnedFd) -> io::Result<()> {
    if fs::symlink_metadata(path)?.mode() & 0o777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    // SAFETY: a descriptor that is open; no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG as i32) }).map(|_| ())
}

fn bind(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let socket = socket()?;
    let fd = socket.as_raw_fd();
    let (address, len) = address(path)?;
    // SAFETY: a descriptor that is open; an address and its length.
    unsafe {
        libc::fchmod(fd, mode as libc::mode_t); // where this is refused, `open` sees to it
        check(libc::bind(fd, (&raw const address).cast(), len))?;
    }
    Ok(socket)
}

/// A socket of which a program that is run knows nothing, and that does not wait.
fn socket() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    const KIND: i32 = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[cfg(not(target_os = "linux"))]
    const KIND: i32 = libc::SOCK_STREAM;
    // SAFETY: no pointers; the descriptor is nobody else's.
    unsafe {
        let fd = check(libc::socket(libc::AF_UNIX, KIND, 0))?;
        let socket = OwnedFd::from_raw_fd(fd);
        if cfg!(not(target_os = "linux")) {
            check(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
            check(libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK))?;
        }
        Ok(socket)
    }
}

fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: bytes, of which all zero is an address without a path.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    Ok((address, size_of::<libc::sockaddr_un>() as libc::socklen_t))
}

fn check(result: RawFd) -> io::Result<RawFd> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Removes the file of a socket at which nobody listens; anything else is in use.
fn remove_if_stale(path: &Path) -> io::Result<()> {
    let in_use = || io::Error::from_raw_os_error(libc::EADDRINUSE);
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return Err(in_use());
    }
    match connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(in_use()),
    }
}

/// Does not wait: a full backlog is an answer too.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = socket()?;
    let (address, len) = address(path)?;
    // SAFETY: a descriptor that is open; an address and its length.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(UnixStream::from(socket))
}

/// The lock of a directory, until it is dropped: each has a descriptor of its own, so threads
/// of one process keep each other out too.
struct Lock {
    _directory: File,
}

impl Lock {
    fn of_directory(path: &Path) -> io::Result<Lock> {
        let directory = path.parent().unwrap_or(path);
        let directory = File::open(directory)?;
        for _ in 0..ATTEMPTS {
            // SAFETY: a descriptor that is open; no pointers.
            match check(unsafe {
                libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)
            }) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                locked => {
                    return locked.map(|_| Lock {
                        _directory: directory,
                    })
                }
            }
        }
        Err(io::Error::from_raw_os_error(libc::EWOULDBLOCK))
    }
}
