//! All that kvreg has once for the whole (operating system's) process, behind one atomic
//! pointer: so that a forked child can be given a fresh one by a single store.
//!
//! It is made when the first server or inbox is started and never freed; the threads of the
//! runtime start only when there is mail to drain, or a listener, or much to be freed at once. Each
//! floor has its own part of it, and knows no more than that part and those below.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::bucket::{
    BucketOptions, BucketServer, BucketSpec, Buckets, Engines, Surroundings, SHARED_PATIENCE,
};
use crate::error::Error;
#[cfg(feature = "capi")]
use crate::handle_table::{self, HandleTable};
use crate::inbox::InboxCore;
use crate::log::Logs;
use crate::memory;
use crate::reclaim::{self, Domain};
use crate::registry::{Registries, RegistrySurroundings};
use crate::runtime::thread_end::{set_parts, Parts, PerThread};
use crate::runtime::{self, platform, Base, Beginning, ThreadOptions};
use crate::server::{self, Restart, System};
use crate::sync::lock;
use crate::time::Timeout;
use crate::user_server::{UserServerSurroundings, UserServers};
use crate::value;

/// What can be set before first use, by [`configure`](crate::configure).
///
/// ```
/// use std::time::Duration;
///
/// let options = kvreg::Options::new()
///     .worker_threads(1)
///     .thread_name("shop")
///     .default_timeout(Duration::from_secs(1));
/// kvreg::configure(options)?;
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that drain mailboxes and serve listeners. They wait for nothing else, so few do.
    pub(crate) worker_threads: usize,
    /// Each callback of an `update_cast` that runs, or waits for a bucket, has a thread of its
    /// own. With fewer than there are such callbacks the last ones wait for the first, which
    /// no search for circles sees; so this is far beyond what a system would start.
    pub(crate) callback_threads: usize,
    /// Of all these threads.
    pub(crate) thread_name: String,
    /// In milliseconds; -1 is for ever; `None`: what suits the server.
    pub(crate) default_timeout_ms: Option<i64>,
    /// How many monitors an inbox can have, counting DOWNs that were not received.
    pub(crate) max_monitors: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            worker_threads: 2,
            callback_threads: 16_384,
            thread_name: "kvreg".into(),
            default_timeout_ms: None,
            max_monitors: 1 << 20,
        }
    }
}

impl Options {
    /// Of a new handle: of a server whose calls may have to wait for a cluster, or may not.
    pub(crate) fn timeout_ms(&self, waits_long: bool) -> i64 {
        self.default_timeout_ms.unwrap_or(match waits_long {
            false => 5000,
            true => SHARED_PATIENCE.as_millis() as i64,
        })
    }

    /// The defaults.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// Threads that drain mailboxes and serve listeners, 2 at first. They wait for nothing else.
    #[must_use]
    pub fn worker_threads(mut self, threads: usize) -> Options {
        self.worker_threads = threads;
        self
    }

    /// Threads for the callbacks of `update_cast`, 16,384 at first: each callback that runs, or
    /// waits for a bucket, has one of its own. They start when they are needed.
    #[must_use]
    pub fn callback_threads(mut self, threads: usize) -> Options {
        self.callback_threads = threads;
        self
    }

    /// The name of all these threads, 1 to 15 bytes; "kvreg" at first.
    #[must_use]
    pub fn thread_name(mut self, name: impl Into<String>) -> Options {
        self.thread_name = name.into();
        self
    }

    /// How long the calls of a handle may wait, until it is told otherwise; 5 seconds at first, and
    /// 15 seconds those to a bucket on a cluster.
    #[must_use]
    pub fn default_timeout(mut self, timeout: impl Into<Timeout>) -> Options {
        self.default_timeout_ms = Some(timeout.into().to_millis());
        self
    }

    /// How many monitors an inbox can have, counting DOWNs that were not received; 1,048,576 at
    /// first.
    #[must_use]
    pub fn max_monitors(mut self, monitors: usize) -> Options {
        self.max_monitors = monitors;
        self
    }

    /// As the C interface checks them, whose limits these are.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.worker_threads > 1024 || self.callback_threads > 1 << 20 {
            return Err(Error::InvalidArgument("so many threads"));
        }
        if self.worker_threads == 0 || self.callback_threads == 0 {
            return Err(Error::InvalidArgument("no threads"));
        }
        if self.thread_name.is_empty() || self.thread_name.len() > 15 {
            let refused = "the name of a thread has 1 to 15 bytes";
            return Err(Error::InvalidArgument(refused));
        }
        if self.thread_name.contains('\0') {
            return Err(Error::InvalidArgument("the name of a thread has no NUL"));
        }
        Ok(())
    }
}

