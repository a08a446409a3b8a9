//! What can be set for a bucket: limits, and what becomes of it when it ended.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::server::{Restart, RestartPolicy};
use crate::store::TTL_LIMIT;
use crate::value::VALUE_LIMIT;

/// How a bucket finds keys by their order: it changes the speed of scans alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// A scan looks at every key.
    #[default]
    Unordered,
    /// A scan looks at what it gives; a new key costs more.
    Ordered,
}

/// Where a bucket that has a store reads. Where all keys are in memory, as they are with files, both
/// are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// What is stored.
    #[default]
    Store,
    /// A copy in this process, at the speed of memory: it may be behind what others changed, and
    /// never goes back. What a thread has changed its own reads find.
    Copy,
}

/// What becomes of a write that would pass a limit of keys or bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It is refused, with [`Error::Limit`].
    #[default]
    Refuse,
    /// Keys that are little used are taken out until there is room: never the key that is written,
    /// nor one of the same batch. What alone is larger than the limit is refused all the same, and
    /// so is a cast that has to wait while the bucket is full.
    ///
    /// ```
    /// use kvreg::{Bucket, BucketOptions, OnFull};
    ///
    /// let options = BucketOptions::new().max_keys(100).on_full(OnFull::Evict);
    /// let pages = Bucket::start_with(options)?;
    /// for number in 0..1000 {
    ///     pages.put(format!("/{number}"), "a page")?;
    /// }
    /// let info = pages.info()?;
    /// assert_eq!((info.keys, info.evicted), (100, 900));
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    Evict,
}

/// Options of a bucket.
///
/// ```
/// use kvreg::{BucketOptions, Registry, Restart};
///
/// let options = BucketOptions::new()
///     .restart(Restart::Transient)
///     .max_keys(1000);
/// let registry = Registry::start()?;
/// let shopping = registry.create_with("shopping", options)?;
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketOptions {
    /// What becomes of it when it ended; `Temporary` at first.
    pub restart: Restart,
    /// More restarts than these within the period and it stays down (OTP's intensity).
    pub max_restarts: u32,
    /// The period in which restarts are counted.
    pub restart_period: Duration,
    /// Messages that wait.
    pub max_mailbox: usize,
    /// Keys that it holds.
    pub max_keys: usize,
    /// Bytes of keys and values, 8 for a number; what waits in casts counts too.
    pub max_bytes: usize,
    /// Bytes of one value.
    pub max_value: usize,
    /// How it finds keys by their order; `Unordered` at first.
    pub order: Order,
    /// What becomes of a write that would pass a limit; `Refuse` at first.
    pub on_full: OnFull,
    /// The time to live of keys that are stored without one of their own; none at first.
    pub default_ttl: Option<Duration>,
    /// The URL of the store that keeps its contents beyond its end; none at first, which is memory.
    pub store: Option<Arc<str>>,
    /// Where it reads, if it has a store; `Store` at first.
    pub reads: Reads,
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
            order: Order::Unordered,
            on_full: OnFull::Refuse,
            default_ttl: None,
            store: None,
            reads: Reads::Store,
        }
    }
}

impl BucketOptions {
    /// The defaults: no limits but those of the library, and no restart.
    #[must_use]
    pub fn new() -> BucketOptions {
        BucketOptions::default()
    }

    /// What becomes of it when it ended.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> BucketOptions {
        self.restart = restart;
        self
    }

    /// How many restarts within what period are too many: then it stays down.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, period: Duration) -> BucketOptions {
        self.max_restarts = max_restarts;
        self.restart_period = period;
        self
    }

    /// Messages that wait.
    #[must_use]
    pub fn max_mailbox(mut self, messages: usize) -> BucketOptions {
        self.max_mailbox = messages;
        self
    }

    /// Keys that it holds.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> BucketOptions {
        self.max_keys = keys;
        self
    }

    /// Bytes of keys and values, 8 for a number; what waits in casts counts too.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> BucketOptions {
        self.max_bytes = bytes;
        self
    }

    /// Bytes of one value, [`VALUE_LIMIT`] at most.
    #[must_use]
    pub fn max_value(mut self, bytes: usize) -> BucketOptions {
        self.max_value = bytes;
        self
    }

    /// How it finds keys by their order.
    #[must_use]
    pub fn order(mut self, order: Order) -> BucketOptions {
        self.order = order;
        self
    }

    /// What becomes of a write that would pass a limit of keys or bytes.
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> BucketOptions {
        self.on_full = on_full;
        self
    }

    /// The time to live of keys that are stored without one of their own, 100 years at most; a part
    /// of a millisecond is a whole one.
    #[must_use]
    pub fn default_ttl(mut self, ttl: Duration) -> BucketOptions {
        self.default_ttl = Some(ttl);
        self
    }

    /// The URL of the store that keeps its contents beyond its end: what its engine takes, which is
    /// loaded by [`load_engine`](crate::load_engine). A bucket without a name has none.
    ///
    /// ```no_run
    /// use kvreg::{BucketOptions, Registry};
    ///
    /// kvreg::load_engine("/usr/lib/libkvreg_dir.so")?;
    /// let options = BucketOptions::new().store("dir:/var/lib/shop");
    /// let registry = Registry::start()?;
    /// registry.create_with("shopping", options)?.put("milk", 1)?; // there after a restart too
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    #[must_use]
    pub fn store(mut self, url: &str) -> BucketOptions {
        self.store = Some(url.into());
        self
    }

    /// Where it reads, if it has a store.
    #[must_use]
    pub fn reads(mut self, reads: Reads) -> BucketOptions {
        self.reads = reads;
        self
    }

    pub(super) fn policy(&self) -> RestartPolicy {
        RestartPolicy {
            restart: self.restart,
            max_restarts: self.max_restarts,
            period: self.restart_period,
        }
    }

    /// 0: none. A part of a millisecond is a whole one.
    pub(super) fn default_ttl_ms(&self) -> u64 {
        let ttl = self.default_ttl.unwrap_or_default();
        ttl.as_nanos().div_ceil(1_000_000) as u64
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.max_value > VALUE_LIMIT {
            return Err(Error::InvalidArgument("a value has at most 512 MiB"));
        }
        if self
            .default_ttl
            .is_some_and(|ttl| ttl.is_zero() || ttl > TTL_LIMIT)
        {
            return Err(Error::InvalidArgument(
                "a time to live is none, or above 100 years",
            ));
        }
        Ok(())
    }
}
