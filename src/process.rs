//! All that kvreg has once for the whole (operating system's) process, behind one atomic
//! pointer: so that a forked child can be given a fresh one by a single store.
//!
//! It is made when the first server or inbox is started and never freed; the threads of the
//! runtime start only when there is mail to drain.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::{Handle, Runtime};

use crate::circle::Circles;
use crate::error::Error;
use crate::handle::HandleTable;
use crate::log::Logs;
use crate::sync::lock;

/// Each callback of an `update_cast` that runs, or waits for a bucket, has a thread of its
/// own. With fewer than there are such callbacks the last ones wait for the first, which no
/// search for circles sees; so this is far beyond what a system would start.
const CALLBACK_THREADS: usize = 16_384;

/// The runtime drains mailboxes and waits for nothing, so few threads do.
const WORKER_THREADS: usize = 2;

pub(crate) struct Process {
    /// For the drains: `runtime` is started by the first who asks.
    drains: OnceCell<Handle>,
    runtime: Mutex<Option<Runtime>>,
    circles: Circles,
    logs: Logs,
    handles: HandleTable,
    references: AtomicU64,
    shut_down: AtomicBool,
    live_registries: AtomicUsize,
    live_buckets: AtomicUsize,
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

/// `None` if the system refuses a thread: tokio answers that by an error or by a panic.
fn build_runtime() -> Option<Runtime> {
    let build = || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .max_blocking_threads(CALLBACK_THREADS)
            // What is handed to the pool may carry a server's turn: it must not find the pool
            // empty and the system out of threads. So the first thread stays.
            .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
            .thread_name("kvreg")
            .on_thread_start(|| {
                crate::platform::block_signals();
                crate::panic::contain_thread();
            })
            .build()
            .ok()?;
        runtime.spawn_blocking(|| ());
        Some(runtime)
    };
    crate::panic::contain(|| std::panic::catch_unwind(build)).ok()?
}

impl Process {
    fn new() -> Process {
        Process {
            drains: OnceCell::new(),
            runtime: Mutex::new(None),
            circles: Circles::new(),
            logs: Logs::new(),
            handles: HandleTable::new(),
            references: AtomicU64::new(1),
            shut_down: AtomicBool::new(false),
            live_registries: AtomicUsize::new(0),
            live_buckets: AtomicUsize::new(0),
        }
    }

    /// The process's state, made on first need.
    pub(crate) fn current() -> &'static Process {
        match Process::if_any() {
            Some(process) => process,
            None => Process::make(),
        }
    }

    /// The process's state, if anything was ever started.
    pub(crate) fn if_any() -> Option<&'static Process> {
        // SAFETY: the pointer is null or came from `Box::into_raw` in `make`, and what it
        // points to is never freed.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    #[cold]
    fn make() -> &'static Process {
        crate::panic::install_hook();
        let made = Box::into_raw(Box::new(Process::new()));
        let raced = CURRENT.compare_exchange(
            std::ptr::null_mut(),
            made,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match raced {
            // SAFETY: published just now, and never freed from here on.
            Ok(_) => unsafe { &*made },
            Err(other) => {
                // SAFETY: `made` was not published, so this is its only owner; `other` was
                // published by the faster thread and is never freed.
                unsafe {
                    drop(Box::from_raw(made));
                    &*other
                }
            }
        }
    }

    /// For whatever starts something: refused after `shutdown`.
    pub(crate) fn running() -> Result<&'static Process, Error> {
        let process = Process::current();
        if process.is_shut_down() {
            return Err(Error::ShutDown);
        }
        Ok(process)
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Acquire)
    }

    /// From here on nothing can be started; `false` if it had been said before.
    pub(crate) fn begin_shut_down(&self) -> bool {
        !self.shut_down.swap(true, Ordering::AcqRel)
    }

    /// Joins the runtime's threads. `false` if one was stuck in a callback: it is left alone.
    pub(crate) fn stop_runtime(&self, timeout: Option<Duration>) -> bool {
        let Some(runtime) = lock(&self.runtime).take() else {
            return true;
        };
        // Dropping a runtime joins its threads without a limit; `shutdown_timeout` does not
        // say whether all ended. So it is dropped elsewhere, and waited for here.
        let joined = Arc::new((Mutex::new(false), Condvar::new()));
        let done = Arc::clone(&joined);
        let spawned = std::thread::Builder::new()
            .name("kvreg-shutdown".into())
            .spawn(move || {
                crate::platform::block_signals();
                drop(runtime);
                *lock(&done.0) = true;
                done.1.notify_all();
            });
        let Ok(thread) = spawned else {
            return false;
        };
        if let Some(timeout) = timeout {
            let waited = joined
                .1
                .wait_timeout_while(lock(&joined.0), timeout, |done| !*done);
            if !*waited.unwrap_or_else(PoisonError::into_inner).0 {
                return false;
            }
        }
        thread.join().is_ok()
    }

    /// Starts the runtime, if it was not: its threads can be refused by the system.
    pub(crate) fn start_runtime(&self) -> Result<(), Error> {
        self.drains
            .get_or_try_init(|| {
                let mut place = lock(&self.runtime);
                if self.is_shut_down() {
                    return Err(Error::ShutDown);
                }
                let runtime = build_runtime().ok_or(Error::Io("starting the threads"))?;
                let handle = runtime.handle().clone();
                *place = Some(runtime);
                Ok(handle)
            })
            .map(|_| ())
    }

    /// Runs a drain on the runtime, which was started before anything was queued.
    pub(crate) fn spawn(&self, drain: impl FnOnce() + Send + 'static) {
        if let Some(handle) = self.drains.get() {
            handle.spawn(async move {
                drain();
                crate::epoch::tidy();
            });
        }
    }

    /// The same for user code, which may take its time.
    pub(crate) fn spawn_blocking(&self, drain: impl FnOnce() + Send + 'static) {
        if let Some(handle) = self.drains.get() {
            handle.spawn_blocking(move || {
                drain();
                crate::epoch::tidy();
            });
        }
    }

    pub(crate) fn circles(&self) -> &Circles {
        &self.circles
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    pub(crate) fn handles(&self) -> &HandleTable {
        &self.handles
    }

    /// A number for a monitor, never given twice.
    pub(crate) fn next_reference(&self) -> u64 {
        self.references.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn live_registries(&self) -> &AtomicUsize {
        &self.live_registries
    }

    pub(crate) fn live_buckets(&self) -> &AtomicUsize {
        &self.live_buckets
    }
}
