//! Revisions, conditions and sums, as Rust programs have them.

use super::Bucket;
use crate::error::Error;
use crate::store::{Always, Expected, Key, Owned};
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
}

/// What tells revisions, and what asks something of a key first: it compares and changes in one
/// step. [`Error::Conflict`] means that the key is not as expected, and nothing has changed.
impl Bucket {
    /// Reads a key with its revision; [`Error::NotFound`] if it is absent. Both are of one change.
    pub fn entry<T: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Entry<T>, Error> {
        let (value, revision) = self.call(key.as_ref(), |server, caller, key| {
            server.read_entry(caller, Key::new(key), Owned)
        })?;
        let value = T::from_value(value)?;
        Ok(Entry { value, revision })
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
