//! How a server ends, who is told, and who goes along.

use super::{Goal, Server, Slow, State, Turn, CLOSED, MAIL, TURN};
use crate::caller::Caller;
use crate::error::Error;
use crate::reason::{Exit, Reason, DETAIL_LIMIT};
use crate::sync::{Arc, MutexGuard, Ordering};

/// Who monitors a server. Told by the thread that ends it; must not block.
pub(crate) trait Watcher: Send + Sync {
    fn down(&self, reference: u64, exit: &Arc<Exit>, name: Option<&str>);
}

/// Servers that are still to be ended, because one they are linked to was.
type Linked<S> = Vec<(Arc<Server<S>>, Arc<Exit>)>;

impl<S: State> Server<S> {
    /// Ends the server at once: what is queued is dropped. When this returns the server has
    /// ended, also if another thread was faster and its reason is the one that counts; and so
    /// have those linked to it, if the reason is abnormal. Called with or without `TURN`, and
    /// without `WRITE`.
    pub(crate) fn end(self: &Arc<Self>, exit: Exit) {
        let mut linked = Linked::new();
        self.end_alone(Arc::new(exit), &mut linked);
        // Not by recursion: a chain of links can be long.
        while let Some((server, exit)) = linked.pop() {
            server.end_alone(exit, &mut linked);
        }
    }

    /// Closes the state, once nobody else writes it.
    pub(crate) fn close(&self) {
        self.still_anyway(|_, write| S::close(self, write));
    }

    fn end_alone(self: &Arc<Self>, exit: Arc<Exit>, linked: &mut Linked<S>) {
        let exit = Arc::clone(self.lock().exit.get_or_insert(exit));
        S::unregister(self, exit.reason);
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
                let links = std::mem::take(&mut slow.links);
                Some((queue, monitors, links))
            }
        };
        S::closed(self, exit.reason);
        self.close();
        let Some((queue, monitors, links)) = taken else {
            return;
        };
        if !queue.is_empty() {
            drop(queue);
            self.process.after_user_code();
        }
        S::ended(self, &exit);
        for (reference, watcher) in monitors {
            watcher.down(reference, &exit, self.state.name());
        }
        for other in links.into_values().filter_map(|other| other.upgrade()) {
            other.lock().links.remove(&self.address());
            if exit.reason != Reason::Normal {
                linked.push((other, Arc::clone(&exit)));
            }
        }
    }

    /// Ends the server at once, overtaking what is queued. OTP's `exit/2`: NORMAL from
    /// outside does nothing, NOPROC cannot be sent.
    pub(crate) fn exit(self: &Arc<Self>, reason: Reason, detail: &str) -> Result<(), Error> {
        if reason == Reason::NoProc {
            return Err(Error::InvalidArgument("NOPROC is no reason to exit with"));
        }
        if detail.len() > DETAIL_LIMIT {
            return Err(Error::InvalidArgument("a detail has at most 65536 bytes"));
        }
        if self.has_ended() {
            return Err(self.gone(Error::NoProcess));
        }
        if reason != Reason::Normal {
            self.end(Exit::new(reason, detail));
        }
        Ok(())
    }

    /// Finishes what another thread may still be at, for who is about to answer that the
    /// server is gone: from that answer on no read may find anything either (G2, G5). Called
    /// without `WRITE` and without the lock.
    #[cold]
    pub(crate) fn gone(self: &Arc<Self>, answer: Error) -> Error {
        let reason = self.exit_reason().unwrap_or(Reason::Normal);
        S::closed(self, reason);
        self.close();
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
        match self.enter(caller, Goal::Turn) {
            Ok(()) => {
                self.end_inside(Exit::new(Reason::Normal, ""));
                self.release(TURN);
            }
            Err(Error::ServerDown) => {} // it went while this thread waited
            Err(refused) => return Err(refused),
        }
        match self.exit_reason() {
            Some(Reason::Normal) => Ok(()),
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

    /// Links two servers: when one ends abnormally, so does the other. Linking twice, or a
    /// server to itself, changes nothing (Erlang's `link/1`). Never blocks.
    pub(crate) fn link(self: &Arc<Self>, other: &Arc<Self>) -> Result<(), Error> {
        if Arc::ptr_eq(self, other) {
            return match self.has_ended() {
                true => Err(self.gone(Error::NoProcess)),
                false => Ok(()),
            };
        }
        let ended = {
            let (mut mine, mut others) = self.lock_both(other);
            if !mine.closed && !others.closed {
                mine.links.insert(other.address(), Arc::downgrade(other));
                others.links.insert(self.address(), Arc::downgrade(self));
                return Ok(());
            }
            if mine.closed {
                self
            } else {
                other
            }
        };
        Err(ended.gone(Error::NoProcess))
    }

    /// Takes a link away, if there is one.
    pub(crate) fn unlink(self: &Arc<Self>, other: &Arc<Self>) {
        if !Arc::ptr_eq(self, other) {
            let (mut mine, mut others) = self.lock_both(other);
            mine.links.remove(&other.address());
            others.links.remove(&self.address());
        }
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Both locks, taken in the order of the addresses; the first is this server's.
    #[allow(clippy::type_complexity)] // a pair of guards
    fn lock_both<'a>(
        self: &'a Arc<Self>,
        other: &'a Arc<Self>,
    ) -> (MutexGuard<'a, Slow<S>>, MutexGuard<'a, Slow<S>>) {
        if self.address() < other.address() {
            let mine = self.lock();
            (mine, other.lock())
        } else {
            let others = other.lock();
            (self.lock(), others)
        }
    }
}
