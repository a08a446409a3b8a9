//! Taking the turn and the right to write, and giving them back.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use super::mailbox::Body;
use super::{
    Caller, CastWaiter, For, Server, Slow, State, Thread, Writing, CLOSED, MAIL, RESERVED, TURN,
    WAITERS, WRITE,
};
use crate::error::Error;
use crate::sync::{back_off, keeps_processor, Arc, MutexGuard, Ordering, PASSES, SPINS};
use crate::time::Deadline;

/// What a caller goes the long way for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The turn, after all envelopes that are queued now.
    Turn,
    /// The turn, with the tasks that are queued now: the caller handles them.
    Mail,
    /// That the envelope of this number was handled.
    Handled(u64),
}

impl Goal {
    /// Whether the turn is wanted, and not what others do with it.
    fn is_turn(self) -> bool {
        !matches!(self, Goal::Handled(_))
    }
}

/// How long `WRITE` is waited for.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Deadline(Deadline),
    /// The end of the server.
    Closed,
    /// Beyond its end.
    Anyway,
}

impl Until {
    fn is_anyway(self) -> bool {
        matches!(self, Until::Anyway)
    }

    fn has_passed(self) -> bool {
        matches!(self, Until::Deadline(deadline) if deadline.has_passed())
    }

    fn patience(self) -> Patience {
        match self {
            Until::Deadline(deadline) if deadline.is_now() => Patience::Glance,
            _ => Patience::Call,
        }
    }

    fn left(self) -> Option<Duration> {
        match self {
            Until::Deadline(deadline) => deadline.left(),
            Until::Closed | Until::Anyway => None,
        }
    }
}

/// How long one looks for a turn before it goes the long way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As it takes others to be done, user code too: most of it is short, and to sleep is not.
    Call,
    /// Not for user code: a cast has somewhere else to go.
    Cast,
    /// A moment, without giving the processor away: who has no time to wait, or asks again.
    Glance,
}

impl Patience {
    pub(super) fn of(caller: &Caller<'_>) -> Patience {
        match caller.timeout().is_now() {
            true => Patience::Glance,
            false => Patience::Call,
        }
    }

    fn is_over(self, step: u32) -> bool {
        self == Patience::Glance && !keeps_processor(step)
    }
}

impl<S: State> Server<S> {
    /// The short way: takes `TURN | WRITE` if nobody holds either, nothing is queued and the
    /// server lives. Passes sleepers: the order between threads is free, and handing over to
    /// one that must wake first would idle the server.
    pub(super) fn try_enter(&self, patience: Patience) -> bool {
        self.spin_for(TURN | WRITE, MAIL | CLOSED | RESERVED, patience)
    }

    /// As `try_enter`, for `TURN` alone.
    #[inline(always)]
    pub(super) fn try_occupy(&self, patience: Patience) -> bool {
        let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
        let taken = self.word.compare_exchange(0, TURN, order, failed);
        taken.is_ok() || self.spin_for(TURN, MAIL | CLOSED | RESERVED, patience)
    }

