//! The two kinds of socket that a listener has, as one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::address::Address;
#[cfg(unix)]
use super::unix::{self, SocketFile};

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: u32 = 1024;

/// A socket that accepts. Of a unix socket the file goes first: while the socket is open, no
/// other file can have its number.
pub(super) enum Socket {
    Tcp(HungUp<TcpListener>),
    #[cfg(unix)]
    Unix {
        _file: SocketFile,
        socket: HungUp<UnixListener>,
    },
}

/// Who has connected, for the log.
pub(super) enum Peer {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Peer::Local => f.write_str("the unix socket"),
        }
    }
}

impl Socket {
    /// Listens there, and tells where: the port too if it was to be any. `mode` is that of the
    /// file of a unix socket.
    pub(super) fn listen(address: Address, mode: u32) -> io::Result<(Socket, Address)> {
        match address {
            Address::Tcp(address) => {
                let socket = listen(address)?;
                let address = Address::Tcp(socket.local_addr()?);
                Ok((Socket::Tcp(HungUp(socket)), address))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (file, socket) = unix::listen(&path, mode)?;
                let socket = HungUp(UnixListener::from_std(socket)?);
                Ok((
                    Socket::Unix {
                        _file: file,
                        socket,
                    },
                    Address::Unix(path),
                ))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let _ = mode;
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(HungUp<Stream>, Peer)> {
        match self {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.0.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((HungUp(Stream::Tcp(stream)), Peer::Tcp(peer)))
            }
            #[cfg(unix)]
            Socket::Unix { socket, .. } => {
                let (stream, _) = socket.0.accept().await?;
                Ok((HungUp(Stream::Unix(stream)), Peer::Local))
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if cfg!(unix) {
        socket.set_reuseaddr(true)?; // as the guide's: a restarted server has its port at once
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    /// Writes what can be written now.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.try_write(bytes),
        }
    }
}

/// Calls the method of whichever stream it is.
macro_rules! of_either {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_either!(self, poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_either!(self, poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_shutdown(context))
    }
}

/// A socket that ends when it is dropped: a forked child may have another descriptor of it,
/// which would keep it open.
pub(super) struct HungUp<S: Descriptor>(pub(super) S);

#[cfg(unix)]
use std::os::fd::AsRawFd as Descriptor;

#[cfg(unix)]
impl Descriptor for Stream {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

#[cfg(unix)]
impl<S: Descriptor> Drop for HungUp<S> {
    fn drop(&mut self) {
        // SAFETY: a descriptor that is open; no pointers.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

#[cfg(not(unix))]
pub(super) trait Descriptor {}

#[cfg(not(unix))]
impl<S> Descriptor for S {}
