//! A listener: serves the text protocol of a registry over TCP, on the runtime.
//!
//! One task accepts, one serves each connection (the guide's `KVServer`). The accepting task
//! owns the socket and all connections, so a listener that stops has nothing left. A listener
//! counts as a handle of its registry, since clients reach it, and stops with the registry.

mod connection;
mod subscription;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::process::Process;
use crate::protocol;
use crate::reason::Exit;
use crate::server::Watcher;
use crate::supervisor::Supervisor;
use crate::sync::lock;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Before accepting is tried again when the system refuses (it is out of descriptors).
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct ListenerOptions {
    pub max_connections: usize,
    /// Bytes of a request line.
    pub max_line: usize,
    /// Bytes that wait for a subscriber who does not read, before it is cut off.
    pub max_backlog: usize,
    /// From one request to the end of the next, and for a reply to be taken; `None`: for ever.
    pub idle_timeout: Option<Duration>,
}

impl Default for ListenerOptions {
    fn default() -> ListenerOptions {
        ListenerOptions {
            max_connections: 1024,
            max_line: 64 << 10,
            max_backlog: 1 << 20,
            idle_timeout: Some(Duration::from_secs(300)),
        }
    }
}

pub(crate) struct ListenerCore {
    itself: Weak<ListenerCore>,
    supervisor: Arc<Supervisor>,
    options: ListenerOptions,
    address: SocketAddr,
    /// Its monitor of the registry.
    reference: u64,
    stopping: watch::Sender<bool>,
    stopped: Mutex<bool>,
    has_stopped: Condvar,
}

/// "127.0.0.1:4040", "[::1]:4040", "localhost:4040"; loopback if it is a port alone.
fn parse(address: &str) -> Result<SocketAddr, Error> {
    let port = address.strip_prefix("localhost:").unwrap_or(address);
    let port = port.strip_prefix(':').unwrap_or(port);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let refused = "an address is like 127.0.0.1:4040";
    address.parse().map_err(|_| Error::InvalidArgument(refused))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
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

impl ListenerCore {
    /// Listens from now on. Starts the runtime if it was not.
    pub(crate) fn start(
        supervisor: &Arc<Supervisor>,
        address: &str,
        options: ListenerOptions,
    ) -> Result<Arc<ListenerCore>, Error> {
        let address = parse(address)?;
        let registry = supervisor.registry();
        if registry.has_ended() {
            return Err(registry.gone(Error::NoProcess));
        }
        let process: &'static Process = supervisor.process();
        let runtime = process.tokio()?;
        let _entered = runtime.enter();
        let socket = listen(address).map_err(|_| Error::Io("listening on the address"))?;
        let address = socket.local_addr();
        let address = address.map_err(|_| Error::Io("listening on the address"))?;
        supervisor.add_handle();
        let listener = Arc::new_cyclic(|itself| ListenerCore {
            itself: Weak::clone(itself),
            supervisor: Arc::clone(supervisor),
            options,
            address,
            reference: process.next_reference(),
            stopping: watch::Sender::new(false),
            stopped: Mutex::new(false),
            has_stopped: Condvar::new(),
        });
        listener.watch_registry();
        let end = End(Arc::clone(&listener));
        runtime.spawn(Arc::clone(&listener).accept(socket, end));
        let text = format!("listening on {address}");
        process.logs().info(supervisor.name(), &text);
        Ok(listener)
    }

    /// Where it listens: the port too if it was to be any.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it, and does not wait.
    pub(crate) fn stop_later(&self) {
        self.stopping.send_replace(true);
    }

    /// Stops it: when this returns the port is free and all connections are closed. Waits for
    /// its tasks, which wait for nobody.
    pub(crate) fn stop(&self) {
        self.stop_later();
        let stopped = lock(&self.stopped);
        let waited = self.has_stopped.wait_while(stopped, |stopped| !*stopped);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    async fn accept(self: Arc<Self>, socket: TcpListener, end: End) {
        let _end = end; // dropped last, also if the runtime drops this task
        let socket = HungUp(socket);
        let mut stopping = self.stopping.subscribe();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => break,
                Some(_) = connections.join_next() => {}
                accepted = socket.0.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < self.options.max_connections => {
                        connections.spawn(connection::serve(Arc::clone(&self), HungUp(stream)));
                    }
                    Ok((stream, peer)) => self.refuse(&HungUp(stream), peer),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
            }
        }
        drop(socket);
        connections.shutdown().await;
    }

    fn refuse(&self, stream: &HungUp<TcpStream>, peer: SocketAddr) {
        let text = format!("too many connections: {peer} was refused");
        self.warn(&text);
        let _ = stream.0.try_write(protocol::ERROR);
    }

    fn warn(&self, text: &str) {
        let logs = self.supervisor.process().logs();
        logs.warn(self.supervisor.name(), text);
    }

    /// Learns of the end of the registry that is there now; stops if there is none any more.
    fn watch_registry(&self) {
        let Some(itself) = self.itself.upgrade() else {
            return;
        };
        loop {
            let registry = self.supervisor.registry();
            if registry.monitor(self.reference, Arc::clone(&itself) as _) {
                if *lock(&self.stopped) {
                    registry.demonitor(self.reference); // `End` may have looked elsewhere
                }
                return;
            }
            registry.gone(Error::NoProcess); // from here on its successor is there, if any
            if Arc::ptr_eq(&registry, &self.supervisor.registry()) {
                return self.stop_later();
            }
        }
    }
}

