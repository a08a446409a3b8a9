//! How a user's server begins, and how it stops.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{
    Answer, Mail, Pending, Refusal, Said, UserServer, UserServerSpec, UserServerState, What,
};
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::server::{Caller, Lasts, Place, Thread, Turn};
use crate::sync::lock;
use crate::time::Timeout;

impl UserServer {
    /// Starts one that no registry knows. Its turn is the calling thread's, by `first_turn`.
    pub(crate) fn start_alone(spec: Arc<UserServerSpec>) -> Arc<UserServer> {
        let system = spec.around.system();
        UserServer::start_taken(system, UserServerState::new(spec, None))
    }

    /// Begins a server by callbacks that was just started, with its first turn: makes its state. If
    /// that fails it is gone when this returns, and its name is free.
    pub(crate) fn init(self: &Arc<Self>, turn: Turn<UserServerState>) -> Result<(), Refusal> {
        let refused = match self.make_state() {
            Ok(()) if !self.has_ended() => {
                drop(turn);
                return Ok(());
            }
            Ok(()) => {
                drop(turn);
                return Err(self.finish_end(Error::ServerDown).into());
            }
            Err(said) => said,
        };
        if !self.system().is_current() {
            return Err(Error::Forked.into());
        }
        let answer = self.fail_init(refused);
        drop(turn);
        answer.map(|_| ())
    }

    /// Asks for a state. Called with the turn.
    fn make_state(self: &Arc<Self>) -> Result<(), Said> {
        let state = self.state();
        let made = state.spec.behaviour.init(self)?;
        if !self.system().is_current() {
            return Err(Said::Abort(None)); // which is not looked at
        }
        state.state.store(made, Ordering::Relaxed);
        state.has_state.store(true, Ordering::Release);
        self.has_begun();
        Ok(())
    }

    /// The first process failed to begin: nothing is started again.
    pub(super) fn fail_init(self: &Arc<Self>, said: Said) -> Answer {
        if let Some(place) = &self.state().place {
            place.claim_removal();
        }
        let (exit, refusal) = match said {
            Said::Abort(text) => {
                let exit = Exit::new(Reason::Normal, "");
                let error = Error::Aborted;
                (exit, Refusal { error, text })
            }
            said => {
                let (detail, text) = crash_of(said);
                let error = Error::ServerDown;
                (Exit::new(Reason::Crashed, &detail), Refusal { error, text })
            }
        };
        self.end(exit);
        Err(refusal)
    }

    /// A server that was started again begins. Called with the turn.
    pub(super) fn init_again(self: &Arc<Self>) {
        let Err(said) = self.make_state() else {
            return;
        };
        if self.system().is_current() {
            self.fail_again(said);
        }
    }

    /// It counts as an end, after which it may be started again.
    pub(super) fn fail_again(self: &Arc<Self>, said: Said) {
        let detail = match said {
            Said::Abort(text) => {
                let said = text.as_ref().and_then(crate::value::Text::as_str);
                format!("its init refused: {}", said.unwrap_or_default())
            }
            said => crash_of(said).0,
        };
        self.end(Exit::new(Reason::Crashed, &detail));
    }

    /// It has a state.
    pub(crate) fn has_begun(self: &Arc<Self>) {
        let state = self.state();
        if state.options().wants_terminate {
            let address = std::ptr::from_ref(state).addr();
            let mut wanting = lock(&state.spec.around.user_servers.wanting);
            wanting.insert(address, Arc::downgrade(self));
        }
        state.is_running.store(true, Ordering::Release);
    }

    /// Waits until one that was just found has begun.
    pub(crate) fn await_begun(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if self.state().is_running.load(Ordering::Acquire) || self.state().place_is_again() {
            return Ok(());
        }
        match self.occupy_with_mail(caller, Lasts::Call) {
            Ok(_turn) => Ok(()),
            Err(Error::NoProcess) => Err(Error::ServerDown), // it was there
            Err(refused) => Err(refused),
        }
    }

    /// Stops the server with reason NORMAL after what is queued; returns when it is gone. Blocks
    /// like a call.
    pub(crate) fn stop_user_server(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        let stopped = match self.state().runs_here() {
            true => self.enter_here(caller).map(|turn| {
                self.end_in_order(Exit::new(Reason::Normal, ""));
                drop(turn);
            }),
            false => self.stop_by_message(caller),
        };
        match stopped {
            Ok(()) | Err(Error::ServerDown) => {}
            Err(refused) => return Err(refused),
        }
        if !self.system().is_current() {
            return Err(Error::Forked);
        }
        self.end(Exit::new(Reason::Killed, "")); // it has: what is left of its end
        match self.exit_reason() {
            Some(Reason::Normal) => Ok(()),
            _ => Err(Error::ServerDown),
        }
    }

    fn stop_by_message(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if self.has_ended() {
            caller.unpin();
            return Err(self.finish_end(Error::NoProcess));
        }
        let wants = self.state().options().wants_terminate;
        if !wants {
            if let Some(turn) = self.fast_occupy(Lasts::Call) {
                // Nobody is there, and nothing waits.
                caller.unpin();
                self.end(Exit::new(Reason::Normal, ""));
                drop(turn);
                return Ok(());
            }
        }
        let (pending, edge) = self.pending(caller)?;
        let mail = Mail::new(What::Stop(Some(Arc::clone(&pending))));
        match self.request_task(mail) {
            Ok(()) => {}
            // Nothing can be queued before it; or it overtakes what is, rather than never come.
            Err(Error::Io { .. } | Error::NoMemory) => {
                self.end(Exit::new(Reason::Normal, ""));
                return Ok(());
            }
            Err(refused) => return Err(refused),
        }
        let answer = pending.wait(&caller.begin_blocking());
        drop(edge);
        match answer {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// What a calling thread waits for, and that it does.
    pub(super) fn pending(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<(Arc<Pending>, Option<crate::server::Edge<'static>>), Error> {
        caller.unpin();
        let (inside, edge) = match Thread::holds_a_turn() {
            true => {
                let edge = self.system().waits_for(Arc::clone(self) as _)?;
                (Thread::id(), Some(edge))
            }
            false => (0, None),
        };
        if caller.timeout() == Timeout::Now {
            return Err(Error::Timeout); // another thread has to come first
        }
        Ok((Pending::of_thread(self, inside), edge))
    }

    /// Nobody can reach it any more.
    pub(super) fn stop_unreachable(self: &Arc<Self>) {
        let is_by_turns = self.state().options().is_by_turns;
        if is_by_turns || !self.state().options().wants_terminate {
            if let Some(turn) = self.fast_occupy(Lasts::Call) {
                self.end(Exit::new(Reason::Normal, ""));
                drop(turn);
                return;
            }
        }
        if is_by_turns {
            // Who has the turn ends it when he gives it back. Nobody else will ever take it.
            if !self.rouse() {
                self.end(Exit::new(Reason::Normal, ""));
            }
            return;
        }
        if self.request_task(Mail::new(What::Stop(None))).is_err() {
            self.end(Exit::new(Reason::Normal, ""));
        }
    }
}

impl UserServerState {
    fn place_is_again(&self) -> bool {
        self.place.as_ref().is_some_and(Place::is_again)
    }
}

fn crash_of(said: Said) -> (String, Option<crate::value::Text>) {
    match said {
        Said::Crash(text) => {
            let detail = text.as_ref().and_then(crate::value::Text::as_str);
            (detail.unwrap_or_default().to_owned(), text)
        }
        Said::Bad(what) => (what.to_owned(), None),
        _ => ("an init said what it may not".to_owned(), None),
    }
}
