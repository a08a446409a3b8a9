//! The queue of envelopes, and the drain that the runtime makes for it.

use std::panic::{catch_unwind, AssertUnwindSafe};

use super::{
    Patience, Progress, Server, Slow, State, Thread, Turn, Until, Writing, CLOSED, MAIL, RESERVED,
    TURN, WRITE,
};
use crate::error::Error;
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::sync::{Arc, MutexGuard, Ordering};

/// How many envelopes a drain handles before it lets others have the turn.
const DRAIN_BUDGET: usize = 256;

/// Queues that grew beyond this give their memory back when they are empty.
const KEPT_CAPACITY: usize = 64;

/// So many messages are handled under one hold of `WRITE` and of the lock.
const BATCH: usize = 32;

/// Who sent what is being handled: several threads.
const SENDERS: u64 = u64::MAX;

pub(super) struct Envelope<S: State> {
    number: u64,
    body: Body<S>,
    /// The number of the thread whose reads wait for it, or 0.
    sender: u64,
}

impl<S: State> Envelope<S> {
    /// One that no read waits for.
    pub(super) fn new(number: u64, body: Body<S>) -> Envelope<S> {
        Envelope {
            number,
            body,
            sender: 0,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn body(&self) -> &Body<S> {
        &self.body
    }

    pub(super) fn open(self) -> (u64, Body<S>) {
        (self.number, self.body)
    }
}

/// Messages that were taken out of the queue together, to be handled in their order.
pub(super) struct Batch<S: State> {
    messages: [Option<S::Message>; BATCH],
    len: usize,
    last: u64,
}

impl<S: State> Batch<S> {
    /// The number of the last one.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

pub(super) enum Body<S: State> {
    Message(S::Message),
    Task(S::Task),
    /// Ends the server, reason NORMAL, after what came before.
    Stop,
}

impl<S: State> Body<S> {
    fn is_errand(&self) -> bool {
        matches!(self, Body::Message(message) if S::is_errand(message))
    }
}

impl<S: State> Slow<S> {
    /// The first envelope in the queue, if it is numbered below `limit`.
    pub(super) fn first_below(&self, limit: u64) -> Option<&Body<S>> {
        let first = self.queue.front()?;
        (first.number < limit).then_some(&first.body)
    }

    /// Room for one more envelope, beside those that have their places.
    pub(super) fn make_room(&mut self) -> Result<(), Error> {
        let more = self.kept + 1;
        memory::without_reserve(|| self.queue.try_reserve(more)).map_err(|_| Error::NoMemory)
    }

    /// Whether all envelopes numbered below `limit` have been handled.
    pub(super) fn has_handled_below(&self, limit: u64) -> bool {
        self.done >= limit
    }

    /// Nothing will be handled any more, and the state is closed.
    pub(super) fn has_done_all(&mut self) {
        if let Some(progress) = &self.progress {
            progress.tell(u64::MAX);
        }
    }

    /// Whether a caller on the long way came before the envelope of this number.
    fn has_caller_before(&self, number: u64) -> bool {
        self.callers.iter().any(|limit| *limit <= number)
    }

    /// The number of the last envelope of `sender` that is queued or being handled.
    pub(super) fn last_of(&self, sender: u64) -> Option<u64> {
        let queued = self.queue.iter().rev().find(|l| l.sender == sender);
        match (queued, self.handling) {
            (Some(envelope), _) => Some(envelope.number),
            (None, (SENDERS, number)) => Some(number), // kvreg's own work, and soon done
            (None, (handling, number)) => (handling == sender).then_some(number),
        }
    }
}

/// Who sent mail to a server that nobody knows any more waits for nothing.
impl<S: State> Drop for Slow<S> {
    fn drop(&mut self) {
        self.has_done_all();
    }
}

impl<S: State> Server<S> {
    /// Ends the server once what is queued has been handled, and does not wait for it.
    pub(crate) fn stop_later(self: &Arc<Self>) -> Result<(), Error> {
        if self.try_enter(Patience::Cast) {
            self.release_write();
            self.end_inside(Exit::new(Reason::Normal, ""));
            self.release(TURN);
            return Ok(());
        }
        match self.post(Body::Stop, true) {
            // No thread is to be had, so none was: nothing can be queued before it. Or there is none
            // any more, or no memory to queue it: then it overtakes what is queued, rather than never
            // come.
            Err(Error::Io { .. } | Error::NoMemory | Error::ShutDown) => {
                self.end(Exit::new(Reason::Normal, ""))
            }
            posted => posted?,
        }
        Ok(())
    }

    /// Queues an envelope. The calling thread's reads wait for it, if it `is_awaited`.
    pub(super) fn post(self: &Arc<Self>, body: Body<S>, is_awaited: bool) -> Result<(), Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        let threads = match self.state.are_tasks_drained() {
            true => self.system.threads().start(),
            false => Ok(()), // nobody needs them
        };
        let sender = threads.and_then(|()| match is_awaited {
            true => Thread::will_send(),
            false => Ok(0),
        });
        let refused = match sender {
            Err(refused) => refused,
            Ok(sender) => {
                // There is one stop, and it cannot be taken back.
                let is_stop = match &body {
                    Body::Stop => true,
                    Body::Task(task) => S::is_unlimited(task),
                    Body::Message(_) => false,
                };
                let is_errand = body.is_errand();
                let mut slow = self.lock();
                if slow.closed {
                    Error::NoProcess
                } else if self.is_full(&slow) && !is_stop && !is_errand {
                    Error::Limit("the mailbox is full")
                } else if slow.make_room().is_err() {
                    Error::NoMemory
                } else {
                    let number = slow.next;
                    slow.next += 1;
                    slow.errands += usize::from(is_errand);
                    slow.queue.push_back(Envelope {
                        number,
                        body,
                        sender,
                    });
                    if sender != 0 {
                        let (server, done) = (std::ptr::from_ref(&**self).addr(), slow.done);
                        let progress = slow
                            .progress
                            .get_or_insert_with(|| Arc::new(Progress::new(server, done)));
                        Thread::has_sent(progress, number);
                    }
                    if self.word.fetch_or(MAIL, Ordering::Relaxed) & TURN == 0 {
                        self.schedule(&mut slow);
                    }
                    return Ok(());
                }
            }
        };
        drop(body); // outside the lock: a task may run user code when it is dropped
        self.system.base().leave_if_forked();
        Err(match refused {
            Error::NoProcess => self.finish_end(refused),
            refused => refused,
        })
    }

    /// Sees to it that a drain comes if envelopes are queued. Called with the turn free.
    pub(super) fn schedule(&self, slow: &mut Slow<S>) {
        if slow.queue.is_empty() || slow.closed || slow.drain_scheduled {
            return;
        }
        if !self.state.are_tasks_drained() {
            slow.drain_scheduled = true; // until somebody takes the turn
            self.state.mail_waits();
            return;
        }
        let Some(server) = self.itself.upgrade() else {
            return; // nobody knows the server any more, so nobody can ask for its state
        };
        slow.drain_scheduled = true;
        match self.callers_come.load(Ordering::Relaxed) {
            false => self.system.threads().spawn(move || server.drain(false)),
            true => self.system.threads().spawn_soon(move || server.drain(true)),
        }
    }

    /// Takes out the first envelope; `finish` is told when it was handled. Called with `TURN`,
    /// which keeps the short way shut until then.
    pub(super) fn take_envelope(&self, slow: &mut MutexGuard<'_, Slow<S>>) -> Envelope<S> {
        let envelope = slow.queue.pop_front().expect("looked at before");
        slow.handling = (envelope.sender, envelope.number);
        self.has_taken(slow);
        envelope
    }

    /// Takes out the messages at the front of the queue, as far as they are numbered below `limit`
    /// and make a batch; there is one at least. Called as `take_envelope` is.
    pub(super) fn take_batch(&self, slow: &mut MutexGuard<'_, Slow<S>>, limit: u64) -> Batch<S> {
        let mut batch = Batch {
            messages: [const { None }; BATCH],
            len: 0,
            last: 0,
        };
        while batch.len < BATCH && matches!(slow.first_below(limit), Some(Body::Message(_))) {
            let Some(Envelope { number, body, .. }) = slow.queue.pop_front() else {
                break;
            };
            if let Body::Message(message) = body {
                slow.errands -= usize::from(S::is_errand(&message));
                batch.messages[batch.len] = Some(message);
            }
            batch.len += 1;
            batch.last = number;
        }
        slow.handling = (SENDERS, batch.last);
        self.has_taken(slow);
        batch
    }

    fn has_taken(&self, slow: &mut Slow<S>) {
        if slow.queue.is_empty() {
            self.word.fetch_and(!MAIL, Ordering::Relaxed);
            if slow.queue.capacity() > KEPT_CAPACITY.max(2 * slow.kept) {
                slow.queue.shrink_to(slow.kept);
            }
        }
    }

    pub(super) fn is_full(&self, slow: &Slow<S>) -> bool {
        slow.queue.len() - slow.errands + slow.kept >= self.state.mailbox_limit()
    }

    /// The envelopes up to this number were handled, or discarded by the end: the senders' reads
    /// may pass. What they find from here on has the casts in it, or is closed (G3).
    pub(super) fn finish(&self, last: u64) -> MutexGuard<'_, Slow<S>> {
        if self.has_ended() {
            self.close();
        }
        // If it ended since, nothing was discarded.
        let mut slow = self.lock();
        self.has_done(&mut slow, last + 1);
        slow
    }

    /// Handles one envelope that is no message, with `TURN` held by the calling thread.
    fn open(self: &Arc<Self>, body: Body<S>) {
        match body {
            Body::Message(_) => {}
            Body::Task(task) => {
                self.count_handled();
                let turn = Turn::lent(Arc::clone(self));
                let run = catch_unwind(AssertUnwindSafe(|| S::run(turn, task)));
                self.system.base().leave_if_forked();
                if run.is_err() {
                    self.end_inside(Exit::new(Reason::Crashed, "a callback panicked"));
                }
            }
            Body::Stop => self.end_inside(Exit::new(Reason::Normal, "")),
        }
    }

    /// Handles messages with `TURN | WRITE`. `false` if `WRITE` was given back, for the server has
    /// ended: then what is left was dropped.
    pub(super) fn handle_batch(self: &Arc<Self>, mut batch: Batch<S>) -> bool {
        let len = batch.len;
        for message in batch.messages[..len].iter_mut().filter_map(Option::take) {
            if self.has_ended() {
                self.release_write();
                return false;
            }
            if !S::is_errand(&message) {
                self.count_handled();
            }
            let handled = {
                // SAFETY: by contract; it is given back after this.
                let write = unsafe { Writing::new(self) };
                catch_unwind(AssertUnwindSafe(|| {
                    let handled = S::handle(self, &write, message);
                    S::settle(self, &write);
                    handled
                }))
            };
            match handled {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.release_write();
                    S::refused(self, &error);
                    if self.lock_write(Until::Closed).is_err() {
                        return false;
                    }
                }
                Err(_) => {
                    self.release_write();
                    self.end_inside(Exit::new(Reason::Crashed, "a handler panicked"));
                    return false;
                }
            }
        }
        true
    }

