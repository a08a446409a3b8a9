//! Updates: user code decides about one key while the bucket waits.

use std::sync::Arc;

use super::{BucketServer, BucketState};
use crate::error::Error;
#[cfg(feature = "aio")]
use crate::reason::{Exit, Reason};
use crate::reclaim::Guard;
use crate::server::{Held, Inside, Open, OpenTurn, Turn};
use crate::store::{Key, Pair, Reader, Small, Unread};
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

/// The key of an update, however it is kept.
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
    turn: Turn<BucketState>,
    key: K,
}

impl<K: Keyed> Deciding<K> {
    pub(crate) fn new(turn: Turn<BucketState>, key: K) -> Deciding<K> {
        Deciding { turn, key }
    }

    /// What can be decided.
    pub(crate) fn decision(&self) -> Decision<'_> {
        Decision {
            inside: self.turn.inside(),
            key: self.key.key(),
        }
    }

    /// For who keeps it beyond the call that began it.
    pub(crate) fn open(self) -> OpenUpdate<K> {
        OpenUpdate {
            turn: self.turn.open(),
            key: self.key,
        }
    }
}

/// As `Deciding`, until somebody ends it or the thread that began it ends.
pub(crate) struct OpenUpdate<K = OwnedKey> {
    turn: OpenTurn<BucketState>,
    key: K,
}

impl<K: Keyed> OpenUpdate<K> {
    pub(crate) fn decision(&self) -> Decision<'_> {
        Decision {
            inside: self.turn.inside(),
            key: self.key.key(),
        }
    }
}

/// What can be decided by who is inside a bucket with an update.
#[derive(Clone, Copy)]
pub(crate) struct Decision<'a> {
    inside: &'a Inside<BucketState>,
    key: Key<'a>,
}

impl<'a> Decision<'a> {
    pub(crate) fn bucket(&self) -> &'a Arc<BucketServer> {
        self.inside.server()
    }

    /// The value to decide about; `None` if the key is absent.
    pub(crate) fn current(&self) -> Result<Option<Value>, Error> {
        let contents = &self.inside.server().state().contents;
        loop {
            return match contents.get(self.key) {
                Ok(value) => Ok(Some(value)),
                Err(Unread::Error(Error::NotFound)) => Ok(None),
                Err(Unread::Error(Error::NoProcess)) => Err(Error::ServerDown),
                Err(Unread::Error(error)) => Err(error),
                Err(Unread::Busy) => continue, // nobody writes but who has the turn
            };
        }
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
        self.bucket().fast_read(self.key, pinned, reader)
    }

    /// Stores a small value by the short way: then the update is to be dropped at once. `false` if
    /// nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_store(&self, value: ValueRef<'_>, pinned: &Guard) -> bool {
        let Some(small) = Small::of(value) else {
            return false;
        };
        self.inside.fast_commit(|write| {
            value.text().len() <= write.state().spec.options.max_value
                && write.exclusive().fast_put(self.key, &small, pinned)
        })
    }

    /// Changes nothing, by the short way: then the update is to be dropped at once. `false` if it
    /// is not over.
    #[inline(always)]
    pub(crate) fn fast_keep(&self) -> bool {
        self.inside.fast_keep()
    }

    pub(crate) fn keep(&self) -> Result<(), Error> {
        self.inside.commit(|_| ())
    }

    pub(crate) fn store(&self, value: ValueRef<'_>) -> Result<(), Error> {
        let server = self.inside.server();
        server.check_value(&value, false)?;
        if value.is_small() {
            let key = self.key;
            return self
                .inside
                .commit(|write| write.exclusive().put_small(key, value))?;
        }
        // What is large is copied before anybody is kept out.
        let pair = Pair::new(self.key, value)?;
        self.inside.commit(|write| write.exclusive().put(pair))?
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.inside.commit(|write| {
            // Absent is as good as removed.
            let _ = write.exclusive().remove(self.key);
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
        let pairs = pairs
            .iter()
            .map(|(key, value)| server.pair_inside(key, *value));
        let pairs = pairs.collect::<Result<_, Error>>()?;
        self.inside
            .commit(|write| write.exclusive().put_many(pairs))?
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.inside.commit(|write| write.exclusive().clear())
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
    fn is_open(&self, _ticket: u64) -> bool {
        self.with(|_| ()).is_some()
    }

    fn abort(&self, _ticket: u64) {
        drop(self.give_up());
    }
}
