//! Threads of kvreg's own, counted from before they start until their work is done.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::spawn::{self, Started};
use super::{panic, platform};
use crate::sync::lock;

#[derive(Default)]
pub(super) struct Alive {
    count: Mutex<usize>,
    none: Condvar,
}

/// One of the count.
struct One(Arc<Alive>);

impl Drop for One {
    fn drop(&mut self) {
        let mut count = lock(&self.0.count);
        *count -= 1;
        if *count == 0 {
            self.0.none.notify_all();
        }
    }
}

impl Alive {
    /// Starts a thread; the system may refuse it, and then `work` is dropped. If it did so for want
    /// of memory the error says so.
    pub(super) fn spawn(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Started> {
        *lock(&self.count) += 1;
        let one = One(Arc::clone(self));
        // It has its creator's mask from its first instruction on: no signal of the host's can
        // come to it.
        platform::with_signals_blocked(|| {
            platform::forget_error();
            let spawned = spawn::spawn(name, move || {
                let _one = one; // dropped last
                panic::contain_thread();
                work();
            });
            // POSIX has one number for both, but what failed before has left its own.
            spawned.map_err(|refused| match platform::last_is_no_memory() {
                true => io::ErrorKind::OutOfMemory.into(),
                false => refused,
            })
        })
    }

    /// `false` if there were still some when time was up.
    pub(super) fn wait_for_none(&self, timeout: Option<Duration>) -> bool {
        let count = lock(&self.count);
        let count = match timeout {
            None => self.none.wait_while(count, |count| *count > 0),
            Some(timeout) => self
                .none
                .wait_timeout_while(count, timeout, |count| *count > 0)
                .map(|(count, _)| count)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        *count.unwrap_or_else(PoisonError::into_inner) == 0
    }
}
