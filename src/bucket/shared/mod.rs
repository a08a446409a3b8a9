//! Buckets whose contents others change too: on a cluster, say (`store/shared.rs`).
//!
//! # The argument
//!
//! Such a bucket keeps nothing of its own. A call asks the store, on the caller's thread and until the
//! caller's deadline: it needs neither the turn nor the right to write, so many wait at the same time,
//! and none of them keeps another from anything. What looks at a key before it changes it does so by
//! its revision, and again until that holds (`changing.rs`). An update has the turn, since its callback
//! is one at a time (G1); it decides once, about the revision that it has read.
//!
//! A cast is sent at once, and a task of the mailbox waits for its answer (`casting.rs`): so it is on
//! its way in the order of its thread, and a call of that thread behind it finds it done (G3).
//!
//! Watches, and who reads a copy, have a copy of the whole (`store/mirror.rs`), which the store's watch
//! feeds from its own thread (`copying.rs`). It begins with the first of them, and goes on to the end.
//!
//! At the end of the bucket those who wait in the store, or for the copy, are let go, whoever has the
//! turn (`let_go`). When nobody has it, the store is closed, by who finds nobody in it and no cast on
//! its way, or else by a thread of its own, which waits for that. Who tells the bucket
//! something is a thread of the store's, which knows the bucket weakly, and ends nothing on it: `close`
//! waits for it.

mod casting;
mod changing;
mod copying;
mod reading;

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::backed::OpenedStore;
#[cfg(feature = "aio")]
use super::Decision;
use super::{BucketOptions, BucketServer, Lacks, OnFull, Order, Reads};
use crate::error::Error;
use crate::server::Caller;
#[cfg(feature = "aio")]
use crate::server::Lasts;
use crate::store::SharedStore;
use crate::sync::lock;
use crate::time::{Deadline, Timeout};

pub(super) use copying::{Copied, StoreEar};

/// What a change may take that nobody waits for; and a call, unless its handle says more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Where an update is.
#[derive(Default)]
struct Begun {
    /// Of who began it; none: nobody waits.
    timeout: Option<(Timeout, Deadline)>,
    /// What its key had when it was read: its revision, 0 if it was absent.
    seen: Option<u64>,
}

/// What a bucket has whose store is shared.
pub(super) struct Shared {
    /// None after the end.
    store: Mutex<Option<Arc<dyn SharedStore>>>,
    /// What tells the copy, once there is one. It ends before the store.
    watch: Mutex<Option<Box<dyn Send + Sync>>>,
    /// Reads are those of the copy.
    pub(super) reads_copy: bool,
    pub(super) copied: Arc<Copied>,
    /// Of who has the turn.
    begun: Mutex<Begun>,
    /// How many are in a function of the store.
    inside: Mutex<usize>,
    left: Condvar,
    /// Casts that were sent and not answered.
    sent: AtomicUsize,
}

impl Shared {
    /// Refused if the bucket is to be what no shared store can do.
    pub(super) fn new(
        store: Arc<dyn SharedStore>,
        options: &BucketOptions,
        copied: Arc<Copied>,
    ) -> Result<Shared, Error> {
        let is_limited = options.max_keys != usize::MAX || options.max_bytes != usize::MAX;
        if is_limited || options.on_full != OnFull::Refuse || options.order != Order::Unordered {
            return Err(Error::Unsupported(
                "limits of keys and bytes, eviction and order in a shared store",
            ));
        }
        if options.default_ttl.is_some() && !store.can().ttl {
            return Err(Error::Unsupported("a time to live in this store"));
        }
        Ok(Shared {
            store: Mutex::new(Some(store)),
            watch: Mutex::new(None),
            reads_copy: options.reads == Reads::Copy,
            copied,
            begun: Mutex::default(),
            inside: Mutex::default(),
            left: Condvar::new(),
            sent: AtomicUsize::new(0),
        })
    }

    /// What it cannot do.
    pub(super) fn lacks(&self) -> Lacks {
        let can = self.store().map(|store| store.can());
        Lacks {
            batches: can.as_ref().is_ok_and(|can| !can.batches),
            ttl: can.as_ref().is_ok_and(|can| !can.ttl),
            whole: true,
        }
    }

