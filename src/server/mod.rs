//! The server core: a state, a mailbox and a turn. Everything that has a mailbox is one.
//!
//! # The argument
//!
//! **One word.** `word` holds six bits. `TURN`: somebody runs this server's handlers.
//! `WRITE`: somebody may change its state. `MAIL`: envelopes are queued. `WAITERS`: threads
//! sleep, and none that was woken is on its way. `CLOSED`: the server has ended. `RESERVED`: a
//! thread that was passed often is to have the turn next. `TURN` and `WRITE` are taken and given
//! back by compare-and-swap; the others change only under the lock of `slow`, which holds the
//! queue. So whoever takes `TURN | WRITE` while no other bit but `WAITERS` is set has passed
//! nobody's mail, and whoever gives it back by a swap that expects just those two bits has
//! left nobody asleep: a envelope or a sleeper that came meanwhile has set its bit, the swap
//! fails, and the slow way looks after it. That pair of swaps is the whole cost of a call
//! that meets nobody; an update takes `TURN` by one, `WRITE` beside it by a second, and gives both
//! back by a third (`inside.rs`).
//!
//! **Who owns what.** The holder of `TURN` decides what is handled next: only it takes
//! envelopes out (until the end). The holder of `WRITE` owns the state's writing side, for a
//! short time and without running user code. A handler holds both; a user's callback runs
//! under `TURN` alone, and asks for `WRITE` when it has decided. Whoever needs the state
//! still but not the turn (a snapshot, the end of a bucket that leaves its registry) takes
//! `WRITE` alone. `WRITE` may be waited for by the holder of `TURN`, never the other way
//! round, and its holder waits for nothing: no deadlock between the two.
//!
//! **Order (G1, G3).** Letters are numbered under the lock. A call first handles all envelopes
//! numbered before it came, itself or by waiting for the runtime where a envelope is a task (user
//! code). A cast may run at once only with the turn and no mail before it: none is queued, or it
//! has just handled what was, which it does for messages and not for many. Messages are taken out
//! together and handled in their order under one hold of `WRITE`, which is looked up from after
//! each: an end drops the rest. What is handled is told once for all of them (`finish`), as the
//! number below which nothing is left to do; each thread notes the number of its last cast at each
//! server, and a read passes the mailbox if its note is below. A cast that the end dropped, or
//! whose change it discarded, is told only when the state is closed, and who finds the server
//! closed reads nothing: so no read passes it.
//!
//! **Nothing waits for ever.** If the turn is free and envelopes are queued and the server has not
//! ended, a drain is scheduled: posting sees to it when the turn is free, giving the turn back sees
//! to it otherwise, and a drain that finds the turn taken leaves it to the holder. Where callers
//! come for tasks themselves the drain comes a moment later, and meanwhile none is scheduled anew
//! (`callers_come`); one that finds tasks nevertheless comes at once the next time. A drain that
//! comes to a task gives way to callers who came before it (`callers`): it leaves the turn free and
//! wakes them, and each takes it, or sees to the next drain as it leaves. A sleeper registers under
//! the lock, sets `WAITERS`, and looks again before it sleeps; whoever gives a bit back with
//! `WAITERS` set wakes one sleeper for it, and one that leaves by timeout passes its wake-up on.
//! While one that was woken is on its way nobody else is woken, and others may take the turn: what
//! it was woken for is then given back by somebody else, and `WAITERS` is set again, if more sleep,
//! when it has arrived; it takes the turn and wakes the next as it leaves, or sleeps again, having
//! looked. Nobody is passed for ever: a sleeper that finds the turn taken several times reserves it
//! (`RESERVED`), and until it has the turn, or leaves, nobody else takes it, by whichever way. Only
//! who waits for the turn and for no envelope reserves it, so it can take it when it is free. A
//! read that waits for its own casts waits for no bit: whoever has handled the last of them says so
//! at once (`has_done`), for it may go on to keep the turn. Who takes `WRITE` again and again, and
//! keeps it each time for longer than it takes to wake up, says so (`is_kept_long`): others sleep
//! for it at once, where who only looks again would not be seen; and between two times it waits,
//! for a while, until who was woken has come (`is_anybody_on_its_way`). Waiting in a circle is
//! refused before it begins (`deadlock.rs`).
//!
//! **The end (G4, G5, G6).** The first to come fixes the exit reason. Then, in this order,
//! and each step idempotent so that a second one who ends the server can do them too and
//! return knowing that they are done: the name goes; `CLOSED` is set and queue and monitors
//! are taken out, under the lock, so new mail and monitors are refused and no second thread
//! has them; the state is closed under `WRITE`. The one who took the queue drops it and then
//! sends the DOWNs. It needs no turn: a callback that is running finds `CLOSED` when it asks
//! for `WRITE`, so its change is discarded. A panic in a handler is caught where the handler
//! is called, and ends this server and what is linked to it.
//!
//! **Links.** A link stands in both servers, is made under both locks (taken in the order of
//! their addresses; nobody else holds two), and is taken out of both by the first end. Who
//! ends a server abnormally ends those linked to it afterwards, one by one, holding nothing.

