//! All that kvreg has once for the whole (operating system's) process, behind one atomic
//! pointer: so that a forked child can be given a fresh one by a single store.
//!
//! It is made when the first server or inbox is started and never freed; the threads of the
//! runtime start only when there is mail to drain, or a listener.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::Handle;

use crate::circle::Circles;
use crate::epoch::Collector;
use crate::error::Error;
use crate::fork;
use crate::handle::HandleTable;
use crate::log::Logs;
use crate::options::BucketOptions;
use crate::runtime::Runtime;
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
    /// The system's number of it: another one in a forked child.
    id: u32,
    /// Of a forked child: the process before this one, and so on.
    older: AtomicPtr<Process>,
    /// Started by the first who needs it.
    runtime: OnceCell<Runtime>,
    /// Held by who starts or stops it.
    starting: Mutex<()>,
    circles: Circles,
    logs: Logs,
    handles: HandleTable,
    references: AtomicU64,
    shut_down: AtomicBool,
    live_registries: AtomicUsize,
    live_buckets: AtomicUsize,
}

/// What was made last: in `fork::CURRENT` too, once others may use it. In a forked child it is
/// the parent's, until that is put aside.
static MADE: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

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

impl Process {
    fn new(options: Options) -> Process {
        Process {
            options,
            collector: Collector::new(),
            names: Names::default(),
            bucket_options: Arc::default(),
            callbacks: Callbacks(Mutex::default()),
            id: std::process::id(),
            older: AtomicPtr::default(),
            runtime: OnceCell::new(),
            starting: Mutex::new(()),
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
    #[inline(always)]
    pub(crate) fn if_any() -> Option<&'static Process> {
        // SAFETY: the pointer is null or came from `Box::into_raw` in `make`, and what it
        // points to is never freed.
        match unsafe { fork::CURRENT.get().as_ref() } {
            None => Process::find(),
            found => found,
        }
    }

    /// The long way, which sees whether this is a forked child now.
    #[cold]
    fn find() -> Option<&'static Process> {
        loop {
            // SAFETY: as above.
            let made = unsafe { MADE.load(Ordering::Acquire).as_ref() }?;
            if !fork::has_forked_since(made.id) {
                return Some(made);
            }
            made.put_aside();
        }
    }

    /// Looks whether this is a forked child, and if so lets go of what belongs to the parent.
    #[cfg(unix)]
    pub(crate) fn notice_fork() {
        // SAFETY: as in `if_any`.
        let made = unsafe { MADE.load(Ordering::Acquire).as_ref() };
        if let Some(made) = made.filter(|made| fork::has_forked_since(made.id)) {
            made.put_aside();
        }
    }

    /// What this process inherited through forks, the nearest first.
    pub(crate) fn inherited() -> impl Iterator<Item = &'static Process> {
        Process::if_any(); // it may have forked just now
                           // SAFETY: null, or was current before a fork, and so is never freed.
        let at = |pointer: &AtomicPtr<Process>| unsafe { pointer.load(Ordering::Acquire).as_ref() };
        std::iter::successors(at(&INHERITED), move |process| at(&process.older))
    }

    /// In a forked child: this belongs to the parent. Takes no lock. It does not matter if two
    /// threads of the child come here at once: each step can be made twice.
    #[cold]
    fn put_aside(&'static self) {
        let this = std::ptr::from_ref(self).cast_mut();
        let mut newest = INHERITED.load(Ordering::Acquire);
        while !std::ptr::eq(newest, this) {
            self.older.store(newest, Ordering::Release);
            match INHERITED.compare_exchange(newest, this, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(newer) => newest = newer,
            }
        }
        fork::begin_anew();
        fork::CURRENT.take_back(this);
        let null = std::ptr::null_mut();
        let _ = MADE.compare_exchange(this, null, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Tells a process from the one that it forked from: a call that began there ends here.
    pub(crate) fn lineage() -> usize {
        Process::if_any(); // it may have forked just now
        INHERITED.load(Ordering::Acquire).addr()
    }

    /// Whether this is the state of the process that runs, and not of one that it forked from.
    pub(crate) fn is_current(&self) -> bool {
        Process::if_any().is_some_and(|current| std::ptr::eq(current, self))
    }

    /// See [`crate::fork::leave_if_forked`].
    pub(crate) fn after_user_code(&self) {
        fork::leave_if_forked(self);
    }

    /// The state, and whether it was made by this call.
    #[cold]
    fn make(options: Options) -> (&'static Process, bool) {
        crate::platform::stay_loaded();
        fork::watch();
        crate::epoch::prepare();
        crate::panic::install_hook();
        let made = Box::into_raw(Box::new(Process::new(options)));
        let null = std::ptr::null_mut();
        match MADE.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                fork::CURRENT.set(made);
                // SAFETY: published just now, and never freed from here on.
                (unsafe { &*made }, true)
            }
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

    /// Has the runtime's threads leave. `false` if one was stuck in a callback: it is left alone.
    pub(crate) fn stop_runtime(&self, timeout: Option<Duration>) -> bool {
        let _starting = lock(&self.starting);
        self.runtime
            .get()
            .is_none_or(|runtime| runtime.stop(timeout))
    }

    /// Starts the runtime, if it was not: its threads can be refused by the system. Then the next
    /// who needs them tries again.
    pub(crate) fn start_runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
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

    /// Runs a drain on the runtime, which was started before anything was queued.
    pub(crate) fn spawn(&self, drain: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            crate::platform::uncancelled(|| runtime.spawn(Box::new(drain)));
        }
    }

    /// Runs user code, which may take its time, as soon as there is a thread for it.
    pub(crate) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = self.runtime.get() {
            crate::platform::uncancelled(|| runtime.spawn_blocking(Box::new(work)));
        }
    }

    /// tokio, for tasks that are more than a drain; started now if it was not.
    pub(crate) fn tokio(&self) -> Result<&Handle, Error> {
        self.start_runtime().map(Runtime::tokio)
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
