//! What becomes of a message: a handler by callbacks is asked, and what it said is done.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{Answer, Mail, Pending, Refusal, Said, UserServer, What};
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::server::{Caller, Lasts, Next, Thread, Turn};
use crate::time::{Deadline, Timeout};
use crate::value::Value;

use super::spec::text_of;
use super::UserServerState;

impl UserServer {
    /// Handles what came before a call, with the turn that this takes for it: `OK` if the call's
    /// own work comes next.
    pub(crate) fn enter_here(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<Turn<UserServerState>, Error> {
        let (turn, limit) = self.occupy_with_mail(caller, Lasts::Call)?;
        self.note_turn();
        let deadline = match limit {
            0 => return Ok(turn),
            _ => caller.begin_blocking(),
        };
        loop {
            match self.take_next(limit) {
                Next::Nothing => return Ok(turn),
                Next::Ended => {
                    drop(turn);
                    return Err(self.finish_end(Error::ServerDown));
                }
                Next::Stop => self.end_in_order(Exit::new(Reason::Normal, "")),
                Next::Task(mail, number) => {
                    self.count_handled();
                    self.run_mail(mail);
                    if !self.system().is_current() {
                        return Err(Error::Forked);
                    }
                    self.has_run(number);
                }
            }
            if deadline.has_passed() {
                return Err(Error::Timeout);
            }
        }
    }

    /// Asks the handler what becomes of a message, and does it. Called with the turn.
    pub(super) fn run_mail(self: &Arc<Self>, mail: Mail) {
        let Some(what) = mail.take() else {
            return;
        };
        match &what {
            What::Init => return self.init_again(),
            What::Stop(pending) => {
                if pending.as_ref().is_none_or(|pending| pending.begin()) {
                    self.end_in_order(Exit::new(Reason::Normal, ""));
                }
                if let Some(pending) = pending {
                    pending.answer(Err(Error::ServerDown.into())); // it has ended, whyever
                }
                return;
            }
            What::Terminate(exit) => {
                let exit = Exit::new(exit.reason, &exit.detail);
                return self.terminate_now(exit);
            }
            What::Call(_, pending) => {
                if !pending.begin() {
                    return;
                }
                if !self.state().owe(pending) {
                    pending.answer(Err(Error::ServerDown.into()));
                    return;
                }
            }
            What::Cast(_) | What::Info(..) | What::Down(..) => {}
        }
        let said = self.ask(&what);
        if !self.system().is_current() {
            return; // the handler forked, and this is the child
        }
        match &what {
            What::Call(_, pending) => self.conclude_call(pending, said),
            _ => self.conclude_plain(&what, said),
        }
    }

    fn ask(self: &Arc<Self>, what: &What) -> Said {
        let state = self.state();
        state.spec.behaviour.handle(state.user_state(), self, what)
    }

    /// Does what was said of a call that came as a message.
    pub(super) fn conclude_call(self: &Arc<Self>, pending: &Arc<Pending>, said: Said) {
        if let Said::Later = said {
            pending.is_deferred();
            return;
        }
        self.state().settle(pending);
        let answer = self.conclude(said);
        pending.answer(answer);
    }

    /// Does what was said of a call, and gives its answer. Called with the turn.
    pub(crate) fn conclude(self: &Arc<Self>, said: Said) -> Answer {
        match said {
            Said::Keep(answer) if !self.has_ended() => answer.map_err(Refusal::from),
            Said::Abort(text) if !self.has_ended() => Err(Refusal {
                error: Error::Aborted,
                text,
            }),
            Said::Unhandled if !self.has_ended() => {
                let text = "the server does not know this message";
                Err(Error::Unsupported(text).into())
            }
            Said::Keep(_) | Said::Abort(_) | Said::Unhandled => {
                Err(self.finish_end(Error::ServerDown).into())
            }
            Said::Stop(answer) => {
                self.end_in_order(Exit::new(Reason::Normal, ""));
                match self.exit_reason() {
                    Some(Reason::Normal) => answer.map_err(Refusal::from),
                    _ => Err(Error::ServerDown.into()),
                }
            }
            said => {
                self.crash(&said);
                Err(Error::ServerDown.into())
            }
        }
    }

    fn crash(self: &Arc<Self>, said: &Said) {
        self.end_in_order(Exit::new(Reason::Crashed, said.crash_detail()));
    }

    /// Does what was said of a message that nobody waits for.
    pub(super) fn conclude_plain(self: &Arc<Self>, what: &What, said: Said) {
        match said {
            Said::Keep(_) => {}
            Said::Abort(text) => {
                let said = text_of(text.as_ref());
                let colon = if said.is_empty() { "" } else { ": " };
                self.warn_of(what, format_args!("refused{colon}{said}"));
            }
            Said::Unhandled => self.warn_of(what, format_args!("not handled")),
            Said::Stop(_) => self.end_in_order(Exit::new(Reason::Normal, "")),
            said => self.crash(&said),
        }
    }

    fn warn_of(&self, what: &What, outcome: std::fmt::Arguments<'_>) {
        let logs = self.state().spec.around.of_buckets.logs;
        if !logs.wants(crate::log::Level::Warn) {
            return;
        }
        let (kind, tag) = match what {
            What::Call(content, _) => ("call", content.tag_with_nul()),
            What::Cast(content) => ("cast", content.tag_with_nul()),
            What::Info(content, _) => ("info", content.tag_with_nul()),
            What::Down(..) => ("DOWN", &b"\0"[..]),
            _ => ("message", &b"\0"[..]),
        };
        let tag = tag.strip_suffix(b"\0").unwrap_or(tag);
        let tag = String::from_utf8_lossy(tag);
        let text = crate::memory::written(format_args!("{kind} \"{tag}\" {outcome}"));
        logs.warn(
            self.state().place.as_ref().map(|it| it.name()),
            &text.unwrap_or_default(),
        );
    }

    /// Ends the server from inside, in good order if it wants that. Called with the turn, of a
    /// server by callbacks.
    pub(super) fn end_in_order(self: &Arc<Self>, exit: Exit) {
        let state = self.state();
        let wants = state.options().wants_terminate && state.is_running.load(Ordering::Relaxed);
        if !wants || self.has_ended() || state.is_terminating.swap(true, Ordering::AcqRel) {
            self.end(exit);
            return;
        }
        self.terminate_now(exit);
    }

    /// Tells the server that it ends, and ends it. `is_terminating` was set by the caller, or by
    /// who sent it here.
    fn terminate_now(self: &Arc<Self>, exit: Exit) {
        self.state().is_terminating.store(true, Ordering::Release);
        self.kill_later();
        let exit = Arc::new(exit);
        let said = self.ask(&What::Terminate(Arc::clone(&exit)));
        if self.system().is_current() {
            self.end_as(&exit, &said);
        }
    }

    /// Ends the server that was told so, as its handler said.
    pub(super) fn end_as(self: &Arc<Self>, exit: &Exit, said: &Said) {
        self.end(match said {
            Said::Crash(_) | Said::Bad(_) => Exit::new(Reason::Crashed, said.crash_detail()),
            _ => Exit::new(exit.reason, &exit.detail),
        });
    }

    /// Begins an end in good order, of whoever is inside: `false` if the server does not want that.
    pub(super) fn begin_terminate(self: &Arc<Self>, exit: &Exit) -> bool {
        let state = self.state();
        if !state.options().wants_terminate
            || !state.is_running.load(Ordering::Acquire)
            || self.has_ended()
        {
            return false;
        }
        if state.is_terminating.swap(true, Ordering::AcqRel) {
            return true; // somebody else is at it
        }
        if !state.options().is_by_turns && self.system().threads().start().is_err() {
            return false;
        }
        self.kill_later();
        let exit = Arc::new(Exit::new(exit.reason, &exit.detail));
        self.post_before_all(Mail::new(What::Terminate(exit)))
            .is_ok()
    }

    /// Waits for an end that was begun, and kills the server when the time is up: what it wants for
    /// that, and at most up to the deadline.
    pub(super) fn finish_terminate(self: &Arc<Self>, deadline: &Deadline) {
        let waiter = Pending::begun(self);
        let edge = match Thread::holds_a_turn() {
            true => self.system().waits_for(Arc::clone(self) as _).map(Some),
            false => Ok(None),
        };
        if edge.is_ok() && self.state().owe(&waiter) {
            let longest = self.state().options().shutdown;
            let wait = deadline.left().map_or(longest, |left| left.min(longest));
            let _ = waiter.wait(&Timeout::After(wait).deadline());
            self.state().settle(&waiter);
        }
        drop(edge);
        self.end(Exit::new(Reason::Killed, "it did not end in time"));
    }

    /// The answer of a call that was put off.
    pub(crate) fn answer_later(self: &Arc<Self>, pending: &Arc<Pending>, answer: Answer) -> bool {
        self.state().settle(pending);
        pending.answer(answer)
    }
}

/// The answer of who says no more than that it is done.
pub(crate) fn nothing() -> Said {
    Said::Keep(Ok(Value::Nil))
}
