//! Threads of the host that wait for what the runtime does.
//!
//! # The argument
//!
//! The work is a task. The thread sleeps by a condition of its own, not the runtime's: it may be a
//! thread of another runtime, or of the one in the same program. It is the thread that looks at
//! the clock: at the deadline it ends the task, wherever that is, and answers, so no call is late
//! because the runtime is busy. What the task had handed over by then, `change.rs` knows.
//!
//! A call is in the store's list while it waits, so that `interrupt` can wake it. Who comes after
//! that does not wait at all.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a call ended.
pub(crate) enum Waited<T> {
    Done(T),
    /// At the deadline, or by `interrupt`.
    GivenUp,
    /// The task panicked.
    Lost,
}

#[derive(Clone, Copy, PartialEq)]
enum Ring {
    Silent,
    Done,
    Interrupted,
}

struct Bell {
    ring: Mutex<Ring>,
    rung: Condvar,
}

impl Bell {
    fn new() -> Bell {
        Bell {
            ring: Mutex::new(Ring::Silent),
            rung: Condvar::new(),
        }
    }

    fn ring(&self, ring: Ring) {
        let mut now = lock(&self.ring);
        if *now == Ring::Silent {
            *now = ring;
        }
        self.rung.notify_one();
    }

    fn wait(&self, deadline: Option<Instant>) -> Ring {
        let mut ring = lock(&self.ring);
        while *ring == Ring::Silent {
            let Some(deadline) = deadline else {
                ring = self.rung.wait(ring).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ring::Interrupted;
            }
            let waited = self.rung.wait_timeout(ring, left);
            ring = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *ring
    }
}

/// Rings when the task that has it is over, also by a panic.
pub(crate) struct AtEnd(Arc<Bell>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.ring(Ring::Done);
    }
}

/// The end of a task.
pub(crate) struct End(Arc<Bell>);

impl End {
    pub(crate) fn new() -> (AtEnd, End) {
        let bell = Arc::new(Bell::new());
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

impl Calls {
    /// Lets all go who wait, and who will.
    pub(crate) fn interrupt(&self) {
        let mut list = lock(&self.0);
        list.is_interrupted = true;
        for bell in list.bells.values() {
            bell.ring(Ring::Interrupted);
        }
    }

    /// Waits for this work, which is dropped when the call is given up.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        handle: &Handle,
        deadline: Option<Instant>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Waited<T> {
        let bell = Arc::new(Bell::new());
        let number = {
            let mut list = lock(&self.0);
            if list.is_interrupted {
                return Waited::GivenUp;
            }
            list.number += 1;
            let number = list.number;
            list.bells.insert(number, Arc::clone(&bell));
            number
        };
        let cell = Arc::new(Mutex::new(None));
        let (at_end, filled) = (AtEnd(Arc::clone(&bell)), Arc::clone(&cell));
        let task = handle.spawn(async move {
            let _at_end = at_end;
            let done = work.await;
            *lock(&filled) = Some(done);
        });
        let ring = bell.wait(deadline);
        lock(&self.0).bells.remove(&number);
        let done = lock(&cell).take();
        match (done, ring) {
            (Some(done), _) => Waited::Done(done),
            (None, Ring::Done) => Waited::Lost,
            (None, _) => {
                task.abort();
                Waited::GivenUp
            }
        }
    }
}
