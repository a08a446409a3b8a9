//! The server core: a state, a mailbox and a turn. Everything that has a mailbox is one.
//!
//! # The argument
//!
//! **One word.** `word` holds five bits. `TURN`: somebody runs this server's handlers.
//! `WRITE`: somebody may change its state. `MAIL`: letters are queued. `WAITERS`: threads
//! sleep. `CLOSED`: the server has ended. `TURN` and `WRITE` are taken and given back by
//! compare-and-swap; the other three change only under the lock of `slow`, which holds the
//! queue. So whoever takes `TURN | WRITE` while no other bit but `WAITERS` is set has passed
//! nobody's mail, and whoever gives it back by a swap that expects just those two bits has
//! left nobody asleep: a letter or a sleeper that came meanwhile has set its bit, the swap
//! fails, and the slow way looks after it. That pair of swaps is the whole cost of a call
//! that meets nobody.
//!
//! **Who owns what.** The holder of `TURN` decides what is handled next: only it takes
//! letters out (until the end). The holder of `WRITE` owns the state's writing side, for a
//! short time and without running user code. A handler holds both; a user's callback runs
//! under `TURN` alone, and asks for `WRITE` when it has decided. Whoever needs the state
//! still but not the turn (a snapshot, the end of a bucket that leaves its registry) takes
//! `WRITE` alone. `WRITE` may be waited for by the holder of `TURN`, never the other way
//! round, and its holder waits for nothing: no deadlock between the two.
//!
//! **Order (G1, G3).** Letters are numbered under the lock. A call first handles all letters
//! numbered before it came, itself or by waiting for the runtime where a letter is a task
//! (user code). A cast may run at once only if it takes the turn the short way, that is with
//! no mail before it. A thread's own casts are counted at the thread; a read passes the
//! mailbox only when that count, or a look at the queue, says that nothing of its own is here.
//! A cast that the end dropped, or whose change it discarded, is counted until the state is
//! closed (`settles`), and who finds the server closed reads nothing: so no read passes it.
//!
//! **Nothing waits for ever.** If the turn is free and letters are queued and the server has
//! not ended, a drain is scheduled: posting sees to it when the turn is free, giving the turn
//! back sees to it otherwise, and a drain that finds the turn taken leaves it to the holder.
//! A drain that comes to a task gives way to callers who came before it (`limits`): it leaves
//! the turn free and wakes them, and each takes it, or sees to the next drain as it leaves.
//! A sleeper registers under the lock, sets `WAITERS`, and looks again before it sleeps;
//! whoever gives a bit back with `WAITERS` set wakes one sleeper for it, and one that leaves
//! by timeout passes its wake-up on. A read that waits for its own casts waits for no bit:
//! whoever has handled the last of them says so at once (`handles`), for it may go on to keep
//! the turn. Waiting in a circle is refused before it begins (`circle.rs`).
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

mod end;
mod mailbox;
mod turn;

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::AtomicU64;

use crate::caller::Caller;
use crate::circle::Occupied;
use crate::error::Error;
use crate::process::Process;
use crate::reason::{Exit, Reason};
use crate::sync::{lock, Arc, AtomicU32, Condvar, Mutex, MutexGuard, Ordering, Weak};
use crate::thread::{Lasts, Occupant, Thread};

pub(crate) use end::Watcher;
use mailbox::{Body, Letter};
pub(crate) use turn::Turn;
use turn::{Goal, Until};

const TURN: u32 = 1;
const WRITE: u32 = 2;
const MAIL: u32 = 4;
const WAITERS: u32 = 8;
const CLOSED: u32 = 16;

/// What a server is about. Changes need [`Write`]; reads that need no exclusion are the
/// state's own affair.
pub(crate) trait State: Sized + Send + Sync + 'static {
    /// A cast or an info that kvreg's own code handles.
    type Message: Send + 'static;
    /// A cast that runs user code, and so only on the runtime's blocking pool.
    type Task: Send + 'static;

    /// Handles a cast or an info. An error means that it changed nothing.
    fn handle(
        server: &Arc<Server<Self>>,
        write: &Write<'_>,
        message: Self::Message,
    ) -> Result<(), Error>;

    /// A message is about to be queued: it may be refused, or counted until it is handled.
    fn queue(_server: &Server<Self>, _message: &mut Self::Message) -> Result<(), Error> {
        Ok(())
    }

    /// A message that nobody waits for was refused when it was handled.
    fn refused(server: &Arc<Server<Self>>, error: &Error);

    /// How many letters may wait.
    fn mailbox_limit(&self) -> usize;

    /// Runs a task, which leaves the turn by dropping it.
    fn run(turn: Turn<Self>, task: Self::Task);

    /// Makes the server unreachable by name. Called first when it ends; may be called again.
    fn unregister(server: &Arc<Server<Self>>, reason: Reason);

    /// Called once no mail is taken any more; may be called again.
    fn closed(_server: &Arc<Server<Self>>, _reason: Reason) {}

    /// Gives up what the state holds, and makes its readers answer `NoProcess`; counts the
    /// server out. May be called again.
    fn close(server: &Server<Self>, write: &Write<'_>);

    /// Called once, before the DOWNs are sent.
    fn ended(server: &Arc<Server<Self>>, exit: &Exit);

    /// What a DOWN calls this server.
    fn name(&self) -> Option<&str>;
}

