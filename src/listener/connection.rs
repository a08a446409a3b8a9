//! One connection: the password, if one is asked for, then requests in order, one at a time,
//! until it subscribes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, Instant};

use super::socket::{HungUp, Peer, Stream};
use super::subscription::{self, Subscription};
use super::waiting;
use super::ListenerCore;
use crate::error::Error;
use crate::protocol;

/// Replies to pipelined requests are sent together up to so many bytes.
const REPLIES: usize = 16 << 10;

/// Input is read in such steps, and a buffer that grew beyond it gives its memory back.
const STEP: usize = 4 << 10;

/// After the last reply, input that comes too late is read and dropped for so long and so
/// much: to close with unread input would take the reply back from the client.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Why a connection ends.
pub(super) enum Close {
    /// The other end closed, does not read, or took too long; or the listener is done with it.
    Quietly,
    /// A failure: it is told so.
    WithError,
}

pub(super) async fn serve(listener: Arc<ListenerCore>, stream: HungUp<Stream>, peer: Peer) {
    let mut stream = stream;
    let mut connection = Connection {
        listener: &listener,
        peer,
        stream: &mut stream.0,
        input: Vec::new(),
        replies: Vec::new(),
    };
    match connection.run().await {
        Close::Quietly => {}
        Close::WithError => connection.say_error().await,
    }
    let _ = connection.stream.shutdown().await;
}

pub(super) struct Connection<'a> {
    pub(super) listener: &'a ListenerCore,
    peer: Peer,
    stream: &'a mut Stream,
    /// What was read and not yet handled.
    input: Vec<u8>,
    /// What was answered and not yet sent.
    replies: Vec<u8>,
}

impl Connection<'_> {
    async fn run(&mut self) -> Close {
        if let Err(close) = self.authenticate().await {
            return close;
        }
        loop {
            let line = match self.line(self.idle_deadline()).await {
                Ok(line) => line,
                Err(close) => return close,
            };
            if let Some(bucket) = protocol::subscription(&line) {
                match self.subscribe(bucket).await {
                    Ok(Some(subscription)) => {
                        return match self.flush().await {
                            Ok(()) => subscription::run(self, subscription).await,
                            Err(close) => close,
                        };
                    }
                    Ok(None) => self.replies.extend_from_slice(protocol::NOT_FOUND),
                    Err(close) => return close,
                }
                continue;
            }
            match self.execute(line).await {
                Ok(reply) => {
                    if let Err(close) = self.reply(reply).await {
                        return close;
                    }
                }
                Err(close) => return close,
            }
        }
    }

    /// Nothing is done before the password was told, if the listener has one.
    async fn authenticate(&mut self) -> Result<(), Close> {
        let Some(password) = &self.listener.options.password else {
            return Ok(());
        };
        let line = self.line(self.idle_deadline()).await?;
        if !password.is_told_by(&line) {
            let text = format!("a connection from {} did not tell the password", self.peer);
            self.listener.warn(&text);
            return Err(Close::WithError);
        }
        self.replies.extend_from_slice(protocol::OK);
        Ok(())
    }

    /// One limit for a whole line: a byte now and then keeps no connection.
    fn idle_deadline(&self) -> Option<Instant> {
        let idle = self.listener.options.idle_timeout?;
        Instant::now().checked_add(idle)
    }

    /// The next line. Sends the replies before it waits for input, and when there are many.
    /// May be dropped while it waits: nothing that was read is lost.
    pub(super) async fn line(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, Close> {
        let mut searched = 0;
        if self.replies.len() >= REPLIES {
            self.flush().await?;
        }
        loop {
            if protocol::is_http(&self.input) {
                let text = format!("a connection from {} speaks HTTP: it was closed", self.peer);
                self.listener.warn(&text);
                return Err(Close::Quietly);
            }
            let found = self.input[searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let rest = self.input.split_off(searched + at + 1);
                let line = std::mem::replace(&mut self.input, rest);
                return match line.len() - 1 > self.listener.options.max_line {
                    true => Err(Close::WithError),
                    false => Ok(line),
                };
            }
            searched = self.input.len();
            if searched > self.listener.options.max_line {
                return Err(Close::WithError);
            }
            self.flush().await?;
            self.input.reserve(STEP);
            let read = self.stream.read_buf(&mut self.input);
            let read = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, read).await,
                None => Ok(read.await),
            };
            match read {
                Ok(Ok(1..)) => {}
                _ => return Err(Close::Quietly), // closed, broken, or idle for too long
            }
        }
    }

    /// Keeps a reply to be sent with others, unless it is large: there may be no memory for
    /// another copy.
    async fn reply(&mut self, reply: Vec<u8>) -> Result<(), Close> {
        if reply.len() < REPLIES {
            self.replies.extend_from_slice(&reply);
            return Ok(());
        }
        self.flush().await?;
        self.send(&reply).await
    }

    /// Sends the replies, as long as the other end takes them.
    async fn flush(&mut self) -> Result<(), Close> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let replies = std::mem::take(&mut self.replies);
        self.send(&replies).await?;
        if replies.capacity() <= REPLIES * 2 {
            self.replies = replies;
            self.replies.clear();
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Close> {
        let sent = self.stream.write_all(bytes);
        let sent = match self.listener.options.idle_timeout {
            Some(idle) => timeout(idle, sent).await,
            None => Ok(sent.await),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Close::Quietly),
        }
    }

    async fn execute(&mut self, line: Vec<u8>) -> Result<Vec<u8>, Close> {
        let bucket = protocol::waits_for(&line).to_vec();
        self.ask(&bucket, move |registry, caller| {
            protocol::execute(registry, caller, &line)
        })
        .await
    }

    async fn subscribe(&mut self, bucket: &[u8]) -> Result<Option<Subscription>, Close> {
        let max_backlog = self.listener.options.max_backlog;
        let name = bucket.to_vec();
        self.ask(bucket, move |registry, caller| {
            let bucket = &name;
            let Some(bucket) = protocol::find(registry, caller, bucket)? else {
                return Ok(None);
            };
            match Subscription::of(&bucket, caller, max_backlog) {
                Ok(subscription) => Ok(Some(subscription)),
                Err(Error::NoProcess | Error::ServerDown) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Asks the registry: here if nothing is in the way, else where one may wait. What was
    /// answered before is sent first then.
    async fn ask<R: Send + 'static>(
        &mut self,
        bucket: &[u8],
        question: impl waiting::Question<R>,
    ) -> Result<R, Close> {
        let listener = self.listener;
        let answer = match waiting::ask_now(&listener.supervisor, &question) {
            Some(answer) => answer,
            None => {
                self.flush().await?;
                waiting::ask(&listener.waiting, &listener.supervisor, bucket, question).await
            }
        };
        answer.map_err(|_| Close::WithError)
    }

    /// The last reply, in a way that it arrives.
    async fn say_error(&mut self) {
        self.replies.extend_from_slice(protocol::ERROR);
        if self.flush().await.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        let _ = timeout(LINGER, async {
            let mut left = LINGER_BYTES;
            let mut scratch = [0; STEP];
            while left > 0 {
                match self.stream.read(&mut scratch).await {
                    Ok(len @ 1..) => left = left.saturating_sub(len),
                    _ => return,
                }
            }
        })
        .await;
    }
}
