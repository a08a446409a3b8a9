//! Revisions, conditions and sums, as Rust programs have them.

use std::time::Duration;

use super::Bucket;
use crate::error::Error;
use crate::store::TTL_LIMIT;
use crate::store::{self, Always, EntryFacts, Expected, Key, Living, Owned};
use crate::value::{AsValue, FromValue, Value};

/// A value with the revision of the change that stored it.
///
/// ```
/// use kvreg::{Bucket, Error};
///
/// let shopping = Bucket::start()?;
/// shopping.put("milk", 1)?;
/// let milk = shopping.entry::<i64>("milk")?;
/// shopping.put_if("milk", milk.value + 1, milk.revision)?;
/// assert_eq!(shopping.put_if("milk", 7, milk.revision), Err(Error::Conflict));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// The later a change of a bucket, or of those that had its name in its registry, the larger.
    /// Never 0.
    pub revision: u64,
    /// What is left of the key's time to live, a millisecond at least; `None` is for ever.
    pub ttl: Option<Duration>,
}

/// A time to live that a change gives its key.
///
/// ```
/// use std::time::Duration;
/// use kvreg::{Bucket, Error, Ttl};
///
/// let sessions = Bucket::start()?;
/// sessions.put_for("anna", 1, Duration::from_secs(30))?;
/// assert!(sessions.entry::<i64>("anna")?.ttl.is_some());
/// sessions.put_for("anna", 2, Ttl::Keep)?;
/// sessions.expire("anna", Ttl::Never)?;
/// assert_eq!(sessions.entry::<i64>("anna")?.ttl, None);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// That of the bucket's options: a [`put`](Bucket::put) gives it too.
    #[default]
    Default,
    /// What the key has; if it is absent, that of the bucket's options.
    Keep,
    /// None: the key stays for ever.
    Never,
    /// So long, above 0 and 100 years at most; a part of a millisecond is a whole one.
    For(Duration),
}

impl From<Duration> for Ttl {
    fn from(ttl: Duration) -> Ttl {
        Ttl::For(ttl)
    }
}

impl Ttl {
    pub(super) fn given(self) -> Result<store::Ttl, Error> {
        Ok(match self {
            Ttl::Default => store::Ttl::Default,
            Ttl::Keep => store::Ttl::Keep(None),
            Ttl::Never => store::Ttl::Never,
            Ttl::For(ttl) if ttl.is_zero() || ttl > TTL_LIMIT => {
                let text = "a time to live is none, or above 100 years";
                return Err(Error::InvalidArgument(text));
            }
            Ttl::For(ttl) => store::Ttl::Millis(ttl.as_nanos().div_ceil(1_000_000) as u64),
        })
    }

    /// As `expire` takes it.
    pub(super) fn changed(self) -> Result<store::Ttl, Error> {
        match self {
            Ttl::Default | Ttl::Keep => {
                let text = "a key gets a time to live, or none";
                Err(Error::InvalidArgument(text))
            }
            ttl => ttl.given(),
        }
    }
}

impl<T> Entry<T> {
    pub(super) fn new(value: T, facts: EntryFacts) -> Entry<T> {
        Entry {
            value,
            revision: facts.revision,
            ttl: facts.ttl_ms.map(Duration::from_millis),
        }
    }
}

/// What tells revisions, and what asks something of a key first: it compares and changes in one
/// step. [`Error::Conflict`] means that the key is not as expected, and nothing has changed.
impl Bucket {
    /// Reads a key with its revision; [`Error::NotFound`] if it is absent. Both are of one change.
    pub fn entry<T: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Entry<T>, Error> {
        let (value, facts) = self.call(key.as_ref(), |server, caller, key| {
            server.read_entry(caller, Key::new(key), Owned)
        })?;
        Ok(Entry::new(T::from_value(value)?, facts))
    }

    /// The revision of the last change; 0 if there was none.
    pub fn revision(&self) -> Result<u64, Error> {
        self.call(b"", |server, caller, _| server.revision(caller))
    }

