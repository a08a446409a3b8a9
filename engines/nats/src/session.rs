//! One connection to a server, from its beginning to its end.
//!
//! # The argument
//!
//! The client would connect again by itself, and then send what had come meanwhile, however late:
//! a change of which a caller was told that it never will be done. So a session's client has one
//! connection (`credentials.rs`): when that breaks the session is over, what its queue has is
//! dropped with the client, and who waits for an answer learns it at once. Another session comes
//! (`cluster.rs`).
//!
//! A message is handed over when it is in the client's queue, which cannot be asked to give it
//! back. The queue is bounded, and takes a message at the moment in which a poll of `publish` is
//! ready, not before. So each poll is made under the note that the message is handed over, which
//! is taken back if it was not ready (`change.rs`).

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::change::Handing;
use crate::credentials::Once;
use crate::location::Servers;
use crate::replies::{Replies, Reply};

/// A server that accepts connections says who it is in this time.
const CONNECT: Duration = Duration::from_secs(3);
/// A silent server is asked for a sign of life; the third time without one ends the connection.
const PING: Duration = Duration::from_secs(2);

pub(crate) struct Session {
    client: Client,
    replies: Arc<Replies>,
    is_over: watch::Sender<bool>,
    /// Of the server: the first two parts.
    pub(crate) version: (u32, u32),
    /// `HOST:PORT` each, of servers of the cluster.
    pub(crate) others: Vec<String>,
    receiving: AbortHandle,
}

/// Why there is no session.
pub(crate) struct Refusal {
    /// The server does not know this user: it will not soon.
    pub(crate) is_login: bool,
    pub(crate) text: String,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unanswered {
    /// The session is over.
    Over,
    /// Not in the time that was given.
    Silent,
    /// Nobody listens: it was not delivered.
    NoResponders,
}

/// Why a message was not handed over.
#[derive(Debug, PartialEq)]
pub(crate) enum Kept {
    Over,
    TooLarge,
    /// Its caller wants it no more.
    Withdrawn,
}

impl Session {
    pub(crate) async fn connect(servers: &Servers, host: &str) -> Result<Session, Refusal> {
        let once = Arc::new(Once::new(servers.login.clone()));
        let (is_over, _) = watch::channel(false);
        let told = is_over.clone();
        let options = ConnectOptions::with_auth_callback(move |nonce| {
            let once = Arc::clone(&once);
            async move { once.give(&nonce) }
        })
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                told.send_replace(true);
            }
            std::future::ready(())
        })
        .name("kvreg")
        .require_tls(servers.tls)
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .request_timeout(None)
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .skip_subject_validation(true);
        let refused = |is_login, text: &str| Refusal {
            is_login,
            text: format!("{host}: {text}"),
        };
        let client = options.connect(host).await.map_err(|error| {
            let is_login = matches!(
                error.kind(),
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
            );
            refused(is_login, error.to_string().trim_end_matches('.'))
        })?;
        let info = client.server_info();
        let replies = Arc::new(Replies::new());
        let inbox = client.subscribe(replies.all()).await;
        let inbox = inbox.map_err(|_| refused(false, "the connection broke"))?;
        let receiving = tokio::spawn(receive(inbox, Arc::clone(&replies))).abort_handle();
        Ok(Session {
            client,
            replies,
            is_over,
            version: version_of(&info.version),
            others: info.connect_urls,
            receiving,
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.is_over.borrow() || self.client.connection_state() != State::Connected
    }

    /// Until it is over.
    pub(crate) async fn ended(&self) {
        let mut told = self.is_over.subscribe();
        let _ = told.wait_for(|it| *it).await;
    }

    /// Says that it is over, as whoever finds the connection dead does.
    pub(crate) fn end(&self) {
        self.is_over.send_replace(true);
    }

    pub(crate) fn expect(&self) -> Reply {
        self.replies.expect()
    }

    /// Hands a message over, unless `handing` is withdrawn before it is.
    pub(crate) async fn hand_over(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: HeaderMap,
        payload: Bytes,
        handing: Option<&Handing>,
    ) -> Result<(), Kept> {
        if self.is_over() {
            return Err(Kept::Over);
        }
        let subject = subject.to_owned();
        let publish = async {
            match reply {
                Some(reply) => {
                    let reply = reply.to_owned();
                    let client = &self.client;
                    client
                        .publish_with_reply_and_headers(subject, reply, headers, payload)
                        .await
                }
                None => {
                    self.client
                        .publish_with_headers(subject, headers, payload)
                        .await
                }
            }
        };
        let mut publish = pin!(publish);
        let published = poll_fn(|context| {
            let Some(before) = handing.map_or(Some(true), Handing::begin) else {
                return Poll::Ready(Err(Kept::Withdrawn));
            };
            let polled = publish.as_mut().poll(context);
            if !matches!(polled, Poll::Ready(Ok(()))) && !before {
                handing.map(Handing::take_back);
            }
            polled.map_err(|error| match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => Kept::TooLarge,
                _ => {
                    self.end(); // nobody takes what is in its queue
                    Kept::Over
                }
            })
        });
        tokio::select! {
            biased;
            published = published => published,
            () = self.ended() => {
                // Not in the queue: the note was taken back.
                Err(Kept::Over)
            }
        }
    }

    /// Waits for what was asked for.
    pub(crate) async fn answer(
        &self,
        reply: &mut Reply,
        patience: Duration,
    ) -> Result<Message, Unanswered> {
        let message = tokio::select! {
            biased;
            message = &mut reply.receiver => message.map_err(|_| Unanswered::Over)?,
            () = self.ended() => return Err(Unanswered::Over),
            () = tokio::time::sleep(patience) => return Err(Unanswered::Silent),
        };
        match is_undelivered(&message) {
            true => Err(Unanswered::NoResponders),
            false => Ok(message),
        }
    }

    /// Asks what may be asked again.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Message, Unanswered> {
        let mut reply = self.expect();
        let subject = (subject, Some(&*reply.subject));
        let asked = self.hand_over(subject.0, subject.1, HeaderMap::new(), payload, None);
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(())) => self.answer(&mut reply, patience).await,
            Ok(Err(_)) => Err(Unanswered::Over),
            Err(_) => Err(Unanswered::Silent),
        }
    }

    pub(crate) async fn subscribe(&self, subject: String) -> Option<Subscriber> {
        tokio::select! {
            subscriber = self.client.subscribe(subject) => subscriber.ok(),
            () = self.ended() => None,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has the client's queue too, so the client would stay.
        self.receiving.abort();
    }
}

async fn receive(mut inbox: Subscriber, replies: Arc<Replies>) {
    while let Some(message) = inbox.next().await {
        replies.deliver(message);
    }
}

/// The server says that nobody has got it.
fn is_undelivered(message: &Message) -> bool {
    message.status == Some(async_nats::StatusCode::NO_RESPONDERS)
}

fn version_of(text: &str) -> (u32, u32) {
    let mut parts = text
        .trim_start_matches('v')
        .split('.')
        .map(|it| it.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
