//! Buckets, as Rust programs have them.

use std::sync::Arc;

use super::Update;
use crate::bucket::{check_key, BucketInfo, BucketOptions, BucketServer, Verdict};
use crate::error::Error;
use crate::process::Process;
use crate::reason::Reason;
use crate::reclaim;
use crate::server::{Caller, Lasts, State};
use crate::time::Timeout;
use crate::value::{Text, Value, ValueRef};

/// A handle to a bucket. Clones lead to the same bucket; one without a registry stops when
/// the last of them is dropped.
pub struct Bucket {
    server: Arc<BucketServer>,
    timeout: Timeout,
}

impl Bucket {
    /// Starts a bucket without a registry.
    pub fn start() -> Result<Bucket, Error> {
        Ok(Bucket::of(Process::running()?.start_bucket()))
    }

    /// Starts a bucket without a registry, with options. Its `restart` is
    /// [`Temporary`](crate::Restart::Temporary): nobody would start it again.
    pub fn start_with(options: BucketOptions) -> Result<Bucket, Error> {
        Ok(Bucket::of(Process::running()?.start_bucket_with(options)?))
    }

    pub(crate) fn of(server: Arc<BucketServer>) -> Bucket {
        server.add_handle();
        Bucket {
            server,
            timeout: Timeout::DEFAULT,
        }
    }

    pub(crate) fn server(&self) -> &Arc<BucketServer> {
        &self.server
    }

    fn caller(&self) -> Caller<'static> {
        reclaim::tidy(); // of what earlier calls left
        Caller::new(self.timeout)
    }

    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.timeout = timeout;
    }

    pub fn get(&self, key: &[u8]) -> Result<Value, Error> {
        self.server.get(&mut self.caller(), check_key(key)?)
    }

    pub fn put<'v>(&self, key: &[u8], value: impl Into<ValueRef<'v>>) -> Result<(), Error> {
        let put = self
            .server
            .put(&mut self.caller(), check_key(key)?, value.into());
        reclaim::tidy();
        put
    }

    /// Takes a key out; its value is the answer.
    pub fn delete(&self, key: &[u8]) -> Result<Value, Error> {
        let old = self.server.delete(&mut self.caller(), check_key(key)?);
        reclaim::tidy();
        old
    }

    pub fn put_cast<'v>(&self, key: &[u8], value: impl Into<ValueRef<'v>>) -> Result<(), Error> {
        reclaim::tidy();
        self.server.put_cast(check_key(key)?, value.into())
    }

    pub fn delete_cast(&self, key: &[u8]) -> Result<(), Error> {
        reclaim::tidy();
        self.server.delete_cast(check_key(key)?)
    }

    /// Runs `decide` while the bucket waits: exactly once, one at a time with everything else
    /// the bucket does (Agent's `get_and_update`). If it panics, the bucket crashes.
    pub fn update(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<&Value>) -> Verdict,
    ) -> Result<(), Error> {
        let caller = &mut self.caller();
        let mut update = self
            .server
            .update_begin(caller, check_key(key)?, Lasts::Call)?;
        let current = update.current()?;
        let decided =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decide(current.as_ref())));
        update.apply(decided.unwrap_or(Verdict::Crash))
    }

    /// The same by the runtime, later.
    pub fn update_cast(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<&Value>) -> Verdict + Send + 'static,
    ) -> Result<(), Error> {
        self.server.update_cast(
            check_key(key)?,
            Box::new(move |mut update| {
                let verdict = match update.current() {
                    Ok(current) => decide(current.as_ref()),
                    Err(_) => return,
                };
                match update.apply(verdict) {
                    Ok(()) | Err(Error::Aborted | Error::ServerDown | Error::Forked) => {}
                    Err(error) => update.log_refused(&error),
                }
            }),
        )
    }

    /// The same without a function: the bucket waits until the update is ended or dropped.
    pub fn update_begin(&self, key: &[u8]) -> Result<Update, Error> {
        let caller = &mut self.caller();
        let deciding = self
            .server
            .update_begin(caller, check_key(key)?, Lasts::Open)?;
        Update::begin(deciding)
    }

    /// Stores all pairs, or none.
    pub fn put_many(&self, pairs: &[(&[u8], ValueRef<'_>)]) -> Result<(), Error> {
        for (key, _) in pairs {
            check_key(key)?;
        }
        self.server.put_many(&mut self.caller(), pairs)
    }

    /// Many values as they are at one instant.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.server
            .get_many(&mut self.caller(), keys.iter().copied())
    }

    pub fn count(&self) -> Result<usize, Error> {
        self.server.count(&mut self.caller())
    }

    pub fn clear(&self) -> Result<(), Error> {
        let cleared = self.server.clear(&mut self.caller());
        reclaim::tidy();
        cleared
    }

    /// All keys and values as they are at one instant.
    pub fn items(&self) -> Result<Vec<(Text, Value)>, Error> {
        self.server.items(&mut self.caller())
    }

    /// The name it is registered under, after its end too.
    pub fn name(&self) -> Option<&str> {
        self.server.state().name()
    }

    /// Stops the bucket, reason NORMAL, after what is queued; returns when it is gone.
    pub fn stop(&self) -> Result<(), Error> {
        let stopped = self.server.stop(&mut self.caller());
        reclaim::tidy();
        stopped
    }

    /// Ends the bucket at once, whatever is queued.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        let exited = self.server.exit(reason, detail);
        reclaim::tidy();
        exited
    }

    pub fn info(&self) -> Result<BucketInfo, Error> {
        self.server.info(&mut self.caller())
    }

    /// Links two buckets: when one ends abnormally, so does the other.
    pub fn link(&self, other: &Bucket) -> Result<(), Error> {
        self.server.link(&other.server.as_any())
    }

    /// Takes a link away, if there is one.
    pub fn unlink(&self, other: &Bucket) {
        self.server.unlink(&other.server.as_any());
    }

    /// Whether both are handles to the same bucket.
    pub fn is(&self, other: &Bucket) -> bool {
        Arc::ptr_eq(&self.server, &other.server)
    }
}

impl Clone for Bucket {
    fn clone(&self) -> Bucket {
        let mut clone = Bucket::of(Arc::clone(&self.server));
        clone.timeout = self.timeout;
        clone
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.server.drop_handle();
    }
}
