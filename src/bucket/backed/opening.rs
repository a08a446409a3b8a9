//! A store is opened, and what it has becomes what the bucket holds.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{wall_clock, Backed, Engines, OpenedStore};
use crate::bucket::shared::{Shared, StoreEar, PATIENCE};
use crate::bucket::{copy_key, BucketServer, BucketState, Deciding, Task};
use crate::error::Error;
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::server::{Caller, Inside, Lasts, Place, Turn};
use crate::store::{AnyStore, Loaded, Loading, Location};
use crate::sync::lock;
use crate::time::{Deadline, Timeout};
use crate::value::Value;

/// So many entries are taken over before others may look at the bucket.
const SLICE: usize = 1024;

/// As `BucketState` of the module's server.
impl BucketServer {
    /// Opens the store of a bucket that was just started with its first turn. If that fails it is gone
    /// when this returns, and its name is free.
    pub(crate) fn open_first(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        turn: Turn<BucketState>,
    ) -> Result<(), Error> {
        let opened = self.open_store(turn.inside(), caller.begin_blocking());
        if let Err(refused) = &opened {
            if let Some(place) = &self.state().place {
                place.claim_removal();
            }
            self.end_unopened(refused);
        }
        drop(turn);
        match opened {
            Ok(()) if self.has_ended() => Err(self.finish_end(Error::ServerDown)),
            opened => opened,
        }
    }

    /// The first task of a bucket that nobody waits for.
    pub(in crate::bucket) fn opening_task() -> Task {
        Task {
            key: Box::default(),
            run: Box::new(|deciding: Deciding| {
                let inside = deciding.turn.inside();
                let server = inside.server();
                if let Err(refused) = server.open_store(inside, Timeout::Never.deadline()) {
                    let text = format!("a store was not opened: {refused}");
                    server.log_error(&text);
                    server.end_unopened(&refused);
                }
            }),
        }
    }

    fn end_unopened(self: &Arc<Self>, refused: &Error) {
        let detail = format!("its store did not open: {refused}");
        self.end(Exit::new(Reason::Crashed, &detail));
    }

    /// Erases what the store keeps, and ends the bucket for good: with its turn, so that nothing is
    /// done if that is not to be had. Whoever starts another one of the name finds nothing.
    pub(crate) fn erase(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        let turn = self.occupy(caller, Lasts::Call)?;
        let (state, deadline) = (self.state(), caller.begin_blocking());
        let name = state.place.as_ref().map_or("", Place::name);
        let opened = self.backed().and_then(|backed| lock(&backed.store).take());
        if let Some(shared) = self.shared() {
            shared.end();
            shared.await_left();
        }
        let erased = match (opened, state.spec.location(name)) {
            (Some(opened), Some(location)) => opened.destroy(&location, &deadline),
            _ => Ok(()),
        };
        if let Some(place) = &state.place {
            place.claim_removal();
        }
        self.end(Exit::new(Reason::Shutdown, "removed"));
        drop(turn);
        match erased {
            Err(Error::NotFound) => Ok(()),
            erased => erased,
        }
    }

    /// Waits until the store of one that was just found is open.
    pub(crate) fn await_open(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if self.is_open() {
            return Ok(());
        }
        match self.occupy(caller, Lasts::Call) {
            Ok(_turn) => Ok(()),
            Err(Error::NoProcess) => Err(Error::ServerDown), // it was there
            Err(refused) => Err(refused),
        }
    }

    fn open_store(
        self: &Arc<Self>,
        inside: &Inside<BucketState>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let Some(backed) = self.backed() else {
            return Ok(());
        };
        let spec = &self.state().spec;
        let name = self.state().place.as_ref().map_or("", Place::name);
        let location = spec.location(name).ok_or(Error::ServerDown)?;
        let copied = Arc::clone(&backed.copied);
        let ear = StoreEar {
            server: Arc::downgrade(self),
            copied: Arc::clone(&copied),
        };
        let opened = self.open_patiently(&location, deadline, Arc::new(ear))?;
        let store = match &opened.store {
            AnyStore::Exclusive(store) => store,
            AnyStore::Shared(store) => {
                let shared = Shared::new(Arc::clone(store), &spec.options, copied)?;
                return self.open_shared(backed, shared, opened, &deadline);
            }
        };
        let mut taking = TakingOver {
            inside,
            now: wall_clock(),
            last: 0,
            slice: Vec::new(),
        };
        store.load(&mut taking)?;
        taking.take_slice()?;
        inside.commit(|write| write.exclusive().loaded(taking.last))?;
        *lock(&backed.store) = Some(opened);
        backed.is_open.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens a store that others change too in steps, where nobody waits: between them it is seen that
    /// the bucket has ended.
    fn open_patiently(
        self: &Arc<Self>,
        location: &Location<'_>,
        deadline: Deadline,
        ear: Arc<StoreEar>,
    ) -> Result<OpenedStore, Error> {
        let engines = self.state().spec.around.engines;
        let in_steps = deadline.left().is_none() && Engines::is_shared(location.url)?;
        loop {
            let until = match in_steps {
                true => Deadline::after(PATIENCE),
                false => deadline,
            };
            match engines.open(location, until, Arc::clone(&ear) as _) {
                Err(Error::Io { .. } | Error::Timeout) if in_steps && !self.has_ended() => {}
                opened => return opened,
            }
        }
    }

    /// The store is open; a copy that is read is there before anybody reads.
    fn open_shared(
        self: &Arc<Self>,
        backed: &Backed,
        shared: Shared,
        opened: OpenedStore,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        // What the store tells may have to be done by one of them.
        self.system().threads().start()?;
        if shared.reads_copy {
            if let Err(refused) = self.copy_store(&shared, deadline) {
                shared.end();
                return Err(refused);
            }
        }
        *lock(&backed.store) = Some(opened);
        // Set once: a store is opened once for a bucket.
        let _ = backed.shared.set(Arc::new(shared));
        backed.is_open.store(true, Ordering::Release);
        Ok(())
    }
}

/// An entry that a store told.
struct Own {
    key: Box<[u8]>,
    value: Value,
    revision: u64,
    expires: Option<i64>,
}

impl Own {
    fn loaded(&self) -> Loaded<'_> {
        Loaded {
            key: &self.key,
            value: self.value.as_ref(),
            revision: self.revision,
            expires: self.expires,
        }
    }
}

/// Entries become the bucket's, a slice at a time: a store is not read with the right to write.
struct TakingOver<'i> {
    inside: &'i Inside<BucketState>,
    /// By the wall clock.
    now: i64,
    last: u64,
    slice: Vec<Own>,
}

impl TakingOver<'_> {
    fn take_slice(&mut self) -> Result<(), Error> {
        let (slice, now) = (&self.slice, self.now);
        self.inside.commit(|write| {
            let contents = write.exclusive();
            slice
                .iter()
                .try_for_each(|own| contents.load(&own.loaded(), now))
        })??;
        self.slice.clear();
        Ok(())
    }
}

impl Loading for TakingOver<'_> {
    fn entry(&mut self, entry: Loaded<'_>) -> Result<(), Error> {
        self.used_up_to(entry.revision);
        memory::reserve(&mut self.slice, 1)?;
        self.slice.push(Own {
            key: copy_key(entry.key)?,
            value: Value::new(entry.value)?,
            revision: entry.revision,
            expires: entry.expires,
        });
        match self.slice.len() < SLICE {
            true => Ok(()),
            false => self.take_slice(),
        }
    }

    fn used_up_to(&mut self, revision: u64) {
        self.last = self.last.max(revision);
    }
}
