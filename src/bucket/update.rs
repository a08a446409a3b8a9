//! Updates: user code decides about one key while the bucket waits.

use std::sync::Arc;

use super::BucketState;
use crate::epoch;
use crate::error::Error;
use crate::server::{State, Turn};
use crate::thread::{hold, Held, Open};
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
        let contents = self.turn.server().contents();
        match contents.get(&self.key, &epoch::pin()) {
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
        let text = format!("an update_cast changed nothing: {error}");
        server.process().logs().error(server.state().name(), &text);
    }

    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.turn.commit(|_, _| ())
    }

    pub(crate) fn store(&mut self, value: ValueRef<'_>) -> Result<(), Error> {
        let pair = self.turn.server().pair_inside(&self.key, value)?;
        self.turn
            .commit(|state, write| state.contents.put(write, pair))?
    }

    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        let key = &self.key;
        self.turn.commit(|state, write| {
            // Absent is as good as removed.
            let _ = state.contents.remove(write, key);
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

/// An update that has begun: it has the bucket's turn until it is ended or dropped. Dropped
/// without a verdict, it changes nothing; so too if the thread that began it ends first.
pub struct Update(Arc<Held<Deciding>>);

impl Update {
    pub(crate) fn begin(deciding: Deciding) -> Result<Update, Error> {
        let held = Arc::new(deciding.held());
        hold(&held, &held)?;
        Ok(Update(held))
    }

    /// The value to decide about; `None` if the key is absent.
    pub fn current(&mut self) -> Result<Option<Value>, Error> {
        let current = self.0.with(Deciding::current);
        current.unwrap_or(Err(Error::Aborted))
    }

    /// Does what was decided, and gives the turn back.
    pub fn end(self, verdict: Verdict) -> Result<(), Error> {
        let deciding = self.0.take(&self.0);
        deciding.map_or(Err(Error::Aborted), |mut deciding| deciding.apply(verdict))
    }
}

impl Drop for Update {
    fn drop(&mut self) {
        drop(self.0.take(&self.0));
    }
}
