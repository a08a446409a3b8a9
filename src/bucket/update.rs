//! Updates: user code decides about one key while the bucket waits.

use std::sync::Arc;

use super::BucketState;
use crate::error::Error;
use crate::server::{Held, Open, Turn};
use crate::value::{Value, ValueRef};

/// What an update decides.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Leave the value as it is.
    Keep,
    Store(Value),
    Remove,
    /// Change nothing, and tell the caller.
    Abort,
    /// End the bucket, reason CRASHED.
    Crash,
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
        match contents.get(&self.key) {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound) => Ok(None),
            Err(Error::NoProcess) => Err(Error::ServerDown),
            Err(error) => Err(error),
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
            let _ = write.exclusive().remove(key);
        })
    }

    pub(crate) fn crash(&mut self) -> Result<(), Error> {
        Err(self.turn.crash("an update said so"))
    }
}

impl Open for Held<Deciding> {
    fn abort(&self) {
        drop(self.give_up());
    }
}
