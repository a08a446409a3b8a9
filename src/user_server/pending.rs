//! A call that is answered by another thread than the one that made it, or later.
//!
//! # The argument
//!
//! A call is queued, then begun, then answered; or it is left by who made it, because its time is
//! up. Each step is made under its lock, which is a leaf but for the inbox's and the one of the
//! graph of waiting threads. So it is answered once, or not at all: who has left gets nothing, and
//! who answers is told so. A call that was left before it began is never begun (G7).
//!
//! **Circles.** A thread that holds a turn is noted in the graph before its call can be seen, as
//! waiting for the server. Whoever answers takes that note back before the thread knows, and so
//! does who defers the answer, for from then on it waits for nobody's turn. So a note says the
//! truth.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::{UserServer, UserServerSurroundings, What};
use crate::bucket::Due;
use crate::error::Error;
use crate::inbox::{Asked, InboxCore};
use crate::server::System;
use crate::sync::lock;
use crate::time::Deadline;
use crate::value::{Text, Value};

/// See `Pending::until`.
const SETTLED: u64 = u64::MAX;

/// Why a call has no answer, or the answer.
pub(crate) type Answer = Result<Value, Refusal>;

/// Why a server did not answer with a value, and what it said.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) text: Option<Text>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, text: None }
    }
}

impl Refusal {
    /// What was said, as far as there is memory for it.
    fn into_parts(self) -> (Error, String) {
        let said = self.text.as_ref().and_then(Text::as_str);
        let said = said.and_then(crate::memory::text).unwrap_or_default();
        (self.error, said)
    }
}

enum Stage {
    Queued,
    Begun,
    Answered(Answer),
    /// Nobody waits.
    Left,
}

/// Who waits.
enum To {
    Thread,
    Inbox(Arc<InboxCore>, u64),
}

/// A call that waits for its answer.
pub(crate) struct Pending {
    system: &'static System,
    server: Weak<UserServer>,
    /// The thread that waits, if it holds a turn; else 0.
    inside: u64,
    to: To,
    stage: Mutex<Stage>,
    arrived: Condvar,
    around: UserServerSurroundings,
    /// When the wait of an inbox ends; 0 if it does not, `SETTLED` if it has ended.
    until: AtomicU64,
}

impl Pending {
    fn new(server: &Arc<UserServer>, inside: u64, to: To, stage: Stage) -> Arc<Pending> {
        Arc::new(Pending {
            system: server.system(),
            server: Arc::downgrade(server),
            inside,
            to,
            stage: Mutex::new(stage),
            arrived: Condvar::new(),
            around: server.state().spec.around,
            until: AtomicU64::new(0),
        })
    }

    /// It stands in the agenda.
    pub(super) fn is_timed(self: &Arc<Self>, at: u64) {
        if self.until.swap(at, Ordering::AcqRel) == SETTLED {
            self.leave_agenda(at); // it was answered meanwhile
        }
    }

    /// Nobody waits for it any more.
    fn is_settled(self: &Arc<Self>) {
        if let To::Inbox(..) = self.to {
            match self.until.swap(SETTLED, Ordering::AcqRel) {
                0 | SETTLED => {}
                at => self.leave_agenda(at),
            }
        }
    }

    fn leave_agenda(self: &Arc<Self>, at: u64) {
        let due: Arc<dyn Due> = Arc::clone(self) as _;
        self.around.remove_due(at, &due);
    }

    /// Of a call by a thread: `inside` is its number if it holds a turn.
    pub(super) fn of_thread(server: &Arc<UserServer>, inside: u64) -> Arc<Pending> {
        Pending::new(server, inside, To::Thread, Stage::Queued)
    }

    /// Of a call that this thread has begun itself.
    pub(super) fn begun(server: &Arc<UserServer>) -> Arc<Pending> {
        Pending::new(server, 0, To::Thread, Stage::Begun)
    }

