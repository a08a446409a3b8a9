//! The messages of a stream, in their order: a consumer of our own, which is asked for so many at a
//! time, so nobody is told more than it takes.
//!
//! # The argument
//!
//! A consumer numbers what it delivers. A message with another number than the next one means that
//! some were lost on the way; then the feed is broken, and who has it makes another one from where
//! it was. So it is when the consumer is gone, or nothing is heard of it for longer than it is to
//! be silent, or the session is over.
//!
//! What is left of a question that is over may still come; each has a number in its subject, and
//! what has another one is dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;

use crate::api::ConsumerInfo;
use crate::entry::Stored;
use crate::failure::Failure;
use crate::replies::{letters, random};
use crate::session::Session;
use crate::store::Core;

/// How much is asked for at a time: so many messages, or fewer large ones.
const MOST: usize = 512;
const LEAST: usize = 8;
const BUDGET: usize = 8 << 20;
/// A question that waits is put again after this time, and there is a sign of life meanwhile.
const WAIT: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Longer without one, and the consumer is dead.
const SILENCE: Duration = Duration::from_secs(3);
/// A consumer that nobody asks ends by itself.
const INACTIVE_NS: u64 = 60_000_000_000;

/// Where a feed begins.
#[derive(Clone, Copy)]
pub(crate) enum From {
    /// With what each key has, and goes on from there.
    Present,
    Sequence(u64),
}

/// What a feed gives.
pub(crate) enum Fed {
    Message(Stored),
    /// There are no more for now.
    NoMore,
    Broken,
}

pub(crate) struct Feed {
    core: Arc<Core>,
    session: Arc<Session>,
    consumer: String,
    inbox: Subscriber,
    inbox_prefix: String,
    /// The number of the question that is put.
    asked: u64,
    /// How many messages may still come by it.
    left: usize,
    waits: bool,
    /// Of the last message.
    number: u64,
    largest: usize,
    /// When something came of it.
    pub(crate) heard: Instant,
}

impl Feed {
    /// `None`: it did not begin in time, and another one may. Servers may have given it to one of
    /// them that is dead, and wait for that.
    pub(crate) async fn start(
        core: &Arc<Core>,
        subjects: &str,
        from: From,
        keys_only: bool,
    ) -> Result<Option<Feed>, Failure> {
        let session = core.cluster.session().await;
        let name = format!("kvreg_{}", letters(u128::from(random()), 11));
        let mut config = json!({
            "name": name,
            "ack_policy": "none",
            "filter_subject": subjects,
            "replay_policy": "instant",
            "inactive_threshold": INACTIVE_NS,
            "mem_storage": true,
            "num_replicas": 1,
            "headers_only": keys_only,
        });
        match from {
            From::Present => config["deliver_policy"] = json!("last_per_subject"),
            From::Sequence(sequence) => {
                config["deliver_policy"] = json!("by_start_sequence");
                config["opt_start_seq"] = json!(sequence);
            }
        }
        let body = json!({ "stream_name": core.names.stream, "config": config });
        let request = format!("{}.{name}", core.request("CONSUMER.CREATE"));
        let making = core.order::<ConsumerInfo>(&request, &body);
        let Ok(made) = tokio::time::timeout(SILENCE, making).await else {
            return Ok(None);
        };
        let made = made?;
        let inbox_prefix = format!("_INBOX.{}.", letters(u128::from(random()), 11));
        let Some(inbox) = session.subscribe(format!("{inbox_prefix}*")).await else {
            return Ok(None);
        };
        Ok(Some(Feed {
            core: Arc::clone(core),
            session,
            consumer: made.name,
            inbox,
            inbox_prefix,
            asked: 0,
            left: 0,
            waits: false,
            number: 0,
            largest: 1,
            heard: Instant::now(),
        }))
    }

    /// The next message. With `waits`, not before there is one.
    pub(crate) async fn next(&mut self, waits: bool) -> Fed {
        loop {
            if self.left == 0 && !self.ask(waits).await {
                return Fed::Broken;
            }
            let message = tokio::select! {
                biased;
                message = self.inbox.next() => message,
                () = self.session.ended() => None,
                () = tokio::time::sleep(SILENCE) => None,
            };
            let Some(message) = message else {
                return Fed::Broken;
            };
            self.heard = Instant::now();
            if message.status.is_none() {
                return self.take(message);
            }
            let number = message.subject.strip_prefix(&*self.inbox_prefix);
            if number != Some(&*self.asked.to_string()) {
                continue;
            }
            match message.status {
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NOT_FOUND) if !self.waits => {
                    self.left = 0;
                    return Fed::NoMore;
                }
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => self.left = 0,
                _ => return Fed::Broken,
            }
        }
    }

    /// Asks for messages.
    async fn ask(&mut self, waits: bool) -> bool {
        self.asked += 1;
        self.waits = waits;
        self.left = (BUDGET / self.largest).clamp(LEAST, MOST);
        let question = match waits {
            false => json!({ "batch": self.left, "no_wait": true }),
            true => json!({
                "batch": self.left,
                "expires": WAIT.as_nanos() as u64,
                "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
            }),
        };
        let subject = self.core.request("CONSUMER.MSG.NEXT");
        let subject = format!("{subject}.{}", self.consumer);
        let reply = format!("{}{}", self.inbox_prefix, self.asked);
        let payload = Bytes::from(question.to_string());
        let asked = self
            .session
            .hand_over(&subject, Some(&reply), HeaderMap::new(), payload, None);
        matches!(tokio::time::timeout(SILENCE, asked).await, Ok(Ok(())))
    }

    fn take(&mut self, message: Message) -> Fed {
        let place = message.reply.as_deref().and_then(Place::of);
        let Some(place) = place.filter(|it| it.number == self.number + 1) else {
            return Fed::Broken;
        };
        self.number = place.number;
        self.left = self.left.saturating_sub(1);
        self.largest = self.largest.max(message.length);
        Fed::Message(Stored {
            subject: message.subject.to_string(),
            sequence: place.sequence,
            time_ms: place.time_ms,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        })
    }

    /// Ends the consumer, without waiting for that.
    pub(crate) async fn end(self) {
        let request = format!("{}.{}", self.core.request("CONSUMER.DELETE"), self.consumer);
        let payload = Bytes::new();
        let ended = self
            .session
            .hand_over(&request, None, HeaderMap::new(), payload, None);
        let _ = tokio::time::timeout(SILENCE, ended).await; // else it ends by itself
    }
}

/// What the subject for an acknowledgement says:
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<number>.<time>.<pending>`, or with a domain
/// and an account before the stream, and a token behind.
struct Place {
    sequence: u64,
    number: u64,
    time_ms: i64,
}

impl Place {
    fn of(subject: &str) -> Option<Place> {
        let tokens: Vec<&str> = subject.split('.').collect();
        let at = match tokens.len() {
            9 => 5,
            11.. => 7,
            _ => return None,
        };
        let number = |at: usize| tokens[at].parse::<u64>().ok();
        Some(Place {
            sequence: number(at)?,
            number: number(at + 1)?,
            time_ms: (number(at + 2)? / 1_000_000) as i64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_behind_the_consumer() {
        for subject in [
            "$JS.ACK.KV_b.cx.1.5.3.1796072831428018416.2",
            "$JS.ACK.domain.account.KV_b.cx.1.5.3.1796072831428018416.2.token",
        ] {
            let place = Place::of(subject).unwrap();
            assert_eq!((place.sequence, place.number), (5, 3));
            assert_eq!(place.time_ms, 1_796_072_831_428);
        }
        assert!(Place::of("$JS.ACK.x").is_none());
    }
}
