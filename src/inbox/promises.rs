//! What an inbox is promised beside DOWNs and watches: that mail waits at a server which is served
//! by turns, and the answers of requests. Each has its place from the beginning, so none is lost.
//!
//! # The argument
//!
//! A server tells that mail waits under its own lock, and takes the inbox's for that, under which
//! nothing waits and no server's lock is taken. Its place stays until no process of that server can
//! come any more; it is in the line once at most.
//!
//! A request is answered, or abandoned, by who finds it in its place: one of the two, once.

use std::sync::Arc;

use super::queue::{Reply, What};
use super::InboxCore;
use crate::error::Error;
use crate::runtime::platform;
use crate::sync::lock;
use crate::value::Value;

/// A request, as who abandons it knows it.
pub(crate) trait Asked: Send + Sync {
    /// Nobody waits for the answer any more. `OutcomeUnknown` if it had begun.
    fn abandon(self: Arc<Self>) -> Result<(), Error>;
}

/// Where an inbox is told of mail, as long as this lives.
pub(crate) struct MailPlace {
    inbox: Arc<InboxCore>,
    reference: u64,
}

impl MailPlace {
    /// Mail waits. By who has a lock of a server.
    pub(crate) fn tell(&self) {
        // It may write to the system.
        platform::uncancelled(|| {
            let mut state = lock(&self.inbox.state);
            if state.waiting.mail(self.reference) {
                self.inbox.tell_from_writer(state);
            }
        });
    }
}

impl Drop for MailPlace {
    fn drop(&mut self) {
        // In a forked child the inbox is the parent's.
        if self.inbox.system.is_current() {
            let mut state = lock(&self.inbox.state);
            let given_up = state.waiting.give_up(self.reference);
            state.note_emptied();
            drop(state);
            drop(given_up); // outside the lock
        }
    }
}

impl InboxCore {
    fn keep(&self, reference: u64, what: What) -> Result<(), Error> {
        let mut state = self.open_state()?;
        if state.waiting.monitors() >= self.max_monitors {
            return Err(Error::Limit("places of one inbox"));
        }
        state.waiting.promise_other(reference, what)
    }

    /// A place for the mail of a server that has this key.
    pub(crate) fn keep_mail(self: &Arc<Self>, key: u64) -> Result<MailPlace, Error> {
        let reference = self.system.next_reference();
        self.keep(reference, What::Mail(key, false))?;
        Ok(MailPlace {
            inbox: Arc::clone(self),
            reference,
        })
    }

    /// A place for the answer of a request.
    pub(crate) fn keep_reply(&self, reference: u64, asked: Arc<dyn Asked>) -> Result<(), Error> {
        self.keep(reference, What::Asked(asked))
    }

    /// A request was answered; `false` if nobody waits for that any more.
    pub(crate) fn reply(
        &self,
        reference: u64,
        answer: Result<Value, Error>,
        detail: String,
    ) -> bool {
        let reply = Box::new(Reply { answer, detail });
        let mut state = lock(&self.state);
        match state.waiting.reply(reference, reply) {
            Ok(asked) => {
                self.tell(state);
                drop(asked); // outside the lock
                true
            }
            Err(reply) => {
                drop(state);
                drop(reply);
                false
            }
        }
    }

    /// Gives up the place of a request that was not sent.
    pub(crate) fn forget_request(&self, reference: u64) {
        let given_up = lock(&self.state).waiting.give_up(reference);
        drop(given_up); // outside the lock
    }

    /// Withdraws a request: no answer of it comes, nor remains.
    pub(crate) fn abandon(&self, reference: u64) -> Result<(), Error> {
        let mut state = self.open_state()?;
        let given_up = match state.waiting.is_request(reference) {
            true => state.waiting.give_up(reference),
            false => None,
        };
        state.note_emptied();
        drop(state);
        match given_up {
            Some(What::Asked(asked)) => asked.abandon(),
            _ => Err(Error::NotFound),
        }
    }
}
