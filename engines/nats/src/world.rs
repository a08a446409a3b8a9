//! What the stores of a process share: the engine's runtime, and the clusters in use.
//!
//! # The argument
//!
//! The table knows clusters and the runtime as long as somebody has them: the first store starts
//! the runtime and the last one ends it, without waiting for a name that is still being resolved.
//! The table's lock is held while a runtime is started, and no longer than that.
//!
//! A child of a fork has none of the parent's threads, and may have any of its locks taken for ever.
//! `forked` stores one pointer: the child begins with a world of its own, and never looks at the
//! parent's, which is leaked, with descriptors on which nothing is ever sent or closed by name.
//! They are closed when the child executes something, as each is made so.
//!
//! The engine's threads take none of the host's signals, nor the one of a connection that broke:
//! all that is written to one is written by them.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::location::Servers;
use crate::panics;
use crate::replies::{letters, random};

const WORKERS: usize = 2;
/// Threads that resolve names.
const RESOLVERS: usize = 2;

/// The runtime, until the last one who has it gives it up.
pub(crate) struct Running {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Running {
    fn start() -> Result<Running, Failure> {
        let runtime = without_signals(|| {
            Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .max_blocking_threads(RESOLVERS)
                .thread_name("kvreg-nats")
                .on_thread_start(panics::is_own_thread)
                .enable_all()
                .build()
        });
        let runtime =
            runtime.map_err(|error| Failure::io(format!("threads cannot be started: {error}")))?;
        Ok(Running {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Threads that are started meanwhile, and theirs, take no signals.
#[cfg(unix)]
fn without_signals<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: sets of signals are plain, and are filled before they are used.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: as above; the thread's own mask is put back below.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    let answer = work();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut()) };
    answer
}

#[cfg(not(unix))]
fn without_signals<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[derive(Default)]
struct Table {
    running: Weak<Running>,
    clusters: HashMap<Servers, Weak<Cluster>>,
}

pub(crate) struct World {
    table: Mutex<Table>,
    /// What its ids of changes begin with.
    own: String,
    number: AtomicU64,
}

static WORLD: AtomicPtr<World> = AtomicPtr::new(ptr::null_mut());

/// That of this process.
pub(crate) fn world() -> &'static World {
    let there = WORLD.load(Ordering::Acquire);
    let chosen = match there.is_null() {
        false => there,
        true => {
            let random = u128::from(random()) << 64 | u128::from(random());
            let made = Box::into_raw(Box::new(World {
                table: Mutex::default(),
                own: letters(random, 22),
                number: AtomicU64::new(0),
            }));
            let null = ptr::null_mut();
            match WORLD.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => made,
                Err(first) => {
                    // SAFETY: made above, and seen by nobody.
                    drop(unsafe { Box::from_raw(made) });
                    first
                }
            }
        }
    };
    // SAFETY: made by `Box::into_raw`, and never freed once it was there.
    unsafe { &*chosen }
}

/// This is a child of a fork. Stores a pointer, and nothing else.
#[cfg(unix)]
pub(crate) fn forked() {
    WORLD.store(ptr::null_mut(), Ordering::Release);
}

impl World {
    /// A cluster in use, or one that is connected to from now on.
    pub(crate) fn cluster(&self, servers: &Servers) -> Result<Arc<Cluster>, Failure> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = table.clusters.get(servers).and_then(Weak::upgrade) {
            return Ok(cluster);
        }
        let running = match table.running.upgrade() {
            Some(running) => running,
            None => Arc::new(Running::start()?),
        };
        table.running = Arc::downgrade(&running);
        let cluster = Arc::new(Cluster::new(servers.clone(), running));
        table.clusters.retain(|_, it| it.strong_count() > 0);
        table
            .clusters
            .insert(servers.clone(), Arc::downgrade(&cluster));
        Ok(cluster)
    }

    /// An id for a change, which no other has.
    pub(crate) fn new_id(&self) -> String {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        format!("{}.{}", self.own, letters(number.into(), 1))
    }
}
