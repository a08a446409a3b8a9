//! Updates: user code decides about one key while the bucket waits.
//!
//! # The argument
//!
//! The short way looks the key up once. It keeps where the value lies beyond the pin by which it
//! read it ([`ValueSpot`]), and stores into it when user code has decided. Only who may write takes
//! an entry out, and that is, beside those who have the turn, the end of the bucket alone: it says
//! so in the word (`CLOSED`) before it takes `WRITE` to close the state. Others who take `WRITE`
//! without the turn only look (snapshots, observers). The update has had the turn since before it
//! found the entry, and user code cannot give it back: what that asks of the bucket meanwhile is
//! refused, or queued. So nothing was taken out if the end has not begun; and the swap by which
//! `fast_commit` takes `WRITE` expects `TURN` and nothing else, so it fails if it has, and holds it
//! up if not. Entries never move when the table grows. What the update itself changes by another
//! way makes it forget the place first (`commit`).

use std::cell::Cell;
use std::mem::needs_drop;
use std::ptr;
use std::sync::Arc;

use super::backed::Change;
#[cfg(feature = "aio")]
use super::backed::{collected, OwnOp};
use super::{BucketServer, BucketState};
use crate::error::Error;
#[cfg(feature = "aio")]
use crate::reason::{Exit, Reason};
use crate::reclaim::Guard;
use crate::server::{Held, Inside, Open, OpenTurn, Turn, Writing};
use crate::store::{Always, Contents, Key, Living, Pair, Reader, Small, Ttl, Unread};
use crate::store::{Refused, ValueSpot};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

/// The key of an update that outlives the call that began it.
pub(crate) type OwnedKey = Box<[u8]>;

/// What an update decides. A value that is to be stored is a verdict too, by `into`.
///
/// ```
/// use kvreg::{Bucket, Error, Verdict};
///
/// let bucket = Bucket::start()?;
/// bucket.update("name", |_| Verdict::Store("x".into()))?;
/// bucket.update("n", |n| n.and_then(|n| n.as_i64()).unwrap_or(0) + 1)?;
/// let aborted = bucket.update("n", |n| match n {
///     Some(_) => Verdict::Abort,
///     None => Verdict::Keep,
/// });
/// assert_eq!(aborted, Err(Error::Aborted));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Leave the value as it is.
    Keep,
    /// Store this one.
    Store(Value),
    /// Take the key out, if it is there.
    Remove,
    /// Change nothing, and tell the caller.
    Abort,
    /// End the bucket, reason CRASHED.
    Crash,
}

impl<T: Into<Value>> From<T> for Verdict {
    fn from(value: T) -> Verdict {
        Verdict::Store(value.into())
    }
}

/// The key of an update, however it is kept. It is hashed when it is asked for.
pub(crate) trait Keyed {
    fn key(&self) -> Key<'_>;
}

impl Keyed for Key<'_> {
    #[inline(always)]
    fn key(&self) -> Key<'_> {
        *self
    }
}

impl Keyed for Box<[u8]> {
    fn key(&self) -> Key<'_> {
        Key::new(self)
    }
}

/// An update that has the bucket's turn until it is dropped. Dropped without a verdict, it changes
/// nothing. The key is the caller's own where it may be.
pub(crate) struct Deciding<K = OwnedKey> {
    pub(super) turn: Turn<BucketState>,
    key: K,
    spot: Cell<Option<ValueSpot>>,
    /// Time is looked at once, when the value is read (G17).
    clock: Clock,
}

impl<K: Keyed> Deciding<K> {
    pub(crate) fn new(turn: Turn<BucketState>, key: K) -> Deciding<K> {
        Deciding {
            turn,
            key,
            spot: Cell::new(None),
            clock: Clock::new(),
        }
    }

    /// What can be decided.
    #[inline(always)]
    pub(crate) fn decision(&self) -> Decision<'_> {
        Decision {
            inside: self.turn.inside(),
            keyed: &self.key,
            spot: &self.spot,
            clock: &self.clock,
        }
    }

    /// As to drop it, where a call would cost as much.
    #[inline(always)]
    pub(crate) fn leave(self) {
        self.turn.leave();
    }

    /// For who keeps it beyond the call that began it, and perhaps the key in another way.
    #[inline(always)]
    pub(crate) fn open<L>(self, key: impl FnOnce(K) -> L) -> OpenUpdate<L> {
        OpenUpdate {
            turn: self.turn.open(),
            key: key(self.key),
            spot: self.spot,
            clock: self.clock,
        }
    }
}

