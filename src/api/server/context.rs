//! What a handler has around it.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::handle::{content_of, send_after, Foreign, Server, ServerLike};
use super::messages::Message;
use crate::error::Error;
use crate::user_server::{Pending, UserServer, What};
use crate::value::{AsValue, Value};

/// What a handler has around it: its own server, and the message that it handles.
pub struct Context<'a> {
    server: &'a Arc<UserServer>,
    what: Option<&'a What>,
    pub(super) is_deferred: Cell<bool>,
    pub(super) stops: Cell<bool>,
}

impl<'a> Context<'a> {
    pub(super) fn new(server: &'a Arc<UserServer>, what: Option<&'a What>) -> Context<'a> {
        Context {
            server,
            what,
            is_deferred: Cell::new(false),
            stops: Cell::new(false),
        }
    }

    /// A handle to the server itself. One that is kept in the state of a server without a name
    /// keeps it alive.
    #[must_use]
    pub fn server(&self) -> Server<Foreign> {
        Server::of(Arc::clone(self.server))
    }

    /// Whether somebody waits for the answer.
    #[must_use]
    pub fn is_call(&self) -> bool {
        matches!(self.what, Some(What::Call(..)))
    }

    /// Of a timer's message: that of the timer.
    #[must_use]
    pub fn timer(&self) -> Option<u64> {
        match self.what {
            Some(What::Info(_, timer)) if *timer != 0 => Some(*timer),
            _ => None,
        }
    }

    /// Sends the server itself an info that comes before all that waits (OTP's continue).
    pub fn send_next<M: Message>(&self, message: M) -> Result<(), Error> {
        let content = content_of(M::TAG, message.values())?;
        self.server.send_content(&content, true)
    }

    /// Sends the server itself an info after a time, and gives the reference that it will have.
    pub fn send_after<M: Message>(&self, delay: Duration, message: M) -> Result<u64, Error> {
        send_after(self.server, delay, &message)
    }

    /// Its end tells this server, by [`Actor::down`](crate::Actor::down) with this reference.
    pub fn monitor(&self, target: &impl ServerLike) -> Result<u64, Error> {
        self.server.monitor_server(&target.any()?.0)
    }

    /// Takes a monitor back: no DOWN of it comes any more, nor remains.
    pub fn demonitor(&self, reference: u64) {
        self.server.demonitor_server(reference, true);
    }

    /// After this message the server ends, reason NORMAL; who called gets the answer before.
    pub fn stop(&self) {
        self.stops.set(true);
    }

    /// The answer of this call comes later, by what this gives; the handler's own is
    /// [`Unanswered::Later`](crate::Unanswered::Later). `M` is the message that it handles.
    pub fn defer<M: Message>(&self) -> Result<Reply<M>, Error> {
        match self.what {
            Some(What::Call(_, pending)) if !self.is_deferred.replace(true) => Ok(Reply {
                waits: Some((Arc::clone(self.server), Arc::clone(pending))),
                of: PhantomData,
            }),
            _ => Err(Error::InvalidArgument("only a call is answered, and once")),
        }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// A caller who waits for a later answer. If it is dropped, who called gets [`Error::Aborted`].
#[must_use = "a reply that is dropped refuses the call"]
pub struct Reply<M: Message> {
    waits: Option<(Arc<UserServer>, Arc<Pending>)>,
    of: PhantomData<fn(M)>,
}

impl<M: Message> Reply<M> {
    /// The answer. [`Error::NoProcess`]: nobody waits any more.
    pub fn send(mut self, answer: M::Answer) -> Result<(), Error> {
        let answer = Value::new(answer.as_value())?;
        self.answer(Ok(answer))
    }

    /// The caller gets [`Error::Aborted`] with this text.
    pub fn refuse(mut self, why: &str) -> Result<(), Error> {
        let text = super::unanswered::text(why);
        self.answer(Err(crate::user_server::Refusal {
            error: Error::Aborted,
            text,
        }))
    }

    fn answer(&mut self, answer: crate::user_server::Answer) -> Result<(), Error> {
        let waits = self.waits.take();
        match waits.is_some_and(|(server, pending)| server.answer_later(&pending, answer)) {
            true => Ok(()),
            false => Err(Error::NoProcess),
        }
    }
}

impl<M: Message> Drop for Reply<M> {
    fn drop(&mut self) {
        if let Some((server, pending)) = self.waits.take() {
            if server.system().is_current() {
                server.answer_later(&pending, Err(Error::Aborted.into()));
            }
        }
    }
}

impl<M: Message> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}
