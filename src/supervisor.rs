//! Supervision: what becomes of a bucket that ended, and of a registry that crashed.
//!
//! A restart is made by the thread that ends the server, before anybody can learn of the end:
//! the new one takes the old one's place in one step, so that whoever is told finds it there.
//! Only that place is shared. The new server is another process: it has the old one's name
//! and options, and nothing else of it.

use std::collections::{BTreeMap, VecDeque};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::epoch::{self, Guard};
use crate::error::Error;
use crate::kept;
use crate::options::{BucketOptions, RegistryOptions};
use crate::process::Process;
use crate::reason::Reason;
use crate::registry::RegistryServer;
use crate::sync::lock;

/// What is known of a bucket across its restarts; a temporary one has none.
pub(crate) struct Child {
    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    /// When it was restarted, within the last period.
    recent: VecDeque<Instant>,
    restarts: u64,
    last: Option<Reason>,
}

/// What a supervisor decides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Restart,
    /// As its restart option says.
    Leave,
    /// It was restarted too often.
    GiveUp,
}

impl Child {
    /// Of a bucket with these options.
    pub(crate) fn of(options: &BucketOptions) -> Option<Arc<Child>> {
        (options.restart != crate::options::Restart::Temporary).then(|| {
            Arc::new(Child {
                history: Mutex::default(),
            })
        })
    }

    /// Decides about a bucket that ends now, and counts its restart.
    pub(crate) fn decide(&self, options: &BucketOptions, reason: Reason, now: Instant) -> Decision {
        if !options.restart.applies_to(reason) {
            return Decision::Leave;
        }
        let mut history = lock(&self.history);
        history.last = Some(reason);
        let is_over = |at: &Instant| now.duration_since(*at) > options.restart_period;
        while history.recent.front().is_some_and(is_over) {
            history.recent.pop_front();
        }
        if history.recent.len() >= options.max_restarts as usize {
            return Decision::GiveUp;
        }
        history.recent.push_back(now);
        history.restarts += 1;
        Decision::Restart
    }

    /// How often it was restarted, and why the last one before this ended.
    pub(crate) fn history(&self) -> (u64, Option<Reason>) {
        let history = lock(&self.history);
        (history.restarts, history.last)
    }
}

/// A registry behind its handles and its name: `one_for_all`. A registry that crashes or is
/// killed takes its buckets along and comes back empty; one that stops is gone.
pub(crate) struct Supervisor {
    process: &'static Process,
    itself: Weak<Supervisor>,
    options: RegistryOptions,
    /// From `kept`; replaced under `replacing`, and freed through the epoch.
    current: AtomicPtr<()>,
    replacing: Mutex<Option<Reason>>,
    restarts: AtomicU64,
    handles: AtomicU32,
}

impl Supervisor {
    /// Starts a registry; refused if its name is taken.
    pub(crate) fn start(
        process: &'static Process,
        options: RegistryOptions,
    ) -> Result<Arc<Supervisor>, Error> {
        options.check()?;
        let supervisor = Arc::new_cyclic(|itself| {
            let first = Supervisor::start_registry(process, itself, &options);
            Supervisor {
                process,
                itself: Weak::clone(itself),
                options,
                current: AtomicPtr::new(kept::keep(first).cast_mut()),
                replacing: Mutex::new(None),
                restarts: AtomicU64::new(0),
                handles: AtomicU32::new(0),
            }
        });
        if let Some(name) = &supervisor.options.name {
            if let Err(taken) = process.names().register(name, &supervisor) {
                supervisor.registry().stop_later()?;
                return Err(taken);
            }
        }
        Ok(supervisor)
    }

    fn start_registry(
        process: &'static Process,
        itself: &Weak<Supervisor>,
        options: &RegistryOptions,
    ) -> Arc<RegistryServer> {
        RegistryServer::start_registry(process, Weak::clone(itself), options)
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.options.name.as_deref()
    }

