//! Updates that stay open, as Rust programs have them.

use std::fmt;
use std::sync::Arc;

use crate::bucket::{Deciding, OpenUpdate, Verdict};
use crate::error::Error;
use crate::server::{hold, Held, StillInside};
use crate::value::Value;

/// An update that has begun: it has the bucket's turn until it is ended or dropped. Dropped
/// without a verdict, it changes nothing; so too if the thread that began it ends first.
///
/// ```
/// use kvreg::{Bucket, Verdict};
///
/// let bucket = Bucket::start()?;
/// bucket.put("milk", 1)?;
/// let mut update = bucket.update_begin("milk")?;
/// let milk = i64::try_from(update.current()?.unwrap_or(0.into()))?;
/// update.end(milk + 1)?;
/// drop(bucket.update_begin("milk")?); // changes nothing
/// assert_eq!(bucket.get::<i64>("milk")?, 2);
/// # Ok::<(), kvreg::Error>(())
/// ```
#[must_use = "an update that is dropped changes nothing"]
pub struct Update(Arc<Held<OpenUpdate>>);

impl Update {
    pub(crate) fn begin(deciding: Deciding) -> Result<Update, Error> {
        let held = Arc::new(Held::new(deciding.open(|key| key)));
        hold(Arc::clone(&held))?;
        Ok(Update(held))
    }

    /// The value to decide about; `None` if the key is absent.
    pub fn current(&mut self) -> Result<Option<Value>, Error> {
        let current = self.0.with(|update| update.decision().current());
        current.unwrap_or(Err(Error::Aborted))
    }

    /// Does what was decided, and gives the turn back.
    pub fn end(self, verdict: impl Into<Verdict>) -> Result<(), Error> {
        let verdict = verdict.into();
        let update = self.0.take(&self.0);
        update.map_or(Err(Error::Aborted), |update| {
            let _inside = StillInside::new();
            update.decision().apply(verdict)
        })
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").finish_non_exhaustive()
    }
}

impl Drop for Update {
    fn drop(&mut self) {
        drop(self.0.take(&self.0));
    }
}
