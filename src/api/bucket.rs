//! Buckets, as Rust programs have them.

use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use super::{check_inherited, told, Update};
use crate::bucket::{check_key, copy_key, BucketInfo, BucketOptions, BucketServer, Verdict};
use crate::error::Error;
use crate::process::{Ended, Process};
use crate::reason::Reason;
use crate::reclaim;
use crate::server::{Caller, Lasts, State};
use crate::store::Key;
use crate::time::Timeout;
use crate::value::{AsValue, FromValue, Text, Value, ValueRef};

/// A handle to a bucket: a server that holds a map from key to value.
///
/// Clones lead to the same bucket, each with a timeout of its own. A bucket that no registry knows
/// stops when its last handle is dropped; one of a registry lives on. Keys are whatever has bytes,
/// values whatever is [`AsValue`], and they are read as whatever is [`FromValue`].
///
/// ```
/// use kvreg::{Bucket, Verdict};
///
/// let shopping = Bucket::start()?;
/// shopping.put("milk", 1)?;
/// shopping.update("milk", |n| n.and_then(|n| n.as_i64()).unwrap_or(0) + 1)?;
/// assert_eq!(shopping.get::<i64>("milk")?, 2);
///
/// shopping.put_many([("eggs", 12), ("apples", 5)])?;
/// assert_eq!(shopping.get_many(["milk", "tea"])?, [Some(2), None]);
/// shopping.delete("eggs")?;
/// for (key, value) in shopping.items()? {
///     println!("{key}: {value}");
/// }
/// # Ok::<(), kvreg::Error>(())
/// ```
pub struct Bucket {
    server: Arc<BucketServer>,
    timeout: Timeout,
}

impl Bucket {
    /// Starts a bucket that no registry knows.
    pub fn start() -> Result<Bucket, Error> {
        let process = Process::starting()?;
        let bucket = Bucket::of(process.start_bucket());
        process.note_started(Ended::First, &bucket.server)?;
        Ok(bucket)
    }

    /// Starts a bucket without a registry, with options. Its `restart` is
    /// [`Temporary`](crate::Restart::Temporary): nobody would start it again.
    pub fn start_with(options: BucketOptions) -> Result<Bucket, Error> {
        let process = Process::starting()?;
        let bucket = Bucket::of(process.start_bucket_with(options)?);
        process.note_started(Ended::First, &bucket.server)?;
        Ok(bucket)
    }

    pub(crate) fn of(server: Arc<BucketServer>) -> Bucket {
        server.add_handle();
        let timeout = Process::timeout_of(server.is_shared());
        Bucket { server, timeout }
    }

    pub(crate) fn server(&self) -> &Arc<BucketServer> {
        &self.server
    }

    /// Makes a call on the server, with the key it is about.
    #[inline]
    pub(super) fn call<R>(
        &self,
        key: &[u8],
        work: impl FnOnce(&Arc<BucketServer>, &mut Caller<'_>, &[u8]) -> Result<R, Error>,
    ) -> Result<R, Error> {
        check_inherited(self.server.system())?;
        let key = check_key(key)?;
        reclaim::tidy(); // of what earlier calls left
        told(
            self.server.system(),
            work(&self.server, &mut Caller::new(self.timeout), key),
        )
    }

    /// The same, and tidies up after a call that may have replaced much.
    #[inline]
    pub(super) fn change<R>(
        &self,
        key: &[u8],
        work: impl FnOnce(&Arc<BucketServer>, &mut Caller<'_>, &[u8]) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let done = self.call(key, work);
        if !matches!(done, Err(Error::Forked)) {
            reclaim::tidy();
        }
        done
    }

    /// How long the calls of this handle may wait; 5 seconds unless it is told otherwise.
    pub fn set_timeout(&mut self, timeout: impl Into<Timeout>) {
        self.timeout = timeout.into();
    }

    /// The handle, with another timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: impl Into<Timeout>) -> Bucket {
        self.set_timeout(timeout);
        self
    }

    /// The timeout of this handle's calls.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// Reads a key as whatever type is wanted: `get::<i64>("milk")`, `get::<Option<String>>(…)`
    /// where the key may be absent, `get::<Value>(…)` for a value of any type.
    pub fn get<T: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<T, Error> {
        match self.call(key.as_ref(), |server, caller, key| server.get(caller, key)) {
            Ok(value) => T::from_value(value),
            Err(Error::NotFound) => T::absent(),
            Err(error) => Err(error),
        }
    }

    /// Stores a value. When this returns every later read, on any thread, sees it.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsValue) -> Result<(), Error> {
        let value = value.as_value();
        self.change(key.as_ref(), |server, caller, key| {
            server.put(caller, key, value)
        })
    }

