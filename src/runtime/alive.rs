//! Threads of kvreg's own, counted from before they start until their work is done.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

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
    /// Starts a thread; the system may refuse it, and then `work` is dropped.
    pub(super) fn spawn(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        *lock(&self.count) += 1;
        let one = One(Arc::clone(self));
        // It has its creator's mask from its first instruction on: no signal of the host's can
        // come to it.
        platform::with_signals_blocked(|| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    let _one = one; // dropped last
                    panic::contain_thread();
                    work();
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
