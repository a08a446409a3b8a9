//! What can be set for a registry and for a bucket: limits, and what becomes of a bucket that
//! ended.

use std::time::Duration;

use crate::error::Error;
use crate::reason::Reason;
use crate::value::VALUE_LIMIT;

/// When a bucket that ended is started again, empty, under its name (OTP's `restart`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Restart {
    /// Never.
    #[default]
    Temporary = 0,
    /// After an abnormal end: KILLED or CRASHED.
    Transient = 1,
    /// Always, after `stop` too.
    Permanent = 2,
}

impl Restart {
    pub fn from_number(number: u32) -> Option<Restart> {
        [Restart::Temporary, Restart::Transient, Restart::Permanent]
            .get(number as usize)
            .copied()
    }

    pub(crate) fn applies_to(self, reason: Reason) -> bool {
        match self {
            Restart::Temporary => false,
            Restart::Transient => matches!(reason, Reason::Killed | Reason::Crashed),
            Restart::Permanent => true,
        }
    }
}

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
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.max_value > VALUE_LIMIT {
            return Err(Error::InvalidArgument("a value has at most 512 MiB"));
        }
        Ok(())
    }
}

/// Options of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryOptions {
    /// What it is registered as, so that others in this process find it.
    pub name: Option<String>,
    /// For buckets that are created without options of their own.
    pub bucket: BucketOptions,
    /// Names at a time; creations that wait count too.
    pub max_buckets: usize,
    /// As of a bucket, in all buckets together.
    pub max_bytes: usize,
    /// Messages that wait at the registry itself.
    pub max_mailbox: usize,
}

impl Default for RegistryOptions {
    fn default() -> RegistryOptions {
        RegistryOptions {
            name: None,
            bucket: BucketOptions::default(),
            max_buckets: usize::MAX,
            max_bytes: usize::MAX,
            max_mailbox: 1 << 20,
        }
    }
}

impl RegistryOptions {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(name) = &self.name {
            crate::registry::check_name(name)?;
        }
        self.bucket.check()
    }
}
