//! Changes that tell their revision, or ask something of the key first (G15, G16), and sums.

use std::sync::Arc;

use super::backed::Change;
use super::copy_key;
use super::writes::with_memory;
#[cfg(feature = "aio")]
use super::Decision;
use super::{BucketServer, BucketState};
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::{Caller, Writing};
use crate::store::{Condition, Key, New, Pair, Ttl};
#[cfg(feature = "aio")]
use crate::store::{EntryFacts, Owned};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

/// What is large is copied before the turn is taken.
fn new_of<'a>(key: Key<'_>, value: Option<ValueRef<'a>>) -> Result<New<'a>, Error> {
    Ok(match value {
        None => New::Nothing,
        Some(value) if value.is_small() => New::Small(value),
        Some(value) => New::Pair(Pair::new(key, value)?),
    })
}

/// Each as `BucketState` of the module's server. Calls may block for their turn; the short ways do
/// not.
impl BucketServer {
    /// Stores a value if the condition allows it, else it answers `Error::Conflict`. Answers the
    /// revision.
    pub(crate) fn put_on(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        value: ValueRef<'_>,
        condition: impl Condition,
    ) -> Result<u64, Error> {
        self.check_value(&value, true)?;
        let key = Key::new(key);
        if let Some(backed) = self.backed() {
            let change = Change::put(key, value, condition.expected(), condition.ttl())?;
            return Ok(self.change(caller, backed, change)?.revision);
        }
        if !reclaim::has_room() {
            // While no more may wait to be freed, what leaves nothing goes on.
            let put = |write: &Writing<'_, BucketState>| {
                write.exclusive().overwrite_on(key, value, condition)
            };
            if let Some(revision) = self.call(caller, put)?? {
                return Ok(revision);
            }
            self.wait_for_room(caller)?;
        }
        self.put_with_room(caller, key, value, condition)
    }

    /// Takes a key out if its last change has this revision. Answers the value.
    pub(crate) fn delete_if(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        expected: u64,
    ) -> Result<Value, Error> {
        if let Some(backed) = self.backed() {
            return self.take_backed(caller, backed, key, Some(expected));
        }
        let key = Key::new(key);
        self.call(caller, |write| write.exclusive().delete_if(key, expected))?
    }

    /// As `delete_if`, for callers who do not want the value.
    pub(crate) fn remove_if(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        expected: u64,
    ) -> Result<(), Error> {
        let key = Key::new(key);
        if let Some(backed) = self.backed() {
            let change = Change::delete(key, Some(expected))?;
            return self
                .change(caller, backed, change)
                .map(drop)
                .map_err(Error::from);
        }
        self.call(caller, |write| write.exclusive().remove_if(key, expected))?
    }

    /// Stores a value, or takes the key out, if the key has the expected value; `None` is no value.
    /// Answers the revision, 0 where absent stayed absent.
    pub(crate) fn put_if_equal(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        expected: Option<ValueRef<'_>>,
        value: Option<ValueRef<'_>>,
    ) -> Result<u64, Error> {
        if let Some(backed) = self.backed() {
            if let Some(value) = &value {
                self.check_value(value, true)?;
            }
            let change = Change::put_if_equal(key, expected, value)?;
            return Ok(self.change(caller, backed, change)?.revision);
        }
        let key = Key::new(key);
        if let Some(value) = &value {
            self.check_value(value, true)?;
            if !reclaim::has_room() {
                self.call(caller, |write| {
                    write.exclusive().check_equal(key, expected, &Clock::new())
                })??;
                self.wait_for_room(caller)?;
            }
        }
        with_memory(caller, |caller| {
            caller.unpin();
            let new = new_of(key, value)?;
            let put = |write: &Writing<'_, BucketState>| {
                write.exclusive().put_if_equal(key, expected, new)
            };
            self.call(caller, put)?
        })
    }

    /// Gives a key another time to live; answers the revision.
    pub(crate) fn expire(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        ttl: Ttl,
    ) -> Result<u64, Error> {
        if let Some(backed) = self.backed() {
            let key = copy_key(key)?;
            let done = self.change(caller, backed, Change::Expire { key, ttl })?;
            return Ok(done.revision);
        }
        let key = Key::new(key);
        with_memory(caller, |caller| {
            self.call(caller, |write| write.exclusive().expire(key, ttl))?
        })
    }

    /// Adds to an integer, by the short way: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_add(&self, key: Key<'_>, delta: i64, pinned: &Guard) -> Option<i64> {
        self.fast_call(|write| write.exclusive().fast_add(key, delta, pinned))
    }

    /// Adds to an integer; a key that is absent counts as 0. Answers the sum.
    pub(crate) fn add_int(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        delta: i64,
    ) -> Result<i64, Error> {
        let key = Key::new(key);
        if let Some(backed) = self.backed() {
            let done = self.change(caller, backed, Change::add(key, delta)?)?;
            return done.sum.ok_or(Error::ServerDown);
        }
        if !reclaim::has_room() {
            if let Some(sum) =
                self.call(caller, |write| write.exclusive().add_there(key, delta))??
            {
                return Ok(sum);
            }
            self.wait_for_room(caller)?;
        }
        with_memory(caller, |caller| {
            self.call(caller, |write| write.exclusive().add(key, delta))?
        })
    }
}

