//! What a bucket keeps of the times to live of its keys: the wheel that has them noted, and when
//! it is to be looked at.
//!
//! # The argument
//!
//! The wheel is touched through [`Exclusive`] only, which one thread has at a time, and which never
//! leaves it; and each time for one step, which calls nothing that would touch it too. So there is
//! one reference at a time.
//!
//! **When it is looked at.** `due` is when the wheel is to be looked at first, and changes with it.
//! `armed` says what is done about that: somebody will look then (the bucket stands in the agenda of
//! the process), or a sweep is under way (`SWEEPING`), or nothing. It changes under the lock of the
//! agenda alone. Whoever notes a key sees to it before he gives the right to write back that `armed`
//! is at most `due`, or `SWEEPING`; the sweep does so too, and has the right to write later than he.
//! So no key is forgotten: that is the whole handshake.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64 as Counted;

use super::contents::Contents;
use super::stored::Life;
use super::wheel::{due_at, is_noted_by, Note, Wheel};
use crate::error::Error;
use crate::memory;
use crate::reclaim::Guard;
use crate::server::Exclusive;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::time::Moment;

/// Nobody will look.
pub(crate) const UNARMED: u64 = u64::MAX;
/// A sweep is on its way, or under way.
pub(crate) const SWEEPING: u64 = 0;

/// So many notes may count for nothing in any case.
const STALE: usize = 64;

/// So many notes a review looks at, at least.
const REVIEWED: usize = 32;

/// Keeps the notes; and whether many keys are being noted.
pub(super) struct Held<'c>(&'c Exclusive<'c, Contents>, u64);

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let times = &self.0.times;
        let (held, noting) = (&times.held, &times.noting);
        noting.store(noting.load(Ordering::Relaxed) - self.1, Ordering::Relaxed);
        let others = held.load(Ordering::Relaxed) - 1;
        held.store(others, Ordering::Relaxed);
        if others == 0 && times.due.load(Ordering::Relaxed) != u64::MAX && self.0.timed() == 0 {
            self.0.forget_times();
        }
    }
}

pub(crate) struct Times {
    /// Of keys that are given none of their own: milliseconds, or 0.
    default_ttl: u64,
    /// Made for the first key.
    wheel: UnsafeCell<Option<Box<Wheel>>>,
    /// Keys with a time to live. The writer's.
    keys: Counted,
    expired: Counted,
    /// There may be such keys.
    are_used: AtomicBool,
    /// Changes under way that have noted keys which are not counted yet, and of how many keys. The
    /// writer's.
    held: Counted,
    noting: Counted,
    /// When the wheel is to be looked at. The writer's.
    due: AtomicU64,
    armed: AtomicU64,
    /// A key was given a time to live when that was over already: to be told to who will look.
    is_late: AtomicBool,
}

// SAFETY: see the module for the wheel; the rest are atomics.
unsafe impl Sync for Times {}

impl Times {
    pub(super) fn new(default_ttl: u64) -> Times {
        Times {
            default_ttl,
            wheel: UnsafeCell::new(None),
            keys: Counted::new(0),
            expired: Counted::new(0),
            are_used: AtomicBool::new(false),
            held: Counted::new(0),
            noting: Counted::new(0),
            due: AtomicU64::new(u64::MAX),
            armed: AtomicU64::new(UNARMED),
            is_late: AtomicBool::new(false),
        }
    }

    /// 0: none.
    #[inline(always)]
    pub(crate) fn default_ttl(&self) -> u64 {
        self.default_ttl
    }

    /// Whether there may be keys with a time to live.
    #[inline(always)]
    pub(crate) fn are_used(&self) -> bool {
        self.are_used.load(Ordering::Relaxed)
    }

