//! A listener: serves the text protocol of a registry over TCP or a unix socket, on the runtime.
//!
//! One task accepts, one serves each connection (the guide's `KVServer`). The accepting task
//! owns the socket and all connections, so a listener that stops has nothing left. A listener
//! counts as a handle of its registry, since clients reach it, and stops with the registry.

mod address;
mod connection;
mod password;
mod socket;
mod subscription;
#[cfg(unix)]
mod unix;
mod waiting;

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::protocol;
use crate::registry::Supervisor;
use crate::server::{AnyServer, Ended, Monitor, System};
use crate::sync::lock;
use socket::{HungUp, Peer, Socket, Stream};
use waiting::Waiting;

pub use address::Address;
pub use password::Password;

/// Before accepting is tried again when the system refuses (it is out of descriptors).
const PAUSE: Duration = Duration::from_millis(50);

/// Options of a listener.
///
/// ```
/// use std::time::Duration;
/// use kvreg::{Listener, ListenerOptions, Password, Registry};
///
/// let registry = Registry::start()?;
/// let options = ListenerOptions::new()
///     .password(Password::new("open sesame")?)
///     .idle_timeout(Duration::from_secs(60));
/// let listener = Listener::start(&registry, "127.0.0.1:0", options)?;
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// Connections at a time.
    pub max_connections: usize,
    /// Bytes of a request line.
    pub max_line: usize,
    /// Bytes that wait for a subscriber who does not read, before it is cut off.
    pub max_backlog: usize,
    /// From one request to the end of the next, and for a reply to be taken; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// What the first line of a connection must tell: `AUTH` and the password.
    pub password: Option<Password>,
    /// Of the file of a unix socket, 0600 if it is not given: who may connect.
    pub unix_mode: Option<u32>,
}

impl Default for ListenerOptions {
    fn default() -> ListenerOptions {
        ListenerOptions {
            max_connections: 1024,
            max_line: 64 << 10,
            max_backlog: 1 << 20,
            idle_timeout: Some(Duration::from_secs(300)),
            password: None,
            unix_mode: None,
        }
    }
}

/// The owner alone may connect.
const UNIX_MODE: u32 = 0o600;

impl ListenerOptions {
    /// The defaults: 1,024 connections, each of which may be idle for five minutes.
    #[must_use]
    pub fn new() -> ListenerOptions {
        ListenerOptions::default()
    }

