//! What can be set for a registry.

use super::check_name;
use crate::bucket::BucketOptions;
use crate::error::Error;

/// Options of a registry.
///
/// ```
/// use kvreg::{BucketOptions, Registry, RegistryOptions, Restart};
///
/// let buckets = BucketOptions::new().restart(Restart::Permanent);
/// let options = RegistryOptions::new().name("shop").bucket(buckets);
/// let registry = Registry::start_with(options)?;
/// assert_eq!(Registry::whereis("shop")?.name(), Some("shop"));
/// registry.stop()?;
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// What it is registered as, so that others in this process find it.
    pub name: Option<String>,
    /// For buckets that are created without options of their own.
    pub bucket: BucketOptions,
    /// Names at a time; creations that wait count too.
    pub max_buckets: usize,
    /// User's servers at a time.
    pub max_servers: usize,
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
            max_servers: usize::MAX,
            max_bytes: usize::MAX,
            max_mailbox: 1 << 20,
        }
    }
}

impl RegistryOptions {
    /// The defaults: no name, and no limits but those of the library.
    #[must_use]
    pub fn new() -> RegistryOptions {
        RegistryOptions::default()
    }

    /// What it is registered as, so that others in this process find it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> RegistryOptions {
        self.name = Some(name.into());
        self
    }

    /// For buckets that are created without options of their own.
    #[must_use]
    pub fn bucket(mut self, options: BucketOptions) -> RegistryOptions {
        self.bucket = options;
        self
    }

    /// Names at a time; creations that wait count too.
    #[must_use]
    pub fn max_buckets(mut self, buckets: usize) -> RegistryOptions {
        self.max_buckets = buckets;
        self
    }

    /// User's servers at a time.
    #[must_use]
    pub fn max_servers(mut self, servers: usize) -> RegistryOptions {
        self.max_servers = servers;
        self
    }

    /// Bytes of keys and values in all buckets together.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> RegistryOptions {
        self.max_bytes = bytes;
        self
    }

    /// Messages that wait at the registry itself.
    #[must_use]
    pub fn max_mailbox(mut self, messages: usize) -> RegistryOptions {
        self.max_mailbox = messages;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        self.bucket.check()
    }
}