/// Begins with what the server core knows of it, and that begins with what is below.
#[repr(C)]
pub(crate) struct Process {
    system: System,
    options: Options,
    logs: Logs,
    buckets: Buckets,
    engines: Engines,
    user_servers: UserServers,
    registries: Registries,
    started: Started,
    #[cfg(feature = "capi")]
    handles: HandleTable,
}

/// What Rust programs started, and `shutdown` ends.
pub(crate) trait Ends: Send + Sync {
    fn end_for_shutdown(self: Arc<Self>);
}

/// When `shutdown` ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    First,
    /// So that it gets what the others have to say.
    Last,
}

type Noted = (Ended, Weak<dyn Ends>);

#[derive(Default)]
struct Started(Mutex<Vec<Noted>>);

impl Started {
    fn note(&self, when: Ended, started: Weak<dyn Ends>) {
        let mut all = lock(&self.0);
        if all.len() == all.capacity() {
            // So it is at most twice as long as what lives, and this is rarely done.
            all.retain(|(_, it)| it.strong_count() > 0);
            let live = all.len();
            all.shrink_to(2 * live);
            all.reserve(live.max(8));
        }
        all.push((when, started));
    }
}

/// What each thread has, in the order in which it gives it back as it ends.
const PARTS: Parts = &[
    reclaim::PARENT_PER_THREAD,
    server::PER_THREAD,
    reclaim::PER_THREAD,
    PerThread {
        open: value::buffer_cache::open,
        end: |_| value::buffer_cache::close(),
        ..PerThread::NONE
    },
    #[cfg(feature = "capi")]
    handle_table::PER_THREAD,
];

const MAKER: fn() -> Beginning = || NonNull::from(Process::current()).cast();

impl Process {
    fn new(options: Options) -> Process {
        let threads = ThreadOptions {
            workers: options.worker_threads,
            callbacks: options.callback_threads,
            name: options.thread_name.clone(),
            after_work: || {
                reclaim::tidy();
                memory::is_ready();
            },
        };
        Process {
            system: System::new(Domain::new(Base::new(threads))),
            logs: Logs::new(),
            buckets: Buckets::default(),
            engines: Engines::default(),
            user_servers: UserServers::default(),
            registries: Registries::default(),
            started: Started::default(),
            #[cfg(feature = "capi")]
            handles: HandleTable::new(),
            options,
        }
    }