/// The same with the bucket's turn, for who has waited for it.
#[cfg(feature = "aio")]
impl Decision<'_> {
    /// The value to decide about, with what else there is to know of the key.
    pub(crate) fn entry(&self) -> Result<Option<(Value, EntryFacts)>, Error> {
        if let Some(shared) = self.bucket().shared() {
            return self.shared_entry(shared);
        }
        let key = self.key();
        self.read(|contents| contents.read_entry(key, Owned, self.clock()))
    }

    pub(crate) fn put_on(
        &self,
        value: ValueRef<'_>,
        condition: impl Condition,
    ) -> Result<u64, Error> {
        self.bucket().check_value(&value, false)?;
        let key = self.key();
        if self.bucket().backed().is_some() {
            let change = Change::put(key, value, condition.expected(), condition.ttl())?;
            return Ok(self.change(change)?.revision);
        }
        if value.is_small() {
            return self.commit(|write| write.exclusive().put_small(key, value, condition))?;
        }
        let pair = Pair::new(key, value)?;
        self.commit(|write| write.exclusive().put(pair, condition))?
    }

    pub(crate) fn expire(&self, ttl: Ttl) -> Result<u64, Error> {
        if self.bucket().backed().is_some() {
            let key = copy_key(&self.key())?;
            return Ok(self.change(Change::Expire { key, ttl })?.revision);
        }
        self.commit(|write| write.exclusive().expire(self.key(), ttl))?
    }

    pub(crate) fn delete_if(&self, expected: u64) -> Result<Value, Error> {
        if self.bucket().backed().is_some() {
            let (key, expected) = (copy_key(&self.key())?, Some(expected));
            let done = self.change(Change::Take { key, expected })?;
            return done.old.ok_or(Error::NotFound);
        }
        self.commit(|write| write.exclusive().delete_if(self.key(), expected))?
    }

    pub(crate) fn put_if_equal(
        &self,
        expected: Option<ValueRef<'_>>,
        value: Option<ValueRef<'_>>,
    ) -> Result<u64, Error> {
        if let Some(value) = &value {
            self.bucket().check_value(value, false)?;
        }
        if self.bucket().backed().is_some() {
            let change = Change::put_if_equal(&self.key(), expected, value)?;
            return Ok(self.change(change)?.revision);
        }
        let new = new_of(self.key(), value)?;
        self.commit(|write| write.exclusive().put_if_equal(self.key(), expected, new))?
    }

    pub(crate) fn add_int(&self, delta: i64) -> Result<i64, Error> {
        if self.bucket().backed().is_some() {
            let done = self.change(Change::add(self.key(), delta)?)?;
            return done.sum.ok_or(Error::ServerDown);
        }
        self.commit(|write| write.exclusive().add(self.key(), delta))?
    }
}
