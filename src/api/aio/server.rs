//! Calls of servers that are awaited.
//!
//! A call is tried at once, on the thread that polls it. One that has to wait, or whose answer
//! comes later, is a request of an inbox of its own. One that is dropped before it has begun never
//! runs.

use std::ops::Deref;
use std::sync::Arc;

use crate::api::server::{content_of, Foreign, Handles, Message, NotAnswered};
use crate::api::{self, check_inherited, told};
use crate::error::Error;
use crate::inbox::Event;
use crate::server::{Caller, Thread};
use crate::time::Timeout;
use crate::user_server::{Answer, Content, Refusal};
use crate::value::Text;

/// A server whose calls are awaited. What never waits is called as it is there: it dereferences to
/// [`kvreg::Server`](crate::Server).
///
/// ```
/// use kvreg::{Actor, Context, Handles, Server, Unanswered};
///
/// kvreg::messages! {
///     Add(by: i64) -> i64 = "add";
/// }
///
/// struct Counter(i64);
///
/// impl Actor for Counter {
///     type Messages = (Add,);
/// }
///
/// impl Handles<Add> for Counter {
///     fn handle(&mut self, Add(by): Add, _: &Context<'_>) -> Result<i64, Unanswered> {
///         self.0 += by;
///         Ok(self.0)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kvreg::Error> {
/// let hits = Server::start(|| Counter(10))?.aio();
/// assert_eq!(hits.call(Add(5)).await?, 15);
/// hits.cast(Add(1))?;
/// hits.stop().await?;
/// # Ok(())
/// # }
/// ```
pub struct Server<A = Foreign>(api::Server<A>);

impl<A> Clone for Server<A> {
    fn clone(&self) -> Server<A> {
        Server(self.0.clone())
    }
}

impl<A> std::fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<A> Deref for Server<A> {
    type Target = api::Server<A>;

    fn deref(&self) -> &api::Server<A> {
        &self.0
    }
}

impl<A> api::Server<A> {
    /// The server for those who use tokio.
    #[must_use]
    pub fn aio(self) -> Server<A> {
        Server(self)
    }
}

/// What became of a call that was tried.
enum Tried {
    Done(Answer),
    Later(Asked),
    /// It has to wait, and nothing was done.
    Busy(api::Inbox),
}

/// Withdraws a request when its future is dropped.
struct Asked {
    inbox: api::Inbox,
    reference: u64,
}

impl Asked {
    async fn answer(&self) -> Answer {
        loop {
            match self.inbox.next_event().await? {
                Event::Reply { answer, detail, .. } => {
                    return answer.map_err(|error| Refusal {
                        error,
                        text: Text::copy(detail.as_bytes()).ok(),
                    })
                }
                _ => continue, // it has no others
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.inbox.abandon(self.reference); // or it was answered
    }
}

impl<A: 'static> Server<A> {
    /// As [`kvreg::Server::call`](crate::Server::call). The handler of an actor runs on the thread
    /// that polls, or on one of kvreg's, and so must not wait.
    pub async fn call<M: Message>(&self, message: M) -> Result<M::Answer, NotAnswered>
    where
        A: Handles<M>,
    {
        let content = content_of(M::TAG, message.values())?;
        drop(message);
        let answer = self.ask_for(content).await;
        self.0.answered::<M>(answer)
    }

    async fn ask_for(&self, content: Arc<Content>) -> Answer {
        // Before the turn, which is not to be held for it.
        let inbox = api::Inbox::open()?;
        match self.try_here(&content, inbox)? {
            Tried::Done(answer) => answer,
            Tried::Later(asked) => asked.answer().await,
            Tried::Busy(inbox) => self.by_message(&content, inbox).await,
        }
    }

    /// Handles the call on this thread, if it need not wait.
    fn try_here(&self, content: &Arc<Content>, inbox: api::Inbox) -> Result<Tried, Refusal> {
        let server = self.0.server();
        check_inherited(server.system())?;
        crate::reclaim::tidy(); // of what earlier calls left
        if !server.state().runs_here() {
            return Ok(Tried::Busy(inbox));
        }
        let turn = match server.enter_for(&mut Caller::new(Timeout::Now), content) {
            Ok(turn) => turn,
            Err(refusal) if refusal.error == Error::Timeout => return Ok(Tried::Busy(inbox)),
            Err(refusal) => return Err(refusal),
        };
        let (pending, reference) = server.defer_to_inbox(inbox.core()?)?;
        let asked = Asked { inbox, reference };
        Ok(
            match server.handle_here(turn, Arc::clone(content), &pending) {
                Some(answer) => Tried::Done(answer),
                None => {
                    server.expire_later(&pending, self.0.timeout());
                    Tried::Later(asked)
                }
            },
        )
    }

    async fn by_message(&self, content: &Arc<Content>, inbox: api::Inbox) -> Answer {
        let server = self.0.server();
        if Thread::holds_a_turn() {
            return Err(Error::CallingSelf.into()); // whoever has it may be waiting for this
        }
        if self.0.timeout() == Timeout::Now {
            return Err(Error::Timeout.into());
        }
        let reference = server.request(content, inbox.core()?, self.0.timeout())?;
        Asked { inbox, reference }.answer().await
    }

    /// As [`kvreg::Server::stop`](crate::Server::stop): one of tokio's blocking threads waits.
    pub async fn stop(&self) -> Result<(), Error> {
        let server = self.0.clone();
        let stopped = tokio::task::spawn_blocking(move || server.stop()).await;
        told(
            self.0.server().system(),
            stopped.unwrap_or(Err(Error::ServerDown)),
        )
    }
}