impl Watcher for ListenerCore {
    fn down(&self, _reference: u64, _exit: &Arc<Exit>, _name: Option<&str>) {
        self.watch_registry();
    }
}

/// The end of a listener, however its task ends.
struct End(Arc<ListenerCore>);

impl Drop for End {
    fn drop(&mut self) {
        let listener = &self.0;
        *lock(&listener.stopped) = true;
        listener.has_stopped.notify_all();
        let supervisor = Arc::clone(&listener.supervisor);
        supervisor.registry().demonitor(listener.reference);
        // It may be the registry's last: then it ends, and runs the user's destructors, which
        // is nothing for a thread that others wait for.
        let last = LastHandle(Arc::clone(&supervisor));
        supervisor.process().spawn_blocking(move || drop(last));
    }
}

/// Given up when it is dropped, also if the runtime ends before it runs.
struct LastHandle(Arc<Supervisor>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.drop_handle();
    }
}

/// A socket that ends when it is dropped: a forked child may have another descriptor of it,
/// which would keep it open.
struct HungUp<S: Descriptor>(S);

#[cfg(unix)]
use std::os::fd::AsRawFd as Descriptor;

#[cfg(unix)]
impl<S: Descriptor> Drop for HungUp<S> {
    fn drop(&mut self) {
        // SAFETY: a descriptor that is open; no pointers.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

#[cfg(not(unix))]
trait Descriptor {}

#[cfg(not(unix))]
impl<S> Descriptor for S {}

/// A listener; stopped when it is dropped.
pub struct Listener(Arc<ListenerCore>);

impl Listener {
    /// Serves the registry on an address like "127.0.0.1:4040"; port 0 is any that is free.
    pub fn start(
        registry: &crate::Registry,
        address: &str,
        options: ListenerOptions,
    ) -> Result<Listener, Error> {
        ListenerCore::start(registry.supervisor(), address, options).map(Listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// When this returns the port is free and all connections are closed.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.stop_later();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        for text in ["4040", ":4040", "localhost:4040", "127.0.0.1:4040"] {
            assert_eq!(parse(text), Ok(([127, 0, 0, 1], 4040).into()), "{text}");
        }
        assert_eq!(parse("0.0.0.0:0"), Ok(([0, 0, 0, 0], 0).into()));
        assert!(parse("[::1]:4040").unwrap().is_ipv6());
        for text in [
            "",
            "localhost",
            "127.0.0.1",
            "example.org:80",
            "1:2:3",
            "65536",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
