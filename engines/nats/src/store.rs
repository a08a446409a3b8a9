//! One bucket's store: what its calls have in common, from its opening to its closing.

use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{json, Value as Json};
use tokio::runtime::Handle;
use tokio::sync::{watch, Notify};
use tokio::task::AbortHandle;

use crate::abi::{self, Event, Host};
use crate::api::{self, Answer, Deleted, StreamInfo};
use crate::cluster::Cluster;
use crate::entry::Stored;
use crate::failure::Failure;
use crate::health;
use crate::keys::Names;
use crate::location::Layout;
use crate::queue::Queue;
use crate::session::Unanswered;
use crate::stream::{self, Facts};
use crate::waiting::{lock, Calls, Pause, PAUSE};

/// How long an answer is waited for before a question is put again, at first and at most.
const PATIENCE: Duration = Duration::from_millis(500);
const MOST_PATIENCE: Duration = Duration::from_secs(4);

/// Somebody who is told things, as long as they want to be.
///
/// The lock is held while they are told, so who ends it waits for that, and nothing is told after.
pub(crate) struct Listener {
    host: &'static Host,
    told: Mutex<Option<Told>>,
}

struct Told(*mut c_void);
// SAFETY: kvreg's, for the host's `tell`, which may be called by any thread.
unsafe impl Send for Told {}

impl Listener {
    pub(crate) fn new(host: &'static Host, told: *mut c_void) -> Listener {
        Listener {
            host,
            told: Mutex::new((!told.is_null()).then_some(Told(told))),
        }
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(told) = &*lock(&self.told) {
            // SAFETY: the host's function, and what it gave for it; what is lent is there meanwhile.
            unsafe { (self.host.tell)(told.0, event) };
        }
    }

    /// Tells something that has no key.
    pub(crate) fn say(&self, kind: u32, revision: u64) {
        self.tell(&Event {
            size: size_of::<Event>() as u32,
            kind,
            key: abi::Text::of(&[]),
            value: abi::Value::of(&crate::value::Value::Nil),
            revision,
            expires_ms: 0,
        });
    }

    pub(crate) fn end(&self) {
        *lock(&self.told) = None;
    }
}

/// What the tasks of a store share.
pub(crate) struct Core {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) names: Names,
    facts: Mutex<Facts>,
    /// Something looks as if the stream were not in reach: `health.rs` is to look.
    pub(crate) suspicion: Notify,
    pub(crate) is_deleted: watch::Sender<bool>,
    /// Whether batches may have message ids: as long as the server did not say otherwise.
    pub(crate) has_batch_ids: std::sync::atomic::AtomicBool,
}