mod any;
mod budget;
mod caller;
mod child;
mod deadlock;
mod end;
mod handle_count;
mod held;
mod inside;
mod mailbox;
mod place;
mod rights;
mod sent;
mod sleepers;
mod system;
mod tasks;
mod thread;
mod turn;

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64}; // of hints: nothing for the model to explore

use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::sync::{lock, Arc, AtomicU32, Condvar, Mutex, MutexGuard, Ordering, Weak};
use crate::time::Deadline;

pub(crate) use any::{AnyServer, Front, NamedServer};
pub(crate) use budget::{Budget, Reservation};
pub(crate) use caller::Caller;
pub use child::Restart;
pub(crate) use child::{ChildSpec, Decision, Parent, Place, RestartPolicy};
pub(crate) use deadlock::Edge;
use deadlock::Waitable;
use end::Ties;
pub(crate) use end::{Ended, Monitor};
pub(crate) use handle_count::HandleCount;
pub(crate) use held::{forget_ticket, held_tickets, hold, hold_ticket, Held, Open, Tickets};
pub(crate) use inside::{Inside, LentTurn, OpenTurn, Turn};
use mailbox::{Body, Envelope};
pub(crate) use place::{TurnPlace, Worked};
pub(crate) use rights::{Exclusive, Writing};
use sent::{LastSent, Progress};
use sleepers::{For, Sleepers};
pub(crate) use system::System;
pub(crate) use tasks::Next;
#[cfg(test)]
#[allow(unused_imports)] // the model's scenarios use it
pub(crate) use thread::abort_open;
use thread::TurnOwner;
pub(crate) use thread::{Lasts, StillInside, Thread, PER_THREAD};
use turn::{Goal, Patience, Until};

const TURN: u32 = 1;
const WRITE: u32 = 2;
const MAIL: u32 = 4;
const WAITERS: u32 = 8;
const CLOSED: u32 = 16;
const RESERVED: u32 = 32;

