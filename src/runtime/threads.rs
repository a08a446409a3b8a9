//! The library's threads, as all floors above ask for them: started by the first who needs them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::Handle;

use super::{platform, Runtime};
use crate::error::Error;
use crate::sync::lock;

/// What can be said of the threads before they are started.
#[derive(Clone, Debug)]
pub(crate) struct ThreadOptions {
    /// Threads that drain mailboxes and serve listeners.
    pub(crate) workers: usize,
    /// Threads for user code.
    pub(crate) callbacks: usize,
    /// The name of each.
    pub(crate) name: String,
    /// Called by a thread when it has done a piece of work, and holds nothing.
    pub(crate) after_work: fn(),
}

pub(crate) struct Threads {
    options: ThreadOptions,
    runtime: OnceCell<Runtime>,
    /// Held by who starts or stops it.
    starting: Mutex<()>,
    is_shut_down: AtomicBool,
}

impl Threads {
    pub(crate) fn new(options: ThreadOptions) -> Threads {
        Threads {
            options,
            runtime: OnceCell::new(),
            starting: Mutex::new(()),
            is_shut_down: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Acquire)
    }

    /// From here on nothing can be started; `false` if it had been said before.
    pub(crate) fn begin_shut_down(&self) -> bool {
        !self.is_shut_down.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn are_started(&self) -> bool {
        self.runtime.get().is_some()
    }

    /// Starts the threads, if they were not: the system can refuse them. Then the next who needs
    /// them tries again.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.started().map(|_| ())
    }

    fn started(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        if platform::is_told_by_loader() {
            let error = io::ErrorKind::WouldBlock.into();
            return Err(Error::io(
                "starting the threads under the loader's lock",
                &error,
            ));
        }
        let _starting = lock(&self.starting);
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        if self.is_shut_down() {
            return Err(Error::ShutDown);
        }
        let started = Runtime::start(&self.options);
        let started = started.map_err(|error| Error::io("starting the threads", &error))?;
        Ok(self.runtime.get_or_init(|| started))
    }

    /// Has the threads leave. `false` if one was stuck in user code: it is left alone.
    pub(crate) fn stop(&self, timeout: Option<Duration>) -> bool {
        let _starting = lock(&self.starting);
        self.runtime
            .get()
            .is_none_or(|runtime| runtime.stop(timeout))
    }

    /// Runs a drain, which waits for nothing. The threads were started before anything was queued.
    pub(crate) fn spawn(&self, drain: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            platform::uncancelled(|| runtime.spawn(Box::new(drain)));
        }
    }

    /// Runs user code, which may take its time, as soon as there is a thread for it.
    pub(crate) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            platform::uncancelled(|| runtime.spawn_blocking(Box::new(work)));
        }
    }

    /// As `spawn_blocking`, a moment later: perhaps others have done it then.
    pub(crate) fn spawn_soon(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            platform::uncancelled(|| runtime.spawn_soon(Box::new(work)));
        }
    }

    /// tokio, for tasks that are more than a drain; started now if it was not.
    pub(crate) fn tokio(&self) -> Result<&Handle, Error> {
        self.started().map(Runtime::tokio)
    }
}
