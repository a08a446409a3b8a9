//! Servers whose tasks come with the turn: who takes it handles what was queued before, on its own
//! thread.
//!
//! # The argument
//!
//! Such a caller has `TURN`, as every caller has, and nothing else: so only it takes envelopes out,
//! until it gives the turn back or the server ends. An end takes the whole queue under the lock;
//! what was taken out before is the caller's, and its change is discarded as that of any user code.
//!
//! Whoever takes the turn so says that mail was seen to (`drain_scheduled`), under the lock, so
//! that what is left when it gives the turn back is told anew. `MAIL` stays set when the last
//! envelope is withdrawn: the next who comes goes the long way, and clears both.
//!
//! **Places.** An envelope that must not be refused when it comes (a DOWN, a timer's message) has
//! its place before: it counts for the limit, and there is room for it (`kept`). What comes before
//! all that waits has the number 0, and counts for nobody's order.

use super::mailbox::{Body, Envelope};
use super::turn::Patience;
use super::{Caller, Goal, Lasts, Server, Slow, State, System, Thread, Turn, MAIL, TURN};
use crate::error::Error;
use crate::sync::{Arc, Ordering};

/// What comes next for who has the turn.
pub(crate) enum Next<T> {
    /// A task, and its number, which `has_run` is told when it was handled.
    Task(T, u64),
    /// The server is to end, reason NORMAL.
    Stop,
    /// Nothing that came before.
    Nothing,
    /// The server has ended.
    Ended,
}

impl<S: State> Server<S> {
    /// A server whose turn is taken from its beginning, and is somebody's by `first_turn`.
    pub(crate) fn start_taken(system: &'static System, state: S) -> Arc<Server<S>> {
        Server::start_with(system, TURN, state)
    }

    /// The turn of a server that was started with it, for the calling thread. Once.
    pub(crate) fn first_turn(self: &Arc<Self>) -> Turn<S> {
        Turn::taken(Arc::clone(self))
    }

    /// As `start`, with a task in its mailbox, of which nobody is told before `see_to_mail`.
    pub(crate) fn start_with_task(
        system: &'static System,
        state: S,
        task: S::Task,
    ) -> Arc<Server<S>> {
        let server = Server::start_with(system, MAIL, state);
        let mut slow = server.lock();
        slow.next += 1;
        slow.queue.push_back(Envelope::new(1, Body::Task(task)));
        drop(slow);
        server
    }

    /// The threads that handle what is queued, if others do not.
    fn start_threads(&self) -> Result<(), Error> {
        match self.state.are_tasks_drained() {
            true => self.system.threads().start(),
            false => Ok(()),
        }
    }

    /// Sees to it that what is queued is handled. Where the threads are refused the next caller
    /// does that.
    pub(crate) fn see_to_mail(&self) {
        if self.start_threads().is_err() {
            return;
        }
        let mut slow = self.lock();
        if self.word.load(Ordering::Relaxed) & TURN == 0 {
            self.schedule(&mut slow);
        }
    }

    /// As `occupy`, with the tasks that wait: those numbered below the answer come before the
    /// caller's own work.
    pub(crate) fn occupy_with_mail(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        lasts: Lasts,
    ) -> Result<(Turn<S>, u64), Error> {
        if let Err(refused) = Thread::may_hold_another(lasts) {
            caller.unpin(); // to finish an end may take a while
            return Err(self.refusal(refused));
        }
        let mut limit = 0;
        if !self.try_occupy(Patience::of(caller)) {
            limit = self.enter(caller, Goal::Mail)?;
            if !self.state.are_tasks_drained() {
                self.note_seen();
            }
        }
        caller.unpin(); // the caller has to let go before user code runs
        Ok((Turn::taken(Arc::clone(self)), limit))
    }

    /// As `occupy_with_mail`, if nobody has the turn: does not wait. `NoProcess` if it has ended.
    pub(crate) fn occupy_now(self: &Arc<Self>, lasts: Lasts) -> Result<(Turn<S>, u64), Error> {
        if let Err(refused) = Thread::may_hold_another(lasts) {
            return Err(self.refusal(refused));
        }
        let mut slow = self.lock();
        if slow.closed {
            drop(slow);
            return Err(self.finish_end(Error::NoProcess));
        }
        if !self.take_turn(false) {
            drop(slow);
            return Err(match self.is_occupied_by_caller() {
                true => Error::CallingSelf,
                false => Error::Timeout,
            });
        }
        let limit = slow.next;
        self.note_seen_by(&mut slow);
        drop(slow);
        Ok((Turn::taken(Arc::clone(self)), limit))
    }

    fn note_seen(&self) {
        self.note_seen_by(&mut self.lock());
    }

    /// Called with the turn.
    fn note_seen_by(&self, slow: &mut Slow<S>) {
        if !self.state.are_tasks_drained() {
            slow.drain_scheduled = false;
        }
        self.note_none(slow);
    }

