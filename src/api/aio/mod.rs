//! For those who use tokio: calls, events and ends are awaited, and no worker is blocked.
//!
//! A call is tried at once, on the thread that polls it. One that has to wait for its bucket is put
//! into the bucket's mailbox, behind what is there, and is carried out by kvreg's own threads. One
//! that is dropped, or times out, before that has begun is withdrawn: it never runs. Casts never
//! wait, so they have no other form here. A future may be polled by any runtime, but for timeouts
//! it needs tokio's clock: a runtime that has its time enabled.
//!
//! An [`Update`](crate::Update) that was begun has its bucket until it is ended, and its thread
//! waits for no bucket meanwhile ([`Error::CallingSelf`]): so keep none across an await.
//!
//! ```
//! use kvreg::{Event, Inbox, Registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), kvreg::Error> {
//! let registry = Registry::start()?.aio();
//! let shopping = registry.create("shopping").await?;
//! shopping.put("milk", 1).await?;
//! shopping.update("milk", |n| n.and_then(|n| n.as_i64()).unwrap_or(0) + 1).await?;
//! assert_eq!(shopping.get::<i64>("milk").await?, 2);
//!
//! let inbox = Inbox::open()?;
//! inbox.monitor(&shopping)?;
//! shopping.stop().await?;
//! assert!(matches!(inbox.next_event().await?, Event::Down { .. }));
//! # Ok(())
//! # }
//! ```

mod batch;
mod conditions;
mod saving;
mod server;

use std::future::Future;
use std::ops::Deref;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::{told, Item, Scan};
use crate::bucket::{check_key, BucketOptions, Deciding, Decision, Verdict};
use crate::error::Error;
use crate::inbox::Event;
use crate::server::{Caller, Lasts, Thread};
use crate::store::{Always, Key};
use crate::time::{Deadline, Timeout};
use crate::value::{AsValue, FromValue, Text, Value};

pub use server::Server;

/// A bucket whose calls are awaited. What never waits is called as it is there: it dereferences to
/// [`kvreg::Bucket`](crate::Bucket).
#[derive(Clone, Debug)]
pub struct Bucket(super::Bucket);

/// A registry whose calls are awaited. It dereferences to [`kvreg::Registry`](crate::Registry).
#[derive(Clone, Debug)]
pub struct Registry(super::Registry);

impl Deref for Bucket {
    type Target = super::Bucket;

    fn deref(&self) -> &super::Bucket {
        &self.0
    }
}

impl Deref for Registry {
    type Target = super::Registry;

    fn deref(&self) -> &super::Registry {
        &self.0
    }
}

impl super::Bucket {
    /// The bucket for those who use tokio.
    #[must_use]
    pub fn aio(self) -> Bucket {
        Bucket(self)
    }
}

impl super::Registry {
    /// The registry for those who use tokio.
    #[must_use]
    pub fn aio(self) -> Registry {
        Registry(self)
    }
}

const WAITS: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// How far a request is: it begins once, or is withdrawn.
#[derive(Clone, Default)]
struct Progress(Arc<AtomicU8>);

impl Progress {
    /// `false` if it was faster to be the other.
    fn becomes(&self, next: u8) -> bool {
        let order = Ordering::Relaxed; // what it is about goes through the mailbox and the channel
        self.0.compare_exchange(WAITS, next, order, order).is_ok()
    }
}

/// Withdraws a request when its future is dropped.
struct Withdraws(Progress);

impl Drop for Withdraws {
    fn drop(&mut self) {
        self.0.becomes(WITHDRAWN);
    }
}

/// Runs what an update decides. A panic is its bucket's crash.
fn decided<V: Into<Verdict>>(
    update: Decision<'_>,
    decide: impl FnOnce(Option<&Value>) -> V,
) -> Result<(), Error> {
    let current = update.current()?;
    let decided = catch_unwind(AssertUnwindSafe(|| decide(current.as_ref()).into()));
    update.apply(decided.unwrap_or(Verdict::Crash))
}

impl Bucket {
    /// The bucket for calls that do not wait.
    fn now(&self) -> super::Bucket {
        self.0.clone().with_timeout(Timeout::Now)
    }

