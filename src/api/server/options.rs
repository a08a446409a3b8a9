//! What can be set for a server that a program writes.

use std::time::Duration;

use crate::error::Error;
use crate::server::Restart;
use crate::user_server::UserServerOptions;
use crate::value::VALUE_LIMIT;

/// Options of a server that a program writes.
///
/// ```
/// use kvreg::{Restart, ServerOptions};
///
/// let options = ServerOptions::new()
///     .restart(Restart::Transient)
///     .max_mailbox(1000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ServerOptions(pub(super) UserServerOptions);

impl ServerOptions {
    /// The defaults: no limits but those of the library, and no restart.
    #[must_use]
    pub fn new() -> ServerOptions {
        ServerOptions::default()
    }

    /// What becomes of it when it ended.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> ServerOptions {
        self.0.restart = restart;
        self
    }

    /// How many restarts within what period are too many: then it stays down.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, period: Duration) -> ServerOptions {
        self.0.max_restarts = max_restarts;
        self.0.restart_period = period;
        self
    }

    /// Messages that wait, and places of timers and monitors.
    #[must_use]
    pub fn max_mailbox(mut self, messages: usize) -> ServerOptions {
        self.0.max_mailbox = messages;
        self
    }

    /// Bytes of tags and values that wait.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> ServerOptions {
        self.0.max_bytes = bytes;
        self
    }

    /// Bytes of one value, [`VALUE_LIMIT`] at most.
    #[must_use]
    pub fn max_value(mut self, bytes: usize) -> ServerOptions {
        self.0.max_value = bytes;
        self
    }

    /// Nothing of it runs on the thread of a caller: its calls are messages for the library's
    /// threads. So a timeout holds against a handler that is slow.
    #[must_use]
    pub fn hand_over(mut self) -> ServerOptions {
        self.0.hands_over = true;
        self
    }

    /// [`Actor::terminate`](crate::Actor::terminate) is called before it ends, which may take so
    /// long; then the server is killed.
    #[must_use]
    pub fn wants_terminate(mut self, within: Duration) -> ServerOptions {
        self.0.wants_terminate = true;
        self.0.shutdown = within;
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self.0.max_value > VALUE_LIMIT {
            true => Err(Error::InvalidArgument("a value has at most 512 MiB")),
            false => Ok(()),
        }
    }
}
