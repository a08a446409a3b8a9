//! Where a turn lies that a handle stands for, between its begin and its end.
//!
//! # The argument
//!
//! A server has one turn, so one place is enough for all its turns, one after the other; each has a
//! ticket that is never given again. The word tells the ticket of what lies here, with a bit while
//! a thread works with it, or another while one looks at it briefly; 0 is nobody's.
//!
//! Who puts has the server's turn, so there is nothing here, and nobody else puts. Who ends a turn
//! has made its ticket known to nobody else first (one thread does, once), and swaps the word from
//! this ticket to 0: if nobody was at work, what lies here is his. If somebody was, that one finds
//! the word changed when he is done, and what lies here is his instead. Who would work, or comes
//! with an old ticket, swaps a word that has just this ticket, or goes away: so the cell is looked
//! at by one thread at a time, and by nobody after the turn was given back and before the next is
//! put. Who looks briefly is waited for, and changes nothing for the others: he may be a stranger to
//! the turn.

use crate::sync::{back_off, AtomicU64, Ordering, UnsafeCell};

/// A ticket is even, and its highest bit is clear.
const AT_WORK: u64 = 1;
const BRIEFLY: u64 = 1 << 63;

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
    pub(crate) unsafe fn put(&self, ticket: u64, turn: impl FnOnce() -> T) {
        // SAFETY: nothing is here, and whoever looked here has given the turn back since.
        self.what
            .with_mut(|what| unsafe { what.write(Some(turn())) });
        self.word.store(ticket, Ordering::Release);
    }

    /// Takes out the turn that was put with this ticket, to be ended, as `out` does it: `None` if
    /// somebody works with it, who ends it then.
    ///
    /// # Safety
    /// One thread does so, once for each ticket that was put.
    #[inline(always)]
    pub(crate) unsafe fn take<R>(
        &self,
        ticket: u64,
        out: impl FnOnce(&mut Option<T>) -> Option<R>,
    ) -> Option<R> {
        loop {
            match self.enter(ticket, 0) {
                // SAFETY: nobody is at work, and nobody begins to.
                Ok(()) => return self.what.with_mut(|what| out(unsafe { &mut *what })),
                Err(seen) if seen == ticket | AT_WORK => {
                    if self.swap(seen, 0).is_ok() {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// Works with the turn of this ticket. Where `work` panics, `gives_up` is called, and the turn
    /// dropped.
    pub(crate) fn with<R>(
        &self,
        ticket: u64,
        work: impl FnOnce(&mut T) -> R,
        gives_up: impl FnOnce(),
    ) -> Worked<T, R> {
        let at_work = ticket | AT_WORK;
        if ticket == 0 || self.enter(ticket, at_work).is_err() {
            return Worked::Nothing;
        }
        let panics = Panics {
            place: self,
            at_work,
            gives_up: Some(gives_up),
        };
        // SAFETY: until the bit is taken back, or found to be gone, this thread alone looks here.
        let worked = self
            .what
            .with_mut(|what| unsafe { (*what).as_mut() }.map(work));
        std::mem::forget(panics);
        let Some(worked) = worked else {
            return Worked::Nothing; // it lies here as long as the word says so
        };
        match self.swap(at_work, ticket) {
            Ok(()) => Worked::Done(worked),
            Err(_) => match self.left() {
                Some(turn) => Worked::Left(worked, turn),
                None => Worked::Nothing,
            },
        }
    }

    /// Looks at the turn that lies here, whichever it is, for a moment: `None` if there is none, or
    /// if a thread works with it.
    pub(crate) fn briefly<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        let ticket = self.word.load(Ordering::Relaxed) & !(AT_WORK | BRIEFLY);
        if ticket == 0 || self.enter(ticket, ticket | BRIEFLY).is_err() {
            return None;
        }
        let _looks = Looks(self, ticket);
        // SAFETY: nobody changes the word before this thread does.
        self.what
            .with_mut(|what| unsafe { (*what).as_mut() }.map(look))
    }

    /// Swaps the word from a ticket that nobody works with; waits for who looks briefly. An error
    /// is what the word is instead.
    #[inline(always)]
    fn enter(&self, ticket: u64, to: u64) -> Result<(), u64> {
        let mut step = 0;
        loop {
            match self.swap(ticket, to) {
                Err(seen) if seen == ticket | BRIEFLY => back_off(step),
                swapped => return swapped,
            }
            step += 1;
        }
    }

    /// What who ended it left to the thread that worked with it.
    fn left(&self) -> Option<T> {
        // SAFETY: it was at work, and nobody else looks here before it has given the turn back.
        self.what.with_mut(|what| unsafe { (*what).take() })
    }

    #[inline(always)]
    fn swap(&self, from: u64, to: u64) -> Result<(), u64> {
        let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
        self.word
            .compare_exchange(from, to, order, failed)
            .map(|_| ())
    }
}

/// Work that is left by a panic: nobody else ends that turn.
struct Panics<'p, T, F: FnOnce()> {
    place: &'p TurnPlace<T>,
    at_work: u64,
    gives_up: Option<F>,
}

impl<T, F: FnOnce()> Drop for Panics<'_, T, F> {
    fn drop(&mut self) {
        if let Some(gives_up) = self.gives_up.take() {
            gives_up();
        }
        let _ = self.place.swap(self.at_work, 0); // else who ended it has done so
        drop(self.place.left());
    }
}

/// A look at what has this ticket, until it is dropped.
struct Looks<'p, T>(&'p TurnPlace<T>, u64);

impl<T> Drop for Looks<'_, T> {
    fn drop(&mut self) {
        self.0.word.store(self.1, Ordering::Release);
    }
}