    /// Has `work` done by the bucket after what is queued there.
    async fn later<R: Send + 'static>(
        &self,
        key: &[u8],
        work: impl FnOnce(Decision<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        if Thread::holds_a_turn() {
            return Err(Error::CallingSelf); // whoever has the bucket may be waiting for this
        }
        let wait = match self.0.timeout() {
            Timeout::Now => return Err(Error::Timeout),
            Timeout::After(wait) => Some(wait),
            Timeout::Never => None,
        };
        let (timeout_of, deadline) = (self.0.timeout(), self.0.timeout().deadline());
        let (server, progress) = (self.0.server(), Progress::default());
        let (reply, mut answer) = oneshot::channel();
        let begins = progress.clone();
        let run = move |turn: Deciding| {
            if begins.becomes(BEGUN) {
                turn.decision().waits_until(timeout_of, deadline);
                let done = work(turn.decision());
                drop(turn);
                let _ = reply.send(done); // nobody waits for it if the future was dropped
            }
        };
        let asked = server.update_for_answer(check_key(key)?, Box::new(run));
        told(server.system(), asked)?;
        let withdraws = Withdraws(progress);
        let answer = match wait {
            None => answer.await,
            Some(wait) => match timeout(wait, &mut answer).await {
                Ok(answer) => answer,
                Err(_) if withdraws.0.becomes(WITHDRAWN) => return Err(Error::Timeout),
                Err(_) => answer.await, // what has begun answers
            },
        };
        // Dropped unanswered: the bucket has ended.
        told(server.system(), answer.unwrap_or(Err(Error::ServerDown)))
    }

