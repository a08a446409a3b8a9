//! Buckets whose contents a store keeps, beyond their end.
//!
//! # The argument
//!
//! A change waits in a line (`Backed::line`) before its caller asks for the turn. Who has the turn
//! takes all that wait, in their order, and stores what he can of it in one go (`storing.rs`): so
//! many writers wait for the disk once. Each is answered by who stored it. A caller who has the turn
//! finds his own change in the line, or answered: it was taken by somebody who had the turn before.
//! One who does not get the turn in time takes his change out of the line, if it is there yet: then
//! it was not made and never will be (G7); else it is about to be answered, and he waits for that,
//! as long as the disk takes.
//!
//! A cast puts its change into the line too, and a task into the mailbox, which stores what waits: so
//! a call behind it finds it done (G3), and no worker of the runtime waits for a disk.
//!
//! The store is opened with the bucket's first turn, by who creates the bucket, or by the mailbox's
//! first task where nobody does; who finds the name waits for that turn (`opening.rs`). It is closed
//! when the bucket has ended and nobody has its turn. Another process of the bucket opens it then
//! (`engines.rs`).

mod engines;
mod opening;
mod request;
mod storing;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use super::shared::{self, Copied, Shared};
use super::{BucketServer, Deciding, Decision, Task};
use crate::error::Error;
use crate::reclaim;
use crate::server::{Caller, Lasts, Reservation};
use crate::store::Refused;
use crate::sync::lock;

pub(crate) use engines::{Engines, Loader};
pub(super) use request::{collected, Change, Done, OwnOp};

pub(super) use engines::OpenedStore;
use request::Request;

/// What a bucket has that a store keeps.
#[derive(Default)]
pub(super) struct Backed {
    line: Mutex<Vec<Arc<Request>>>,
    /// Of who has the turn; none before it is opened, and after the end.
    store: Mutex<Option<OpenedStore>>,
    is_open: AtomicBool,
    /// Changes that were cast before it was open, or beside it, and are not answered.
    cast: AtomicUsize,
    /// Of a store that others change too, once it is open.
    shared: OnceLock<Arc<Shared>>,
    /// How far a copy of such a store is, from before it is open.
    copied: Arc<Copied>,
}

impl Backed {
    fn queue(&self, request: &Arc<Request>) -> Result<(), Error> {
        let mut line = lock(&self.line);
        line.try_reserve(1).map_err(|_| Error::NoMemory)?;
        line.push(Arc::clone(request));
        Ok(())
    }

    /// Takes a change out of the line: `false` if it is not there any more.
    fn withdraw(&self, request: &Arc<Request>) -> bool {
        let mut line = lock(&self.line);
        let place = line.iter().position(|it| Arc::ptr_eq(it, request));
        if let Some(place) = place {
            line.remove(place);
        }
        place.is_some()
    }

    fn take_line(&self) -> Line {
        Line(std::mem::take(&mut *lock(&self.line)))
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.get()
    }

    /// The bucket has ended: lets those go who wait for a store that others change too.
    pub(super) fn let_go(&self) {
        self.copied.end();
        if let Some(shared) = self.shared() {
            shared.let_go();
        }
    }

    /// The bucket has ended, and nobody has its turn.
    pub(super) fn close(&self, server: &BucketServer) {
        drop(self.take_line());
        let store = lock(&self.store).take();
        match (store, self.shared()) {
            (Some(store), Some(shared)) => shared::close(server, shared, store),
            (store, _) => drop(store), // outside the lock: it may take a while
        }
    }
}

impl Drop for Backed {
    fn drop(&mut self) {
        // The last to know it is a child of a fork, and it is the parent's; else it was closed.
        let store = self.store.get_mut().unwrap_or_else(|it| it.into_inner());
        if let Some(store) = store.take() {
            store.forget();
            std::mem::forget(self.shared.take());
        }
    }
}

/// Changes that were taken out of the line: each is answered, whatever happens.
struct Line(Vec<Arc<Request>>);

