//! Revisions, conditions and sums, for those who use tokio.

use super::Bucket;
use crate::api::{Entry, Ttl};
use crate::error::Error;
use crate::store::{Always, Expected, Living};
use crate::value::{AsValue, FromValue, Value};

/// What was begun without waiting, unless it has to wait: then `None`.
fn unless_it_waits<R>(done: Result<R, Error>) -> Option<Result<R, Error>> {
    (!matches!(done, Err(Error::Timeout))).then_some(done)
}

impl Bucket {
    /// As [`kvreg::Bucket::entry`](crate::Bucket::entry).
    pub async fn entry<T: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Entry<T>, Error> {
        let entry = match unless_it_waits(self.now().entry::<Value>(&key)) {
            Some(read) => read?,
            None => {
                let read = self.later(key.as_ref(), |turn| turn.entry()).await?;
                let (value, facts) = read.ok_or(Error::NotFound)?;
                Entry::new(value, facts)
            }
        };
        Ok(Entry {
            value: T::from_value(entry.value)?,
            revision: entry.revision,
            ttl: entry.ttl,
        })
    }

    /// As [`kvreg::Bucket::revision`](crate::Bucket::revision).
    pub async fn revision(&self) -> Result<u64, Error> {
        self.read(|bucket| bucket.revision()).await
    }

    /// As [`kvreg::Bucket::put_entry`](crate::Bucket::put_entry).
    pub async fn put_entry(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
    ) -> Result<u64, Error> {
        if let Some(done) = unless_it_waits(self.now().put_entry(&key, &value)) {
            return done;
        }
        let value = Value::new(value.as_value())?;
        self.later(key.as_ref(), move |turn| {
            turn.put_on(value.as_ref(), Always)
        })
        .await
    }

    /// As [`kvreg::Bucket::put_for`](crate::Bucket::put_for).
    pub async fn put_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        ttl: impl Into<Ttl>,
    ) -> Result<u64, Error> {
        let ttl = ttl.into();
        if let Some(done) = unless_it_waits(self.now().put_for(&key, &value, ttl)) {
            return done;
        }
        let (value, ttl) = (Value::new(value.as_value())?, ttl.given()?);
        self.later(key.as_ref(), move |turn| {
            turn.put_on(value.as_ref(), Living(Always, ttl))
        })
        .await
    }

    /// As [`kvreg::Bucket::put_if_for`](crate::Bucket::put_if_for).
    pub async fn put_if_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        expected: u64,
        ttl: impl Into<Ttl>,
    ) -> Result<u64, Error> {
        let ttl = ttl.into();
        let done = self.now().put_if_for(&key, &value, expected, ttl);
        if let Some(done) = unless_it_waits(done) {
            return done;
        }
        let (value, ttl) = (Value::new(value.as_value())?, ttl.given()?);
        self.later(key.as_ref(), move |turn| {
            turn.put_on(value.as_ref(), Living(Expected(expected), ttl))
        })
        .await
    }

    /// As [`kvreg::Bucket::expire`](crate::Bucket::expire).
    pub async fn expire(&self, key: impl AsRef<[u8]>, ttl: impl Into<Ttl>) -> Result<u64, Error> {
        let ttl = ttl.into();
        if let Some(done) = unless_it_waits(self.now().expire(&key, ttl)) {
            return done;
        }
        let ttl = ttl.changed()?;
        self.later(key.as_ref(), move |turn| turn.expire(ttl)).await
    }

    /// As [`kvreg::Bucket::put_if`](crate::Bucket::put_if).
    pub async fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        expected: u64,
    ) -> Result<u64, Error> {
        if let Some(done) = unless_it_waits(self.now().put_if(&key, &value, expected)) {
            return done;
        }
        let value = Value::new(value.as_value())?;
        self.later(key.as_ref(), move |turn| {
            turn.put_on(value.as_ref(), Expected(expected))
        })
        .await
    }

    /// As [`kvreg::Bucket::delete_if`](crate::Bucket::delete_if).
    pub async fn delete_if(&self, key: impl AsRef<[u8]>, expected: u64) -> Result<Value, Error> {
        if let Some(done) = unless_it_waits(self.now().delete_if(&key, expected)) {
            return done;
        }
        self.later(key.as_ref(), move |turn| turn.delete_if(expected))
            .await
    }

    /// As [`kvreg::Bucket::put_if_equal`](crate::Bucket::put_if_equal).
    pub async fn put_if_equal<E: AsValue, V: AsValue>(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<E>,
        value: Option<V>,
    ) -> Result<u64, Error> {
        let now = self.now();
        let done = now.put_if_equal(&key, expected.as_ref(), value.as_ref());
        if let Some(done) = unless_it_waits(done) {
            return done;
        }
        let owned = |value: &dyn AsValue| Value::new(value.as_value());
        let expected = expected.as_ref().map(|it| owned(it)).transpose()?;
        let value = value.as_ref().map(|it| owned(it)).transpose()?;
        self.later(key.as_ref(), move |turn| {
            turn.put_if_equal(
                expected.as_ref().map(Value::as_ref),
                value.as_ref().map(Value::as_ref),
            )
        })
        .await
    }

    /// As [`kvreg::Bucket::add_int`](crate::Bucket::add_int).
    pub async fn add_int(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64, Error> {
        if let Some(done) = unless_it_waits(self.now().add_int(&key, delta)) {
            return done;
        }
        self.later(key.as_ref(), move |turn| turn.add_int(delta))
            .await
    }
}