/// As `Deciding`, until somebody ends it or the thread that began it ends.
pub(crate) struct OpenUpdate<K = OwnedKey> {
    turn: OpenTurn<BucketState>,
    key: K,
    spot: Cell<Option<ValueSpot>>,
    clock: Clock,
}

// What `take_turn` leaves where it is.
const _: () = assert!(!needs_drop::<Cell<Option<ValueSpot>>>() && !needs_drop::<Clock>());

impl<K> OpenUpdate<K> {
    /// Takes the turn out of where an update lies, and drops the rest: to move all of it would take
    /// longer.
    ///
    /// # Safety
    /// The update is there, and is not used any more.
    #[inline(always)]
    pub(crate) unsafe fn take_turn(place: *mut OpenUpdate<K>) -> OpenTurn<BucketState> {
        // SAFETY: by contract.
        unsafe {
            ptr::drop_in_place(&raw mut (*place).key);
            ptr::read(&raw const (*place).turn)
        }
    }
}

impl<K: Keyed> OpenUpdate<K> {
    #[inline(always)]
    pub(crate) fn decision(&self) -> Decision<'_> {
        Decision {
            inside: self.turn.inside(),
            keyed: &self.key,
            spot: &self.spot,
            clock: &self.clock,
        }
    }
}

/// What can be decided by who is inside a bucket with an update.
#[derive(Clone, Copy)]
pub(crate) struct Decision<'a> {
    pub(super) inside: &'a Inside<BucketState>,
    keyed: &'a dyn Keyed,
    /// Where the value lies that was read by the short way.
    spot: &'a Cell<Option<ValueSpot>>,
    clock: &'a Clock,
}

