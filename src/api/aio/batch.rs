//! Several changes in one step, for those who use tokio.

use super::Bucket;
use crate::api::batch::{revisions, Batch, NotApplied};
use crate::bucket::Decision;
use crate::error::Error;

impl Bucket {
    /// As [`kvreg::Bucket::apply`](crate::Bucket::apply).
    pub async fn apply(&self, batch: &Batch) -> Result<Vec<u64>, NotApplied> {
        match self.now().apply(batch) {
            Err(NotApplied {
                error: Error::Timeout,
                ..
            }) => {}
            done => return done,
        }
        let batch = batch.clone();
        let len = batch.len();
        let apply = move |turn: Decision<'_>| {
            let ops = match batch.ops() {
                Ok(ops) => ops,
                Err(refused) => return Ok(Err(refused)),
            };
            Ok(turn.apply_ops(&ops).map_err(NotApplied::from))
        };
        let first = self.later(b"", apply).await?;
        revisions(first?, len)
    }
}
