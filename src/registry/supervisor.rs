//! A registry across its lives: what becomes of one that crashed.
//!
//! A registry that comes back is started by the thread that ends the old one, before anybody can
//! learn of the end; see `server::child`.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::{RegistryOptions, RegistryServer, RegistrySurroundings};
use crate::bucket::BucketSpec;
use crate::error::Error;
use crate::reason::Reason;
use crate::reclaim::{self, Guard};
use crate::server::{HandleCount, System};
use crate::sync::{lock, raw_arc};

/// A registry behind its handles and its name: `one_for_all`. A registry that crashes or is
/// killed takes its buckets along and comes back empty; one that stops is gone.
pub(crate) struct Supervisor {
    around: RegistrySurroundings,
    itself: Weak<Supervisor>,
    options: RegistryOptions,
    /// For buckets without options of their own.
    spec: Arc<BucketSpec>,
    /// From `kept`; replaced under `replacing`, and freed through the epoch.
    current: AtomicPtr<()>,
    replacing: Mutex<Option<Reason>>,
    restarts: AtomicU64,
    handles: HandleCount,
}

impl Supervisor {
    /// Starts a registry; refused if its name is taken.
    pub(crate) fn start(
        around: RegistrySurroundings,
        options: RegistryOptions,
    ) -> Result<Arc<Supervisor>, Error> {
        options.check()?;
        let spec = Arc::new(BucketSpec {
            options: options.bucket.clone(),
            around: around.of_buckets,
            revisions: Some(Arc::default()),
            owner: around.registries.draw_number(),
        });
        let supervisor = Arc::new_cyclic(|itself| {
            let (itself_again, first_spec) = (Weak::clone(itself), Arc::clone(&spec));
            let first = RegistryServer::start_registry(around, itself_again, &options, first_spec);
            Supervisor {
                around,
                itself: Weak::clone(itself),
                options,
                spec,
                current: AtomicPtr::new(raw_arc::keep(first).cast_mut()),
                replacing: Mutex::new(None),
                restarts: AtomicU64::new(0),
                handles: HandleCount::default(),
            }
        });
        if let Some(name) = &supervisor.options.name {
            if let Err(taken) = around.registries.names().register(name, &supervisor) {
                supervisor.registry().stop_later()?;
                return Err(taken);
            }
        }
        Ok(supervisor)
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.options.name.as_deref()
    }

    pub(crate) fn around(&self) -> &RegistrySurroundings {
        &self.around
    }

    /// The registry that is there now, without a count: good as long as the caller is pinned
    /// and has the supervisor, or has taken a count meanwhile.
    pub(crate) fn current(&self, _pinned: &Guard) -> ManuallyDrop<Arc<RegistryServer>> {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: a count of this Arc belongs to `current` and is given up through the epoch
        // (`replace`) or when nobody has the supervisor. The copy here is never dropped, so no
        // count changes.
        unsafe { raw_arc::kept(current) }
    }

    /// The registry that is there now, with a count.
    pub(crate) fn registry(&self) -> Arc<RegistryServer> {
        let pinned = reclaim::pin();
        Arc::clone(&self.current(&pinned))
    }

    /// Called when a registry ends, perhaps more than once: puts a new one in its place if it
    /// ended abnormally.
    pub(super) fn replace(&self, ended: &Arc<RegistryServer>, reason: Reason) {
        if !comes_back(self.around.system(), reason) {
            return;
        }
        let mut last = lock(&self.replacing);
        let place = self.current.load(Ordering::Acquire);
        if place.cast_const() != raw_arc::pointer(ended) {
            return;
        }
        *last = Some(reason);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let (itself, spec) = (Weak::clone(&self.itself), Arc::clone(&self.spec));
        let new = RegistryServer::start_registry(self.around, itself, &self.options, spec);
        let again = Arc::clone(&new);
        self.current
            .store(raw_arc::keep(new).cast_mut(), Ordering::Release);
        drop(last);
        // Either `shutdown` finds the new one and ends it, or this thread sees the shutdown.
        reclaim::light();
        let is_wanted = !self.is_unreachable() && !self.around.system().threads().is_shut_down();
        // SAFETY: the count of `current`, whose place was just taken.
        let old = unsafe { taken(place) };
        reclaim::pin().defer(move || drop(old));
        if !is_wanted {
            let _ = again.stop_later();
        }
    }

    fn is_unreachable(&self) -> bool {
        self.options.name.is_none() && self.handles.is_none()
    }

    /// How often the registry came back, and what it had ended of.
    pub(super) fn history(&self) -> (u64, Option<Reason>) {
        let last = lock(&self.replacing);
        (self.restarts.load(Ordering::Relaxed), *last)
    }

    pub(crate) fn add_handle(&self) {
        self.handles.add();
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another_handle(&self) -> bool {
        self.handles.add_another()
    }

    /// A registry that nobody can reach any more stops.
    pub(crate) fn drop_handle(&self) {
        self.handles.remove();
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
    ManuallyDrop::into_inner(unsafe { raw_arc::kept(place) })
}

/// Whether a registry that ends for this reason is started again.
pub(super) fn comes_back(system: &System, reason: Reason) -> bool {
    matches!(reason, Reason::Killed | Reason::Crashed) && !system.threads().is_shut_down()
}
