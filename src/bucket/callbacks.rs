//! The callbacks that run on the runtime's threads now, for who waits for them to end.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::server::System;
use crate::sync::lock;

/// By a number of each, the bucket it runs in.
#[derive(Default)]
pub(super) struct Callbacks(Mutex<BTreeMap<u64, String>>);

/// A callback that runs; see [`Callbacks::note`].
pub(crate) struct Running<'a> {
    callbacks: &'a Callbacks,
    system: &'static System,
    number: u64,
}

impl Callbacks {
    /// Notes a callback that is about to run, until the answer is dropped.
    pub(super) fn note(&self, system: &'static System, bucket: Option<&str>) -> Running<'_> {
        let number = system.next_reference();
        let bucket = bucket.unwrap_or("").to_owned();
        lock(&self.0).insert(number, bucket);
        Running {
            callbacks: self,
            system,
            number,
        }
    }

    pub(super) fn running(&self) -> Vec<String> {
        lock(&self.0).values().cloned().collect()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Else the callback forked, and this is the child, which has none of the parent's locks.
        if self.system.is_current() {
            lock(&self.callbacks.0).remove(&self.number);
        }
    }
}
