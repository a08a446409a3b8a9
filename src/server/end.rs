//! How a server ends, who is told, and who goes along.

use std::collections::{BTreeMap, LinkedList};

use super::{AnyServer, Caller, Goal, Place, Server, State, Turn, CLOSED, MAIL, TURN};
use crate::error::Error;
use crate::reason::{Exit, Reason, DETAIL_LIMIT};
use crate::sync::{Arc, Ordering, Weak};
use crate::time::Deadline;

/// Who monitors a server. Told by the thread that ends it; must not block.
pub(crate) trait Monitor: Send + Sync {
    fn down(&self, reference: u64, ended: &Arc<Ended>);
}

/// What all who monitored a server are told, made once for all of them.
pub(crate) struct Ended {
    pub(crate) exit: Arc<Exit>,
    /// What a DOWN calls the server.
    pub(crate) name: Option<Box<str>>,
}

impl Ended {
    pub(crate) fn new(exit: Arc<Exit>, name: Option<&str>) -> Arc<Ended> {
        let name = name.map(Box::from);
        Arc::new(Ended { exit, name })
    }
}

/// Who is concerned by the end of a server.
#[derive(Default)]
pub(crate) struct Ties {
    monitors: BTreeMap<u64, Arc<dyn Monitor>>,
    links: Links,
}

/// By the address of the other end, which its `Weak` keeps from being used again.
type Links = BTreeMap<usize, Weak<dyn AnyServer>>;

/// Servers that are still to be ended, because one they are linked to was: the links of each that
/// has ended, as they were, since an end may have no memory to copy many.
#[derive(Default)]
pub(crate) struct Linked(LinkedList<(Links, Arc<Exit>)>);

impl Linked {
    fn add(&mut self, links: Links, exit: &Arc<Exit>) {
        if !links.is_empty() {
            self.0.push_back((links, Arc::clone(exit)));
        }
    }

    fn next(&mut self) -> Option<(Arc<dyn AnyServer>, Arc<Exit>)> {
        loop {
            let (links, exit) = self.0.back_mut()?;
            let (next, exit) = (links.pop_first(), Arc::clone(exit));
            if links.is_empty() {
                self.0.pop_back(); // so a chain of links is no longer here than one of them
            }
            if let Some(server) = next.and_then(|(_, server)| server.upgrade()) {
                return Some((server, exit));
            }
        }
    }
}

/// Where a server is, as long as it lives: what tells it from others.
fn address(server: &Arc<dyn AnyServer>) -> usize {
    Arc::as_ptr(server).cast::<()>().addr()
}

/// Looks at both servers under both locks, which are taken in the order of the addresses.
fn with_both(
    one: &Arc<dyn AnyServer>,
    other: &Arc<dyn AnyServer>,
    look: &mut dyn FnMut(Option<&mut Ties>, Option<&mut Ties>),
) {
    if address(one) < address(other) {
        one.with_ties(&mut |mut mine| {
            other.with_ties(&mut |others| look(mine.as_deref_mut(), others));
        });
    } else {
        other.with_ties(&mut |mut others| {
            one.with_ties(&mut |mine| look(mine, others.as_deref_mut()));
        });
    }
}

/// Ends a server, and one by one those that are linked to it: a chain of links can be long.
fn end_all(server: Arc<dyn AnyServer>, exit: Exit) {
    let mut linked = Linked::default();
    server.end_alone(Arc::new(exit), &mut linked);
    while let Some((server, exit)) = linked.next() {
        server.end_alone(exit, &mut linked);
    }
}

impl<S: State> AnyServer for Server<S> {
    fn name(&self) -> Option<&str> {
        self.state.name()
    }

    fn place(&self) -> Option<&Place> {
        self.state.place()
    }

    fn size(&self) -> (usize, usize) {
        self.state.size()
    }

    fn monitor(&self, reference: u64, monitor: Arc<dyn Monitor>) -> bool {
        let mut slow = self.lock();
        if slow.closed {
            return false;
        }
        slow.ties.monitors.insert(reference, monitor);
        true
    }

    fn demonitor(&self, reference: u64) {
        let monitor = self.lock().ties.monitors.remove(&reference);
        drop(monitor); // outside the lock: it may be the last to know the inbox
    }

    fn await_end(self: Arc<Self>) {
        self.finish_end(Error::NoProcess);
    }

    fn discard(&self) {
        self.close();
    }

    fn with_ties(&self, look: &mut dyn FnMut(Option<&mut Ties>)) {
        let mut slow = self.lock();
        let is_open = !slow.closed;
        look(is_open.then_some(&mut slow.ties));
    }

