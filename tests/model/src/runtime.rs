//! What the server core asks of the runtime: here each drain is a thread of the model, so that
//! the checker tries every moment for it. No thread ends before a scenario lets it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;

use crate::error::Error;

/// Panics here are the checker's, and to be seen.
pub(crate) fn contain<R>(work: impl FnOnce() -> R) -> R {
    work()
}

pub(crate) struct Base {
    threads: Threads,
}

impl Base {
    pub(crate) fn new() -> Base {
        Base { threads: Threads }
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Nothing forks here.
    pub(crate) fn is_current(&self) -> bool {
        true
    }

    pub(crate) fn leave_if_forked(&self) {}
}

pub(crate) struct Threads;

impl Threads {
    pub(crate) fn start(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn spawn(&self, drain: impl FnOnce() + 'static) {
        loom::thread::spawn(drain);
    }

    /// When it comes is the scenario's affair.
    pub(crate) fn spawn_soon(&self, drain: impl FnOnce() + 'static) {
        loom::thread::spawn(drain);
    }

    pub(crate) fn tokio(&self) -> Result<Tokio, Error> {
        Ok(Tokio)
    }

    /// The drain's own thread will do: the runtime's handing over to another one is not part
    /// of the core.
    pub(crate) fn spawn_blocking(&self, drain: impl FnOnce() + 'static) {
        drain();
    }
}

/// Keeps the alarms that are served.
pub(crate) struct Tokio;

thread_local! {
    /// All threads of a scenario are one.
    static SERVED: RefCell<Vec<Arc<Alarm>>> = RefCell::default();
}

impl Tokio {
    pub(crate) fn spawn(&self, served: Arc<Alarm>) {
        SERVED.with(|all| all.borrow_mut().push(served));
    }
}

/// Rings when a scenario says so, which may be too early, if it is set then.
pub(crate) struct Alarm {
    left: Mutex<Option<Duration>>,
    ring: RefCell<Option<Box<dyn Fn()>>>,
}

// SAFETY: the threads of a scenario are one.
unsafe impl Send for Alarm {}
// SAFETY: as above.
unsafe impl Sync for Alarm {}

impl Alarm {
    pub(crate) fn new() -> Alarm {
        Alarm {
            left: Mutex::new(None),
            ring: RefCell::new(None),
        }
    }

    /// The one that is served in this scenario.
    pub(crate) fn take_served() -> Option<Arc<Alarm>> {
        SERVED.with(|all| all.borrow_mut().pop())
    }

    pub(crate) fn set(&self, left: Option<Duration>) {
        *self.left.lock().unwrap() = left;
    }

    pub(crate) fn serve(self: Arc<Alarm>, ring: impl Fn() + 'static) -> Arc<Alarm> {
        *self.ring.borrow_mut() = Some(Box::new(ring));
        self
    }

    /// `false` if it is not set.
    pub(crate) fn ring(&self) -> bool {
        let is_set = self.left.lock().unwrap().take().is_some();
        if is_set {
            let ring = self.ring.borrow();
            ring.as_ref().expect("it is served")();
        }
        is_set
    }
}

pub(crate) mod thread_end {
    pub(crate) fn may_keep() -> bool {
        true
    }

    pub(crate) struct PerThread {
        pub(crate) open: fn(),
        pub(crate) forget: fn(),
        pub(crate) end: fn(aborts: bool),
    }

    impl PerThread {
        pub(crate) const NONE: PerThread = PerThread {
            open: || {},
            forget: || {},
            end: |_| {},
        };
    }
}
