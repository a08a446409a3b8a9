//! Several changes of several kinds in one step.

use std::sync::Arc;

use super::backed::{collected, Change, OwnOp};
use super::writes::with_memory;
#[cfg(feature = "aio")]
use super::Decision;
use super::{BucketServer, BucketState};
use crate::error::Error;
use crate::reclaim;
use crate::server::{Caller, Writing};
use crate::store::{Op, Plan, Refused, What};

/// As `BucketState` of the module's server.
impl BucketServer {
    /// A value beyond the bucket's limit is refused before anything is looked at.
    fn check_ops(self: &Arc<Self>, ops: &[Op<'_>], is_call: bool) -> Result<(), Refused> {
        for (at, op) in ops.iter().enumerate() {
            let What::Put(value) = &op.what else { continue };
            self.check_value(value, is_call).map_err(|error| Refused {
                at: matches!(error, Error::Limit(_)).then_some(at),
                error,
            })?;
        }
        Ok(())
    }

    /// Makes all changes or none. Answers the revision of the first; the others follow it. May
    /// block for its turn.
    pub(crate) fn apply(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        ops: &[Op<'_>],
    ) -> Result<u64, Refused> {
        self.check_ops(ops, true)?;
        if let Some(backed) = self.backed() {
            let own = collected(ops.iter().map(OwnOp::of))?;
            let done = self.change(caller, backed, Change::Ops(own))?;
            return Ok(done.revision);
        }
        if !reclaim::has_room() {
            // While no more may wait to be freed, what leaves nothing goes on.
            let mut plan = Plan::of(ops)?;
            let there = |write: &Writing<'_, BucketState>| write.exclusive().apply_there(&mut plan);
            if let Some(first) = self.call(caller, there)?? {
                return Ok(first);
            }
            self.wait_for_room(caller)?;
        }
        with_memory(caller, |caller| {
            let mut plan = Plan::of(ops)?;
            if !plan.is_short() {
                caller.unpin();
                plan.make_entries()?;
            }
            let apply = |write: &Writing<'_, BucketState>| write.exclusive().apply(&mut plan);
            match self.call(caller, apply)? {
                Err(Refused { at: None, error }) => Err(error),
                applied => Ok(applied),
            }
        })?
    }
}

/// The same with the bucket's turn, for who has waited for it.
#[cfg(feature = "aio")]
impl Decision<'_> {
    pub(crate) fn apply_ops(&self, ops: &[Op<'_>]) -> Result<u64, Refused> {
        self.bucket().check_ops(ops, false)?;
        if self.bucket().backed().is_some() {
            let own = collected(ops.iter().map(OwnOp::of))?;
            return Ok(self.change(Change::Ops(own))?.revision);
        }
        let mut plan = Plan::of(ops)?;
        plan.make_entries()?;
        self.commit(|write| write.exclusive().apply(&mut plan))?
    }
}