    /// Stores a value, as [`put`](Bucket::put) does, and tells the revision.
    pub fn put_entry(&self, key: impl AsRef<[u8]>, value: impl AsValue) -> Result<u64, Error> {
        let value = value.as_value();
        self.change(key.as_ref(), |server, caller, key| {
            server.put_on(caller, key, value, Always)
        })
    }

    /// Stores a value with a time to live, and tells the revision. When its time is over no read and
    /// no condition sees the key, and within 2 s it is gone from memory. The clock goes on while the
    /// machine is suspended.
    pub fn put_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        ttl: impl Into<Ttl>,
    ) -> Result<u64, Error> {
        let (value, ttl) = (value.as_value(), ttl.into().given()?);
        self.change(key.as_ref(), |server, caller, key| {
            server.put_on(caller, key, value, Living(Always, ttl))
        })
    }

    /// As [`put_if`](Bucket::put_if), with a time to live.
    pub fn put_if_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        expected: u64,
        ttl: impl Into<Ttl>,
    ) -> Result<u64, Error> {
        let (value, ttl) = (value.as_value(), ttl.into().given()?);
        self.change(key.as_ref(), |server, caller, key| {
            server.put_on(caller, key, value, Living(Expected(expected), ttl))
        })
    }

    /// Gives a key another time to live, or none, as a change with a revision;
    /// [`Error::NotFound`] if it is absent. Neither [`Ttl::Keep`] nor [`Ttl::Default`].
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: impl Into<Ttl>) -> Result<u64, Error> {
        let ttl = ttl.into().changed()?;
        self.change(key.as_ref(), |server, caller, key| {
            server.expire(caller, key, ttl)
        })
    }

    /// Stores a value only if the revision of the key is the expected one; 0: only if the key is
    /// absent. Tells the new revision.
    ///
    /// ```
    /// let bucket = kvreg::Bucket::start()?;
    /// bucket.put_if("lock", "me", 0)?;
    /// assert_eq!(bucket.put_if("lock", "you", 0), Err(kvreg::Error::Conflict));
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        expected: u64,
    ) -> Result<u64, Error> {
        let value = value.as_value();
        self.change(key.as_ref(), |server, caller, key| {
            server.put_on(caller, key, value, Expected(expected))
        })
    }

    /// Takes a key out only if its revision is the expected one; its value is the answer.
    /// [`Error::NotFound`] if it is absent.
    pub fn delete_if(&self, key: impl AsRef<[u8]>, expected: u64) -> Result<Value, Error> {
        self.change(key.as_ref(), |server, caller, key| {
            server.delete_if(caller, key, expected)
        })
    }

    /// Stores a value only if the key has the expected one, of the same type with the same bytes.
    /// `None` on either side is no value. Tells the new revision; 0 if absent stayed absent.
    ///
    /// ```
    /// let bucket = kvreg::Bucket::start()?;
    /// bucket.put("state", "open")?;
    /// bucket.put_if_equal("state", Some("open"), Some("closed"))?;
    /// bucket.put_if_equal("state", Some("closed"), None::<&str>)?;
    /// assert_eq!(bucket.count()?, 0);
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn put_if_equal<E: AsValue, V: AsValue>(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<E>,
        value: Option<V>,
    ) -> Result<u64, Error> {
        let expected = expected.as_ref().map(AsValue::as_value);
        let value = value.as_ref().map(AsValue::as_value);
        self.change(key.as_ref(), |server, caller, key| {
            server.put_if_equal(caller, key, expected, value)
        })
    }

    /// Adds to an integer, and tells the sum; a key that is absent counts as 0.
    /// [`Error::WrongType`] if the value is no integer, [`Error::Limit`] if the sum has no room.
    ///
    /// ```
    /// let bucket = kvreg::Bucket::start()?;
    /// bucket.add_int("visits", 1)?;
    /// assert_eq!(bucket.add_int("visits", 2)?, 3);
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn add_int(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64, Error> {
        self.change(key.as_ref(), |server, caller, key| {
            server.add_int(caller, key, delta)
        })
    }
}
