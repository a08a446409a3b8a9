//! What can be set for a bucket: limits, and what becomes of it when it ended.

use std::time::Duration;

use crate::error::Error;
use crate::server::{Restart, RestartPolicy};
use crate::value::VALUE_LIMIT;

/// Options of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    pub restart: Restart,
    /// More restarts than these within the period and it stays down (OTP's intensity).
    pub max_restarts: u32,
    pub restart_period: Duration,
    /// Messages that wait.
    pub max_mailbox: usize,
    pub max_keys: usize,
    /// Bytes of keys and values, 8 for a number; what waits in casts counts too.
    pub max_bytes: usize,
    /// Bytes of one value.
    pub max_value: usize,
}

impl Default for BucketOptions {
    fn default() -> BucketOptions {
        BucketOptions {
            restart: Restart::Temporary,
            max_restarts: 3,
            restart_period: Duration::from_secs(5),
            max_mailbox: 1 << 20,
            max_keys: usize::MAX,
            max_bytes: usize::MAX,
            max_value: VALUE_LIMIT,
        }
    }
}

impl BucketOptions {
    pub(super) fn policy(&self) -> RestartPolicy {
        RestartPolicy {
            restart: self.restart,
            max_restarts: self.max_restarts,
            period: self.restart_period,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.max_value > VALUE_LIMIT {
            return Err(Error::InvalidArgument("a value has at most 512 MiB"));
        }
        Ok(())
    }
}