    pub(crate) fn process(&self) -> &'static Process {
        self.process
    }

    /// The registry that is there now, without a count: good as long as the caller is pinned
    /// and has the supervisor, or has taken a count meanwhile.
    pub(crate) fn current(&self, _pinned: &Guard) -> ManuallyDrop<Arc<RegistryServer>> {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: a count of this Arc belongs to `current` and is given up through the epoch
        // (`replace`) or when nobody has the supervisor. The copy here is never dropped, so no
        // count changes.
        unsafe { kept::kept(current) }
    }

    /// The same with a count.
    pub(crate) fn registry(&self) -> Arc<RegistryServer> {
        let pinned = epoch::pin();
        Arc::clone(&self.current(&pinned))
    }

    /// Called when a registry ends, perhaps more than once: puts a new one in its place if it
    /// ended abnormally.
    pub(crate) fn replace(&self, ended: &Arc<RegistryServer>, reason: Reason) {
        if !comes_back(self.process, reason) {
            return;
        }
        let mut last = lock(&self.replacing);
        let place = self.current.load(Ordering::Acquire);
        if place.cast_const() != kept::pointer(ended) {
            return;
        }
        *last = Some(reason);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let new = Supervisor::start_registry(self.process, &self.itself, &self.options);
        let again = Arc::clone(&new);
        self.current
            .store(kept::keep(new).cast_mut(), Ordering::Release);
        drop(last);
        // Either `shutdown` finds the new one and ends it, or this thread sees the shutdown.
        epoch::light();
        let is_wanted = !self.is_unreachable() && !self.process.is_shut_down();
        // SAFETY: the count of `current`, whose place was just taken.
        let old = unsafe { taken(place) };
        epoch::pin().defer(move || drop(old));
        if !is_wanted {
            let _ = again.stop_later();
        }
    }

    fn is_unreachable(&self) -> bool {
        self.options.name.is_none() && self.handles.load(Ordering::Acquire) == 0
    }

    /// How often the registry came back, and what it had ended of.
    pub(crate) fn history(&self) -> (u64, Option<Reason>) {
        let last = lock(&self.replacing);
        (self.restarts.load(Ordering::Relaxed), *last)
    }

    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another_handle(&self) -> bool {
        add_another(&self.handles)
    }

    /// A registry that nobody can reach any more stops.
    pub(crate) fn drop_handle(&self) {
        self.handles.fetch_sub(1, Ordering::AcqRel);
        if self.is_unreachable() {
            // With the lock: the one that comes back is stopped here or by `replace`.
            let registry = {
                let _replacing = lock(&self.replacing);
                self.registry()
            };
            // Refused if it has ended, or if there is no thread to be had for its last mail.
            let _ = registry.stop_later();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // SAFETY: the count of `current`, and nobody has the supervisor any more.
        drop(unsafe { taken(*self.current.get_mut()) });
    }
}

/// The count that `current` had.
///
/// # Safety
/// It is taken once, and is in that place no more.
unsafe fn taken(place: *mut ()) -> Arc<RegistryServer> {
    // SAFETY: made by `kept` of an `Arc` of this type, whose count is taken over.
    ManuallyDrop::into_inner(unsafe { kept::kept(place) })
}

/// Counts another handle unless there is none left.
pub(crate) fn add_another(handles: &AtomicU32) -> bool {
    let another = |handles: u32| (handles > 0).then_some(handles + 1);
    handles
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, another)
        .is_ok()
}

/// Whether a registry that ends for this reason is started again.
pub(crate) fn comes_back(process: &Process, reason: Reason) -> bool {
    matches!(reason, Reason::Killed | Reason::Crashed) && !process.is_shut_down()
}

/// The registries that have a name: what a C host and a plug-in meet by. A name keeps its
/// registry running without a handle, until it stops.
#[derive(Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, Arc<Supervisor>>>);

impl Names {
    fn register(&self, name: &str, supervisor: &Arc<Supervisor>) -> Result<(), Error> {
        let mut names = lock(&self.0);
        if names.contains_key(name) {
            return Err(Error::AlreadyStarted);
        }
        names.insert(name.to_owned(), Arc::clone(supervisor));
        Ok(())
    }

    /// Another handle is about to be made for what is found.
    pub(crate) fn whereis(&self, name: &str) -> Result<Arc<Supervisor>, Error> {
        let names = lock(&self.0);
        names.get(name).map(Arc::clone).ok_or(Error::NotFound)
    }

    /// Takes the name out if it leads there.
    pub(crate) fn forget(&self, supervisor: &Supervisor) {
        let Some(name) = supervisor.name() else {
            return;
        };
        let forgotten = {
            let mut names = lock(&self.0);
            let leads_there = names
                .get(name)
                .is_some_and(|found| std::ptr::eq(Arc::as_ptr(found), supervisor));
            if leads_there {
                names.remove(name)
            } else {
                None
            }
        };
        drop(forgotten); // outside the lock: it may be the last to know the registry
    }

    pub(crate) fn all(&self) -> Vec<Arc<Supervisor>> {
        lock(&self.0).values().cloned().collect()
    }
}