    /// The store, for who is about to ask it something.
    pub(super) fn store(&self) -> Result<InStore<'_>, Error> {
        let store = lock(&self.store);
        let store = Arc::clone(store.as_ref().ok_or(Error::ServerDown)?);
        *lock(&self.inside) += 1;
        Ok(InStore {
            store: Some(store),
            shared: self,
        })
    }

    /// The bucket has ended: lets those go who wait for the store or the copy. Never blocks.
    pub(super) fn let_go(&self) {
        self.copied.end();
        let store = lock(&self.store).as_ref().map(Arc::clone);
        if let Some(store) = store {
            store.interrupt();
        }
    }

    /// Gives up the store, which nobody can ask from here on; who is in it is on the way out.
    pub(super) fn end(&self) {
        self.let_go();
        drop(lock(&self.store).take());
        let watch = lock(&self.watch).take();
        drop(watch);
    }

    /// Whether to close it may take long.
    fn is_in_use(&self) -> bool {
        self.sent.load(Ordering::Acquire) != 0 || *lock(&self.inside) != 0
    }

    /// After `end`: waits until nobody is in the store any more.
    pub(super) fn await_left(&self) {
        let mut inside = lock(&self.inside);
        while *inside != 0 {
            let waited = self.left.wait(inside);
            inside = waited.unwrap_or_else(|it| it.into_inner());
        }
    }
}

/// Who is in a store, or is about to be.
pub(super) struct InStore<'s> {
    store: Option<Arc<dyn SharedStore>>,
    shared: &'s Shared,
}

impl InStore<'_> {
    /// For what outlives the question: a watch.
    fn counted(&self) -> Result<Arc<dyn SharedStore>, Error> {
        self.store.as_ref().map(Arc::clone).ok_or(Error::ServerDown)
    }
}

impl Deref for InStore<'_> {
    type Target = dyn SharedStore;

    fn deref(&self) -> &Self::Target {
        match &self.store {
            Some(store) => &**store,
            None => unreachable!("it is taken when it is dropped"),
        }
    }
}

impl Drop for InStore<'_> {
    fn drop(&mut self) {
        drop(self.store.take()); // not the last: who closes it waits for this one to leave
        *lock(&self.shared.inside) -= 1;
        self.shared.left.notify_all();
    }
}

/// Each as `BucketState` of the module's server.
impl BucketServer {
    #[inline]
    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.backed()?.shared()
    }

    /// Whether others change its contents too.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared().is_some()
    }

    /// What a call asks before it asks the store; answers its deadline.
    #[cold]
    fn begin_shared(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<Deadline, Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        self.await_own_casts(caller)?;
        caller.unpin();
        Ok(caller.begin_blocking())
    }

    /// What a store answered: what it refuses of a bucket that has ended, it refuses for that.
    fn shared_answer<T>(self: &Arc<Self>, answered: Result<T, Error>) -> Result<T, Error> {
        answered.map_err(|refused| self.shared_refusal(refused))
    }

    /// Whether an update, or what the mailbox has, may go on.
    fn may_change(self: &Arc<Self>) -> Result<(), Error> {
        if !self.system().is_current() {
            return Err(Error::Forked);
        }
        match self.has_ended() {
            true => Err(self.finish_end(Error::ServerDown)),
            false => Ok(()),
        }
    }

    #[cold]
    fn shared_refusal(self: &Arc<Self>, refused: Error) -> Error {
        match refused {
            Error::OutcomeUnknown => Error::OutcomeUnknown,
            _ if self.has_ended() => self.finish_end(Error::ServerDown),
            refused => refused,
        }
    }

    /// An update of a shared bucket begins, for a caller who waits so long.
    #[inline]
    pub(super) fn begin_update(&self, caller: Option<&mut Caller<'_>>) {
        if let Some(shared) = self.shared() {
            shared.begin_update(caller);
        }
    }
}

#[cfg(feature = "aio")]
impl BucketServer {
    /// Waits until what was cast before has been done.
    pub(crate) fn await_mail(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        self.occupy(caller, Lasts::Call).map(drop)
    }
}

#[cfg(feature = "aio")]
impl Decision<'_> {
    /// Who asks for it waits so long.
    pub(crate) fn waits_until(&self, timeout: Timeout, deadline: Deadline) {
        if let Some(shared) = self.bucket().shared() {
            lock(&shared.begun).timeout = Some((timeout, deadline));
        }
    }
}

impl Shared {
    #[cold]
    fn begin_update(&self, caller: Option<&mut Caller<'_>>) {
        let timeout = caller.map(|caller| (caller.timeout(), caller.begin_blocking()));
        *lock(&self.begun) = Begun {
            timeout,
            seen: None,
        };
    }

    /// Until when an update may wait: as its call, or, where it was left open for longer than that,
    /// as a call that begins now.
    pub(super) fn deadline_of_update(&self) -> Deadline {
        match lock(&self.begun).timeout {
            None => Deadline::after(PATIENCE),
            Some((_, deadline)) if !deadline.has_passed() => deadline,
            Some((timeout, _)) => timeout.deadline(),
        }
    }
}

/// Closes a store; not on this thread if that may take long.
pub(super) fn close(server: &BucketServer, shared: &Arc<Shared>, opened: OpenedStore) {
    shared.end();
    if !shared.is_in_use() {
        drop(opened);
        return;
    }
    let shared = Arc::clone(shared);
    server.system().threads().spawn_blocking(move || {
        shared.await_left();
        drop(opened);
    });
}
