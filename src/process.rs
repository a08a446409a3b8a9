//! All that kvreg has once for the whole (operating system's) process, behind one atomic
//! pointer: so that a forked child can be given a fresh one by a single store.
//!
//! It is made when the first server or inbox is started and never freed; the threads of the
//! runtime start only when there is mail to drain, or a listener.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::{Handle, Runtime};

use crate::circle::Circles;
use crate::epoch::Collector;
use crate::error::Error;
use crate::handle::HandleTable;
use crate::log::Logs;
use crate::options::BucketOptions;
use crate::supervisor::Names;
use crate::sync::lock;

/// What can be set before first use.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that drain mailboxes and serve listeners. They wait for nothing else, so few do.
    pub worker_threads: usize,
    /// Each callback of an `update_cast` that runs, or waits for a bucket, has a thread of its
    /// own. With fewer than there are such callbacks the last ones wait for the first, which
    /// no search for circles sees; so this is far beyond what a system would start.
    pub callback_threads: usize,
    /// Of all these threads.
    pub thread_name: String,
    /// In milliseconds; -1 is for ever.
    pub default_timeout_ms: i64,
    /// How many monitors an inbox can have, counting DOWNs that were not received.
    pub max_monitors: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            worker_threads: 2,
            callback_threads: 16_384,
            thread_name: "kvreg".into(),
            default_timeout_ms: 5000,
            max_monitors: 1 << 20,
        }
    }
}

pub(crate) struct Process {
    options: Options,
    collector: Collector,
    names: Names,
    /// Of a bucket for which none were given: shared by all of them.
    bucket_options: Arc<BucketOptions>,
    callbacks: Callbacks,
    /// Of a forked child: the process before this one, and so on.
    older: AtomicPtr<Process>,
    /// For the drains: `runtime` is started by the first who asks.
    drains: OnceCell<Handle>,
    runtime: Mutex<Option<Runtime>>,
    waiting_jobs: AtomicUsize,
    /// A task looks after them.
    is_watched: AtomicBool,
    circles: Circles,
    logs: Logs,
    handles: HandleTable,
    references: AtomicU64,
    shut_down: AtomicBool,
    live_registries: AtomicUsize,
    live_buckets: AtomicUsize,
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

/// In a forked child: what it inherited.
static INHERITED: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

/// The callbacks that run on the runtime's threads now, by the bucket they run in.
struct Callbacks(Mutex<BTreeMap<u64, String>>);

/// A callback that runs; see [`Process::callback`].
pub(crate) struct Running<'a>(&'a Process, u64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.is_current() {
            lock(&self.0.callbacks.0).remove(&self.1);
        }
    }
}

/// Before a thread that the system may have refused is asked for again.
const REFUSED_THREAD: Duration = Duration::from_millis(50);

/// A job for the blocking pool that waits for a thread, until it has one or is dropped.
struct Started(&'static AtomicUsize);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// `None` if the system refuses a thread: tokio answers that by an error or by a panic.
fn build_runtime(options: &Options) -> Option<Runtime> {
    let build = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.worker_threads)
            .max_blocking_threads(options.callback_threads)
            .thread_name(&options.thread_name)
            .enable_all()
            .on_thread_start(|| {
                crate::platform::block_signals();
                crate::panic::contain_thread();
            })
            .build()
            .ok()
    };
    crate::panic::contain(|| std::panic::catch_unwind(build)).ok()?
}

impl Process {
    fn new(options: Options) -> Process {
        Process {
            options,
            collector: Collector::new(),
            names: Names::default(),
            bucket_options: Arc::default(),
            callbacks: Callbacks(Mutex::default()),
            older: AtomicPtr::default(),
            drains: OnceCell::new(),
            runtime: Mutex::new(None),
            waiting_jobs: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
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
            None => {
                // A child goes on as its parent was told to.
                let inherited = Process::inherited().next();
                let options = inherited.map(|older| older.options.clone());
                Process::make(options.unwrap_or_default()).0
            }
        }
    }

    /// Makes the state as wanted; refused if it was made already.
    pub(crate) fn configure(options: Options) -> Result<(), Error> {
        match Process::make(options) {
            (_, true) => Ok(()),
            (_, false) => Err(Error::AlreadyStarted),
        }
    }

