//! What the server core asks of the runtime: here each drain is a thread of the model, so that
//! the checker tries every moment for it. No thread ends before a scenario lets it.

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

    /// The drain's own thread will do: the runtime's handing over to another one is not part
    /// of the core.
    pub(crate) fn spawn_blocking(&self, drain: impl FnOnce() + 'static) {
        drain();
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