/// What a server is about. Changes need [`Writing`]; reads that need no exclusion are the
/// state's own affair.
///
/// # Safety
/// `exclusive` answers a part of this state, always the same, that no other state has.
pub(crate) unsafe trait State: Sized + Send + Sync + 'static {
    /// What one thread at a time may change.
    type Exclusive;

    /// A cast or an info that kvreg's own code handles.
    type Message: Send + 'static;
    /// A cast that runs user code, and so only on the runtime's blocking pool.
    type Task: Send + 'static;

    /// Handles a cast or an info. An error means that it changed nothing.
    fn handle(
        server: &Arc<Server<Self>>,
        write: &Writing<'_, Self>,
        message: Self::Message,
    ) -> Result<(), Error>;

    /// A message is about to be queued: it may be refused, or counted until it is handled.
    fn queue(_server: &Server<Self>, _message: &mut Self::Message) -> Result<(), Error> {
        Ok(())
    }

    /// A message that kvreg sends itself: it counts neither for the limit nor as handled.
    fn is_errand(_message: &Self::Message) -> bool {
        false
    }

    /// The state may have been changed, and the right to write is about to be given back by the
    /// long way. Short, and waits for nothing.
    fn settle(_server: &Arc<Server<Self>>, _write: &Writing<'_, Self>) {}

    /// A message that nobody waits for was refused when it was handled.
    fn refused(server: &Arc<Server<Self>>, error: &Error);

    /// How many envelopes may wait.
    fn mailbox_limit(&self) -> usize;

    /// Runs a task, which leaves the turn by dropping it.
    fn run(turn: Turn<Self>, task: Self::Task);

    /// Whether the runtime runs tasks, or whoever takes the turn with the mail.
    fn are_tasks_drained(&self) -> bool {
        true
    }

    /// Tasks wait that nobody drains, and nobody has the turn. Called under the lock: short, and
    /// waits for nothing.
    fn mail_waits(&self) {}

    /// Whether who takes the turn with the mail may run this task, or waits for the runtime.
    fn is_for_callers(&self, _task: &Self::Task) -> bool {
        true
    }

    /// Whether the limit of the mailbox does not concern this task.
    fn is_unlimited(_task: &Self::Task) -> bool {
        false
    }

    /// The server has ended, and nobody is inside it any more. Called once.
    fn vacated(_server: &Server<Self>) {}

    /// Calls may have to wait for other machines.
    fn waits_long(_server: &Server<Self>) -> bool {
        false
    }

    /// Its name stands: it was started again in the place of another.
    fn started_again(_server: &Arc<Server<Self>>) {}

    /// Whether it wants to be told before it ends.
    fn wants_end(&self) -> bool {
        false
    }

    /// Has it told that it is to end in good order; `false` if it does not want to know.
    fn begin_end(_server: &Arc<Server<Self>>, _exit: &Exit) -> bool {
        false
    }

    /// Waits for an end that `begin_end` began, for so long at most; then kills it.
    fn finish_begun_end(_server: &Arc<Server<Self>>, _deadline: &Deadline) {}

    /// How many handles lead to it, if it is to know when there is none.
    fn handles(&self) -> Option<&HandleCount> {
        None
    }

    /// It has no name, and its last handle went. Must not block.
    fn unreachable(_server: &Arc<Server<Self>>) {}

    /// Where its parent put it, if it has one.
    fn place(&self) -> Option<&Place> {
        None
    }

    /// Makes the server unreachable in other ways than by its place. Called first when it ends;
    /// may be called again.
    fn unregister(_server: &Arc<Server<Self>>, _reason: Reason) {}

    /// Called once no mail is taken any more; may be called again.
    fn closed(_server: &Arc<Server<Self>>, _reason: Reason) {}

    /// What one thread at a time may change.
    fn exclusive(&self) -> &Self::Exclusive;

    /// Gives up what the state holds, and makes its readers answer `NoProcess`; counts the
    /// server out. May be called again.
    fn close(write: &Writing<'_, Self>);

    /// Called once, before the DOWNs are sent.
    fn ended(server: &Arc<Server<Self>>, exit: &Exit);

    /// What a DOWN calls this server.
    fn name(&self) -> Option<&str>;

    /// Keys, and bytes of keys and values, of what it holds.
    fn size(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// See the module's documentation.
pub(crate) struct Server<S: State> {
    word: AtomicU32,
    turn_owner: TurnOwner,
    slow: Mutex<Slow<S>>,
    turn_free: Condvar,
    write_free: Condvar,
    system: &'static System,
    /// Who has `WRITE` keeps it for longer than it takes to wake up.
    is_kept_long: AtomicBool,
    /// Callers came for the tasks that waited last: a hint that they will again.
    callers_come: AtomicBool,
    /// Counted by the holder of `TURN`: for information, not for order.
    handled: AtomicU64,
    /// For the drains it schedules.
    itself: Weak<Server<S>>,
    state: S,
}

/// What is looked at under a lock, when the word alone does not decide.
struct Slow<S: State> {
    queue: VecDeque<Envelope<S>>,
    /// So many of them are errands.
    errands: usize,
    /// Places of envelopes that will come: there is room for them.
    kept: usize,
    /// The number of the next envelope.
    next: u64,
    /// All envelopes numbered below are handled.
    done: u64,
    /// The same, for those who sent them.
    progress: Option<Arc<Progress>>,
    /// The sender of the envelopes that are being handled, or `SENDERS`, and the last one's number;
    /// 0 if none is.
    handling: (u64, u64),
    drain_scheduled: bool,
    /// Of each caller on the long way: the envelopes numbered below come before it.
    callers: Vec<u64>,
    /// Callers on the long way who wait for envelopes to be handled, not for the turn.
    cast_waiters: Vec<CastWaiter>,
    for_turn: Sleepers,
    for_write: Sleepers,
    ties: Ties,
    exit: Option<Arc<Exit>>,
    closed: bool,
}

/// Waits until the envelopes numbered below `limit` are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CastWaiter {
    limit: u64,
    /// Its thread, if that holds a turn elsewhere: so it may be part of a circle. Else 0.
    inside: u64,
}

impl<S: State> Server<S> {
    pub(crate) fn start(system: &'static System, state: S) -> Arc<Server<S>> {
        Server::start_with(system, 0, state)
    }

    fn start_with(system: &'static System, word: u32, state: S) -> Arc<Server<S>> {
        Arc::new_cyclic(|itself| Server {
            word: AtomicU32::new(word),
            turn_owner: TurnOwner::nobody(),
            slow: Mutex::new(Slow {
                queue: VecDeque::new(),
                errands: 0,
                kept: 0,
                next: 1,
                done: 1,
                progress: None,
                handling: (0, 0),
                drain_scheduled: false,
                callers: Vec::new(),
                cast_waiters: Vec::new(),
                for_turn: Sleepers::default(),
                for_write: Sleepers::default(),
                ties: Ties::default(),
                exit: None,
                closed: false,
            }),
            turn_free: Condvar::new(),
            write_free: Condvar::new(),
            system,
            is_kept_long: AtomicBool::new(false),
            callers_come: AtomicBool::new(false),
            handled: AtomicU64::new(0),
            itself: Weak::clone(itself),
            state,
        })
    }

    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    pub(crate) fn system(&self) -> &'static System {
        self.system
    }

    /// The server as one of any kind.
    pub(crate) fn as_any(self: &Arc<Self>) -> Arc<dyn AnyServer> {
        Arc::clone(self) as _
    }

    fn lock(&self) -> MutexGuard<'_, Slow<S>> {
        lock(&self.slow)
    }

    /// A call: `work` runs on the calling thread, after all mail that came before, with the
    /// state to itself. Blocks for its turn at most for the caller's timeout.
    pub(crate) fn call<R>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        work: impl FnOnce(&Writing<'_, S>) -> R,
    ) -> Result<R, Error> {
        if !self.try_enter(Patience::of(caller)) {
            self.enter(caller, Goal::Turn)?;
            if let Err(refused) = self.lock_write(Until::Deadline(caller.begin_blocking())) {
                self.release(TURN);
                return Err(match refused {
                    Error::ServerDown => self.finish_end(refused),
                    refused => refused,
                });
            }
        }
        self.handle_now(|_, write| work(write))
            .ok_or(Error::ServerDown)
    }

    /// A cast: handled at once if nobody is in the way, else queued. Never blocks.
    pub(crate) fn cast(self: &Arc<Self>, message: S::Message) -> Result<(), Error> {
        if self.enter_at_once() {
            let handled = self.handle_now(|server, write| S::handle(server, write, message));
            // A crash is the server's affair: a cast has no reply.
            return handled.unwrap_or(Ok(()));
        }
        self.queue(message)
    }

    /// As `cast`, of what can be done without a message: one is made if it has to be queued.
    pub(crate) fn cast_or_queue(
        self: &Arc<Self>,
        work: impl FnOnce(&Writing<'_, S>) -> Result<(), Error>,
        message: impl FnOnce() -> Result<S::Message, Error>,
    ) -> Result<(), Error> {
        if self.enter_at_once() {
            return self.handle_now(|_, write| work(write)).unwrap_or(Ok(()));
        }
        self.queue(message()?)
    }

    fn queue(self: &Arc<Self>, mut message: S::Message) -> Result<(), Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        S::queue(self, &mut message)?;
        self.post(Body::Message(message), true)
    }

    /// A cast that runs user code: always queued, run by the runtime. Never blocks.
    pub(crate) fn cast_task(self: &Arc<Self>, task: S::Task) -> Result<(), Error> {
        self.post(Body::Task(task), true)
    }

    /// As `cast_task`, of what no read of this thread waits for.
    pub(crate) fn request_task(self: &Arc<Self>, task: S::Task) -> Result<(), Error> {
        self.post(Body::Task(task), false)
    }

    /// Runs kvreg's own work with the turn, if it can be had at once; else `None`.
    pub(crate) fn run_errand<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &Writing<'_, S>) -> R,
    ) -> Option<R> {
        match self.enter_at_once() {
            true => self.run_now(work),
            false => None,
        }
    }

    /// Queues an errand.
    pub(crate) fn post_errand(self: &Arc<Self>, message: S::Message) -> Result<(), Error> {
        self.post(Body::Message(message), false)
    }

    /// Runs kvreg's own code with `TURN | WRITE`, and gives both back; `None` if it panicked,
    /// which ended the server.
    fn handle_now<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &Writing<'_, S>) -> R,
    ) -> Option<R> {
        self.count_handled();
        self.run_now(work)
    }

    /// As `handle_now`, of what is no message.
    fn run_now<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &Writing<'_, S>) -> R,
    ) -> Option<R> {
        // SAFETY: `WRITE` was taken for this, and is given back below.
        let write = unsafe { Writing::new(self) };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let answer = work(self, &write);
            S::settle(self, &write);
            answer
        }));
        match result {
            Ok(answer) => {
                self.release(TURN | WRITE);
                Some(answer)
            }
            Err(_) => {
                self.release_write();
                self.end_inside(Exit::new(Reason::Crashed, "a handler panicked"));
                self.release(TURN);
                None
            }
        }
    }

    /// Lets a read pass: waits, as a call does, if casts of the calling thread are queued
    /// here. From inside this server's own callback it passes always.
    #[inline]
    pub(crate) fn await_own_casts(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        match Thread::has_queued() {
            false => Ok(()),
            true => self.await_queued_casts(caller),
        }
    }

    #[cold]
    fn await_queued_casts(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if self.is_occupied_by_caller() {
            return Ok(());
        }
        let last = Thread::last_sent(std::ptr::from_ref(&**self).addr());
        if let LastSent::None = last {
            return Ok(());
        }
        let (is_closed, own) = {
            let slow = self.lock();
            let own = match last {
                LastSent::Number(number) => Some(number),
                _ => slow.last_of(Thread::id()),
            };
            (slow.closed, own)
        };
        match own {
            // Its cast may be among those that were taken out to be dropped.
            _ if is_closed => {
                caller.unpin(); // to finish the end may run user code
                Err(self.finish_end(Error::NoProcess))
            }
            None => Ok(()),
            Some(own) => self.enter(caller, Goal::Handled(own)).map(|_| ()),
        }
    }

    /// Runs `work` on a state that nobody changes meanwhile, without waiting for the turn: a
    /// callback may be running. Blocks only for the work of others like it.
    pub(crate) fn with_write_lock<R>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        work: impl FnOnce(&Writing<'_, S>) -> R,
    ) -> Result<R, Error> {
        self.with_write_lock_until(Until::Deadline(caller.begin_blocking()), work)
    }

    /// As `with_write_lock`, with a deadline of its own.
    pub(crate) fn with_write_lock_before<R>(
        self: &Arc<Self>,
        deadline: Deadline,
        work: impl FnOnce(&Writing<'_, S>) -> R,
    ) -> Result<R, Error> {
        self.with_write_lock_until(Until::Deadline(deadline), work)
    }

    fn with_write_lock_until<R>(
        self: &Arc<Self>,
        until: Until,
        work: impl FnOnce(&Writing<'_, S>) -> R,
    ) -> Result<R, Error> {
        match self.lock_write(until) {
            Ok(()) => {}
            Err(Error::ServerDown) => return Err(self.finish_end(Error::NoProcess)),
            Err(refused) => return Err(refused),
        }
        let unlock = Unlock(self);
        // SAFETY: `WRITE` was just taken, and `unlock` gives it back.
        let write = unsafe { Writing::new(self) };
        let answer = work(&write);
        S::settle(self, &write);
        drop(unlock);
        Ok(answer)
    }

    /// Runs `work` on a state that nobody changes meanwhile, of a server that may have ended: how a
    /// bucket leaves its registry.
    pub(crate) fn with_write_lock_even_ended<R>(
        &self,
        work: impl FnOnce(&Writing<'_, S>) -> R,
    ) -> R {
        // Never refused: neither by time nor by the end.
        let _ = self.lock_write(Until::Anyway);
        let unlock = Unlock(self);
        // SAFETY: `WRITE` was just taken, and `unlock` gives it back.
        let answer = work(&unsafe { Writing::new(self) });
        drop(unlock);
        answer
    }

    /// Whether user code of the calling thread has the turn.
    pub(crate) fn is_occupied_by_caller(&self) -> bool {
        Thread::holds_a_turn() && self.turn_owner.get() == Thread::id()
    }

    /// Whether the turn is with user code of the calling thread, or of a thread that waits for the
    /// calling one, through whatever others.
    pub(crate) fn would_wait_for_caller(&self) -> bool {
        Thread::holds_a_turn() && self.system.wait_graph().would_close(Thread::id(), self)
    }

    /// Whether somebody has the turn.
    pub(crate) fn has_turn_taken(&self) -> bool {
        self.word.load(Ordering::Relaxed) & TURN != 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Called with `TURN`.
    #[inline]
    pub(crate) fn count_handled(&self) {
        let handled = self.handled.load(Ordering::Relaxed);
        self.handled.store(handled + 1, Ordering::Relaxed);
    }

    /// How many messages it has handled: calls, casts, infos and updates, not plain reads.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// How many envelopes wait.
    pub(crate) fn mailbox_len(&self) -> usize {
        let slow = self.lock();
        slow.queue.len().saturating_sub(slow.errands) // an end takes the queue alone
    }

    /// Why it ends: known from the first step of its end on.
    pub(crate) fn exit_reason(&self) -> Option<Reason> {
        self.lock().exit.as_ref().map(|exit| exit.reason)
    }
}

/// Gives `WRITE` back, on unwinding too.
struct Unlock<'a, S: State>(&'a Server<S>);

impl<S: State> Drop for Unlock<'_, S> {
    fn drop(&mut self) {
        self.0.release_write();
    }
}

impl<S: State> Waitable for Server<S> {
    fn turn_owner(&self) -> u64 {
        self.turn_owner.get()
    }
}