    /// Connections at a time.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> ListenerOptions {
        self.max_connections = connections;
        self
    }

    /// Bytes of a request line.
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> ListenerOptions {
        self.max_line = bytes;
        self
    }

    /// Bytes that wait for a subscriber who does not read, before it is cut off.
    #[must_use]
    pub fn max_backlog(mut self, bytes: usize) -> ListenerOptions {
        self.max_backlog = bytes;
        self
    }

    /// From one request to the end of the next, and for a reply to be taken; `None`: for ever.
    #[must_use]
    pub fn idle_timeout(mut self, idle: impl Into<Option<Duration>>) -> ListenerOptions {
        self.idle_timeout = idle.into();
        self
    }

    /// What the first line of a connection must tell: `AUTH` and the password.
    #[must_use]
    pub fn password(mut self, password: Password) -> ListenerOptions {
        self.password = Some(password);
        self
    }

    /// The mode of the file of a unix socket, 0600 if it is not given: who may connect.
    #[must_use]
    pub fn unix_mode(mut self, mode: u32) -> ListenerOptions {
        self.unix_mode = Some(mode);
        self
    }

    fn check(&self, address: &Address) -> Result<(), Error> {
        let is_unix = matches!(address, Address::Unix(_));
        match self.unix_mode {
            Some(_) if !is_unix => Err(Error::InvalidArgument("only a unix socket has a mode")),
            Some(mode) if mode & !0o777 != 0 => {
                Err(Error::InvalidArgument("a mode is from 0001 to 0777"))
            }
            _ => Ok(()),
        }?;
        match &self.password {
            Some(password) if password.line_len() > self.max_line => {
                let refused = "a request line has no room for the password";
                Err(Error::InvalidArgument(refused))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) struct ListenerCore {
    itself: Weak<ListenerCore>,
    supervisor: Arc<Supervisor>,
    options: ListenerOptions,
    address: Address,
    waiting: Arc<Waiting>,
    /// Its monitor of the registry.
    reference: u64,
    stopping: watch::Sender<bool>,
    stopped: Mutex<bool>,
    has_stopped: Condvar,
}

impl ListenerCore {
    /// Listens from now on. Starts the runtime if it was not.
    pub(crate) fn start(
        supervisor: &Arc<Supervisor>,
        address: &str,
        options: ListenerOptions,
    ) -> Result<Arc<ListenerCore>, Error> {
        let address = address::parse(address)?;
        options.check(&address)?;
        let registry = supervisor.registry();
        if registry.has_ended() {
            return Err(registry.finish_end(Error::NoProcess));
        }
        let system = supervisor.around().system();
        let runtime = system.threads().tokio()?;
        let _entered = runtime.enter();
        let listening = Socket::listen(address, options.unix_mode.unwrap_or(UNIX_MODE));
        let (socket, address) =
            listening.map_err(|error| Error::io("listening on the address", &error))?;
        supervisor.add_handle();
        let listener = Arc::new_cyclic(|itself| ListenerCore {
            itself: Weak::clone(itself),
            supervisor: Arc::clone(supervisor),
            options,
            address,
            waiting: Waiting::new(),
            reference: system.next_reference(),
            stopping: watch::Sender::new(false),
            stopped: Mutex::new(false),
            has_stopped: Condvar::new(),
        });
        listener.watch_registry();
        let end = EndsListener(Arc::clone(&listener));
        runtime.spawn(Arc::clone(&listener).accept(socket, end));
        let text = format!("listening on {}", listener.address);
        supervisor.around().logs().info(supervisor.name(), &text);
        Ok(listener)
    }

    /// Where it listens: the port too if it was to be any.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Stops it, and does not wait.
    pub(crate) fn stop_later(&self) {
        self.stopping.send_replace(true);
    }

    /// Stops it: when this returns the address is free and all connections are closed. Waits for
    /// its tasks, which wait for nobody.
    pub(crate) fn stop(&self) {
        self.stop_later();
        let stopped = lock(&self.stopped);
        let waited = self.has_stopped.wait_while(stopped, |stopped| !*stopped);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn system(&self) -> &'static System {
        self.supervisor.around().system()
    }

    async fn accept(self: Arc<Self>, socket: Socket, end: EndsListener) {
        let _end = end; // dropped last, also if the runtime drops this task
        let mut stopping = self.stopping.subscribe();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => break,
                Some(_) = connections.join_next() => {}
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) if connections.len() < self.options.max_connections => {
                        connections.spawn(connection::serve(Arc::clone(&self), stream, peer));
                    }
                    Ok((stream, peer)) => self.refuse(&stream, &peer),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
            }
        }
        drop(socket);
        connections.shutdown().await;
    }

    fn refuse(&self, stream: &HungUp<Stream>, peer: &Peer) {
        let text = format!("too many connections: one from {peer} was refused");
        self.warn(&text);
        let _ = stream.0.try_write(protocol::ERROR);
    }

    fn warn(&self, text: &str) {
        let logs = self.supervisor.around().logs();
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
                    registry.demonitor(self.reference); // `EndsListener` may have looked elsewhere
                }
                return;
            }
            registry.finish_end(Error::NoProcess); // from here on its successor is there, if any
            if Arc::ptr_eq(&registry, &self.supervisor.registry()) {
                return self.stop_later();
            }
        }
    }
}

impl Monitor for ListenerCore {
    fn down(&self, _reference: u64, _ended: &Arc<Ended>) {
        self.watch_registry();
    }
}

/// The end of a listener, however its task ends.
struct EndsListener(Arc<ListenerCore>);

impl Drop for EndsListener {
    fn drop(&mut self) {
        let listener = &self.0;
        *lock(&listener.stopped) = true;
        listener.has_stopped.notify_all();
        let supervisor = Arc::clone(&listener.supervisor);
        supervisor.registry().demonitor(listener.reference);
        // It may be the registry's last: then it ends, and runs the user's destructors, which
        // is nothing for a thread that others wait for.
        let last = LastHandle(Arc::clone(&supervisor));
        let threads = supervisor.around().system().threads();
        threads.spawn_blocking(move || drop(last));
    }
}

/// Given up when it is dropped, also if the runtime ends before it runs.
struct LastHandle(Arc<Supervisor>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.drop_handle();
    }
}