impl Drop for Line {
    fn drop(&mut self) {
        for request in &self.0 {
            if !request.is_answered() {
                request.answer(Err(Error::ServerDown.into()));
            }
        }
    }
}

/// Each as `BucketState` of the module's server.
impl BucketServer {
    #[inline]
    pub(super) fn backed(&self) -> Option<&Backed> {
        self.state().backed.as_deref()
    }

    /// Whether it can be used: no store is to be opened first.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.backed().is_none_or(Backed::is_open)
    }

    /// An update that is cast, noted until it is dropped: other casts are to come behind it.
    #[cold]
    pub(super) fn noted_cast(
        self: &Arc<Self>,
        run: Box<dyn FnOnce(Deciding) + Send>,
    ) -> Box<dyn FnOnce(Deciding) + Send> {
        if let Some(backed) = self.backed() {
            backed.cast.fetch_add(1, Ordering::AcqRel);
        }
        let noted = NotedCast(Arc::downgrade(self));
        Box::new(move |deciding| {
            run(deciding);
            drop(noted);
        })
    }

    /// Makes a change, of a bucket that a store keeps. Blocks for its turn, and for the store.
    pub(super) fn change(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        backed: &Backed,
        change: Change,
    ) -> Result<Done, Refused> {
        caller.unpin();
        if let Some(shared) = backed.shared() {
            return self.change_shared(caller, shared, &change);
        }
        if !reclaim::has_room() {
            self.wait_for_room(caller)?;
        }
        let request = Request::new(change, false, Vec::new());
        backed.queue(&request)?;
        match self.occupy(caller, Lasts::Call) {
            Ok(turn) => {
                self.store_line(turn.inside());
                drop(turn);
            }
            Err(refused) => {
                if backed.withdraw(&request) {
                    return Err(refused.into());
                }
            }
        }
        request.outcome()
    }

    /// As `change`, without waiting: what is refused later is logged.
    pub(super) fn change_cast(
        self: &Arc<Self>,
        backed: &Backed,
        change: Change,
        reserved: Vec<Reservation>,
    ) -> Result<(), Error> {
        // One thread's casts are done in their order: behind one that waits, all do.
        let is_waiting = backed.cast.load(Ordering::Acquire) != 0 || self.is_occupied_by_caller();
        if let (Some(shared), false) = (backed.shared(), is_waiting) {
            if let Some((key, value)) = change.as_cast() {
                return self.cast_shared(shared, key, value);
            }
        }
        let request = Request::new(change, true, reserved);
        backed.queue(&request)?;
        backed.cast.fetch_add(1, Ordering::AcqRel);
        let task = Task {
            key: Box::default(),
            run: Box::new(|deciding: Deciding| deciding.store_line()),
        };
        self.cast_task(task).inspect_err(|_| {
            if backed.withdraw(&request) {
                backed.cast.fetch_sub(1, Ordering::AcqRel);
            }
        })
    }
}

/// A cast that waits in the mailbox.
struct NotedCast(Weak<BucketServer>);

impl Drop for NotedCast {
    fn drop(&mut self) {
        if let Some(backed) = self.0.upgrade().as_ref().and_then(|it| it.backed()) {
            backed.cast.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Deciding {
    fn store_line(self) {
        let inside = self.turn.inside();
        inside.server().store_line(inside);
    }
}

impl Decision<'_> {
    /// Makes a change with the turn that this one has, before what waits in the line.
    pub(super) fn change(&self, change: Change) -> Result<Done, Refused> {
        self.forget_spot();
        let request = Request::new(change, false, Vec::new());
        let line = Line(vec![Arc::clone(&request)]);
        self.bucket().store_requests(self.inside, &line.0);
        drop(line);
        request.outcome()
    }
}

/// Milliseconds since 1970.
pub(super) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |it| it.as_millis().try_into().unwrap_or(i64::MAX))
}
