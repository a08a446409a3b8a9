//! What changes, told as it does.
//!
//! # The argument
//!
//! One task of each watch tells what a feed gives. At first there is a reset, what each key has,
//! and that this is all, as for a scan; then changes, whose sequences rise.
//!
//! When the feed is broken another one goes on behind the last message that was told, if that
//! leaves nothing out: the stream is the one that it was, by when it was made; it has not lost what
//! was told; what lies between is still there; and no marker was there and went meanwhile. Else all
//! is told anew. The stream is looked at after the consumer is made: a consumer of a stream that
//! was erased since is broken.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use crate::abi::{self, Event, Host, Text, Value};
use crate::entry::{Kind, Stored};
use crate::failure::Failure;
use crate::feed::{Fed, Feed, From};
use crate::store::{Core, Listener};
use crate::value::Value as Content;
use crate::waiting::{Pause, PAUSE};

/// Before a consumer that is behind is asked again.
const BEHIND: std::time::Duration = std::time::Duration::from_millis(5);

/// A watch, until it is dropped.
pub(crate) struct Watch {
    listener: Arc<Listener>,
    task: AbortHandle,
}

impl Watch {
    pub(crate) fn start(core: Arc<Core>, host: &'static Host, watcher: *mut c_void) -> Watch {
        let listener = Arc::new(Listener::new(host, watcher));
        let handle = core.cluster.handle().clone();
        let watching = Watching {
            core,
            listener: Arc::clone(&listener),
            told: None,
        };
        Watch {
            task: handle.spawn(watching.run()).abort_handle(),
            listener,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listener.end();
        self.task.abort();
    }
}

/// How far all was told.
struct Told {
    /// When the stream was made.
    created: String,
    sequence: u64,
    /// When the feed was last heard of.
    at: Instant,
}

struct Watching {
    core: Arc<Core>,
    listener: Arc<Listener>,
    /// `None`: all is to be told anew.
    told: Option<Told>,
}

impl Watching {
    async fn run(mut self) {
        let mut pause = Pause::default();
        while !*self.core.is_deleted.borrow() {
            let fed = match self.told.take() {
                Some(told) => self.resume(told).await,
                None => self.begin().await,
            };
            match fed {
                Ok(Some(feed)) => {
                    self.follow(feed).await;
                    pause = Pause::default();
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(_) => pause.rest().await,
            }
            self.core.suspicion.notify_one();
        }
    }

    /// Tells what is there.
    async fn begin(&mut self) -> Result<Option<Feed>, Failure> {
        let subjects = self.core.names.all();
        let Some(mut feed) = Feed::start(&self.core, &subjects, From::Present, false).await? else {
            return Ok(None);
        };
        let info = self.core.info().await?;
        self.core.learn(&info);
        self.listener.say(abi::TOLD_RESET, 0);
        let (last, mut sequence) = (info.state.last_seq, 0);
        loop {
            match feed.next(false).await {
                Fed::Message(stored) => {
                    sequence = stored.sequence;
                    if stored.kind() == Kind::Put {
                        self.tell(&stored);
                    }
                }
                Fed::Broken => return Ok(None),
                Fed::NoMore => {
                    let next = self.core.first_from(&subjects, sequence + 1).await?;
                    match next {
                        Some(next) if next.sequence <= last => tokio::time::sleep(BEHIND).await,
                        _ => break,
                    }
                }
            }
        }
        let sequence = sequence.max(last);
        self.listener.say(abi::TOLD_CURRENT, sequence);
        self.told = Some(Told {
            created: info.created,
            sequence,
            at: Instant::now(),
        });
        Ok(Some(feed))
    }

    /// Goes on where it was, if it can.
    async fn resume(&mut self, told: Told) -> Result<Option<Feed>, Failure> {
        let next = told.sequence + 1;
        let subjects = self.core.names.all();
        // What was told stays told if there is no answer.
        let (created, sequence, at) = (told.created.clone(), told.sequence, told.at);
        self.told = Some(told);
        let Some(feed) = Feed::start(&self.core, &subjects, From::Sequence(next), false).await?
        else {
            return Ok(None);
        };
        let info = self.core.info().await?;
        self.core.learn(&info);
        let facts = self.core.facts();
        let is_gone_by = |seconds: u64| seconds > 0 && at.elapsed().as_secs() >= seconds / 2;
        let goes_on = info.created == created
            && info.state.last_seq >= sequence
            && info.state.first_seq <= next
            && !is_gone_by(facts.marker_seconds);
        if goes_on {
            return Ok(Some(feed));
        }
        self.told = None;
        feed.end().await;
        Ok(None)
    }

    /// Tells what changes.
    async fn follow(&mut self, mut feed: Feed) {
        loop {
            match feed.next(true).await {
                Fed::Message(stored) => {
                    // A server that is behind begins before.
                    let told = self
                        .told
                        .as_mut()
                        .filter(|it| it.sequence < stored.sequence);
                    if let Some(told) = told {
                        told.sequence = stored.sequence;
                        self.tell(&stored);
                    }
                }
                Fed::NoMore => {}
                Fed::Broken => {
                    if let Some(told) = &mut self.told {
                        told.at = feed.heard;
                    }
                    return;
                }
            }
        }
    }

    fn tell(&self, stored: &Stored) {
        let Some(key) = self.core.names.key(&stored.subject) else {
            return;
        };
        let (kind, content, expires_ms) = match stored.kind() {
            Kind::Put => {
                let expires_ms = stored.expires_ms(self.core.max_age_ms());
                (abi::TOLD_PUT, stored.value(), expires_ms)
            }
            Kind::Delete => (abi::TOLD_DELETE, Content::Nil, 0),
            Kind::Expire => (abi::TOLD_EXPIRE, Content::Nil, 0),
        };
        self.listener.tell(&Event {
            size: size_of::<Event>() as u32,
            kind,
            key: Text::of(&key),
            value: Value::of(&content),
            revision: stored.sequence,
            expires_ms,
        });
    }
}
