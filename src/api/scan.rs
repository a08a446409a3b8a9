//! Scans, as Rust programs have them.

use super::Bucket;
use crate::bucket::check_key;
use crate::error::Error;
use crate::store::{self, Wanted};
use crate::value::{Text, Value};

/// Which keys a scan gives: all, unless it says less.
///
/// ```
/// use kvreg::{Bucket, BucketOptions, Order, Scan};
///
/// let users = Bucket::start_with(BucketOptions::new().order(Order::Ordered))?;
/// users.put_many([("user:1", "Ada"), ("user:2", "Brian"), ("user:3", "Carl")])?;
/// let mut page = Scan::new().prefix("user:").limit(2);
/// let mut names = Vec::new();
/// loop {
///     let items = users.scan(&page)?;
///     let Some(last) = items.last() else { break };
///     page = page.after(&last.key);
///     names.extend(items.iter().map(|it| it.value.to_string()));
/// }
/// assert_eq!(names, ["Ada", "Brian", "Carl"]);
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Scan {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: Option<usize>,
    keys_only: bool,
}

impl Scan {
    /// All keys, with their values.
    pub fn new() -> Scan {
        Scan::default()
    }

    /// Keys that begin so.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Scan {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// Keys above this one, which need not be there.
    pub fn after(mut self, key: impl AsRef<[u8]>) -> Scan {
        self.after = Some(key.as_ref().to_vec());
        self
    }

    /// At most so many keys, the smallest.
    pub fn limit(mut self, keys: usize) -> Scan {
        self.limit = Some(keys);
        self
    }

    /// Without values: these are nil.
    pub fn keys_only(mut self) -> Scan {
        self.keys_only = true;
        self
    }

    fn wanted(&self) -> Result<Wanted, Error> {
        let prefix = check_key(&self.prefix)?;
        let after = self.after.as_deref().map(check_key).transpose()?;
        let limit = self.limit.unwrap_or(usize::MAX);
        Wanted::in_order(prefix, after, limit, self.keys_only)
    }
}

/// A key of a scan, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// The key.
    pub key: Text,
    /// Its value; nil if the scan asks for keys alone.
    pub value: Value,
    /// Of the change that stored the value.
    pub revision: u64,
}

impl From<store::Item> for Item {
    fn from(item: store::Item) -> Item {
        Item {
            key: item.key,
            value: item.value,
            revision: item.revision,
        }
    }
}

impl Bucket {
    /// Keys in the order of their bytes, as they are at one instant. With a limit it gives the
    /// smallest, and the next page is had with the last key as [`Scan::after`]: over all pages each
    /// key comes at most once, and one that is there all the time comes. In a bucket with
    /// [`Order::Ordered`](crate::Order::Ordered) a page costs what it gives; otherwise each scan
    /// looks at every key. Writers wait for a part of it at most, and for no longer than 5 ms.
    pub fn scan(&self, scan: &Scan) -> Result<Vec<Item>, Error> {
        let items = self.call(b"", |server, caller, _| server.scan(caller, scan.wanted()?))?;
        Ok(items.into_iter().map(Item::from).collect())
    }
}