/// Proof that the calling thread may change the state: it holds `WRITE` of its server.
pub(crate) struct Write<'a>(PhantomData<&'a mut ()>);

/// See the module's documentation.
pub(crate) struct Server<S: State> {
    word: AtomicU32,
    occupant: Occupant,
    slow: Mutex<Slow<S>>,
    turn_free: Condvar,
    write_free: Condvar,
    process: &'static Process,
    /// Counted by the holder of `TURN`: for information, not for order.
    handled: AtomicU64,
    /// For the drains it schedules.
    itself: Weak<Server<S>>,
    state: S,
}

/// What is looked at under a lock, when the word alone does not settle it.
struct Slow<S: State> {
    queue: VecDeque<Letter<S>>,
    /// The number of the next letter.
    next: u64,
    /// The sender of the letter that is being handled, and its number; 0 if none is.
    handling: (u64, u64),
    drain_scheduled: bool,
    /// Of each caller on the long way: the letters numbered below come before it.
    limits: Vec<u64>,
    /// Callers on the long way who wait for letters to be handled, not for the turn.
    readers: Vec<Reader>,
    for_turn: Sleepers,
    for_write: Sleepers,
    monitors: BTreeMap<u64, Arc<dyn Watcher>>,
    /// By the address of the other end, which its `Weak` keeps from being used again.
    links: BTreeMap<usize, Weak<Server<S>>>,
    exit: Option<Arc<Exit>>,
    closed: bool,
}

/// Waits until the letters numbered below `limit` are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reader {
    limit: u64,
    /// Its thread, if that holds a turn elsewhere: so it may be part of a circle. Else 0.
    inside: u64,
}

/// How many threads sleep for something and how many wake-ups are on their way to them.
#[derive(Default)]
struct Sleepers {
    asleep: usize,
    woken: usize,
}