impl<'a> Decision<'a> {
    pub(crate) fn bucket(&self) -> &'a Arc<BucketServer> {
        self.inside.server()
    }

    /// The value to decide about; `None` if the key is absent.
    pub(crate) fn current(&self) -> Result<Option<Value>, Error> {
        if let Some(shared) = self.bucket().shared() {
            let entry = self.shared_entry(shared)?;
            return Ok(entry.map(|(value, _)| value));
        }
        let key = self.key();
        self.read(|contents| contents.get(key, self.clock))
    }

    /// What is read of the key; `None` if it is absent.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&Contents) -> Result<T, Unread>,
    ) -> Result<Option<T>, Error> {
        let contents = &self.inside.server().state().contents;
        loop {
            return match read(contents) {
                Ok(value) => Ok(Some(value)),
                Err(Unread::Error(Error::NotFound)) => Ok(None),
                Err(Unread::Error(Error::NoProcess)) => Err(Error::ServerDown),
                Err(Unread::Error(error)) => Err(error),
                Err(Unread::Busy) => continue, // nobody writes but who has the turn
            };
        }
    }

    /// An update keeps what is left of its key's time to live.
    fn kept(&self) -> Living<Always> {
        Living(Always, Ttl::Keep(self.clock.seen()))
    }

    #[cfg(feature = "aio")]
    pub(super) fn clock(&self) -> &'a Clock {
        self.clock
    }

    pub(super) fn key(&self) -> Key<'a> {
        self.keyed.key()
    }

    pub(crate) fn apply(&self, verdict: Verdict) -> Result<(), Error> {
        match verdict {
            Verdict::Keep => self.keep(),
            Verdict::Store(value) => self.store(value.as_ref()),
            Verdict::Remove => self.remove(),
            Verdict::Abort => Err(Error::Aborted),
            Verdict::Crash => self.crash(),
        }
    }

    /// Nobody waits for the answer of an `update_cast`, so what went wrong is logged.
    pub(crate) fn log_refused(&self, error: &dyn std::fmt::Display) {
        let server = self.inside.server();
        server.log_error(&format!("an update_cast changed nothing: {error}"));
    }

    /// As `current`, by the short way: `None` if anything is out of the ordinary. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_read<R: Reader>(&self, pinned: &Guard, reader: R) -> Option<R::Read> {
        let contents = &self.bucket().state().contents;
        let (read, spot) = contents.fast_read_at(self.key(), pinned, reader, self.clock)?;
        self.spot.set(Some(spot));
        Some(read)
    }

    /// Stores a value where the older one was read by the short way: then the update is to be dropped
    /// at once. `None` if none was, `false` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_store_there(&self, small: Small<'_>) -> Option<bool> {
        let spot = self.spot.take()?;
        // No closure, here and in `fast_store`: it is handed on in registers.
        let Some(commit) = self.inside.fast_commit() else {
            return Some(false);
        };
        let write = commit.writing();
        let is_done = small.text_len() <= write.state().spec.options.max_value
            // SAFETY: see the module.
            && unsafe { write.exclusive().fast_put_at(spot, small) };
        if is_done {
            commit.done();
        }
        Some(is_done)
    }

    /// As `fast_store_there`, wherever the key is, if it is there at all.
    #[inline(always)]
    pub(crate) fn fast_store(&self, small: Small<'_>, pinned: &Guard) -> bool {
        let Some(commit) = self.inside.fast_commit() else {
            return false;
        };
        let write = commit.writing();
        let is_done = small.text_len() <= write.state().spec.options.max_value
            && write
                .exclusive()
                .fast_put(self.key(), small, self.kept(), pinned)
                .is_some();
        if is_done {
            commit.done();
        }
        is_done
    }

    /// Changes nothing, by the short way: then the update is to be dropped at once. `false` if it
    /// is not over.
    #[inline(always)]
    pub(crate) fn fast_keep(&self) -> bool {
        self.inside.fast_keep()
    }

    /// The entry that was read may go.
    pub(super) fn forget_spot(&self) {
        self.spot.set(None);
    }

    /// Changes the contents by the long way.
    pub(super) fn commit<R>(
        &self,
        work: impl FnOnce(&Writing<'_, BucketState>) -> R,
    ) -> Result<R, Error> {
        self.forget_spot();
        self.inside.commit(work)
    }

    pub(crate) fn keep(&self) -> Result<(), Error> {
        self.commit(|_| ())
    }

    pub(crate) fn store(&self, value: ValueRef<'_>) -> Result<(), Error> {
        let server = self.inside.server();
        server.check_value(&value, false)?;
        if let Some(shared) = server.shared() {
            return self.shared_store(shared, Some(value));
        }
        if server.backed().is_some() {
            let kept = Ttl::Keep(self.clock.seen());
            return self
                .change(Change::put(self.key(), value, None, kept)?)
                .map(drop)
                .map_err(Error::from);
        }
        if value.is_small() {
            let key = self.key();
            let put = self.commit(|write| write.exclusive().put_small(key, value, self.kept()))?;
            return put.map(|_| ());
        }
        // What is large is copied before anybody is kept out.
        let pair = Pair::new(self.key(), value)?;
        let put = self.commit(|write| write.exclusive().put(pair, self.kept()))?;
        put.map(|_| ())
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        if let Some(shared) = self.bucket().shared() {
            return self.shared_store(shared, None);
        }
        if self.bucket().backed().is_some() {
            return match self.change(Change::delete(self.key(), None)?) {
                Ok(_)
                | Err(Refused {
                    error: Error::NotFound,
                    ..
                }) => Ok(()),
                Err(refused) => Err(refused.error),
            };
        }
        self.commit(|write| {
            // Absent is as good as removed.
            let _ = write.exclusive().remove(self.key());
        })
    }

    pub(crate) fn crash(&self) -> Result<(), Error> {
        Err(self.inside.crash("an update said so"))
    }
}

/// What else can be done with the bucket's turn.
#[cfg(feature = "aio")]
impl Decision<'_> {
    /// Stores all pairs, or none.
    pub(crate) fn store_many(&self, pairs: &[(&[u8], ValueRef<'_>)]) -> Result<(), Error> {
        let server = self.bucket();
        if server.backed().is_some() {
            let ops = pairs.iter().map(|(key, value)| {
                server.check_value(value, false)?;
                OwnOp::put(Key::new(key), *value)
            });
            let change = Change::Ops(collected(ops)?);
            return self.change(change).map(drop).map_err(Error::from);
        }
        let pairs = pairs
            .iter()
            .map(|(key, value)| server.pair_inside(key, *value));
        let pairs = pairs.collect::<Result<_, Error>>()?;
        self.commit(|write| write.exclusive().put_many(pairs))?
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        if self.bucket().backed().is_some() {
            return self.change(Change::Clear).map(drop).map_err(Error::from);
        }
        self.commit(|write| write.exclusive().clear())
    }

    /// Ends the bucket, reason NORMAL.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        if !self.bucket().system().is_current() {
            return Err(Error::Forked);
        }
        let server = Arc::clone(self.bucket());
        server.end(Exit::new(Reason::Normal, ""));
        match server.exit_reason() {
            Some(Reason::Normal) => Ok(()),
            _ => Err(Error::ServerDown), // another was faster
        }
    }
}

impl Open for Held<OpenUpdate> {
    fn is_open(&self) -> bool {
        self.is_there()
    }

    fn abort(&self) {
        drop(self.give_up());
    }
}