    /// Has `read` done by another thread, which waits for a cluster, after what was cast before.
    async fn elsewhere<R: Send + 'static>(
        &self,
        read: impl FnOnce(&super::Bucket) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let wait = self.0.timeout();
        if let Timeout::Now = wait {
            return Err(Error::Timeout);
        }
        let (bucket, deadline) = (self.0.clone(), wait.deadline());
        let (reply, answer) = oneshot::channel();
        let threads = self.0.server().system().threads();
        threads.start()?;
        threads.spawn_blocking(move || {
            let done = bucket
                .server()
                .await_mail(&mut Caller::new(wait))
                .and_then(|()| {
                    let left = deadline.left().map_or(Timeout::Never, Timeout::After);
                    read(&bucket.with_timeout(left))
                });
            let _ = reply.send(done); // nobody waits for it if the future was dropped
        });
        let done = answer.await.unwrap_or(Err(Error::ServerDown));
        told(self.0.server().system(), done)
    }

    /// Has `read` done, which only reads.
    async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&super::Bucket) -> Result<R, Error> + Clone + Send + 'static,
    ) -> Result<R, Error> {
        match read.clone()(&self.now()) {
            Err(Error::Timeout) => {}
            done => return done,
        }
        if self.0.server().is_shared() {
            return self.elsewhere(read).await;
        }
        // From inside its turn every read passes.
        let patient = self.0.clone().with_timeout(Timeout::Never);
        self.later(b"", move |_| read(&patient)).await
    }

    /// As [`kvreg::Bucket::get`](crate::Bucket::get).
    pub async fn get<T: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<T, Error> {
        let found = match self.now().get::<OrAbsent>(&key) {
            Err(Error::Timeout) if self.0.server().is_shared() => {
                let key = key.as_ref().to_vec();
                self.elsewhere(move |bucket| bucket.get::<OrAbsent>(&key))
                    .await?
                    .0
            }
            Err(Error::Timeout) => self.later(key.as_ref(), |turn| turn.current()).await?,
            found => found?.0,
        };
        found.map_or_else(T::absent, T::from_value)
    }

    /// As [`kvreg::Bucket::put`](crate::Bucket::put).
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsValue) -> Result<(), Error> {
        match self.now().put(&key, &value) {
            Err(Error::Timeout) => {}
            done => return done,
        }
        let value = Value::new(value.as_value())?;
        let store = move |turn: Decision<'_>| turn.put_on(value.as_ref(), Always).map(|_| ());
        self.later(key.as_ref(), store).await
    }

    /// As [`kvreg::Bucket::delete`](crate::Bucket::delete).
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Value, Error> {
        match self.now().delete(&key) {
            Err(Error::Timeout) => {}
            done => return done,
        }
        let delete = |turn: Decision<'_>| {
            let old = turn.current()?.ok_or(Error::NotFound)?;
            turn.remove()?;
            Ok(old)
        };
        self.later(key.as_ref(), delete).await
    }

    /// As [`kvreg::Bucket::update`](crate::Bucket::update). `decide` runs on the thread that polls,
    /// or on one of kvreg's, and so must not wait.
    pub async fn update<V: Into<Verdict>>(
        &self,
        key: impl AsRef<[u8]>,
        decide: impl FnOnce(Option<&Value>) -> V + Send + 'static,
    ) -> Result<(), Error> {
        let key = check_key(key.as_ref())?;
        super::check_inherited(self.0.server().system())?;
        match self.update_now(key, decide) {
            Ok(done) => done,
            Err(decide) => self.later(key, |turn| decided(turn, decide)).await,
        }
    }

    /// Updates without waiting, or gives back what decides. The turn, which belongs to the thread
    /// that took it, is over when this returns.
    fn update_now<V: Into<Verdict>, F: FnOnce(Option<&Value>) -> V>(
        &self,
        key: &[u8],
        decide: F,
    ) -> Result<Result<(), Error>, F> {
        let server = self.0.server();
        let begun = server.update_begin(&mut Caller::new(Timeout::Now), Key::new(key), Lasts::Call);
        match begun {
            Err(Error::Timeout) => Err(decide),
            begun => Ok(told(
                server.system(),
                begun.and_then(|turn| decided(turn.decision(), decide)),
            )),
        }
    }

    /// As [`kvreg::Bucket::put_many`](crate::Bucket::put_many).
    pub async fn put_many<K, V>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<(), Error>
    where
        K: AsRef<[u8]>,
        V: AsValue,
    {
        let pairs = pairs.into_iter().map(|(key, value)| {
            let value = Value::new(value.as_value())?;
            Ok((check_key(key.as_ref())?.to_vec(), value))
        });
        let pairs: Vec<(Vec<u8>, Value)> = pairs.collect::<Result<_, Error>>()?;
        fn borrowed(pairs: &[(Vec<u8>, Value)]) -> impl Iterator<Item = (&[u8], &Value)> {
            pairs.iter().map(|(key, value)| (&key[..], value))
        }
        match self.now().put_many(borrowed(&pairs)) {
            Err(Error::Timeout) => {}
            done => return done,
        }
        let store = move |turn: Decision<'_>| {
            let pairs = borrowed(&pairs).map(|(key, value)| (key, value.as_ref()));
            turn.store_many(&pairs.collect::<Vec<_>>())
        };
        self.later(b"", store).await
    }

    /// As [`kvreg::Bucket::get_many`](crate::Bucket::get_many).
    pub async fn get_many<T: FromValue>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<T>>, Error> {
        let keys = keys.into_iter().map(|key| key.as_ref().to_vec());
        let keys: Vec<Vec<u8>> = keys.collect();
        let read = move |bucket: &super::Bucket| bucket.get_many::<Value>(keys);
        let values = self.read(read).await?.into_iter();
        values
            .map(|value| value.map(T::from_value).transpose())
            .collect()
    }

    /// As [`kvreg::Bucket::items`](crate::Bucket::items).
    pub async fn items(&self) -> Result<Vec<(Text, Value)>, Error> {
        self.read(super::Bucket::items).await
    }

    /// As [`kvreg::Bucket::scan`](crate::Bucket::scan).
    pub async fn scan(&self, scan: &Scan) -> Result<Vec<Item>, Error> {
        let scan = scan.clone();
        self.read(move |bucket| bucket.scan(&scan)).await
    }

    /// As [`kvreg::Bucket::count`](crate::Bucket::count).
    pub async fn count(&self) -> Result<usize, Error> {
        self.read(super::Bucket::count).await
    }

    /// As [`kvreg::Bucket::clear`](crate::Bucket::clear).
    pub async fn clear(&self) -> Result<(), Error> {
        match self.now().clear() {
            Err(Error::Timeout) => self.later(b"", |turn| turn.clear()).await,
            done => done,
        }
    }

    /// As [`kvreg::Bucket::stop`](crate::Bucket::stop).
    pub async fn stop(&self) -> Result<(), Error> {
        match self.now().stop() {
            Err(Error::Timeout) => self.later(b"", |turn| turn.stop()).await,
            done => done,
        }
    }
}