impl Core {
    pub(crate) fn new(cluster: Arc<Cluster>, names: Names) -> Core {
        Core {
            cluster,
            names,
            facts: Mutex::default(),
            suspicion: Notify::new(),
            is_deleted: watch::Sender::new(false),
            has_batch_ids: true.into(),
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        *lock(&self.facts)
    }

    pub(crate) fn learn(&self, info: &StreamInfo) {
        *lock(&self.facts) = Facts::of(info);
    }

    pub(crate) fn abilities(&self) -> u64 {
        lock(&self.facts).abilities
    }

    pub(crate) fn max_age_ms(&self) -> i64 {
        lock(&self.facts).max_age_ms
    }

    /// The subject of a request about the stream, as `STREAM.INFO`.
    pub(crate) fn request(&self, what: &str) -> String {
        format!("$JS.API.{what}.{}", self.names.stream)
    }

    /// Asks until there is an answer, of which `read` makes something.
    pub(crate) async fn ask<T>(
        &self,
        subject: &str,
        body: &Json,
        read: impl Fn(&async_nats::Message) -> Result<T, api::Error>,
    ) -> Result<T, api::Error> {
        let body = Bytes::from(body.to_string());
        let (mut patience, mut pause) = (PATIENCE, Pause::default());
        loop {
            let session = self.cluster.session().await;
            match session.ask(subject, body.clone(), patience).await {
                Ok(message) => match read(&message) {
                    Err(error) if error.is_not_now() => {}
                    answer => return answer,
                },
                Err(Unanswered::Silent) => patience = (patience * 2).min(MOST_PATIENCE),
                Err(Unanswered::NoResponders) => {}
                Err(Unanswered::Over) => continue,
            }
            self.suspicion.notify_one();
            pause.rest().await;
        }
    }

    /// The same, for as long as the bucket is there.
    async fn ask_bucket<T>(
        &self,
        subject: &str,
        body: &Json,
        read: impl Fn(&async_nats::Message) -> Result<T, api::Error>,
    ) -> Result<T, Failure> {
        loop {
            let answer = tokio::select! {
                answer = self.ask(subject, body, &read) => answer,
                () = self.deleted() => return Err(deleted()),
            };
            match answer {
                Err(error) if error.err_code == api::STREAM_NOT_FOUND => {
                    // Whether it is gone is for `health.rs` to find.
                    self.suspicion.notify_one();
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer.map_err(|it| it.failure()),
            }
        }
    }

    /// When the bucket was erased by others.
    pub(crate) async fn deleted(&self) {
        let mut told = self.is_deleted.subscribe();
        let _ = told.wait_for(|it| *it).await;
    }

    /// The last message of a subject, as the leader has it.
    pub(crate) async fn last_of(&self, subject: &str) -> Result<Option<Stored>, Failure> {
        let body = json!({ "last_by_subj": subject });
        let request = self.request("STREAM.MSG.GET");
        self.ask_bucket(&request, &body, api::read_message).await
    }

    /// The first message from this sequence on, as the leader has it.
    pub(crate) async fn first_from(
        &self,
        subjects: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, Failure> {
        let body = json!({ "seq": sequence, "next_by_subj": subjects });
        let request = self.request("STREAM.MSG.GET");
        self.ask_bucket(&request, &body, api::read_message).await
    }

    pub(crate) async fn info(&self) -> Result<StreamInfo, Failure> {
        let request = self.request("STREAM.INFO");
        let info = self
            .ask_bucket(&request, &json!({}), api::read::<StreamInfo>)
            .await?;
        Ok(info)
    }

    pub(crate) async fn order<T>(&self, subject: &str, body: &Json) -> Result<T, Failure>
    where
        T: Answer + for<'de> serde::Deserialize<'de>,
    {
        self.ask_bucket(subject, body, api::read::<T>).await
    }

    /// Opens the stream, or makes it.
    async fn open(&self, layout: &Layout) -> Result<(), Failure> {
        let session = self.cluster.session_or_refusal().await?;
        let (inform, create) = (self.request("STREAM.INFO"), self.request("STREAM.CREATE"));
        let config = stream::configuration(&self.names, layout, session.version);
        loop {
            let info = match self.ask(&inform, &json!({}), api::read::<StreamInfo>).await {
                Err(error) if error.err_code == api::STREAM_NOT_FOUND => {
                    match self.ask(&create, &config, api::read::<StreamInfo>).await {
                        // Another one has made it meanwhile.
                        Err(error) if error.err_code == api::NAME_IN_USE => continue,
                        created => created,
                    }
                }
                found => found,
            };
            let info = info.map_err(|it| Failure::io(it.failure().text))?;
            if !stream::is_bucket(&info, &self.names) {
                let text = format!("the stream {} is no bucket", self.names.stream);
                return Err(Failure::io(text));
            }
            self.learn(&info);
            return Ok(());
        }
    }

    /// Erases the stream.
    pub(crate) async fn erase(&self) -> Result<(), Failure> {
        self.cluster.session_or_refusal().await?;
        let request = self.request("STREAM.DELETE");
        match self.ask(&request, &json!({}), api::read::<Deleted>).await {
            Ok(_) => Ok(()),
            Err(error) if error.err_code == api::STREAM_NOT_FOUND => {
                Err(Failure::new(abi::NOT_FOUND, "there is no such bucket"))
            }
            Err(error) => Err(error.failure()),
        }
    }
}

pub(crate) fn deleted() -> Failure {
    Failure::io("the bucket was erased on the cluster")
}

pub(crate) struct Store {
    pub(crate) core: Arc<Core>,
    pub(crate) calls: Calls,
    pub(crate) queue: Queue,
    pub(crate) host: &'static Host,
    listener: Arc<Listener>,
    health: AbortHandle,
}

impl Store {
    /// The store of a bucket.
    pub(crate) async fn open(
        layout: &Layout,
        core: Arc<Core>,
        listener: Listener,
    ) -> Result<Store, Failure> {
        core.open(layout).await?;
        let (host, listener) = (listener.host, Arc::new(listener));
        let health = health::look_after(Arc::clone(&core), Arc::clone(&listener));
        Ok(Store {
            queue: Queue::start(Arc::clone(&core), host),
            health: tokio::spawn(health).abort_handle(),
            calls: Calls::default(),
            host,
            core,
            listener,
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.core.cluster.handle()
    }

    /// When all that was sent is done.
    pub(crate) fn close(&self) {
        self.queue.finish();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.listener.end();
        self.health.abort();
    }
}