    /// The process's state, if anything was ever started.
    pub(crate) fn if_any() -> Option<&'static Process> {
        // SAFETY: the pointer is null or came from `Box::into_raw` in `make`, and what it
        // points to is never freed.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    /// What this process inherited through forks, the nearest first.
    pub(crate) fn inherited() -> impl Iterator<Item = &'static Process> {
        // SAFETY: null, or was current before a fork, and so is never freed.
        let at = |pointer: &AtomicPtr<Process>| unsafe { pointer.load(Ordering::Acquire).as_ref() };
        std::iter::successors(at(&INHERITED), move |process| at(&process.older))
    }

    /// In a forked child, whose one thread this is: what is here belongs to the parent.
    pub(crate) fn put_aside() {
        let parents = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: as in `if_any`.
        if let Some(process) = unsafe { parents.as_ref() } {
            let older = INHERITED.load(Ordering::Relaxed);
            process.older.store(older, Ordering::Release);
            INHERITED.store(parents, Ordering::Release);
        }
    }

    /// Whether this is the state of the process that runs, and not of one that it forked from.
    pub(crate) fn is_current(&self) -> bool {
        std::ptr::eq(CURRENT.load(Ordering::Relaxed), self)
    }

    /// See [`crate::fork::leave_if_forked`].
    pub(crate) fn after_user_code(&self) {
        crate::fork::leave_if_forked(self);
    }

    /// The state, and whether it was made by this call.
    #[cold]
    fn make(options: Options) -> (&'static Process, bool) {
        crate::platform::stay_loaded();
        crate::fork::watch();
        crate::epoch::prepare();
        crate::panic::install_hook();
        let made = Box::into_raw(Box::new(Process::new(options)));
        let raced = CURRENT.compare_exchange(
            std::ptr::null_mut(),
            made,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match raced {
            // SAFETY: published just now, and never freed from here on.
            Ok(_) => (unsafe { &*made }, true),
            Err(other) => {
                // SAFETY: `made` was not published, so this is its only owner; `other` was
                // published by the faster thread and is never freed.
                unsafe {
                    drop(Box::from_raw(made));
                    (&*other, false)
                }
            }
        }
    }

    /// For whatever starts something: refused after `shutdown`.
    pub(crate) fn running() -> Result<&'static Process, Error> {
        if crate::platform::is_ending() {
            return Err(Error::ShutDown);
        }
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
        let is_first = !self.shut_down.swap(true, Ordering::AcqRel);
        // What is looked at from here on is what others left: they look after their half.
        crate::epoch::heavy();
        is_first
    }

    /// Notes a callback that is about to run on a thread of the runtime.
    pub(crate) fn callback(&self, bucket: Option<&str>) -> Running<'_> {
        let number = self.next_reference();
        let bucket = bucket.unwrap_or("").to_owned();
        lock(&self.callbacks.0).insert(number, bucket);
        Running(self, number)
    }

    /// The buckets whose callbacks run on the runtime's threads now: "" for one without a name.
    pub(crate) fn running_callbacks(&self) -> Vec<String> {
        lock(&self.callbacks.0).values().cloned().collect()
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
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        let taken = Arc::clone(&runtime);
        let spawned = std::thread::Builder::new()
            .name("kvreg-shutdown".into())
            .spawn(move || {
                crate::platform::block_signals();
                let runtime = lock(&taken).take();
                drop(runtime);
                *lock(&done.0) = true;
                done.1.notify_all();
            });
        let Ok(thread) = spawned else {
            // No thread to wait with: then nobody waits.
            if let Some(runtime) = lock(&runtime).take() {
                runtime.shutdown_background();
            }
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
                let runtime = build_runtime(&self.options);
                let runtime = runtime.ok_or(Error::Io("starting the threads"))?;
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
    ///
    /// It may carry a server's turn, so it must be run. But if the system refuses a thread for
    /// it, tokio leaves it to the threads there are, and they may all be busy: then it is
    /// asked for again and again.
    pub(crate) fn spawn_blocking(&'static self, drain: impl FnOnce() + Send + 'static) {
        let Some(handle) = self.drains.get() else {
            return;
        };
        self.waiting_jobs.fetch_add(1, Ordering::SeqCst);
        let started = Started(&self.waiting_jobs);
        handle.spawn_blocking(move || {
            drop(started);
            drain();
            crate::epoch::tidy();
        });
        if self.waiting_jobs.load(Ordering::SeqCst) > 0
            && !self.is_watched.swap(true, Ordering::SeqCst)
        {
            handle.spawn(self.watch_jobs());
        }
    }

    /// Runs as long as there are jobs that no thread has taken.
    async fn watch_jobs(&'static self) {
        loop {
            let before = self.waiting_jobs.load(Ordering::SeqCst);
            if before == 0 {
                self.is_watched.store(false, Ordering::SeqCst);
                let is_idle = self.waiting_jobs.load(Ordering::SeqCst) == 0;
                if is_idle || self.is_watched.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
            tokio::time::sleep(REFUSED_THREAD).await;
            if before > 0 && self.waiting_jobs.load(Ordering::SeqCst) >= before {
                if let Some(handle) = self.drains.get() {
                    handle.spawn_blocking(|| ());
                }
            }
        }
    }

    /// The runtime, for tasks that are more than a drain; started now if it was not.
    pub(crate) fn runtime(&self) -> Result<&Handle, Error> {
        self.start_runtime()?;
        self.drains.get().ok_or(Error::ShutDown)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.collector
    }

    pub(crate) fn bucket_options(&self) -> &Arc<BucketOptions> {
        &self.bucket_options
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
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
