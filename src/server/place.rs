//! Where a turn lies that a handle stands for, between its begin and its end.
//!
//! # The argument
//!
//! A server has one turn, so one place is enough for all its turns, one after the other; each has a
//! ticket that is never given again. The word tells the ticket of what lies here, with a bit while
//! a thread works with it; 0 is nobody's.
//!
//! Who puts has the server's turn, so there is nothing here, and nobody else puts. Who ends a turn
//! has made its ticket known to nobody else first (one thread does, once), and swaps the word to
//! 0: if nobody was at work, what lies here is his. If somebody was, that one finds the word
//! changed when he is done, and what lies here is his instead. Who would work, or comes with an old
//! ticket, swaps a word that has just this ticket, or goes away: so the cell is looked at by one
//! thread at a time, and by nobody after the turn was given back and before the next is put.

use crate::sync::{AtomicU64, Ordering, UnsafeCell};

/// A ticket is even.
const AT_WORK: u64 = 1;

/// See the module.
pub(crate) struct TurnPlace<T> {
    word: AtomicU64,
    what: UnsafeCell<Option<T>>,
}

/// What became of work with a turn.
pub(crate) enum Worked<T, R> {
    Done(R),
    /// That too; it was ended meanwhile, and is the caller's.
    Left(R, T),
    /// It is not there, or another thread works with it.
    Nothing,
}

// SAFETY: one thread at a time looks at the cell (see the module), and each may be another.
unsafe impl<T: Send> Sync for TurnPlace<T> {}

impl<T> TurnPlace<T> {
    pub(crate) fn new() -> TurnPlace<T> {
        TurnPlace {
            word: AtomicU64::new(0),
            what: UnsafeCell::new(None),
        }
    }

    /// Puts a turn here.
    ///
    /// # Safety
    /// It is the turn of the server whose place this is, and has just been taken. The ticket is
    /// even, not 0, and was never given for this place before.
    #[inline(always)]
    pub(crate) unsafe fn put(&self, ticket: u64, turn: T) {
        // SAFETY: nothing is here, and whoever looked here has given the turn back since.
        self.what.with_mut(|what| unsafe { *what = Some(turn) });
        self.word.store(ticket, Ordering::Release);
    }

    /// Takes out the turn that was put with this ticket, to be ended: `None` if somebody works with
    /// it, who ends it then.
    ///
    /// # Safety
    /// One thread does so, once for each ticket that was put.
    #[inline(always)]
    pub(crate) unsafe fn take(&self, ticket: u64) -> Option<T> {
        match self.word.swap(0, Ordering::AcqRel) == ticket {
            // SAFETY: nobody is at work, and nobody begins to.
            true => self.what.with_mut(|what| unsafe { (*what).take() }),
            false => None,
        }
    }

    /// The ticket of what lies here, or 0: a hint, unless that cannot be ended meanwhile.
    pub(crate) fn ticket(&self) -> u64 {
        self.word.load(Ordering::Acquire) & !AT_WORK
    }

    /// Works with the turn of this ticket. Where `work` panics, the turn is dropped.
    pub(crate) fn with<R>(&self, ticket: u64, work: impl FnOnce(&mut T) -> R) -> Worked<T, R> {
        let at_work = ticket | AT_WORK;
        if ticket == 0 || !self.swap(ticket, at_work, Ordering::Acquire) {
            return Worked::Nothing;
        }
        let panics = Panics(self);
        // SAFETY: until the bit is taken back, or found to be gone, this thread alone looks here.
        let worked = self
            .what
            .with_mut(|what| unsafe { (*what).as_mut() }.map(work));
        std::mem::forget(panics);
        let Some(worked) = worked else {
            return Worked::Nothing; // it lies here as long as the word says so
        };
        match self.swap(at_work, ticket, Ordering::Release) {
            true => Worked::Done(worked),
            false => match self.left() {
                Some(turn) => Worked::Left(worked, turn),
                None => Worked::Nothing,
            },
        }
    }

    /// What who ended it left to the thread that worked with it.
    fn left(&self) -> Option<T> {
        // SAFETY: it was at work, and nobody else looks here before it has given the turn back.
        self.what.with_mut(|what| unsafe { (*what).take() })
    }

    fn swap(&self, from: u64, to: u64, order: Ordering) -> bool {
        let swapped = self
            .word
            .compare_exchange(from, to, order, Ordering::Acquire);
        swapped.is_ok()
    }
}

/// Work that is left by a panic: nobody else ends that turn.
struct Panics<'p, T>(&'p TurnPlace<T>);

impl<T> Drop for Panics<'_, T> {
    fn drop(&mut self) {
        self.0.word.swap(0, Ordering::AcqRel);
        drop(self.0.left());
    }
}
