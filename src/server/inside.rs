//! Turns that user code has: a callback's, and what stands between `update_begin` and
//! `update_end`.
//!
//! # The argument
//!
//! User code runs under `TURN` alone, and mostly holds a count of the server. It asks for `WRITE`
//! when it has decided. The short way does that by one swap that expects `TURN` and nothing else,
//! so that it meets neither a snapshot nor the end of the server, changes the state, and gives both
//! bits back at once. If the swap fails, nothing was done, and the long way (`commit`) is open as
//! before.
//!
//! A [`LentTurn`], and a turn that was taken by `fast_occupy_kept`, have no count: their server is
//! one that keeps itself as long as somebody has its turn, and gives that up when it has ended and
//! its turn is free (`vacated`). What is left to do when the turn was given back, because others are
//! concerned, is done with a count that was taken before. Who took the turn first and then looks
//! finds a server that has not ended, so that was not vacated.
//!
//! A [`Turn`] is counted by its thread, which it never leaves. An [`OpenTurn`] outlasts the call that
//! took it and may be given back by any thread: who has it tells its thread (`held.rs`).

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

use super::turn::Patience;
use super::{Caller, Goal, Lasts, Server, State, Thread, Until, Writing, TURN, WRITE};
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::sync::{Arc, Ordering};

impl<S: State> Server<S> {
    /// Takes the turn for user code. Blocks like a call.
    pub(crate) fn occupy(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        lasts: Lasts,
    ) -> Result<Turn<S>, Error> {
        if let Err(refused) = Thread::may_hold_another(lasts) {
            caller.unpin(); // to finish an end may take a while
            return Err(self.refusal(refused));
        }
        if !self.try_occupy(Patience::of(caller)) {
            self.enter(caller, Goal::Turn)?;
        }
        caller.unpin(); // the caller has to let go before user code runs
        self.count_handled();
        Ok(Turn::taken(Arc::clone(self)))
    }

    /// Takes `TURN` for user code, by the short way, and tells the calling thread, whose number this
    /// is.
    #[inline(always)]
    fn fast_take_turn(&self, lasts: Lasts) -> Option<u64> {
        if !self.try_occupy(Patience::Glance) {
            return None;
        }
        let Some(thread) = Thread::fast_enters_call(lasts) else {
            if !self.fast_release(TURN) {
                self.release_contained(TURN);
            }
            return None;
        };
        self.count_handled();
        Some(thread)
    }

    /// As `occupy`, by the short way: `None` if somebody is in the way. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_occupy(self: &Arc<Self>, lasts: Lasts) -> Option<Turn<S>> {
        let thread = self.fast_take_turn(lasts)?;
        Some(Turn::of(thread, Arc::clone(self), TURN))
    }

    /// As `fast_occupy`, without a count.
    ///
    /// # Safety
    /// The server is kept until it is vacated.
    #[inline(always)]
    pub(crate) unsafe fn fast_occupy_kept(self: &Arc<Self>, lasts: Lasts) -> Option<Turn<S>> {
        let thread = self.fast_take_turn(lasts)?;
        // SAFETY: not dropped, by contract there as long as the turn is held.
        let mut turn = Turn::of(thread, unsafe { ptr::read(self) }, TURN);
        turn.inside.is_counted = false;
        Some(turn)
    }

    /// What comes before a refusal that the server is not asked about.
    #[cold]
    pub(super) fn refusal(self: &Arc<Self>, refused: Error) -> Error {
        if self.has_ended() {
            return self.finish_end(Error::NoProcess);
        }
        match self.would_wait_for_caller() {
            true => Error::CallingSelf,
            false => refused,
        }
    }
}

impl<S: State> Server<S> {
    /// As `fast_occupy`, for a call, and without a count. Does not panic.
    ///
    /// # Safety
    /// The server is kept until it is vacated.
    #[inline(always)]
    pub(crate) unsafe fn fast_occupy_lent(self: &Arc<Self>) -> Option<LentTurn<S>> {
        let thread = self.fast_take_turn(Lasts::Call)?;
        self.turn_owner.set(thread);
        // SAFETY: never dropped, and by contract there as long as the turn is held.
        let server = ManuallyDrop::new(unsafe { ptr::read(self) });
        Some(LentTurn {
            server,
            thread: PhantomData,
        })
    }
}