    /// Keys may have a time to live, and none of them is swept.
    pub(super) fn use_without_notes(&self) {
        self.are_used.store(true, Ordering::Relaxed);
    }

    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// As said in the module; the lock of the agenda is held.
    pub(crate) fn armed(&self) -> u64 {
        self.armed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_armed(&self, armed: u64) {
        self.armed.store(armed, Ordering::Relaxed);
    }

    /// When the wheel is to be looked at, if nobody will by then. Asked by the writer.
    #[inline(always)]
    pub(crate) fn wants_alarm(&self) -> Option<u64> {
        let due = self.due.load(Ordering::Relaxed);
        (due < self.armed.load(Ordering::Relaxed)).then_some(due)
    }

    /// Whether somebody will look, and there is nothing left to see. Asked by the writer.
    #[inline(always)]
    pub(crate) fn is_armed_for_nothing(&self) -> bool {
        let armed = self.armed.load(Ordering::Relaxed);
        armed != UNARMED && armed != SWEEPING && self.due.load(Ordering::Relaxed) == u64::MAX
    }

    /// Whether who will look is late.
    #[inline(always)]
    pub(crate) fn take_late(&self) -> bool {
        self.is_late.load(Ordering::Relaxed) && self.is_late.swap(false, Ordering::Relaxed)
    }

    /// Whether nobody has to be told of a key that is due then.
    #[inline(always)]
    pub(super) fn is_armed_for(&self, deadline: u64, now: Moment) -> bool {
        let armed = self.armed.load(Ordering::Relaxed);
        armed == SWEEPING || armed <= due_at(deadline) && now.ms() < armed
    }

    fn note_late(&self, now: Moment) {
        let armed = self.armed.load(Ordering::Relaxed);
        if armed != SWEEPING && armed <= now.ms() {
            self.is_late.store(true, Ordering::Relaxed);
        }
    }
}

impl Exclusive<'_, Contents> {
    /// Runs one step with the wheel, if there is one: it calls nothing else.
    #[inline(always)]
    fn with_wheel<R>(&self, step: impl FnOnce(&mut Wheel) -> R) -> Option<R> {
        // SAFETY: see the module.
        let wheel = unsafe { &mut *self.times.wheel.get() };
        wheel.as_deref_mut().map(step)
    }

    fn make_wheel(&self) -> Result<(), Error> {
        // SAFETY: see the module.
        let wheel = unsafe { &mut *self.times.wheel.get() };
        if wheel.is_none() {
            let mut room = Vec::new();
            memory::reserve(&mut room, 1)?;
            room.push(Wheel::new());
            let boxed: Box<[Wheel; 1]> = room.try_into().map_err(|_| Error::NoMemory)?;
            // SAFETY: one of an array of one.
            *wheel = Some(unsafe { Box::from_raw(Box::into_raw(boxed).cast()) });
        }
        Ok(())
    }

    /// A life up to a deadline for a key; `old` is the one that it had.
    pub(super) fn life_until(
        &self,
        deadline: u64,
        old: Option<Life>,
        hash: u64,
        now: Moment,
        pinned: &Guard,
    ) -> Result<Life, Error> {
        self.times.note_late(now);
        if let Some(old) = old.filter(|old| is_noted_by(old.deadline(), deadline)) {
            return Ok(Life::new(deadline, old.mark()));
        }
        if !self.times.are_used() {
            self.times.are_used.store(true, Ordering::Relaxed);
        }
        self.make_wheel()?;
        let notes = self.with_wheel(|wheel| wheel.len()).unwrap_or(0);
        if self.times.noting.load(Ordering::Relaxed) == 0 && self.has_stale(notes) {
            self.review(pinned);
        }
        let noted = self.with_wheel(|wheel| wheel.note(hash, deadline, now.ms()));
        let mark = noted.unwrap_or(Err(Error::NoMemory))?;
        if due_at(deadline) < self.times.due.load(Ordering::Relaxed) {
            self.times.due.store(due_at(deadline), Ordering::Relaxed);
        }
        Ok(Life::new(deadline, mark))
    }

    fn has_stale(&self, notes: usize) -> bool {
        notes > 2 * self.times.keys.load(Ordering::Relaxed) as usize + STALE
    }

