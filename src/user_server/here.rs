//! A call that the thread that makes it handles itself, by whatever behaviour.

use std::sync::Arc;

use super::{Answer, Content, Pending, Refusal, Said, UserServer, UserServerState, What};
use crate::error::Error;
use crate::server::{Caller, Turn};

impl UserServer {
    /// Handles a call here, after what was queued before. `runs_here` said that it may.
    pub(crate) fn call_here(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        content: Arc<Content>,
    ) -> Answer {
        let turn = self.enter_for(caller, &content)?;
        let pending = self.defer_here()?;
        match self.handle_here(turn, content, &pending) {
            Some(answer) => answer,
            None => self.await_later(caller, &pending),
        }
    }

    /// The turn for a call that is handled here.
    pub(crate) fn enter_for(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        content: &Content,
    ) -> Result<Turn<UserServerState>, Refusal> {
        caller.unpin(); // user code runs
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess).into());
        }
        content.check(self.state().options().max_value)?;
        let turn = self.enter_here(caller)?;
        self.count_handled();
        Ok(turn)
    }

    /// Asks the handler about a call that is owed, and gives the turn back: the answer, or `None`
    /// if it comes later.
    pub(crate) fn handle_here(
        self: &Arc<Self>,
        turn: Turn<UserServerState>,
        content: Arc<Content>,
        pending: &Arc<Pending>,
    ) -> Option<Answer> {
        let state = self.state();
        let what = What::Call(content, Arc::clone(pending));
        let said = state.spec.behaviour.handle(state.user_state(), self, &what);
        if !self.system().is_current() {
            return Some(Err(Error::Forked.into())); // the handler forked, and this is the child
        }
        if let Said::Later = said {
            drop(turn);
            return None;
        }
        state.settle(pending);
        let answer = self.conclude(said);
        drop(turn);
        Some(answer)
    }
}
