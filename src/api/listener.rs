//! Listeners, as Rust programs have them.

use std::fmt;
use std::sync::Arc;

use super::Registry;
use crate::error::Error;
use crate::listener::{Address, ListenerCore, ListenerOptions};
use crate::process::{Ended, Process};

/// A listener: serves the text protocol of a registry. Stopped when it is dropped.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use std::net::TcpStream;
/// use kvreg::{Listener, ListenerOptions, Registry};
///
/// let registry = Registry::start()?;
/// let listener = Listener::start(&registry, "127.0.0.1:0", ListenerOptions::new())?;
/// let mut client = TcpStream::connect(listener.address().to_string())?;
/// client.write_all(b"CREATE shopping\r\n")?;
/// let mut reply = String::new();
/// BufReader::new(client).read_line(&mut reply)?;
/// assert_eq!(reply, "OK\r\n");
/// listener.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a listener that is dropped stops"]
pub struct Listener(Arc<ListenerCore>);

impl Listener {
    /// Serves the registry on an address like "127.0.0.1:4040", port 0 is any that is free, or
    /// "unix:/run/kv.sock".
    pub fn start(
        registry: &Registry,
        address: &str,
        options: ListenerOptions,
    ) -> Result<Listener, Error> {
        let process = Process::starting()?;
        let core = ListenerCore::start(registry.supervisor()?, address, options)?;
        let listener = Listener(core);
        process.note_started(Ended::First, &listener.0)?;
        Ok(listener)
    }

    /// Where it listens; with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.0.address()
    }

    /// When this returns the address is free and all connections are closed.
    pub fn stop(&self) {
        if self.is_current() {
            self.0.stop();
        }
    }

    /// In a forked child it is none of its business.
    fn is_current(&self) -> bool {
        self.0.system().is_current()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", self.address())
            .finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.is_current() {
            self.0.stop_later();
        }
    }
}