    /// Until it is dropped the notes are kept though no key has a time to live: a change has noted
    /// one that it has not counted yet, and may take others out before it does.
    #[inline(always)]
    pub(super) fn hold_times(&self) -> Held<'_> {
        let held = self.times.held.load(Ordering::Relaxed);
        self.times.held.store(held + 1, Ordering::Relaxed);
        Held(self, 0)
    }

    /// As `hold_times`, for so many keys: what would be reviewed meanwhile, when no entry has the
    /// marks of the new notes yet, is before that.
    pub(super) fn note_many(&self, keys: usize, pinned: &Guard) -> Held<'_> {
        if self.times.are_used() {
            for _ in 0..keys.div_ceil(REVIEWED) {
                if !self.has_stale(self.with_wheel(|wheel| wheel.len()).unwrap_or(0)) {
                    break;
                }
                self.review(pinned);
            }
        }
        let noting = self.times.noting.load(Ordering::Relaxed);
        self.times.noting.store(noting + 1, Ordering::Relaxed);
        let held = self.hold_times();
        std::mem::forget(held); // by this one
        Held(self, 1)
    }

    /// Takes out some notes that count for nothing, wherever they are.
    #[cold]
    fn review(&self, pinned: &Guard) {
        let Some(mut reviewed) = self.with_wheel(|wheel| wheel.review()) else {
            return;
        };
        while let Some(note) = reviewed.next() {
            let life = self.life_noted(note, pinned);
            let put = self.with_wheel(|wheel| {
                if let Some(life) = life {
                    wheel.put(note, life.deadline())?;
                }
                wheel.forget();
                Ok::<(), Error>(())
            });
            if let Some(Err(_)) = put {
                reviewed.put_back(note);
                break;
            }
        }
        self.with_wheel(|wheel| wheel.finish_review(reviewed));
        self.look_up_due();
    }

    /// The life of a key for which a note counts.
    pub(super) fn life_noted(&self, note: Note, pinned: &Guard) -> Option<Life> {
        let entries = self.writer(pinned).hashed_like(note.hash);
        let mut lives = entries.filter_map(|found| found.value().life(found.tail()));
        lives.find(|life| life.mark() == note.mark)
    }

    fn look_up_due(&self) {
        let due = self.with_wheel(|wheel| wheel.due()).unwrap_or(u64::MAX);
        self.times.due.store(due, Ordering::Relaxed);
    }

    pub(super) fn take_due(&self, now: Moment, is_eager: bool) -> Option<Note> {
        self.with_wheel(|wheel| wheel.take_due(now.ms(), is_eager))?
    }

    /// Notes a key again whose note came too early: `false` if there is no memory for it, and it is
    /// to be looked at again.
    pub(super) fn note_again(&self, note: Note, deadline: u64) -> bool {
        let noted = self.with_wheel(|wheel| {
            let noted = wheel.put(note, deadline).is_ok();
            if !noted {
                wheel.put_back(note);
            }
            noted
        });
        noted.unwrap_or(false)
    }

    /// The notes have changed.
    pub(super) fn finish_sweep(&self) {
        self.look_up_due();
    }

    /// A key went for its time was over.
    pub(super) fn count_expired(&self) {
        let expired = self.times.expired.load(Ordering::Relaxed);
        self.times.expired.store(expired + 1, Ordering::Relaxed);
    }

    /// The key of an entry has a time to live from now on, or no longer.
    #[inline(always)]
    pub(super) fn count_timed(&self, was: bool, is: bool) {
        if was != is {
            self.change_timed(is);
        }
    }

    #[inline(never)]
    fn change_timed(&self, is: bool) {
        let keys = self.times.keys.load(Ordering::Relaxed);
        let keys = keys.wrapping_add_signed(if is { 1 } else { -1 });
        self.times.keys.store(keys, Ordering::Relaxed);
        if keys == 0 && self.times.held.load(Ordering::Relaxed) == 0 {
            self.forget_times();
        }
    }

    /// No key has a time to live.
    pub(super) fn forget_times(&self) {
        self.times.keys.store(0, Ordering::Relaxed);
        self.with_wheel(Wheel::clear);
        self.times.due.store(u64::MAX, Ordering::Relaxed);
    }

    /// How many keys have a time to live.
    pub(super) fn timed(&self) -> usize {
        self.times.keys.load(Ordering::Relaxed) as usize
    }
}