    fn end_alone(self: Arc<Self>, exit: Arc<Exit>, linked: &mut Linked) {
        let exit = Arc::clone(self.lock().exit.get_or_insert(exit));
        self.leave_place(exit.reason);
        let taken = {
            let mut slow = self.lock();
            if slow.closed {
                None
            } else {
                slow.closed = true;
                let word = self.word.fetch_or(CLOSED, Ordering::AcqRel);
                self.word.fetch_and(!MAIL, Ordering::Relaxed);
                self.wake_all(&mut slow);
                let queue = std::mem::take(&mut slow.queue);
                Some((queue, std::mem::take(&mut slow.ties), word & TURN == 0))
            }
        };
        S::closed(&self, exit.reason);
        self.close();
        // What was dropped, or will be: reads find the state closed.
        self.lock().has_done_all();
        let Some((queue, ties, is_vacant)) = taken else {
            return;
        };
        if !queue.is_empty() {
            drop(queue);
            self.system.base().leave_if_forked();
        }
        if is_vacant {
            S::vacated(&self);
            self.system.base().leave_if_forked();
        }
        if let Some(place) = self.state.place() {
            place.ended(&self.as_any());
        }
        S::ended(&self, &exit);
        if !ties.monitors.is_empty() {
            let ended = Ended::new(Arc::clone(&exit), self.state.name());
            for (reference, monitor) in ties.monitors {
                monitor.down(reference, &ended);
            }
        }
        let mine = Arc::as_ptr(&self).addr();
        for other in ties.links.values().filter_map(|other| other.upgrade()) {
            other.with_ties(&mut |ties| {
                ties.map(|ties| ties.links.remove(&mine));
            });
        }
        if exit.reason != Reason::Normal {
            linked.add(ties.links, &exit);
        }
    }

    fn end_at_once(self: Arc<Self>, exit: Exit) {
        end_all(self, exit);
    }

    fn would_wait_for_caller(&self) -> bool {
        Server::would_wait_for_caller(self)
    }

    fn started_again(self: Arc<Self>) {
        S::started_again(&self);
    }

    fn wants_end(&self) -> bool {
        self.state.wants_end()
    }

    fn begin_end(self: Arc<Self>, exit: &Exit) -> bool {
        S::begin_end(&self, exit)
    }

    fn finish_begun_end(self: Arc<Self>, deadline: &Deadline) {
        S::finish_begun_end(&self, deadline);
    }
}

impl<S: State> Server<S> {
    /// Ends the server at once: what is queued is dropped. When this returns the server has
    /// ended, also if another thread was faster and its reason is the one that counts; and so
    /// have those linked to it, if the reason is abnormal. Called with or without `TURN`, and
    /// without `WRITE`.
    pub(crate) fn end(self: &Arc<Self>, exit: Exit) {
        end_all(self.as_any(), exit);
    }

    /// Makes the server unreachable by name: the first step of its end.
    fn leave_place(self: &Arc<Self>, reason: Reason) {
        if let Some(place) = self.state.place() {
            place.ends(&self.as_any(), reason);
        }
        S::unregister(self, reason);
    }

    /// Closes the state, once nobody else writes it.
    pub(crate) fn close(&self) {
        self.with_write_lock_even_ended(|write| S::close(write));
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
            return Err(self.finish_end(Error::NoProcess));
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
    pub(crate) fn finish_end(self: &Arc<Self>, answer: Error) -> Error {
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
            Ok(_) => {
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

    /// Links two servers of whatever kind: when one ends abnormally, so does the other. Linking
    /// twice, or a server to itself, changes nothing (Erlang's `link/1`). Never blocks.
    pub(crate) fn link(self: &Arc<Self>, other: &Arc<dyn AnyServer>) -> Result<(), Error> {
        let mine = self.as_any();
        let mut ended = None;
        if address(&mine) == address(other) {
            ended = self.has_ended().then_some(&mine);
        } else {
            with_both(&mine, other, &mut |ties, others| match (ties, others) {
                (Some(ties), Some(others)) => {
                    ties.links.insert(address(other), Arc::downgrade(other));
                    others.links.insert(address(&mine), Arc::downgrade(&mine));
                }
                (None, _) => ended = Some(&mine),
                (_, None) => ended = Some(other),
            });
        }
        match ended {
            None => Ok(()),
            Some(ended) => {
                Arc::clone(ended).await_end();
                Err(Error::NoProcess)
            }
        }
    }

    /// Takes a link away, if there is one.
    pub(crate) fn unlink(self: &Arc<Self>, other: &Arc<dyn AnyServer>) {
        let mine = self.as_any();
        if address(&mine) != address(other) {
            with_both(&mine, other, &mut |ties, others| {
                ties.map(|ties| ties.links.remove(&address(other)));
                others.map(|others| others.links.remove(&address(&mine)));
            });
        }
    }
}
