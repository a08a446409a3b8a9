//! All that kvreg has once for the whole (operating system's) process, behind one atomic
//! pointer: so that a forked child can be given a fresh one by a single store.
//!
//! It is made when the first server or inbox is started and never freed; the threads of the
//! runtime start only when there is mail to drain, or a listener. Each floor has its own part of
//! it, and knows no more than that part and those below.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::bucket::{BucketOptions, BucketServer, BucketSpec, Buckets, Surroundings};
use crate::error::Error;
#[cfg(feature = "capi")]
use crate::handle_table::{self, HandleTable};
use crate::inbox::InboxCore;
use crate::log::Logs;
use crate::reclaim::{self, Domain};
use crate::registry::{Registries, RegistrySurroundings};
use crate::runtime::thread_end::{set_parts, Parts, PerThread};
use crate::runtime::{self, platform, Base, Beginning, ThreadOptions};
use crate::server::{self, Restart, System};
use crate::value;

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

/// Begins with what the server core knows of it, and that begins with what is below.
#[repr(C)]
pub(crate) struct Process {
    system: System,
    options: Options,
    logs: Logs,
    buckets: Buckets,
    registries: Registries,
    #[cfg(feature = "capi")]
    handles: HandleTable,
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
            after_work: reclaim::tidy,
        };
        Process {
            system: System::new(Domain::new(Base::new(threads))),
            logs: Logs::new(),
            buckets: Buckets::default(),
            registries: Registries::default(),
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

    /// For whatever starts something: refused after `shutdown`.
    pub(crate) fn running() -> Result<&'static Process, Error> {
        if platform::is_ending() {
            return Err(Error::ShutDown);
        }
        let process = Process::current();
        if process.is_shut_down() {
            return Err(Error::ShutDown);
        }
        Ok(process)
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

    /// Has the runtime's threads leave. `false` if one was stuck in a callback: it is left alone.
    pub(crate) fn stop_threads(&self, timeout: Option<Duration>) -> bool {
        self.base().threads().stop(timeout)
    }

    fn around_buckets(&'static self) -> Surroundings {
        Surroundings {
            system: &self.system,
            logs: &self.logs,
            buckets: &self.buckets,
        }
    }

    pub(crate) fn around_registries(&'static self) -> RegistrySurroundings {
        RegistrySurroundings {
            registries: &self.registries,
            of_buckets: self.around_buckets(),
            default_timeout_ms: self.options.default_timeout_ms,
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
        let around = self.around_buckets();
        let spec = Arc::new(BucketSpec { options, around });
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