    /// Takes a key out; its value is the answer, [`Error::NotFound`] if it was absent.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Value, Error> {
        self.change(key.as_ref(), |server, caller, key| {
            server.delete(caller, key)
        })
    }

    /// Stores a value without waiting: later, if somebody has the bucket now. Later calls of this
    /// thread see it.
    pub fn put_cast(&self, key: impl AsRef<[u8]>, value: impl AsValue) -> Result<(), Error> {
        let value = value.as_value();
        self.call(key.as_ref(), |server, _, key| server.put_cast(key, value))
    }

    /// Takes a key out without waiting; one that is absent is fine.
    pub fn delete_cast(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        self.call(key.as_ref(), |server, _, key| server.delete_cast(key))
    }

    /// Runs `decide` while the bucket waits: exactly once, one at a time with everything else
    /// the bucket does (Agent's `get_and_update`). It gets the value, `None` if the key is absent,
    /// and answers what is to be stored, or another [`Verdict`]. If it panics, the bucket crashes.
    pub fn update<V: Into<Verdict>>(
        &self,
        key: impl AsRef<[u8]>,
        decide: impl FnOnce(Option<&Value>) -> V,
    ) -> Result<(), Error> {
        self.call(key.as_ref(), |server, caller, key| {
            let update = server.update_begin(caller, Key::new(key), Lasts::Call)?;
            let current = update.decision().current()?;
            let decided = catch_unwind(AssertUnwindSafe(|| decide(current.as_ref()).into()));
            update.decision().apply(decided.unwrap_or(Verdict::Crash))
        })
    }

    /// Has `decide` run by the library's threads, later; see [`update`](Bucket::update). Nobody
    /// is told what became of it: what went wrong is logged.
    pub fn update_cast<V: Into<Verdict>>(
        &self,
        key: impl AsRef<[u8]>,
        decide: impl FnOnce(Option<&Value>) -> V + Send + 'static,
    ) -> Result<(), Error> {
        self.call(key.as_ref(), |server, _, key| {
            server.update_cast(
                key,
                Box::new(move |update| {
                    let update = update.decision();
                    let verdict = match update.current() {
                        Ok(current) => decide(current.as_ref()).into(),
                        Err(_) => return,
                    };
                    match update.apply(verdict) {
                        Ok(()) | Err(Error::Aborted | Error::ServerDown | Error::Forked) => {}
                        Err(error) => update.log_refused(&error),
                    }
                }),
            )
        })
    }

    /// Begins an update without a function: the bucket waits until the update is ended or
    /// dropped.
    pub fn update_begin(&self, key: impl AsRef<[u8]>) -> Result<Update, Error> {
        self.call(key.as_ref(), |server, caller, key| {
            let key = copy_key(key)?;
            Update::begin(server.update_begin(caller, key, Lasts::Open)?)
        })
    }

    /// Stores all pairs, or none. A map of keys and values will do; values of several types are
    /// [`ValueRef`]s.
    pub fn put_many<K, V>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<(), Error>
    where
        K: AsRef<[u8]>,
        V: AsValue,
    {
        let pairs: Vec<(K, V)> = pairs.into_iter().collect();
        let pairs = pairs
            .iter()
            .map(|(key, value)| Ok((Key::new(check_key(key.as_ref())?), value.as_value())))
            .collect::<Result<Vec<(Key<'_>, ValueRef<'_>)>, Error>>()?;
        self.change(b"", |server, caller, _| server.put_many(caller, &pairs))
    }

    /// Reads many values as they are at one instant; `None` where a key is absent.
    pub fn get_many<T: FromValue>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<T>>, Error> {
        let keys: Vec<_> = keys.into_iter().collect();
        let keys = keys
            .iter()
            .map(|key| check_key(key.as_ref()).map(Key::new))
            .collect::<Result<Vec<Key<'_>>, Error>>()?;
        let values = self.call(b"", |server, caller, _| server.get_many(caller, &keys))?;
        let values = values.into_iter();
        values
            .map(|value| value.map(T::from_value).transpose())
            .collect()
    }

    /// How many keys there are.
    pub fn count(&self) -> Result<usize, Error> {
        self.call(b"", |server, caller, _| server.count(caller))
    }

    /// Takes all keys out, at one instant.
    pub fn clear(&self) -> Result<(), Error> {
        self.change(b"", |server, caller, _| server.clear(caller))
    }

    /// All keys and values as they are at one instant.
    pub fn items(&self) -> Result<Vec<(Text, Value)>, Error> {
        let items = self.call(b"", |server, caller, _| server.items(caller))?;
        Ok(items.into_iter().map(|it| (it.key, it.value)).collect())
    }

    /// The name it is registered under, after its end too.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.server.state().name()
    }

    /// Stops the bucket, reason NORMAL, after what is queued; returns when it is gone.
    pub fn stop(&self) -> Result<(), Error> {
        self.change(b"", |server, caller, _| server.stop(caller))
    }

    /// Ends the bucket at once, whatever is queued.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        self.change(b"", |server, _, _| server.exit(reason, detail))
    }

    /// What there is to know about it.
    pub fn info(&self) -> Result<BucketInfo, Error> {
        self.call(b"", |server, caller, _| server.info(caller))
    }

    /// Links two buckets: when one ends abnormally, so does the other.
    pub fn link(&self, other: &Bucket) -> Result<(), Error> {
        check_inherited(other.server.system())?;
        self.call(b"", |server, _, _| server.link(&other.server.as_any()))
    }

    /// Takes a link away, if there is one.
    pub fn unlink(&self, other: &Bucket) {
        let both = [self, other].map(|bucket| bucket.server.system());
        if both.into_iter().all(|system| system.is_current()) {
            self.server.unlink(&other.server.as_any());
        }
    }

    /// Whether both are handles to the same bucket.
    #[must_use]
    pub fn is(&self, other: &Bucket) -> bool {
        Arc::ptr_eq(&self.server, &other.server)
    }
}

impl Clone for Bucket {
    fn clone(&self) -> Bucket {
        self.server.add_handle();
        Bucket {
            server: Arc::clone(&self.server),
            timeout: self.timeout,
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if self.server.system().is_current() {
            self.server.drop_handle();
        }
    }
}