    /// The state that begins with this.
    fn of(state: Beginning) -> &'static Process {
        // SAFETY: `make` alone publishes a state, which is a `Process` and never freed.
        unsafe { state.cast().as_ref() }
    }

    /// The process's state, made on first need.
    pub(crate) fn current() -> &'static Process {
        Process::if_any().unwrap_or_else(|| {
            // A child goes on as its parent was told to.
            let inherited = Process::inherited().next();
            let options = inherited.map(|older| older.options.clone());
            Process::make(options.unwrap_or_default()).0
        })
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
        runtime::current().map(Process::of)
    }

    /// Of the calls of a new handle.
    pub(crate) fn default_timeout() -> Timeout {
        Process::timeout_of(false)
    }

    /// As `default_timeout`, of a server whose calls may have to wait for a cluster, or may not.
    pub(crate) fn timeout_of(waits_long: bool) -> Timeout {
        let millis = Process::if_any().map(|process| process.options.timeout_ms(waits_long));
        let timeout = millis.and_then(|millis| Timeout::from_millis(millis).ok());
        timeout.unwrap_or(Timeout::DEFAULT)
    }

    /// What this process inherited through forks, the nearest first.
    pub(crate) fn inherited() -> impl Iterator<Item = &'static Process> {
        runtime::inherited().map(Process::of)
    }

    /// The state, and whether it was made by this call.
    #[cold]
    fn make(options: Options) -> (&'static Process, bool) {
        platform::stay_loaded();
        runtime::watch_forks(&MAKER);
        set_parts(&PARTS);
        reclaim::prepare();
        runtime::install_hook();
        let made = NonNull::from(Box::leak(Box::new(Process::new(options))));
        // SAFETY: boxed just now, of this type: which begins with a `System`, that with a
        // `Domain`, and that with a `Base`; all of them are `repr(C)`.
        match unsafe { runtime::publish(made.cast()) } {
            Ok(()) => (Process::of(made.cast()), true),
            Err(faster) => {
                // SAFETY: it was not published, so this is its only owner.
                drop(unsafe { Box::from_raw(made.as_ptr()) });
                (Process::of(faster), false)
            }
        }
    }

    /// The state, made if there is none; refused after `shutdown`.
    pub(crate) fn running() -> Result<&'static Process, Error> {
        if platform::is_ending() {
            return Err(Error::ShutDown);
        }
        if Process::if_any().is_none() {
            Process::with_memory()?;
        }
        let process = Process::current();
        if process.is_shut_down() {
            return Err(Error::ShutDown);
        }
        Ok(process)
    }

    /// As `running`, for whatever starts something.
    pub(crate) fn starting() -> Result<&'static Process, Error> {
        let process = Process::running()?;
        Process::with_memory()?;
        Ok(process)
    }

    /// Refused if there is no memory for what cannot fail.
    pub(crate) fn with_memory() -> Result<(), Error> {
        // What was taken out before, and waits to be freed, may be what is missing.
        while !memory::is_ready() {
            if !reclaim::free_for_writer(&Timeout::Now.deadline()) {
                return Err(Error::NoMemory);
            }
        }
        Ok(())
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.base().threads().is_shut_down()
    }

    /// From here on nothing can be started; `false` if it had been said before.
    pub(crate) fn begin_shut_down(&self) -> bool {
        let is_first = self.base().threads().begin_shut_down();
        // What is looked at from here on is what others left: they look after their half.
        reclaim::heavy();
        is_first
    }

    /// Has `shutdown` end what was started; refused if that was here already.
    pub(crate) fn note_started<T: Ends + 'static>(
        &self,
        when: Ended,
        started: &Arc<T>,
    ) -> Result<(), Error> {
        let noted: Weak<T> = Arc::downgrade(started);
        self.started.note(when, noted);
        if self.is_shut_down() {
            Arc::clone(started).end_for_shutdown();
            return Err(Error::ShutDown);
        }
        Ok(())
    }

    /// Ends what Rust programs started, and is to be ended now.
    pub(crate) fn end_started(&self, now: Ended) {
        let mut all = lock(&self.started.0);
        let (ended, kept) = all
            .drain(..)
            .partition::<Vec<Noted>, _>(|(when, _)| *when == now);
        *all = kept;
        drop(all);
        for started in ended.into_iter().filter_map(|(_, it)| it.upgrade()) {
            started.end_for_shutdown();
        }
    }

    /// Has the runtime's threads leave. `false` if one was stuck in a callback: it is left alone.
    pub(crate) fn stop_threads(&self, timeout: Option<Duration>) -> bool {
        self.base().threads().stop(timeout)
    }

    fn around_buckets(&'static self) -> Surroundings {
        Surroundings {
            system: &self.system,
            logs: &self.logs,
            buckets: &self.buckets,
            engines: &self.engines,
        }
    }

    pub(crate) fn around_user_servers(&'static self) -> UserServerSurroundings {
        UserServerSurroundings {
            of_buckets: self.around_buckets(),
            user_servers: &self.user_servers,
        }
    }

    pub(crate) fn user_servers(&self) -> &UserServers {
        &self.user_servers
    }

    pub(crate) fn around_registries(&'static self) -> RegistrySurroundings {
        RegistrySurroundings {
            registries: &self.registries,
            of_buckets: self.around_buckets(),
            default_timeout_ms: self.options.timeout_ms(false),
        }
    }

    /// Starts a bucket that no registry knows.
    pub(crate) fn start_bucket(&'static self) -> Arc<BucketServer> {
        let spec = self.buckets.lone_spec(self.around_buckets());
        BucketServer::start_bucket(spec, None)
    }

    /// Starts one with options of its own.
    pub(crate) fn start_bucket_with(
        &'static self,
        options: BucketOptions,
    ) -> Result<Arc<BucketServer>, Error> {
        options.check()?;
        if options.restart != Restart::Temporary {
            let text = "a bucket without a registry is not restarted: nobody holds its place";
            return Err(Error::InvalidArgument(text));
        }
        if options.store.is_some() {
            let text = "a bucket without a name has no store: nobody could open it again";
            return Err(Error::InvalidArgument(text));
        }
        let around = self.around_buckets();
        let spec = Arc::new(BucketSpec::alone(options, around));
        Ok(BucketServer::start_bucket(spec, None))
    }

    pub(crate) fn open_inbox(&'static self) -> Arc<InboxCore> {
        InboxCore::open(&self.system, &self.logs, self.options.max_monitors)
    }

    fn base(&self) -> &Base {
        self.system.base()
    }

    pub(crate) fn system(&self) -> &System {
        &self.system
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    pub(crate) fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    pub(crate) fn registries(&self) -> &Registries {
        &self.registries
    }

    #[cfg(feature = "capi")]
    pub(crate) fn handles(&self) -> &HandleTable {
        &self.handles
    }
}
