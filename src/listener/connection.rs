//! One connection: requests in order, one at a time, until it subscribes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::subscription::{self, Subscription};
use super::{HungUp, ListenerCore};
use crate::caller::{Caller, Timeout};
use crate::epoch;
use crate::error::Error;
use crate::protocol;
use crate::registry::RegistryServer;

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

pub(super) async fn serve(listener: Arc<ListenerCore>, stream: HungUp<TcpStream>) {
    let mut stream = stream;
    let stream = &mut stream.0;
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.split();
    let mut connection = Connection {
        listener: &listener,
        reader,
        writer,
        input: Vec::new(),
        replies: Vec::new(),
    };
    match connection.run().await {
        Close::Quietly => {}
        Close::WithError => connection.say_error().await,
    }
    let _ = stream.shutdown().await;
}

pub(super) struct Connection<'a> {
    pub(super) listener: &'a ListenerCore,
    pub(super) reader: ReadHalf<'a>,
    pub(super) writer: WriteHalf<'a>,
    /// What was read and not yet handled.
    input: Vec<u8>,
    /// What was answered and not yet sent.
    replies: Vec<u8>,
}

impl Connection<'_> {
    async fn run(&mut self) -> Close {
        loop {
            let line = match self.line().await {
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
                    Err(_) => return Close::WithError,
                }
                continue;
            }
            match self.execute(line).await {
                Ok(reply) => {
                    if let Err(close) = self.reply(reply).await {
                        return close;
                    }
                }
                Err(_) => return Close::WithError,
            }
        }
    }

    /// The next request line. Sends the replies before it waits for input, and when there are
    /// many.
    async fn line(&mut self) -> Result<Vec<u8>, Close> {
        let mut searched = 0;
        if self.replies.len() >= REPLIES {
            self.flush().await?;
        }
        // One limit for the whole line: a byte now and then keeps no connection.
        let deadline = self
            .listener
            .options
            .idle_timeout
            .map(|idle| tokio::time::Instant::now() + idle);
        loop {
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
            let read = self.reader.read_buf(&mut self.input);
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
        let sent = self.writer.write_all(bytes);
        let sent = match self.listener.options.idle_timeout {
            Some(idle) => timeout(idle, sent).await,
            None => Ok(sent.await),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Close::Quietly),
        }
    }

    async fn execute(&self, line: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.ask(move |registry, caller| protocol::execute(registry, caller, &line))
            .await
    }

    async fn subscribe(&self, bucket: &[u8]) -> Result<Option<Subscription>, Error> {
        let (bucket, max_backlog) = (bucket.to_vec(), self.listener.options.max_backlog);
        self.ask(move |registry, caller| {
            let Some(bucket) = protocol::find(registry, caller, &bucket)? else {
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

    /// Asks the registry: here if nothing is in the way, else on a thread that may wait. So
    /// too if the registry has ended: who meets its end helps it along, and may run the user's
    /// destructors.
    async fn ask<R: Send + 'static>(
        &self,
        question: impl Fn(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let registry = self.listener.supervisor.registry();
        let question = move |registry: &Arc<RegistryServer>, caller: &mut Caller<'_>| {
            let answer = question(registry, caller);
            epoch::tidy();
            answer
        };
        if !registry.has_ended() {
            match question(&registry, &mut Caller::new(Timeout::Now)) {
                Err(Error::Timeout) => {}
                answered => return answered,
            }
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.listener.supervisor.process().spawn_blocking(move || {
            let _ = answer.send(question(&registry, &mut Caller::new(Timeout::DEFAULT)));
        });
        answered.await.unwrap_or(Err(Error::ShutDown))
    }

    /// The last reply, in a way that it arrives.
    async fn say_error(&mut self) {
        self.replies.extend_from_slice(protocol::ERROR);
        if self.flush().await.is_err() || self.writer.shutdown().await.is_err() {
            return;
        }
        let _ = timeout(LINGER, async {
            let mut left = LINGER_BYTES;
            let mut scratch = [0; STEP];
            while left > 0 {
                match self.reader.read(&mut scratch).await {
                    Ok(len @ 1..) => left = left.saturating_sub(len),
                    _ => return,
                }
            }
        })
        .await;
    }
}
