//! Updates that stay open, as Rust programs have them.

use std::sync::Arc;

use crate::bucket::{Deciding, Verdict};
use crate::error::Error;
use crate::server::{hold, Held};
use crate::value::Value;

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