    /// Takes `TURN | WRITE` for a cast, which does not wait. Mail that is there already is handled
    /// first, if that takes neither user code nor long.
    pub(super) fn enter_at_once(self: &Arc<Self>) -> bool {
        if self.try_enter(Patience::Cast) {
            return true;
        }
        let is_behind = self.word.load(Ordering::Relaxed) & MAIL != 0;
        is_behind && self.try_enter_behind_mail()
    }

    fn try_enter_behind_mail(self: &Arc<Self>) -> bool {
        if !self.spin_for(TURN | WRITE, CLOSED | RESERVED, Patience::Cast) {
            return false;
        }
        let mut slow = self.lock();
        for _ in 0..DRAIN_BUDGET / BATCH {
            if slow.closed {
                break;
            }
            match slow.queue.front() {
                None => return true,
                Some(first) if matches!(first.body, Body::Message(_)) => {}
                Some(_) => break,
            }
            let batch = self.take_batch(&mut slow, u64::MAX);
            let last = batch.last;
            drop(slow);
            if !self.handle_batch(batch) {
                drop(self.finish(last));
                self.release(TURN);
                return false;
            }
            // Not by `finish`: nothing was discarded, and to close the state it would wait for the
            // right to write, which this thread has.
            slow = self.lock();
            self.has_done(&mut slow, last + 1);
        }
        drop(slow);
        self.release(TURN | WRITE);
        false
    }