/// A turn that a call has, of a server that keeps itself meanwhile.
pub(crate) struct LentTurn<S: State> {
    server: ManuallyDrop<Arc<Server<S>>>,
    /// Not to be sent to another thread.
    thread: PhantomData<*const ()>,
}

impl<S: State> LentTurn<S> {
    #[inline(always)]
    pub(crate) fn server(&self) -> &Arc<Server<S>> {
        &self.server
    }

    /// Whether there is nothing to do but to leave.
    #[inline(always)]
    pub(crate) fn fast_keep(&self) -> bool {
        self.server.system.is_current() && self.server.word.load(Ordering::Acquire) == TURN
    }

    /// The same turn, with a count.
    pub(crate) fn counted(self) -> Turn<S> {
        let lent = ManuallyDrop::new(self);
        let server = Arc::clone(&lent.server);
        Turn {
            inside: Inside::new(server, TURN),
            thread: PhantomData,
        }
    }
}

impl<S: State> Drop for LentTurn<S> {
    #[inline(always)]
    fn drop(&mut self) {
        let server = &*self.server;
        if !server.system.is_current() {
            return; // it stayed with the parent
        }
        server.turn_owner.set(0);
        Thread::leaves_call();
        if !server.fast_release(TURN) {
            // From here on others may free it.
            let counted = Arc::clone(server);
            counted.release_contained(TURN);
        }
    }
}

/// The calling thread is inside a server with user code.
pub(crate) struct Inside<S: State> {
    server: ManuallyDrop<Arc<Server<S>>>,
    /// It has a count of the server, which else keeps itself.
    is_counted: bool,
    /// What is given back: `TURN`, or nothing if a drain has it and goes on with it afterwards.
    bits: Cell<u32>,
}

impl<S: State> Inside<S> {
    #[inline(always)]
    fn new(server: Arc<Server<S>>, bits: u32) -> Inside<S> {
        Inside {
            server: ManuallyDrop::new(server),
            is_counted: true,
            bits: Cell::new(bits),
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server<S>> {
        &self.server
    }

    /// Changes the state; refused if the server ended meanwhile. Blocks only for snapshots.
    pub(crate) fn commit<R>(&self, work: impl FnOnce(&Writing<'_, S>) -> R) -> Result<R, Error> {
        debug_assert_eq!(self.bits.get() & WRITE, 0, "it has ended by the short way");
        if !self.server.system.is_current() {
            return Err(Error::Forked); // the user code forked, and this is the child
        }
        let done = self.server.with_write_lock_until(Until::Closed, work);
        done.map_err(|_| Error::ServerDown)
    }

    /// Ends the server from inside: its user code said so, or panicked.
    pub(crate) fn crash(&self, detail: &str) -> Error {
        if !self.server.system.is_current() {
            return Error::Forked;
        }
        self.server.end(Exit::new(Reason::Crashed, detail));
        Error::ServerDown
    }

    /// Ends what changed nothing by the short way: to be dropped then. `false` if somebody is in
    /// the way.
    #[inline(always)]
    pub(crate) fn fast_keep(&self) -> bool {
        self.server.system.is_current() && self.server.word.load(Ordering::Acquire) == TURN
    }

    /// The right to write, by the short way: `None` if somebody is in the way.
    #[inline(always)]
    pub(crate) fn fast_commit(&self) -> Option<FastCommit<'_, S>> {
        let server = &*self.server;
        if !server.system.is_current() || self.bits.get() != TURN {
            return None;
        }
        let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
        let word = &server.word;
        match word.compare_exchange(TURN, TURN | WRITE, order, failed) {
            Ok(_) => Some(FastCommit(self)),
            Err(_) => None,
        }
    }

    /// Gives the turn back; `uncount` is to say that the thread holds it no more. The server, if
    /// others were concerned.
    #[inline(always)]
    fn leave(&self, uncount: impl FnOnce()) -> Option<Arc<Server<S>>> {
        if !self.server.system.is_current() {
            return None; // it stayed with the parent
        }
        self.server.turn_owner.set(0);
        uncount();
        let bits = self.bits.get();
        if bits == 0 || self.server.fast_release(bits) {
            return None;
        }
        // From here on others may free it.
        let server = Arc::clone(&self.server);
        server.release_contained(bits);
        Some(server)
    }
}

impl<S: State> Drop for Inside<S> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_counted {
            // SAFETY: dropped nowhere else.
            unsafe { ManuallyDrop::drop(&mut self.server) };
        }
    }
}

