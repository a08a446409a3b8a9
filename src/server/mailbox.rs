//! The queue of envelopes, and the drain that the runtime makes for it.

use std::panic::{catch_unwind, AssertUnwindSafe};

use super::thread::Sender;
use super::{Server, Slow, State, Turn, Until, Writing, MAIL, TURN, WRITE};
use crate::error::Error;
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::sync::{Arc, MutexGuard, Ordering};

/// How many envelopes a drain handles before it lets others have the turn.
const DRAIN_BUDGET: usize = 256;

/// Queues that grew beyond this give their memory back when they are empty.
const KEPT_CAPACITY: usize = 64;

pub(super) struct Envelope<S: State> {
    number: u64,
    pub(super) body: Body<S>,
    /// Given to `finish_envelope` after the body was handled.
    pub(super) sender: Sender,
}

pub(super) enum Body<S: State> {
    Message(S::Message),
    Task(S::Task),
    /// Ends the server, reason NORMAL, after what came before.
    Stop,
}

impl<S: State> Slow<S> {
    /// The first envelope in the queue, if it is numbered below `limit`.
    pub(super) fn first_below(&self, limit: u64) -> Option<&Body<S>> {
        let first = self.queue.front()?;
        (first.number < limit).then_some(&first.body)
    }

    /// Whether all envelopes numbered below `limit` have been handled.
    pub(super) fn has_handled_below(&self, limit: u64) -> bool {
        let handling = self.handling.1;
        self.first_below(limit).is_none() && (handling == 0 || handling >= limit)
    }

    /// Whether a caller on the long way came before the envelope of this number.
    fn has_caller_before(&self, number: u64) -> bool {
        self.callers.iter().any(|limit| *limit <= number)
    }

    /// The number of the last envelope of `sender` that is queued or being handled.
    pub(super) fn last_of(&self, sender: u64) -> Option<u64> {
        let queued = self.queue.iter().rev().find(|l| l.sender.id() == sender);
        match queued {
            Some(envelope) => Some(envelope.number),
            None => (self.handling.0 == sender).then_some(self.handling.1),
        }
    }
}

impl<S: State> Server<S> {
    /// Ends the server once what is queued has been handled, and does not wait for it.
    pub(crate) fn stop_later(self: &Arc<Self>) -> Result<(), Error> {
        if self.try_enter() {
            self.release(WRITE);
            self.end_inside(Exit::new(Reason::Normal, ""));
            self.release(TURN);
            return Ok(());
        }
        match self.post(Body::Stop) {
            // No thread is to be had, so none was: nothing can be queued before it.
            Err(Error::Io { .. }) => self.end(Exit::new(Reason::Normal, "")),
            posted => posted?,
        }
        Ok(())
    }

    pub(super) fn post(self: &Arc<Self>, body: Body<S>) -> Result<(), Error> {
        self.post_from(body, Sender::current)
    }

    /// As `post`, for a sender that is asked for once it is sure that it is needed.
    pub(super) fn post_from(
        self: &Arc<Self>,
        body: Body<S>,
        sender: fn() -> Sender,
    ) -> Result<(), Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        let refused = if let Err(refused) = self.system.threads().start() {
            refused
        } else {
            let is_stop = matches!(body, Body::Stop); // there is one, and it cannot be taken back
            let sender = sender();
            let mut slow = self.lock();
            if slow.closed {
                Error::NoProcess
            } else if slow.queue.len() >= self.state.mailbox_limit() && !is_stop {
                Error::Limit("the mailbox is full")
            } else if memory::without_reserve(|| slow.queue.try_reserve(1)).is_err() {
                Error::NoMemory
            } else {
                let number = slow.next;
                slow.next += 1;
                slow.queue.push_back(Envelope {
                    number,
                    body,
                    sender,
                });
                if self.word.fetch_or(MAIL, Ordering::Relaxed) & TURN == 0 {
                    self.schedule(&mut slow);
                }
                return Ok(());
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
        let Some(server) = self.itself.upgrade() else {
            return; // nobody knows the server any more, so nobody can ask for its state
        };
        slow.drain_scheduled = true;
        self.system.threads().spawn(move || server.drain());
    }

    /// Takes out the first envelope; `finish_envelope` is told when it was handled. Called with
    /// `TURN`, which keeps the short way shut until then.
    pub(super) fn take_envelope(&self, slow: &mut MutexGuard<'_, Slow<S>>) -> Envelope<S> {
        let envelope = slow.queue.pop_front().expect("looked at before");
        self.set_in_progress(slow, (envelope.sender.id(), envelope.number));
        if slow.queue.is_empty() {
            self.word.fetch_and(!MAIL, Ordering::Relaxed);
            if slow.queue.capacity() > KEPT_CAPACITY {
                slow.queue.shrink_to(0);
            }
        }
        envelope
    }

    /// A envelope was handled, or discarded by the end: the sender's own reads may pass. What
    /// they find from here on has the cast in it, or is closed (G3).
    pub(super) fn finish_envelope(self: &Arc<Self>, sender: Sender) {
        if self.has_ended() {
            self.close();
        }
        drop(sender);
    }

    /// Handles one envelope, with `TURN` held by the calling thread.
    pub(super) fn open(self: &Arc<Self>, body: Body<S>) {
        match body {
            Body::Message(message) => {
                if self.lock_write(Until::Closed).is_ok() {
                    self.handle_message(message);
                }
            }
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

    /// Called with `WRITE`, which it gives back.
    fn handle_message(self: &Arc<Self>, message: S::Message) {
        self.count_handled();
        // SAFETY: by contract; it is given back below.
        let write = unsafe { Writing::new(self) };
        let handled = catch_unwind(AssertUnwindSafe(|| S::handle(self, &write, message)));
        self.release(WRITE);
        match handled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => S::refused(self, &error),
            Err(_) => self.end_inside(Exit::new(Reason::Crashed, "a handler panicked")),
        }
    }

    /// Runs on the runtime: takes the turn and handles what is queued. Finds it taken: then
    /// whoever has it will schedule the next drain.
    fn drain(self: Arc<Self>) {
        {
            let mut slow = self.lock();
            slow.drain_scheduled = false;
            if slow.closed || slow.queue.is_empty() || !self.take_turn() {
                return;
            }
        }
        self.drain_with_turn(false);
    }

    /// Handles up to a budget of envelopes, then gives the turn back. User code, and waiting for
    /// a snapshot, are for the blocking pool, where they cannot keep the runtime from other
    /// servers; the turn goes there with them.
    fn drain_with_turn(self: Arc<Self>, on_blocking_pool: bool) {
        for _ in 0..DRAIN_BUDGET {
            let mut slow = self.lock();
            self.set_in_progress(&mut slow, (0, 0));
            let Some(first) = slow.queue.front() else {
                break;
            };
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
            let Envelope { body, sender, .. } = self.take_envelope(&mut slow);
            drop(slow);
            match body {
                Body::Message(message) if has_write => self.handle_message(message),
                body => self.open(body),
            }
            self.finish_envelope(sender);
        }
        self.set_in_progress(&mut self.lock(), (0, 0));
        self.release(TURN);
    }
}
