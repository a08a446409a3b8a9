//! How a server ends, and who is told.

use super::{Goal, Server, State, Turn, CLOSED, MAIL, TURN};
use crate::caller::Caller;
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::sync::{Arc, Ordering};

/// Who monitors a server. Told by the thread that ends it; must not block.
pub(crate) trait Watcher: Send + Sync {
    fn down(&self, reference: u64, exit: &Arc<Exit>, name: Option<&str>);
}

impl<S: State> Server<S> {
    /// Ends the server at once: what is queued is dropped. When this returns the server has
    /// ended, also if another thread was faster and its reason is the one that counts.
    /// Called with or without `TURN`, and without `WRITE`.
    pub(crate) fn end(self: &Arc<Self>, exit: Exit) {
        let exit = Arc::clone(self.lock().exit.get_or_insert_with(|| Arc::new(exit)));
        S::unregister(self);
        let taken = {
            let mut slow = self.lock();
            if slow.closed {
                None
            } else {
                slow.closed = true;
                self.word.fetch_or(CLOSED, Ordering::AcqRel);
                self.word.fetch_and(!MAIL, Ordering::Relaxed);
                self.wake_all(&mut slow);
                let queue = std::mem::take(&mut slow.queue);
                let monitors = std::mem::take(&mut slow.monitors);
                Some((queue, monitors))
            }
        };
        S::closed(self);
        self.still_anyway(State::close);
        let Some((queue, monitors)) = taken else {
            return;
        };
        drop(queue);
        S::ended(self, &exit);
        for (reference, watcher) in monitors {
            watcher.down(reference, &exit, self.state.name());
        }
    }

    /// Finishes what another thread may still be at, for who is about to answer that the
    /// server is gone: from that answer on no read may find anything either (G2, G5). Called
    /// without `WRITE` and without the lock.
    #[cold]
    pub(crate) fn gone(self: &Arc<Self>, answer: Error) -> Error {
        S::closed(self);
        self.still_anyway(State::close);
        answer
    }

    /// `end` by the thread that has `TURN`. What it drops may run user code, so the turn
    /// counts as occupied: a call from there must not wait for it.
    pub(super) fn end_inside(self: &Arc<Self>, exit: Exit) {
        let _turn = Turn::lent(Arc::clone(self));
        self.end(exit);
    }

    /// Stops the server with reason NORMAL after what is queued; returns when it is gone.
    /// Blocks like a call. OTP's `GenServer.stop`: if it ended meanwhile for another reason,
    /// that is an error.
    pub(crate) fn stop(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        self.stop_as(caller, Exit::new(Reason::Normal, ""))
    }

    /// The same with another reason.
    pub(crate) fn stop_as(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        exit: Exit,
    ) -> Result<(), Error> {
        let wanted = exit.reason;
        match self.enter(caller, Goal::Turn) {
            Ok(()) => {
                self.end_inside(exit);
                self.release(TURN);
            }
            Err(Error::ServerDown) => {} // it went while this thread waited
            Err(refused) => return Err(refused),
        }
        match &self.lock().exit {
            Some(exit) if exit.reason == wanted => Ok(()),
            _ => Err(Error::ServerDown),
        }
    }

    /// Adds a monitor; `false` if the server has ended.
    pub(crate) fn monitor(&self, reference: u64, watcher: Arc<dyn Watcher>) -> bool {
        let mut slow = self.lock();
        if slow.closed {
            return false;
        }
        slow.monitors.insert(reference, watcher);
        true
    }

    /// Takes a monitor away, if it is still there.
    pub(crate) fn demonitor(&self, reference: u64) {
        let watcher = self.lock().monitors.remove(&reference);
        drop(watcher); // outside the lock: it may be the last to know the inbox
    }
}