/// The right to write of who is inside. Dropped without `done`, nothing was changed.
pub(crate) struct FastCommit<'i, S: State>(&'i Inside<S>);

impl<S: State> FastCommit<'_, S> {
    /// For work that does not panic.
    #[inline(always)]
    pub(crate) fn writing(&self) -> Writing<'_, S> {
        // SAFETY: `WRITE` was taken when this was made, and is given back when it is dropped, or
        // with the turn.
        unsafe { Writing::new(&self.0.server) }
    }

    /// Keeps `WRITE` until the turn is given back, which is to be at once.
    #[inline(always)]
    pub(crate) fn done(self) {
        let done = ManuallyDrop::new(self);
        done.0.bits.set(TURN | WRITE);
    }
}

impl<S: State> Drop for FastCommit<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.server.release_write_contained();
    }
}

/// A turn that a call has, or one task of a drain.
pub(crate) struct Turn<S: State> {
    inside: Inside<S>,
    /// Not to be sent to another thread.
    thread: PhantomData<*const ()>,
}

impl<S: State> Turn<S> {
    /// For the calling thread, which has just taken `TURN`.
    pub(super) fn taken(server: Arc<Server<S>>) -> Turn<S> {
        Turn::of(Thread::enters_call(), server, TURN)
    }

    /// For one task of a drain.
    pub(super) fn lent(server: Arc<Server<S>>) -> Turn<S> {
        Turn::of(Thread::enters_call(), server, 0)
    }

    /// Of the calling thread, by its number, which has been told.
    #[inline(always)]
    fn of(thread: u64, server: Arc<Server<S>>, bits: u32) -> Turn<S> {
        server.turn_owner.set(thread);
        Turn {
            inside: Inside::new(server, bits),
            thread: PhantomData,
        }
    }

    pub(crate) fn inside(&self) -> &Inside<S> {
        &self.inside
    }

    /// As to drop it, where a call would cost as much.
    #[inline(always)]
    pub(crate) fn leave(self) {
        let turn = ManuallyDrop::new(self);
        // SAFETY: it is taken out of what is never dropped, once.
        let inside = unsafe { ptr::read(&turn.inside) };
        inside.leave(Thread::leaves_call);
    }

    /// Lets it outlast the call. Who has it tells the thread so, by `hold`.
    #[inline(always)]
    pub(crate) fn open(self) -> OpenTurn<S> {
        let turn = ManuallyDrop::new(self);
        Thread::leaves_call();
        OpenTurn {
            // SAFETY: it is taken out of what is never dropped, once.
            inside: unsafe { ptr::read(&turn.inside) },
            is_left: Cell::new(false),
        }
    }
}

impl<S: State> Drop for Turn<S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.inside.leave(Thread::leaves_call);
    }
}

/// A turn that lasts until somebody gives it back, or the thread that took it ends.
pub(crate) struct OpenTurn<S: State> {
    inside: Inside<S>,
    is_left: Cell<bool>,
}

// SAFETY: one thread has it at a time, and what is in its cells is only looked at by that.
unsafe impl<S: State> Sync for OpenTurn<S> {}

impl<S: State> OpenTurn<S> {
    pub(crate) fn inside(&self) -> &Inside<S> {
        &self.inside
    }

    /// Gives the turn back; nothing more is to be done with it. The server, if others were concerned:
    /// who waits, who has ended it, or who has roused whoever has its turn.
    #[inline(always)]
    pub(crate) fn give_back(&self) -> Option<Arc<Server<S>>> {
        let concerned = self.inside.leave(|| {});
        self.is_left.set(true);
        concerned
    }

    /// It is no thread's from here on: a call of the one that took it waits, as any other.
    pub(crate) fn detach(&self) {
        self.inside.server.turn_owner.set(0);
    }
}

impl<S: State> Drop for OpenTurn<S> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_left.get() {
            self.give_back();
        }
    }
}
