//! Watches, as an inbox has them: each is a place in its queue, with a cursor over what it watches.
//!
//! # The argument
//!
//! A cursor is read under the inbox's lock, a bounded step at a time: it takes no lock but that of
//! the list of those who wait ([`crate::store::Watching`]), under which nothing waits. A writer
//! that wakes a watch has no lock of its bucket's but its right to write, takes the inbox's lock to
//! put the place into the line, and runs no user code: tasks are woken by a thread of the runtime.
//!
//! The place is promised as that of a monitor, and the server monitored, before the cursor is made:
//! so an end that comes in between gives the one DOWN, and the cursor is dropped. A cursor goes
//! with its place, and takes its watch away; outside the inbox's lock.

use std::sync::{Arc, Weak};

use super::{queue, Event, InboxCore};
use crate::error::Error;
use crate::runtime::platform;
use crate::server::{Caller, Server, State, Writing};
use crate::store::{Covered, Cursor, Kind, Told, Watch, Watched, Woken, KEY_LIMIT};
use crate::sync::lock;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It was stored. Of a name: a bucket has it now.
    Put,
    /// It was deleted.
    Delete,
    /// Its time to live was over.
    Expire,
    /// It was taken out to make room.
    Evict,
}

/// How keys are watched.
///
/// ```
/// use kvreg::{Bucket, Event, Inbox, Timeout, WatchOptions};
///
/// let (bucket, inbox) = (Bucket::start()?, Inbox::open()?);
/// bucket.put("user:1", "Ada")?;
/// inbox.watch_with(&bucket, WatchOptions::new().prefix("user:").only_new(true))?;
/// assert!(matches!(inbox.receive(Timeout::Never)?, Event::Reset { .. }));
/// assert!(matches!(inbox.receive(Timeout::Never)?, Event::Current { .. }));
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchOptions {
    /// Keys that begin with this; all at first.
    pub prefix: Vec<u8>,
    /// The prefix is a key, and the only one.
    pub one_key: bool,
    /// Changes come without values.
    pub keys_only: bool,
    /// The present keys are not told at first. They are when the watch begins anew.
    pub only_new: bool,
    /// Changes of the whole bucket that a watch may be behind before it begins anew; 0: 65,536,
    /// which is also the most.
    pub max_pending: u64,
}

impl WatchOptions {
    /// Those of a watch of all keys.
    #[must_use]
    pub fn new() -> WatchOptions {
        WatchOptions::default()
    }

    /// Keys that begin with this.
    #[must_use]
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> WatchOptions {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// This key alone.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> WatchOptions {
        self.prefix = key.as_ref().to_vec();
        self.one_key = true;
        self
    }

    /// Whether changes come without values.
    #[must_use]
    pub fn keys_only(mut self, keys_only: bool) -> WatchOptions {
        self.keys_only = keys_only;
        self
    }

    /// Whether the present keys are not told at first.
    #[must_use]
    pub fn only_new(mut self, only_new: bool) -> WatchOptions {
        self.only_new = only_new;
        self
    }

    /// So many changes of the whole bucket it may be behind.
    #[must_use]
    pub fn max_pending(mut self, max_pending: u64) -> WatchOptions {
        self.max_pending = max_pending;
        self
    }

    /// The most that a watch may be behind.
    const MOST: u64 = 65_536;

    pub(crate) fn wanted(&self) -> crate::store::Follows {
        crate::store::Follows {
            keys_only: self.keys_only,
            only_new: self.only_new,
            max_pending: match self.max_pending {
                0 => WatchOptions::MOST,
                given => given.min(WatchOptions::MOST),
            },
        }
    }

    pub(crate) fn covered(&self) -> Result<Covered, Error> {
        Ok(Covered {
            prefix: crate::memory::bytes(&self.prefix).ok_or(Error::NoMemory)?,
            is_one: self.one_key,
        })
    }
}

impl InboxCore {
    /// Watches a server: `enter` enters the watch there, with the number, what it covers and whom it
    /// wakes. Waits for what was cast before, and for who changes the server at the moment.
    pub(crate) fn watch<S: State>(
        self: &Arc<Self>,
        server: &Arc<Server<S>>,
        caller: &mut Caller<'_>,
        options: &WatchOptions,
        enter: impl FnOnce(&Writing<'_, S>, u64, Covered, Weak<dyn Woken>) -> Result<Arc<Watch>, Error>,
    ) -> Result<u64, Error>
    where
        Server<S>: Watched,
    {
        if options.prefix.len() > KEY_LIMIT {
            return Err(Error::InvalidArgument("a key has at most 65536 bytes"));
        }
        let (covered, wanted) = (options.covered()?, options.wanted());
        let reference = self.promise(&server.as_any(), true)?;
        let begin = || {
            server.await_own_casts(caller)?;
            let inbox: Weak<InboxCore> = Arc::downgrade(self);
            let entered =
                server.with_write_lock(caller, |write| enter(write, reference, covered, inbox));
            let watched: Weak<Server<S>> = Arc::downgrade(server);
            Ok(Cursor::new(watched, entered??, wanted))
        };
        let cursor = match begin() {
            Ok(cursor) => cursor,
            // It ended: its DOWN is there, or on its way.
            Err(Error::NoProcess | Error::ServerDown) => return Ok(reference),
            Err(error) => {
                let _ = self.unwatch(reference);
                return Err(error);
            }
        };
        let mut state = self.open_state()?;
        match state.waiting.begin(reference, Box::new(cursor)) {
            Ok(()) => self.tell(state),
            Err(cursor) => {
                drop(state);
                drop(cursor); // outside the lock
            }
        }
        Ok(reference)
    }

    /// Takes a watch back: nothing of it arrives or remains. An unknown reference is fine: its DOWN
    /// may have been received.
    pub(crate) fn unwatch(&self, reference: u64) -> Result<(), Error> {
        let mut state = self.open_state()?;
        let taken = state.waiting.unwatch(reference);
        state.note_emptied();
        drop(state);
        if let Some(server) = taken.as_ref().and_then(queue::What::server) {
            server.demonitor(reference);
        }
        Ok(())
    }
}

impl Woken for InboxCore {
    fn wake(&self, reference: u64) {
        // It may write to the system.
        platform::uncancelled(|| {
            let mut state = lock(&self.state);
            if state.waiting.ready(reference) {
                self.tell_from_writer(state);
            }
        });
    }
}

/// What is told of a watch, as its inbox tells it.
pub(super) fn event(reference: u64, told: Told) -> Event {
    match told {
        Told::Reset => Event::Reset { reference },
        Told::Current(revision) => Event::Current {
            reference,
            revision,
        },
        Told::Reach { is_away } => Event::Store { reference, is_away },
        Told::Change {
            kind,
            key,
            value,
            revision,
        } => Event::Change {
            reference,
            change: match kind {
                Kind::Put => ChangeKind::Put,
                Kind::Deleted | Kind::Cleared => ChangeKind::Delete,
                Kind::Expired => ChangeKind::Expire,
                Kind::Evicted => ChangeKind::Evict,
            },
            key,
            value,
            revision,
        },
    }
}
