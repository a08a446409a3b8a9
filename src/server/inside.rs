//! Turns that user code has: a callback's, and what stands between `update_begin` and
//! `update_end`.
//!
//! # The argument
//!
//! User code runs under `TURN` alone, and holds a count of the server. It asks for `WRITE` when it
//! has decided. The short way does that by one swap that expects `TURN` and nothing else, so that
//! it meets neither a snapshot nor the end of the server, changes the state, and gives both bits
//! back at once. If the swap fails, nothing was done, and the long way (`commit`) is open as
//! before.
//!
//! A [`LentTurn`] has no count: its server is one that keeps itself as long as somebody has its
//! turn, and gives that up when it has ended and its turn is free (`vacated`). What is left to do
//! when the turn was given back, because others are concerned, is done with a count that was taken
//! before.
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

    /// As `occupy`, by the short way: `None` if somebody is in the way. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_occupy(self: &Arc<Self>, lasts: Lasts) -> Option<Turn<S>> {
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
        Some(Turn::of(thread, Arc::clone(self), TURN))
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
        if !self.try_occupy(Patience::Glance) {
            return None;
        }
        let Some(thread) = Thread::fast_enters_call(Lasts::Call) else {
            if !self.fast_release(TURN) {
                self.release_contained(TURN);
            }
            return None;
        };
        self.count_handled();
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
            inside: Inside {
                server,
                bits: Cell::new(TURN),
            },
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
    server: Arc<Server<S>>,
    /// What is given back: `TURN`, or nothing if a drain has it and goes on with it afterwards.
    bits: Cell<u32>,
}

impl<S: State> Inside<S> {
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

    /// Changes the state by the short way, and keeps `WRITE` until this is dropped, which is to be
    /// at once. `false`, with nothing done, if somebody is in the way, or if the work says that it
    /// did nothing. `work` does not panic.
    #[inline(always)]
    pub(crate) fn fast_commit(&self, work: impl FnOnce(&Writing<'_, S>) -> bool) -> bool {
        let server = &*self.server;
        if !server.system.is_current() || self.bits.get() != TURN {
            return false;
        }
        let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
        let locked = server
            .word
            .compare_exchange(TURN, TURN | WRITE, order, failed);
        if locked.is_err() {
            return false;
        }
        // SAFETY: `WRITE` was just taken, and is given back here or with the turn.
        let is_done = work(&unsafe { Writing::new(server) });
        match is_done {
            true => self.bits.set(TURN | WRITE),
            false => server.release_write_contained(),
        }
        is_done
    }

    /// Gives the turn back; `uncount` is to say that the thread holds it no more. `false` if others
    /// were concerned.
    #[inline(always)]
    fn leave(&self, uncount: impl FnOnce()) -> bool {
        if !self.server.system.is_current() {
            return true; // it stayed with the parent
        }
        self.server.turn_owner.set(0);
        uncount();
        let bits = self.bits.get();
        let is_fast = bits == 0 || self.server.fast_release(bits);
        if !is_fast {
            self.server.release_contained(bits);
        }
        is_fast
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
            inside: Inside {
                server,
                bits: Cell::new(bits),
            },
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

    /// Gives the turn back; nothing more is to be done with it. `false` if others were concerned:
    /// who waits, who has ended the server, or who has roused whoever has its turn.
    #[inline(always)]
    pub(crate) fn give_back(&self) -> bool {
        let is_fast = self.inside.leave(|| {});
        self.is_left.set(true);
        is_fast
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