    /// Runs on the runtime: takes the turn and handles what is queued. Finds it taken: then
    /// whoever has it will schedule the next drain.
    fn drain(self: Arc<Self>, on_blocking_pool: bool) {
        {
            let mut slow = self.lock();
            slow.drain_scheduled = false;
            if slow.closed || slow.queue.is_empty() {
                return;
            }
            self.callers_come.store(false, Ordering::Relaxed);
            if !self.take_turn(false) {
                return;
            }
        }
        self.drain_with_turn(on_blocking_pool);
    }

    /// Handles up to a budget of envelopes, then gives the turn back. User code, and waiting for
    /// a snapshot, are for the blocking pool, where they cannot keep the runtime from other
    /// servers; the turn goes there with them.
    fn drain_with_turn(self: Arc<Self>, on_blocking_pool: bool) {
        let mut budget = DRAIN_BUDGET;
        let mut slow = self.lock();
        while let (Some(first), true) = (slow.queue.front(), budget > 0) {
            let is_task = matches!(first.body, Body::Task(_));
            if is_task && slow.has_caller_before(first.number) {
                return self.give_way(&mut slow);
            }
            // An end drops what is queued, and so may run user code too.
            let is_message = matches!(first.body, Body::Message(_));
            let has_write = is_message && self.try_lock_write();
            if !has_write && !on_blocking_pool {
                drop(slow);
                let threads = self.system.threads();
                threads.spawn_blocking(move || self.drain_with_turn(true));
                return;
            }
            let last = if is_message {
                let batch = self.take_batch(&mut slow, u64::MAX);
                drop(slow);
                let last = batch.last;
                budget = budget.saturating_sub(batch.len);
                let has_write = has_write || self.lock_write(Until::Closed).is_ok();
                if has_write && self.handle_batch(batch) {
                    self.release_write();
                }
                last
            } else {
                let Envelope { body, number, .. } = self.take_envelope(&mut slow);
                drop(slow);
                budget -= 1;
                self.open(body);
                number
            };
            slow = self.finish(last);
        }
        drop(slow);
        self.release(TURN);
    }
}