    /// Of what was withdrawn `MAIL` may be left.
    fn note_none(&self, slow: &Slow<S>) {
        if slow.queue.is_empty() {
            self.word.fetch_and(!MAIL, Ordering::Relaxed);
        }
    }

    /// Has whoever has the turn give it back by the long way, which sees what this thread has done;
    /// `false` if nobody has it. The swaps of the word order the two.
    pub(crate) fn rouse(&self) -> bool {
        let _slow = self.lock();
        self.word.fetch_or(MAIL, Ordering::AcqRel) & TURN != 0
    }

    /// How many envelopes numbered below `limit` wait.
    pub(crate) fn waiting_below(&self, limit: u64) -> usize {
        let slow = self.lock();
        let below = |envelope: &&Envelope<S>| envelope.number() < limit;
        slow.queue.iter().take_while(below).count()
    }

    /// Takes out the next envelope numbered below `limit`. Called with the turn.
    pub(crate) fn take_next(&self, limit: u64) -> Next<S::Task> {
        let mut slow = self.lock();
        if slow.closed {
            return Next::Ended;
        }
        if slow.first_below(limit).is_none() {
            self.note_none(&slow);
            return Next::Nothing;
        }
        self.callers_come.store(true, Ordering::Relaxed);
        let (number, body) = self.take_envelope(&mut slow).open();
        match body {
            Body::Task(task) => Next::Task(task, number),
            Body::Stop => Next::Stop,
            Body::Message(_) => Next::Nothing, // such servers have none
        }
    }

    /// The task of this number was handled.
    pub(crate) fn has_run(&self, number: u64) {
        drop(self.finish(number));
    }

    /// Queues a task before all that waits, behind others of the same kind.
    pub(crate) fn post_first(&self, task: S::Task) -> Result<(), Error> {
        self.start_threads()?;
        let mut slow = self.lock();
        if slow.closed {
            return Err(Error::NoProcess);
        }
        if self.is_full(&slow) {
            return Err(Error::Limit("the mailbox is full"));
        }
        slow.make_room()?;
        let first = |envelope: &&Envelope<S>| envelope.number() == 0;
        let place = slow.queue.iter().take_while(first).count();
        slow.queue.insert(place, Envelope::new(0, Body::Task(task)));
        self.tell_mail(&mut slow);
        Ok(())
    }

    /// Queues a task before everything, which the limit does not concern. It is refused, and given
    /// back, if the server has ended, or if there is no memory.
    pub(crate) fn post_before_all(&self, task: S::Task) -> Result<(), S::Task> {
        let mut slow = self.lock();
        if slow.closed || slow.make_room().is_err() {
            return Err(task);
        }
        slow.queue.push_front(Envelope::new(0, Body::Task(task)));
        self.tell_mail(&mut slow);
        Ok(())
    }

    /// Keeps the place of an envelope that will come.
    pub(crate) fn keep_place(self: &Arc<Self>) -> Result<(), Error> {
        self.start_threads()?;
        let mut slow = self.lock();
        if slow.closed {
            drop(slow);
            return Err(self.finish_end(Error::NoProcess));
        }
        if self.is_full(&slow) {
            return Err(Error::Limit("the mailbox is full"));
        }
        slow.make_room()?;
        slow.kept += 1;
        Ok(())
    }

    /// Gives up a place that was kept.
    pub(crate) fn give_place(&self) {
        let mut slow = self.lock();
        slow.kept = slow.kept.saturating_sub(1);
    }

    /// Queues a task in a place that was kept. It is dropped if the server has ended.
    pub(crate) fn post_kept(&self, task: S::Task) {
        let mut slow = self.lock();
        if slow.closed {
            drop(slow);
            drop(task);
            return;
        }
        slow.kept = slow.kept.saturating_sub(1);
        let number = slow.next;
        slow.next += 1;
        slow.queue
            .push_back(Envelope::new(number, Body::Task(task)));
        self.tell_mail(&mut slow);
    }

    fn tell_mail(&self, slow: &mut Slow<S>) {
        if self.word.fetch_or(MAIL, Ordering::Relaxed) & TURN == 0 {
            self.schedule(slow);
        }
    }

    /// Takes back a task that waits, if it is there. It is the caller's to drop, without a lock.
    pub(crate) fn withdraw(&self, mut is_it: impl FnMut(&S::Task) -> bool) -> Option<S::Task> {
        let mut slow = self.lock();
        let mut envelopes = slow.queue.iter();
        let place = envelopes.rposition(|envelope| match envelope.body() {
            Body::Task(task) => is_it(task),
            _ => false,
        })?;
        let (_, body) = slow.queue.remove(place)?.open();
        match body {
            Body::Task(task) => Some(task),
            _ => None,
        }
    }
}