    /// Of a request, whose answer comes into an inbox.
    pub(super) fn of_inbox(
        server: &Arc<UserServer>,
        inbox: &Arc<InboxCore>,
        is_begun: bool,
    ) -> Result<(Arc<Pending>, u64), Error> {
        let reference = server.system().next_reference();
        let stage = match is_begun {
            true => Stage::Begun,
            false => Stage::Queued,
        };
        let to = To::Inbox(Arc::clone(inbox), reference);
        let pending = Pending::new(server, 0, to, stage);
        inbox.keep_reply(reference, Arc::clone(&pending) as _)?;
        Ok((pending, reference))
    }

    /// The server handles it now: `false` if nobody waits for it any more.
    pub(super) fn begin(&self) -> bool {
        let mut stage = lock(&self.stage);
        let is_queued = matches!(*stage, Stage::Queued);
        if is_queued {
            *stage = Stage::Begun;
        }
        is_queued
    }

    /// Its answer comes later: whoever waits for it waits for no turn.
    pub(super) fn is_deferred(&self) {
        if self.inside != 0 {
            self.system.wait_graph_forget(self.inside);
        }
    }

    /// `false` if nobody waits for it any more.
    pub(crate) fn answer(self: &Arc<Self>, answer: Answer) -> bool {
        let mut stage = lock(&self.stage);
        if !matches!(*stage, Stage::Queued | Stage::Begun) {
            drop(stage);
            drop(answer);
            return false;
        }
        match &self.to {
            To::Thread => {
                *stage = Stage::Answered(answer);
                self.is_deferred();
                self.arrived.notify_all();
                true
            }
            To::Inbox(inbox, reference) => {
                *stage = Stage::Left;
                drop(stage);
                self.is_settled();
                let (answer, said) = match answer {
                    Ok(value) => (Ok(value), String::new()),
                    Err(refusal) => {
                        let (error, said) = refusal.into_parts();
                        (Err(error), said)
                    }
                };
                inbox.reply(*reference, answer, said)
            }
        }
    }

    /// Waits for the answer. What has not begun when the time is up is withdrawn.
    pub(super) fn wait(self: &Arc<Self>, deadline: &Deadline) -> Answer {
        let mut stage = lock(&self.stage);
        loop {
            match std::mem::replace(&mut *stage, Stage::Left) {
                Stage::Answered(answer) => return answer,
                Stage::Left => return Err(Error::ServerDown.into()),
                waits => *stage = waits,
            }
            if deadline.has_passed() {
                let has_begun = matches!(*stage, Stage::Begun);
                *stage = Stage::Left;
                drop(stage);
                self.is_deferred();
                return Err(self.left(has_begun).into());
            }
            stage = match deadline.left() {
                None => self.arrived.wait(stage),
                Some(left) => self
                    .arrived
                    .wait_timeout(stage, left)
                    .map(|(stage, _)| stage)
                    .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
            }
            .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What nobody waits for any more, and has been told so.
    fn left(self: &Arc<Self>, has_begun: bool) -> Error {
        let Some(server) = self.server.upgrade() else {
            return Error::ServerDown;
        };
        if has_begun {
            return Error::OutcomeUnknown;
        }
        let withdrawn = server.withdraw(|mail| match &mail.what {
            Some(What::Call(_, other) | What::Stop(Some(other))) => Arc::ptr_eq(self, other),
            _ => false,
        });
        drop(withdrawn);
        Error::Timeout
    }

    /// The time of a request is up.
    pub(super) fn expire(self: &Arc<Self>) {
        let mut stage = lock(&self.stage);
        let has_begun = match &*stage {
            Stage::Queued => false,
            Stage::Begun => true,
            _ => return,
        };
        let To::Inbox(inbox, reference) = &self.to else {
            return;
        };
        *stage = Stage::Left;
        drop(stage);
        let error = self.left(has_begun);
        inbox.reply(*reference, Err(error), String::new());
    }
}

impl Asked for Pending {
    fn abandon(self: Arc<Self>) -> Result<(), Error> {
        let mut stage = lock(&self.stage);
        let has_begun = match &*stage {
            Stage::Queued => false,
            Stage::Begun => true,
            _ => return Err(Error::NotFound),
        };
        *stage = Stage::Left;
        drop(stage);
        self.is_settled();
        match self.left(has_begun) {
            Error::OutcomeUnknown => Err(Error::OutcomeUnknown),
            _ => Ok(()),
        }
    }
}
