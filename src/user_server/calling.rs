//! Messages to a user's server: who sends them, and who waits.

use std::sync::Arc;

use super::{Answer, Content, Mail, Pending, UserServer, What};
use crate::error::Error;
use crate::inbox::InboxCore;
use crate::server::Caller;
use crate::time::{Moment, Timeout};

impl UserServer {
    pub(super) fn mail(&self, content: &Arc<Content>, what: What) -> Result<Mail, Error> {
        let state = self.state();
        content.check(state.options().max_value)?;
        let mut mail = Mail::new(what);
        let counted = state
            .waiting
            .get_or_init(Arc::default)
            .count(content.size(), state.options().max_bytes)?;
        mail.counted = Some(counted);
        Ok(mail)
    }

    /// A call as a message: another thread handles it.
    pub(crate) fn call_by_message(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        content: Arc<Content>,
    ) -> Answer {
        if self.has_ended() {
            caller.unpin();
            return Err(self.finish_end(Error::NoProcess).into());
        }
        let (pending, edge) = self.pending(caller)?;
        let what = What::Call(Arc::clone(&content), Arc::clone(&pending));
        let mail = self.mail(&content, what)?;
        drop(content);
        self.request_task(mail)?;
        let answer = pending.wait(&caller.begin_blocking());
        drop(edge);
        match answer {
            Err(refusal) if refusal.error == Error::ServerDown => {
                Err(self.finish_end_if_ended(refusal.error).into())
            }
            answer => answer,
        }
    }

    /// Waits for the answer of a call that this thread has handled, and put off.
    pub(crate) fn await_later(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        pending: &Arc<Pending>,
    ) -> Answer {
        let answer = pending.wait(&caller.begin_blocking());
        self.state().settle(pending);
        match answer {
            Err(refusal) if refusal.error == Error::ServerDown => {
                Err(self.finish_end_if_ended(refusal.error).into())
            }
            answer => answer,
        }
    }

    /// Whoever learns that a server is gone finds its name gone.
    fn finish_end_if_ended(self: &Arc<Self>, error: Error) -> Error {
        match self.has_ended() {
            true => self.finish_end(error),
            false => error,
        }
    }

    /// The call that this thread handles is answered later: what is to be answered.
    pub(crate) fn defer_here(self: &Arc<Self>) -> Result<Arc<Pending>, Error> {
        let pending = Pending::begun(self);
        match self.state().owe(&pending) {
            true => Ok(pending),
            false => Err(Error::ServerDown),
        }
    }

    /// As `defer_here`, with the answer as an event.
    pub(crate) fn defer_to_inbox(
        self: &Arc<Self>,
        inbox: &Arc<InboxCore>,
    ) -> Result<(Arc<Pending>, u64), Error> {
        let (pending, reference) = Pending::of_inbox(self, inbox, true)?;
        match self.state().owe(&pending) {
            true => Ok((pending, reference)),
            false => {
                inbox.forget_request(reference);
                Err(Error::ServerDown)
            }
        }
    }

    pub(crate) fn cast_content(self: &Arc<Self>, content: &Arc<Content>) -> Result<(), Error> {
        let mail = self.mail(content, What::Cast(Arc::clone(content)))?;
        self.request_task(mail)
    }

    /// An info. One that comes before all that waits is for who is inside.
    pub(crate) fn send_content(
        self: &Arc<Self>,
        content: &Arc<Content>,
        is_next: bool,
    ) -> Result<(), Error> {
        let mail = self.mail(content, What::Info(Arc::clone(content), 0))?;
        match is_next {
            false => self.request_task(mail),
            true => match self.post_first(mail) {
                Err(Error::NoProcess) => Err(self.finish_end(Error::NoProcess)),
                sent => sent,
            },
        }
    }

    /// The wait for an answer that comes into an inbox ends with its time.
    pub(crate) fn expire_later(self: &Arc<Self>, pending: &Arc<Pending>, timeout: Timeout) {
        let at = match timeout {
            Timeout::Never => return,
            Timeout::Now => Moment::now().ms(),
            Timeout::After(wait) => {
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 4);
                Moment::now().after(wait.min(u64::MAX / 4))
            }
        };
        // Where the system refuses the threads it waits until it is answered, or abandoned.
        if self
            .state()
            .spec
            .around
            .add_due(at, Arc::clone(pending) as _)
            .is_ok()
        {
            pending.is_timed(at);
        }
    }

    /// A call whose answer is an event.
    pub(crate) fn request(
        self: &Arc<Self>,
        content: &Arc<Content>,
        inbox: &Arc<InboxCore>,
        timeout: Timeout,
    ) -> Result<u64, Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        let (pending, reference) = Pending::of_inbox(self, inbox, false)?;
        let what = What::Call(Arc::clone(content), Arc::clone(&pending));
        let sent = self
            .mail(content, what)
            .and_then(|mail| self.request_task(mail));
        match sent {
            Ok(()) => {
                self.expire_later(&pending, timeout);
                Ok(reference)
            }
            Err(refused) => {
                inbox.forget_request(reference);
                Err(refused)
            }
        }
    }
}