/// A value, if it is there; nil is.
struct OrAbsent(Option<Value>);

impl FromValue for OrAbsent {
    fn from_value(value: Value) -> Result<OrAbsent, Error> {
        Ok(OrAbsent(Some(value)))
    }

    fn absent() -> Result<OrAbsent, Error> {
        Ok(OrAbsent(None))
    }
}

/// Before a registry is asked again, which runs no user code: so it is never busy for long.
const PAUSE: Duration = Duration::from_millis(1);

/// How often it is asked without a pause.
const YIELDS: usize = 16;

impl Registry {
    async fn call<R>(
        &self,
        work: impl Fn(&super::Registry) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let now = self.0.clone().with_timeout(Timeout::Now);
        let mut deadline: Option<Deadline> = None;
        for turn in 0.. {
            match work(&now) {
                Err(Error::Timeout) => {}
                done => return done,
            }
            let deadline = deadline.get_or_insert_with(|| self.0.timeout().deadline());
            if deadline.has_passed() {
                break;
            }
            match turn < YIELDS {
                true => tokio::task::yield_now().await,
                false => sleep(deadline.left().unwrap_or(PAUSE).min(PAUSE)).await,
            }
        }
        Err(Error::Timeout)
    }

    /// As [`kvreg::Registry::create`](crate::Registry::create).
    pub async fn create(&self, name: &str) -> Result<Bucket, Error> {
        self.call(|registry| registry.create(name))
            .await
            .map(Bucket)
    }

    /// As [`kvreg::Registry::create_with`](crate::Registry::create_with).
    pub async fn create_with(&self, name: &str, options: BucketOptions) -> Result<Bucket, Error> {
        self.call(|registry| registry.create_with(name, options.clone()))
            .await
            .map(Bucket)
    }

    /// As [`kvreg::Registry::create_exclusive`](crate::Registry::create_exclusive).
    pub async fn create_exclusive(&self, name: &str) -> Result<Bucket, Error> {
        self.call(|registry| registry.create_exclusive(name))
            .await
            .map(Bucket)
    }

    /// As [`kvreg::Registry::lookup`](crate::Registry::lookup).
    pub async fn lookup(&self, name: &str) -> Result<Bucket, Error> {
        self.call(|registry| registry.lookup(name))
            .await
            .map(Bucket)
    }

    /// As [`kvreg::Registry::remove`](crate::Registry::remove).
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        self.call(|registry| registry.remove(name)).await
    }

    /// As [`kvreg::Registry::count`](crate::Registry::count).
    pub async fn count(&self) -> Result<usize, Error> {
        self.call(super::Registry::count).await
    }

    /// As [`kvreg::Registry::names`](crate::Registry::names).
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        self.call(super::Registry::names).await
    }

    /// As [`kvreg::Registry::stop`](crate::Registry::stop).
    pub async fn stop(&self) -> Result<(), Error> {
        self.call(super::Registry::stop).await
    }
}

impl super::Inbox {
    /// The next event, as long as it takes. One that is dropped takes no event with it.
    #[must_use = "a future does nothing unless it is awaited"]
    pub fn next_event(&self) -> NextEvent<'_> {
        NextEvent {
            inbox: self,
            place: None,
        }
    }
}

/// The next event of an inbox; see [`Inbox::next_event`](crate::Inbox::next_event).
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct NextEvent<'a> {
    inbox: &'a super::Inbox,
    /// Among those who are woken.
    place: Option<u64>,
}

impl Future for NextEvent<'_> {
    type Output = Result<Event, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let NextEvent { inbox, place } = &mut *self;
        inbox.poll_receive(place, context)
    }
}

impl Drop for NextEvent<'_> {
    fn drop(&mut self) {
        self.inbox.forget_waker(self.place);
    }
}
