//! Threads of the host that wait for what the cluster does.
//!
//! # The argument
//!
//! The thread does the work itself, as far as it can, and sleeps by a condition of its own until
//! there is more to do: it may be a thread of another runtime, or of the one in the same program,
//! whose ways of waiting are not for it. What it waits for wakes it, or the clock: at the deadline
//! it drops the work, wherever that is, and answers, so no call is late because the runtime is
//! busy. What was handed over by then, `change.rs` knows.
//!
//! A call is in the store's list while it waits, so that `interrupt` can wake it. Who comes after
//! that does not wait at all.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Before something is asked again that was refused for now, at first and at most.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_millis(400);

/// Pauses of a task, which get longer.
pub(crate) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(PAUSE)
    }
}

impl Pause {
    pub(crate) async fn rest(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(MOST_PAUSE);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Ring {
    #[default]
    Silent,
    /// There may be more to do.
    Rung,
    /// The call is to end.
    Over,
}

#[derive(Default)]
struct Bell {
    ring: Mutex<Ring>,
    rung: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.ring(Ring::Rung);
    }
}

impl Bell {
    fn ring(&self, ring: Ring) {
        let mut now = lock(&self.ring);
        if *now != Ring::Over {
            *now = ring;
        }
        self.rung.notify_one();
    }

    /// Whether it was rung, and the call goes on.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut ring = lock(&self.ring);
        while *ring == Ring::Silent {
            let Some(deadline) = deadline else {
                ring = self.rung.wait(ring).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.rung.wait_timeout(ring, left);
            ring = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let goes_on = *ring == Ring::Rung;
        if goes_on {
            *ring = Ring::Silent;
        }
        goes_on && deadline.is_none_or(|it| Instant::now() < it)
    }
}

/// Rings when the task that has it is over, also by a panic.
pub(crate) struct AtEnd(Arc<Bell>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.ring(Ring::Over);
    }
}

/// The end of a task.
pub(crate) struct End(Arc<Bell>);

impl End {
    pub(crate) fn new() -> (AtEnd, End) {
        let bell = Arc::new(Bell::default());
        (AtEnd(Arc::clone(&bell)), End(bell))
    }

    pub(crate) fn wait(&self) {
        self.0.wait(None);
    }
}

#[derive(Default)]
struct List {
    is_interrupted: bool,
    number: u64,
    bells: HashMap<u64, Arc<Bell>>,
}

/// The calls of a store that wait.
#[derive(Default)]
pub(crate) struct Calls(Mutex<List>);

/// That a call is in the list.
struct Listed<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        lock(&self.calls.0).bells.remove(&self.number);
    }
}

impl Calls {
    /// Lets all go who wait, and who will.
    pub(crate) fn interrupt(&self) {
        let mut list = lock(&self.0);
        list.is_interrupted = true;
        for bell in list.bells.values() {
            bell.ring(Ring::Over);
        }
    }

    fn enlist(&self, bell: &Arc<Bell>) -> Option<Listed<'_>> {
        let mut list = lock(&self.0);
        if list.is_interrupted {
            return None;
        }
        list.number += 1;
        let number = list.number;
        list.bells.insert(number, Arc::clone(bell));
        Some(Listed {
            calls: self,
            number,
        })
    }

    /// Does this work. `None`: it was given up, at the deadline or by `interrupt`.
    pub(crate) fn wait<T>(
        &self,
        handle: &Handle,
        deadline: Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        if deadline.is_some_and(|it| it <= Instant::now()) {
            return None;
        }
        let bell = Arc::new(Bell::default());
        let _listed = self.enlist(&bell)?;
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        // For its clocks, and what it spawns.
        let _entered = handle.enter();
        let mut work = pin!(work);
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Some(done);
            }
            if !bell.wait(deadline) {
                return None;
            }
        }
    }
}
