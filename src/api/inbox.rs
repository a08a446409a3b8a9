//! Inboxes, as Rust programs have them.

use std::sync::Arc;

use super::{Bucket, Registry};
use crate::error::Error;
use crate::inbox::{Event, InboxCore};
use crate::log::Level;
use crate::process::Process;
use crate::time::Timeout;

/// An inbox; closed when it is dropped.
pub struct Inbox(Arc<InboxCore>);

impl Inbox {
    pub fn open() -> Result<Inbox, Error> {
        Ok(Inbox(Process::running()?.open_inbox()))
    }

    /// From now on the end of the bucket gives one DOWN with this reference; at once, reason
    /// NOPROC, if it has ended.
    pub fn monitor(&self, bucket: &Bucket) -> Result<u64, Error> {
        self.0.monitor(&bucket.server().as_any())
    }

    pub fn monitor_registry(&self, registry: &Registry) -> Result<u64, Error> {
        self.0.monitor(&registry.server().as_any())
    }

    /// Takes a monitor back; with `flush` no DOWN of it remains.
    pub fn demonitor(&self, reference: u64, flush: bool) -> Result<(), Error> {
        self.0.demonitor(reference, flush)
    }

    pub fn subscribe_logs(&self, max: Level) -> Result<(), Error> {
        self.0.subscribe_logs(max)
    }

    /// The next event. Blocks for `timeout` at most.
    pub fn receive(&self, timeout: Timeout) -> Result<Event, Error> {
        self.0.receive(timeout)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.close();
    }
}