    /// Takes bits, `TURN` among them, that are free or soon will be; gives up if one of `barred`
    /// is set, or the calling thread has the turn itself.
    pub(super) fn spin_for(&self, bits: u32, barred: u32, patience: Patience) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        for step in 0..=SPINS {
            if word & barred != 0 {
                return false;
            }
            if word & bits == 0 {
                match self.word.compare_exchange(
                    word,
                    word | bits,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return true,
                    Err(seen) => word = seen,
                }
                continue;
            }
            if word & bits & WRITE != 0 && self.is_kept_long() {
                return false;
            }
            let owner = self.turn_owner.get();
            if owner != 0 && (patience == Patience::Cast || owner == Thread::id()) {
                return false;
            }
            if patience.is_over(step) {
                return false;
            }
            back_off(step);
            word = self.word.load(Ordering::Relaxed);
        }
        false
    }

    /// The short way for work that does not panic: `None` if somebody is in the way, or if the
    /// work says that it did nothing.
    #[inline(always)]
    pub(crate) fn fast_call<R>(
        &self,
        work: impl FnOnce(&Writing<'_, S>) -> Option<R>,
    ) -> Option<R> {
        let turn = self.fast_enter()?;
        let answer = work(&turn.writing())?;
        turn.count_handled();
        Some(answer)
    }

    /// The turn by the short way, for work that does not panic: `None` if somebody is in the way.
    #[inline(always)]
    pub(crate) fn fast_enter(&self) -> Option<FastTurn<'_, S>> {
        let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
        let entered = self.word.compare_exchange(0, TURN | WRITE, order, failed);
        // Not by `then_some`: a turn that was made is given back, whoever has it.
        match entered {
            Ok(_) => Some(FastTurn(self)),
            Err(_) => None,
        }
    }

    /// As `release`, for who lets no panic out.
    #[cold]
    pub(super) fn release_contained(&self, bits: u32) {
        let release = || catch_unwind(AssertUnwindSafe(|| self.release(bits)));
        let _ = crate::runtime::contain(release);
    }

    /// As `release_write`, for who lets no panic out.
    pub(super) fn release_write_contained(&self) {
        let release = || catch_unwind(AssertUnwindSafe(|| self.release_write()));
        let _ = crate::runtime::contain(release);
    }

    /// Gives `bits` back if that concerns nobody: `false` if it was not done.
    #[inline(always)]
    pub(super) fn fast_release(&self, bits: u32) -> bool {
        let (order, failed) = (Ordering::Release, Ordering::Relaxed);
        self.word.compare_exchange(bits, 0, order, failed).is_ok()
    }

    /// The long way to the goal, after all envelopes that come before it: the messages are
    /// handled by this thread, the tasks by the runtime, unless they come with the turn. The answer
    /// is the number of the first envelope that comes after it.
    pub(super) fn enter(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        goal: Goal,
    ) -> Result<u64, Error> {
        let deadline = caller.begin_blocking();
        let mut slow = self.lock();
        if slow.closed {
            drop(slow);
            return Err(self.finish_end(Error::NoProcess));
        }
        let limit = match goal {
            Goal::Turn | Goal::Mail => slow.next,
            Goal::Handled(number) => number + 1,
        };
        slow.callers.push(limit);
        let inside = match Thread::holds_a_turn() {
            true => Thread::id(),
            false => 0,
        };
        let waiter = CastWaiter { limit, inside };
        if !goal.is_turn() {
            slow.cast_waiters.push(waiter);
        }
        let mut has_reserved = false;
        let (mut slow, outcome) = self.wait_for(slow, goal, limit, &deadline, &mut has_reserved);
        if has_reserved {
            self.word.fetch_and(!RESERVED, Ordering::Relaxed);
        }
        if let Some(place) = slow.callers.iter().position(|other| *other == limit) {
            slow.callers.swap_remove(place);
        }
        if !goal.is_turn() {
            let place = slow.cast_waiters.iter().position(|other| *other == waiter);
            place.map(|place| slow.cast_waiters.swap_remove(place));
        }
        if outcome.is_err() || !goal.is_turn() {
            // A drain may have given way to this thread, which does not take the turn; and
            // the wake-up that brought it here may be another's only one.
            self.wake(&mut slow);
            if !slow.cast_waiters.is_empty() {
                self.wake_for_turn(&mut slow); // one of them may have been told already
            }
        }
        drop(slow);
        match outcome {
            Err(Error::ServerDown) => Err(self.finish_end(Error::ServerDown)),
            outcome => outcome.map(|()| limit),
        }
    }

    /// Whether a caller with this goal takes the turn when it is free.
    fn is_next(&self, slow: &Slow<S>, goal: Goal, limit: u64) -> bool {
        match slow.first_below(limit) {
            None => goal.is_turn(),
            Some(Body::Task(task)) => goal == Goal::Mail && self.state.is_for_callers(task),
            Some(Body::Stop) => goal == Goal::Mail,
            Some(Body::Message(_)) => false,
        }
    }

    fn wait_for<'a>(
        self: &'a Arc<Self>,
        mut slow: MutexGuard<'a, Slow<S>>,
        goal: Goal,
        limit: u64,
        deadline: &Deadline,
        has_reserved: &mut bool,
    ) -> (MutexGuard<'a, Slow<S>>, Result<(), Error>) {
        let mut edge = None;
        let mut passed = 0;
        loop {
            if slow.closed {
                return (slow, Err(Error::ServerDown));
            }
            if !goal.is_turn() && slow.has_handled_below(limit) {
                return (slow, Ok(()));
            }
            let is_next = self.is_next(&slow, goal, limit);
            match slow.first_below(limit) {
                // Who may not wait takes no mail either.
                first if is_next && (first.is_none() || !deadline.has_passed()) => {
                    if self.take_turn(*has_reserved) {
                        return (slow, Ok(()));
                    }
                    passed += 1;
                    if passed > PASSES {
                        *has_reserved |= self.reserve();
                    }
                }
                None | Some(Body::Task(_) | Body::Stop) => {}
                Some(Body::Message(_)) => {
                    if !deadline.has_passed() && self.take_turn(false) {
                        slow = self.handle_below(slow, limit, deadline);
                        continue;
                    }
                }
            }
            // From here on the thread would wait.
            if deadline.has_passed() {
                // Without an edge: nobody may take it for one that waits.
                let is_circle = edge.is_none() && self.would_wait_for_caller();
                let refused = match is_circle {
                    true => Error::CallingSelf,
                    false => Error::Timeout,
                };
                return (slow, Err(refused));
            }
            if edge.is_none() && Thread::holds_a_turn() {
                // Under the lock: `has_done` finds the edge, or this thread what it handled.
                let wait_graph = self.system.wait_graph();
                match wait_graph.wait_for(Thread::id(), Arc::clone(self) as _) {
                    Ok(waits) => edge = Some(waits),
                    Err(circle) => return (slow, Err(circle)),
                }
            }
            let barred = match *has_reserved {
                true => TURN,
                false => TURN | RESERVED,
            };
            let ready = |slow: &Slow<S>, word: u32| match slow.first_below(limit) {
                Some(Body::Task(_) | Body::Stop) => false,
                Some(Body::Message(_)) => word & (TURN | RESERVED) == 0,
                None if goal.is_turn() => word & barred == 0,
                None => slow.has_handled_below(limit),
            };
            let ready = |slow: &Slow<S>, word: u32| match goal {
                Goal::Mail if self.is_next(slow, goal, limit) => word & barred == 0,
                _ => ready(slow, word),
            };
            slow = self.sleep(slow, For::Turn, deadline.left(), ready);
            if SPINS != 0 && self.is_next(&slow, goal, limit) {
                // Others may take the turn before this thread is quite awake, and will be done
                // with it soon.
                drop(slow);
                let taken = self.spin_for(TURN, barred & !TURN | CLOSED, Patience::Call);
                slow = self.lock();
                if taken {
                    return (slow, Ok(()));
                }
            }
        }
    }

    /// Keeps the turn for the calling thread, which was passed often enough: nobody else takes it
    /// from here on. `false` if another thread did so before. Called under the lock.
    fn reserve(&self) -> bool {
        self.word.fetch_or(RESERVED, Ordering::Relaxed) & RESERVED == 0
    }

    /// Handles messages below `limit` with the turn just taken; keeps it if none is left,
    /// else gives it back: a task is next, time is up, or the server ended.
    fn handle_below<'a>(
        self: &'a Arc<Self>,
        mut slow: MutexGuard<'a, Slow<S>>,
        limit: u64,
        deadline: &Deadline,
    ) -> MutexGuard<'a, Slow<S>> {
        while matches!(slow.first_below(limit), Some(Body::Message(_))) && !deadline.has_passed() {
            let batch = self.take_batch(&mut slow, limit);
            let last = batch.last();
            drop(slow);
            if self.lock_write(Until::Closed).is_ok() && self.handle_batch(batch) {
                self.release_write();
            }
            slow = self.finish(last);
        }
        let word = self.word.fetch_and(!TURN, Ordering::AcqRel);
        // Not woken anybody yet: if the turn is still wanted, this thread takes it again
        // under the same lock. Otherwise, or if one who was passed too often comes first, the news
        // is given on.
        if slow.closed || slow.first_below(limit).is_some() || word & RESERVED != 0 {
            self.wake(&mut slow);
        }
        if word & CLOSED == 0 {
            return slow;
        }
        // As in `release`: who ended it left this to who had the turn.
        drop(slow);
        S::vacated(self);
        self.lock()
    }

    /// Notes that all envelopes numbered below `number` are handled. Those who waited for one of
    /// them are told now: the turn may not be free for long yet.
    pub(super) fn has_done(&self, slow: &mut Slow<S>, number: u64) {
        slow.handling = (0, 0);
        slow.done = slow.done.max(number); // what comes before all that waits has no number
        if let Some(progress) = &slow.progress {
            progress.tell(slow.done);
        }
        if slow.cast_waiters.is_empty() {
            return;
        }
        let mut is_any_done = false;
        for waiter in &slow.cast_waiters {
            if slow.has_handled_below(waiter.limit) {
                is_any_done = true;
                if waiter.inside != 0 {
                    // Not waiting from here on, whenever it wakes: nobody may take it for
                    // part of a circle.
                    self.system.wait_graph().forget(waiter.inside);
                }
            }
        }
        if is_any_done {
            self.wake_for_turn(slow);
        }
    }

    /// Wakes all who sleep for the turn or for envelopes: each looks for itself.
    fn wake_for_turn(&self, slow: &mut Slow<S>) {
        slow.for_turn.wake_all(&self.turn_free);
        self.note_sleepers(slow);
    }

    /// Gives the turn of a drain to those who came before the task that is next, instead of
    /// running it: each of them takes it, or sees to the next drain when it leaves.
    pub(super) fn give_way(&self, slow: &mut Slow<S>) {
        self.word.fetch_and(!TURN, Ordering::Release);
        self.wake_for_turn(slow);
    }

    /// Takes `TURN` under the lock of `slow`, if it is not reserved for another thread.
    pub(super) fn take_turn(&self, has_reserved: bool) -> bool {
        let is_reserved = self.word.load(Ordering::Relaxed) & RESERVED != 0;
        if is_reserved && !has_reserved {
            return false;
        }
        self.word.fetch_or(TURN, Ordering::Acquire) & TURN == 0
    }

    /// Takes `WRITE` if nobody has it and the server has not ended. Called under the lock.
    pub(super) fn try_lock_write(&self) -> bool {
        let word = self.word.fetch_or(WRITE, Ordering::Acquire);
        if word & WRITE != 0 {
            return false;
        }
        if word & CLOSED != 0 {
            self.word.fetch_and(!WRITE, Ordering::Release);
            return false;
        }
        true
    }

    /// `false` if it would have to sleep.
    fn spin_for_write(&self, until: Until) -> Result<bool, Error> {
        let mut word = self.word.load(Ordering::Relaxed);
        for step in 0..=SPINS {
            if word & CLOSED != 0 && !until.is_anyway() {
                return Err(Error::ServerDown);
            }
            if word & WRITE == 0 {
                match self.word.compare_exchange(
                    word,
                    word | WRITE,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Ok(true),
                    Err(seen) => word = seen,
                }
            } else if self.is_kept_long() || until.patience().is_over(step) {
                break;
            } else {
                back_off(step);
                word = self.word.load(Ordering::Relaxed);
            }
        }
        Ok(false)
    }

    /// Whether it is no use to look again for `WRITE`, which somebody has.
    fn is_kept_long(&self) -> bool {
        self.is_kept_long.load(Ordering::Relaxed)
    }

    /// Takes `WRITE`, in or outside the turn.
    pub(super) fn lock_write(&self, until: Until) -> Result<(), Error> {
        if self.spin_for_write(until)? {
            return Ok(());
        }
        let mut slow = self.lock();
        loop {
            if slow.closed && !until.is_anyway() {
                return Err(Error::ServerDown);
            }
            if self.word.fetch_or(WRITE, Ordering::Acquire) & WRITE == 0 {
                return Ok(());
            }
            if until.has_passed() {
                self.wake(&mut slow); // its wake-up may be another's only one
                return Err(Error::Timeout);
            }
            slow = self.sleep(slow, For::Write, until.left(), |_, word| word & WRITE == 0);
        }
    }

    /// Gives `bits` back, and wakes or schedules whom that concerns.
    pub(super) fn release(&self, bits: u32) {
        if self.fast_release(bits) {
            return;
        }
        let mut slow = self.lock();
        let word = self.word.fetch_and(!bits, Ordering::AcqRel);
        self.wake(&mut slow);
        drop(slow);
        if word & CLOSED != 0 && bits & TURN != 0 {
            S::vacated(self); // of who left last: here, or who ended it
        }
    }

    /// Gives `WRITE` back, in or outside the turn: who waits for it has said so.
    pub(super) fn release_write(&self) {
        let word = self.word.fetch_and(!WRITE, Ordering::Release);
        if word & WAITERS != 0 {
            self.wake(&mut self.lock());
        }
    }
}

/// The turn, and the right to write, of a thread that keeps them for a moment.
pub(crate) struct FastTurn<'s, S: State>(&'s Server<S>);

impl<S: State> FastTurn<'_, S> {
    #[inline(always)]
    pub(crate) fn writing(&self) -> Writing<'_, S> {
        // SAFETY: `WRITE` was taken when this was made, and is given back when it is dropped.
        unsafe { Writing::new(self.0) }
    }

    /// What was done with it is a message that was handled.
    #[inline(always)]
    pub(crate) fn count_handled(&self) {
        self.0.count_handled();
    }
}

impl<S: State> Drop for FastTurn<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.0.fast_release(TURN | WRITE) {
            self.0.release_contained(TURN | WRITE);
        }
    }
}
