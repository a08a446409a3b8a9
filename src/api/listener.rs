//! Listeners, as Rust programs have them.

use std::sync::Arc;

use super::Registry;
use crate::error::Error;
use crate::listener::{Address, ListenerCore, ListenerOptions};

/// A listener; stopped when it is dropped.
pub struct Listener(Arc<ListenerCore>);

impl Listener {
    /// Serves the registry on an address like "127.0.0.1:4040", port 0 is any that is free, or
    /// "unix:/run/kv.sock".
    pub fn start(
        registry: &Registry,
        address: &str,
        options: ListenerOptions,
    ) -> Result<Listener, Error> {
        ListenerCore::start(registry.supervisor(), address, options).map(Listener)
    }

    pub fn address(&self) -> &Address {
        self.0.address()
    }

    /// When this returns the address is free and all connections are closed.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.stop_later();
    }
}
