//! Updates: user code decides about one key while the bucket waits.

use std::sync::Arc;

use super::BucketState;
use crate::error::Error;
#[cfg(feature = "aio")]
use crate::reason::{Exit, Reason};
use crate::server::{Held, Open, Turn};
use crate::store::{Key, Unread};
use crate::value::{Value, ValueRef};

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

/// An update that has the bucket's turn until it is dropped. Dropped without a verdict, it changes
/// nothing.
pub(crate) struct Deciding {
    turn: Turn<BucketState>,
    key: Box<[u8]>,
}

impl Deciding {
    pub(crate) fn new(turn: Turn<BucketState>, key: Box<[u8]>) -> Deciding {
        Deciding { turn, key }
    }

    /// The value to decide about; `None` if the key is absent.
    pub(crate) fn current(&mut self) -> Result<Option<Value>, Error> {
        let contents = &self.turn.server().state().contents;
        loop {
            return match contents.get(Key::new(&self.key)) {
                Ok(value) => Ok(Some(value)),
                Err(Unread::Error(Error::NotFound)) => Ok(None),
                Err(Unread::Error(Error::NoProcess)) => Err(Error::ServerDown),
                Err(Unread::Error(error)) => Err(error),
                Err(Unread::Busy) => continue, // nobody writes but who has the turn
            };
        }
    }

    /// For who keeps it beyond the call that began it.
    pub(crate) fn held(self) -> Held<Deciding> {
        let thread = Arc::clone(self.turn.thread());
        Held::new(thread, self)
    }

    pub(crate) fn apply(&mut self, verdict: Verdict) -> Result<(), Error> {
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
        let server = self.turn.server();
        server.log_error(&format!("an update_cast changed nothing: {error}"));
    }

    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.turn.commit(|_| ())
    }

    pub(crate) fn store(&mut self, value: ValueRef<'_>) -> Result<(), Error> {
        let pair = self.turn.server().pair_inside(&self.key, value)?;
        self.turn.commit(|write| write.exclusive().put(pair))?
    }

    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        let key = &self.key;
        self.turn.commit(|write| {
            // Absent is as good as removed.
            let _ = write.exclusive().remove(Key::new(key));
        })
    }

    pub(crate) fn crash(&mut self) -> Result<(), Error> {
        Err(self.turn.crash("an update said so"))
    }
}

/// What else can be done with the bucket's turn.
#[cfg(feature = "aio")]
impl Deciding {
    /// Stores all pairs, or none.
    pub(crate) fn store_many(&mut self, pairs: &[(&[u8], ValueRef<'_>)]) -> Result<(), Error> {
        let server = self.turn.server();
        let pairs = pairs
            .iter()
            .map(|(key, value)| server.pair_inside(key, *value));
        let pairs = pairs.collect::<Result<_, Error>>()?;
        self.turn
            .commit(|write| write.exclusive().put_many(pairs))?
    }

    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        self.turn.commit(|write| write.exclusive().clear())
    }

    /// Ends the bucket, reason NORMAL.
    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        if !self.turn.server().system().is_current() {
            return Err(Error::Forked);
        }
        let server = Arc::clone(self.turn.server());
        server.end(Exit::new(Reason::Normal, ""));
        match server.exit_reason() {
            Some(Reason::Normal) => Ok(()),
            _ => Err(Error::ServerDown), // another was faster
        }
    }
}

impl Open for Held<Deciding> {
    fn abort(&self) {
        drop(self.give_up());
    }
}
