//! What can be set for a registry.

use super::check_name;
use crate::bucket::BucketOptions;
use crate::error::Error;

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
            check_name(name)?;
        }
        self.bucket.check()
    }
}