impl<S: State> Server<S> {
    pub(crate) fn start(process: &'static Process, state: S) -> Arc<Server<S>> {
        Arc::new_cyclic(|itself| Server {
            word: AtomicU32::new(0),
            occupant: Occupant::nobody(),
            slow: Mutex::new(Slow {
                queue: VecDeque::new(),
                next: 1,
                handling: (0, 0),
                drain_scheduled: false,
                limits: Vec::new(),
                readers: Vec::new(),
                for_turn: Sleepers::default(),
                for_write: Sleepers::default(),
                monitors: BTreeMap::new(),
                links: BTreeMap::new(),
                exit: None,
                closed: false,
            }),
            turn_free: Condvar::new(),
            write_free: Condvar::new(),
            process,
            handled: AtomicU64::new(0),
            itself: Weak::clone(itself),
            state,
        })
    }

    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    pub(crate) fn process(&self) -> &'static Process {
        self.process
    }

    fn lock(&self) -> MutexGuard<'_, Slow<S>> {
        lock(&self.slow)
    }

    /// A call: `work` runs on the calling thread, after all mail that came before, with the
    /// state to itself. Blocks for its turn at most for the caller's timeout.
    pub(crate) fn call<R>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        work: impl FnOnce(&S, &Write<'_>) -> R,
    ) -> Result<R, Error> {
        if !self.try_enter() {
            self.enter(caller, Goal::Turn)?;
            if let Err(refused) = self.lock_write(Until::Deadline(caller.settle_in())) {
                self.release(TURN);
                return Err(match refused {
                    Error::ServerDown => self.gone(refused),
                    refused => refused,
                });
            }
        }
        self.handle_now(|server, write| work(&server.state, write))
            .ok_or(Error::ServerDown)
    }

    /// A cast: handled at once if nobody is in the way, else queued. Never blocks.
    pub(crate) fn cast(self: &Arc<Self>, mut message: S::Message) -> Result<(), Error> {
        if self.try_enter() {
            let handled = self.handle_now(|server, write| S::handle(server, write, message));
            // A crash is the server's affair: a cast has no reply.
            return handled.unwrap_or(Ok(()));
        }
        if self.has_ended() {
            return Err(self.gone(Error::NoProcess));
        }
        S::queue(self, &mut message)?;
        self.post(Body::Message(message))
    }

    /// A cast that runs user code: always queued, run by the runtime. Never blocks.
    pub(crate) fn cast_task(self: &Arc<Self>, task: S::Task) -> Result<(), Error> {
        self.post(Body::Task(task))
    }

    /// Runs kvreg's own code with `TURN | WRITE`, and gives both back; `None` if it panicked,
    /// which ended the server.
    fn handle_now<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &Write<'_>) -> R,
    ) -> Option<R> {
        self.count_handled();
        let result = catch_unwind(AssertUnwindSafe(|| work(self, &Write(PhantomData))));
        match result {
            Ok(answer) => {
                self.release(TURN | WRITE);
                Some(answer)
            }
            Err(_) => {
                self.release(WRITE);
                self.end_inside(Exit::new(Reason::Crashed, "a handler panicked"));
                self.release(TURN);
                None
            }
        }
    }

    /// Takes the turn for user code: a callback, or what stands between `update_begin` and
    /// `update_end`. Blocks like a call.
    pub(crate) fn occupy(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        lasts: Lasts,
    ) -> Result<Turn<S>, Error> {
        if let Err(refused) = Thread::may_hold_another(lasts) {
            caller.let_go(); // to finish an end may take a while
            return Err(self.refusal(refused));
        }
        // By the slow way at once: the caller has to let go before user code runs.
        self.enter(caller, Goal::Turn)?;
        self.count_handled();
        Ok(Turn::taken(Arc::clone(self)))
    }

    /// What comes before a refusal that the server is not asked about.
    #[cold]
    fn refusal(self: &Arc<Self>, refused: Error) -> Error {
        if self.has_ended() {
            return self.gone(Error::NoProcess);
        }
        match self.would_wait_for_caller() {
            true => Error::CallingSelf,
            false => refused,
        }
    }

    /// Lets a read pass: waits, as a call does, if casts of the calling thread are queued
    /// here. From inside this server's own callback it passes always.
    #[inline]
    pub(crate) fn settle(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        match Thread::has_queued() {
            false => Ok(()),
            true => self.settle_own(caller),
        }
    }

    #[cold]
    fn settle_own(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if self.is_occupied_by_caller() {
            return Ok(());
        }
        let (is_closed, own) = {
            let slow = self.lock();
            (slow.closed, slow.last_of(Thread::id()))
        };
        match own {
            // Its cast may be among those that were taken out to be dropped.
            _ if is_closed => {
                caller.let_go(); // to finish the end may run user code
                Err(self.gone(Error::NoProcess))
            }
            None => Ok(()),
            Some(own) => self.enter(caller, Goal::Handled(own)),
        }
    }

    /// Runs `work` on a state that nobody changes meanwhile, without waiting for the turn: a
    /// callback may be running. Blocks only for the work of others like it.
    pub(crate) fn still<R>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        work: impl FnOnce(&S, &Write<'_>) -> R,
    ) -> Result<R, Error> {
        self.still_until(Until::Deadline(caller.settle_in()), work)
    }

    fn still_until<R>(
        self: &Arc<Self>,
        until: Until,
        work: impl FnOnce(&S, &Write<'_>) -> R,
    ) -> Result<R, Error> {
        match self.lock_write(until) {
            Ok(()) => {}
            Err(Error::ServerDown) => return Err(self.gone(Error::NoProcess)),
            Err(refused) => return Err(refused),
        }
        let unlock = Unlock(self);
        let answer = work(&self.state, &Write(PhantomData));
        drop(unlock);
        Ok(answer)
    }

    /// The same on a server that may have ended: how a bucket leaves its registry.
    pub(crate) fn still_anyway<R>(&self, work: impl FnOnce(&S, &Write<'_>) -> R) -> R {
        // Never refused: neither by time nor by the end.
        let _ = self.lock_write(Until::Anyway);
        let unlock = Unlock(self);
        let answer = work(&self.state, &Write(PhantomData));
        drop(unlock);
        answer
    }

    /// Whether user code of the calling thread has the turn.
    pub(crate) fn is_occupied_by_caller(&self) -> bool {
        Thread::holds_a_turn() && self.occupant.get() == Thread::id()
    }

    /// The same, or of a thread that waits for the calling one, through whatever others.
    pub(crate) fn would_wait_for_caller(&self) -> bool {
        Thread::holds_a_turn() && self.process.circles().would_close(Thread::id(), self)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Called with `TURN`.
    #[inline]
    fn count_handled(&self) {
        let handled = self.handled.load(Ordering::Relaxed);
        self.handled.store(handled + 1, Ordering::Relaxed);
    }

    /// How many messages it has handled: calls, casts, infos and updates, not plain reads.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// How many letters wait.
    pub(crate) fn mailbox_len(&self) -> usize {
        self.lock().queue.len()
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
        self.0.release(WRITE);
    }
}

impl<S: State> Occupied for Server<S> {
    fn occupant(&self) -> u64 {
        self.occupant.get()
    }
}
