//! Who sleeps for a bit of the word, and who wakes whom.

use std::time::Duration;

use super::{Server, Slow, State, RESERVED, TURN, WAITERS, WRITE};
use crate::sync::{Condvar, MutexGuard, Ordering, PoisonError};

/// Which of the two bits a thread sleeps for.
#[derive(Clone, Copy)]
pub(super) enum For {
    Turn,
    Write,
}

/// How many threads sleep for something and how many wake-ups are on their way to them.
#[derive(Default)]
pub(super) struct Sleepers {
    asleep: usize,
    woken: usize,
}

impl<S: State> Server<S> {
    /// Wakes one sleeper for each bit that is free, unless one is on its way already: it will see
    /// to the next.
    pub(super) fn wake(&self, slow: &mut Slow<S>) {
        let word = self.word.load(Ordering::Relaxed);
        if word & WRITE == 0 {
            slow.for_write.wake_one(&self.write_free);
        }
        if word & TURN == 0 {
            match word & RESERVED == 0 {
                true => slow.for_turn.wake_one(&self.turn_free),
                // It is for one of them, who is not told from the others.
                false => slow.for_turn.wake_all(&self.turn_free),
            }
            self.schedule(slow);
        }
        self.note_sleepers(slow);
    }

    /// Whether anybody who was woken has not come yet.
    pub(crate) fn is_anybody_on_its_way(&self) -> bool {
        let slow = self.lock();
        slow.for_turn.woken + slow.for_write.woken > 0
    }

    /// Whether a call that was woken has not come yet, which waits for the turn or has it: it takes
    /// what it was woken for as it comes, if that is free still.
    pub(crate) fn is_call_on_its_way(&self) -> bool {
        let slow = self.lock();
        let has_turn = self.word.load(Ordering::Relaxed) & TURN != 0;
        slow.for_turn.woken > 0 || slow.for_write.woken > 0 && has_turn
    }

    /// Wakes all: the server has ended.
    pub(super) fn wake_all(&self, slow: &mut Slow<S>) {
        slow.for_turn.wake_all(&self.turn_free);
        slow.for_write.wake_all(&self.write_free);
        self.note_sleepers(slow);
    }

    /// Sets `WAITERS` as long as threads sleep and none that was woken is on its way. Called
    /// under the lock, whenever one of these changes.
    pub(super) fn note_sleepers(&self, slow: &Slow<S>) {
        if slow.for_turn.wants_wake() || slow.for_write.wants_wake() {
            self.word.fetch_or(WAITERS, Ordering::Relaxed);
        } else {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }

    /// Sleeps until it is woken for a bit, or time is up. `ready` is asked once more after
    /// `WAITERS` is set: whoever gave the bit back before that woke nobody.
    pub(super) fn sleep<'a>(
        &'a self,
        mut slow: MutexGuard<'a, Slow<S>>,
        bit: For,
        left: Option<Duration>,
        ready: impl Fn(&Slow<S>, u32) -> bool,
    ) -> MutexGuard<'a, Slow<S>> {
        slow.sleepers(bit).asleep += 1;
        let word = self.word.fetch_or(WAITERS, Ordering::Relaxed);
        if ready(&slow, word) {
            slow.sleepers(bit).asleep -= 1;
            self.note_sleepers(&slow);
            return slow;
        }
        let free = match bit {
            For::Turn => &self.turn_free,
            For::Write => &self.write_free,
        };
        let deadline = left.map(|left| (std::time::Instant::now(), left));
        loop {
            let left = deadline.map(|(since, left)| left.saturating_sub(since.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                slow.sleepers(bit).asleep -= 1;
                self.note_sleepers(&slow);
                return slow;
            }
            slow = wait(free, slow, left);
            // A wake-up is a count, not a name: any sleeper may take it, once.
            let sleepers = slow.sleepers(bit);
            if sleepers.woken > 0 {
                sleepers.woken -= 1;
                self.note_sleepers(&slow);
                return slow;
            }
        }
    }
}

fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    left: Option<Duration>,
) -> MutexGuard<'a, T> {
    match left {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(left) => {
            let waited = condvar.wait_timeout(guard, left);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}

impl Sleepers {
    fn wants_wake(&self) -> bool {
        self.asleep > 0 && self.woken == 0
    }

    fn wake_one(&mut self, condvar: &Condvar) {
        if self.wants_wake() {
            self.asleep -= 1;
            self.woken += 1;
            condvar.notify_one();
        }
    }

    /// To notify nobody would be a system call for nothing, in the end of every server.
    pub(super) fn wake_all(&mut self, condvar: &Condvar) {
        if self.asleep > 0 {
            self.woken += std::mem::take(&mut self.asleep);
            condvar.notify_all();
        }
    }
}

impl<S: State> Slow<S> {
    fn sleepers(&mut self, bit: For) -> &mut Sleepers {
        match bit {
            For::Turn => &mut self.for_turn,
            For::Write => &mut self.for_write,
        }
    }
}
