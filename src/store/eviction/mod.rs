//! Which keys go when a bucket is full: S3-FIFO (Yang and others, "FIFO queues are all you need
//! for cache eviction", 2023).
//!
//! A new key comes into a small queue, a tenth of all. At its end it goes, unless it was used
//! meanwhile: then it comes into the main queue, where a key that was used since it was seen last
//! begins anew, and is counted down by one. Keys that went are remembered for a while, and come
//! into the main queue when they return. So a scan passes through the small queue and leaves the
//! main one as it was, and a loop that is larger than the bucket finds some of it there.
//!
//! # The argument
//!
//! A read takes no part in this but for the `uses` of its entry (`table::Marks`), which it counts
//! up to 3 and then leaves alone: it needs no lock, and beside a writer that counts them down a use
//! may be lost. The entry that it writes to may have been taken out by then: it is there as long as
//! the reader is pinned.
//!
//! All else is the writer's. A queue has *places*: a place is the hash of a key, with a stamp in
//! bits that say nothing of where the table has it. The entry has the stamp of its place too, and
//! in which queue that is. A key that was deleted leaves its place behind, and so does one that was
//! moved; if it returns it has another stamp, or is in another queue, so that a place leads to the
//! entry it was made for or to none. (One in 32 leads to the key's next entry in the same queue,
//! which then goes earlier than it should.) As soon as half of the places lead nowhere, each key
//! that is stored or deleted has some of them looked at: so there are never more than three for a
//! key, and a few.
//!
//! A queue that finds no memory does not fail the write. A new key is stored without a place, and a
//! key that should move goes instead. A key without a place goes when no place leads to any other:
//! then the table is searched for the next best (`any`). So to make room needs no memory, and fails
//! only if there is nothing that may go.
//!
//! To find the key that goes takes a bounded number of steps, however many are used: after `STEPS`
//! the next one goes. What the writer is about to write is marked for so long (`KEPT`), and passed
//! over. Victims leave by the way of all keys ([`take_out`](Exclusive::take_out)), each a change of
//! its own before the one that it makes room for; so whoever looks never sees more than the limit.
//! One write takes out about as much as it brings, so what waits to be freed is bounded as for
//! writes over older values: who writes asks for room first, and frees what it took out afterwards.

mod ghost;
mod queue;
#[cfg(all(test, feature = "capi"))] // not in the model
mod tests;

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::contents::Contents;
use super::limits::Cost;
use super::stored::Stored;
use super::writing::Gone;
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::sync::Counter;
use crate::table::{Found, Marks, Writer};
use ghost::Ghost;
use queue::Queue;

/// In the writer's byte of an entry: the queue that its place is in; neither, if it has none.
const SMALL: u8 = 1;
const MAIN: u8 = 2;
/// It must not go now.
const KEPT: u8 = 4;
/// Above them the stamp.
const STAMP: u8 = 0xf8;

/// Where a place has its stamp: no table has 2^48 groups, and tags are above.
const STAMP_SHIFT: u32 = 48;
const STAMP_BITS: u64 = (STAMP as u64) << STAMP_SHIFT;

/// The small queue has one of so many places.
const SMALL_PART: usize = 10;

/// After so many places the next key goes, used or not; and after so many that led nowhere, any.
const STEPS: usize = 64;
const STALE_STEPS: usize = 1024;

/// Places that may lead nowhere, beside as many as lead to a key; and how many are looked at then
/// with each change.
const STALE: usize = 64;
const TIDIED: usize = 4;

/// What a bucket has that takes keys out when it is full.
#[derive(Default)]
pub(crate) struct Eviction {
    hits: Counter,
    misses: Counter,
    /// The writer's.
    evicted: AtomicU64,
    queues: UnsafeCell<Queues>,
}

// SAFETY: the queues are the writer's, who is one thread at a time; the rest is atomic.
unsafe impl Sync for Eviction {}

#[derive(Default)]
struct Queues {
    small: Queue,
    main: Queue,
    ghost: Ghost,
    /// Of the next place.
    stamp: u8,
}

/// What is told of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheCounts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evicted: u64,
}

/// The entry that a place was made for, if it is still there.
fn at<'t>(writer: &Writer<'t, Stored>, place: u64, queue: u8) -> Option<Found<'t, Stored>> {
    let stamp = (place >> STAMP_SHIFT) as u8 & STAMP;
    writer.find_like(place, STAMP_BITS, |found| {
        found.marks().place & !KEPT == stamp | queue
    })
}

fn is_kept(found: &Found<'_, Stored>) -> bool {
    found.marks().place & KEPT != 0
}

impl Queues {
    fn places(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// A place at the end of a queue, and the byte that belongs to it; 0 if there is no memory.
    fn push(&mut self, hash: u64, queue: u8) -> u8 {
        self.stamp = self.stamp.wrapping_add(!STAMP + 1);
        let place = hash & !STAMP_BITS | u64::from(self.stamp) << STAMP_SHIFT;
        let has_place = match queue {
            SMALL => self.small.push(place),
            _ => self.main.push(place),
        };
        match has_place {
            true => self.stamp | queue,
            false => 0,
        }
    }

    /// Of a key that comes in.
    fn enter(&mut self, hash: u64) -> Marks {
        let queue = match self.ghost.take(hash) {
            true => MAIN,
            false => SMALL,
        };
        Marks {
            uses: 0,
            place: self.push(hash, queue),
        }
    }

    /// Moves an entry, whose place was taken out, to the end of a queue; `false` if there is no
    /// memory for that.
    fn put_back(&mut self, found: &Found<'_, Stored>, queue: u8, uses: u8) -> bool {
        let kept = found.marks().place & KEPT;
        let place = self.push(found.hash(), queue);
        found.set_place(place | kept);
        found.set_uses(uses);
        place != 0
    }

    /// The key that goes; its place is taken out. `None` if none may.
    fn victim<'t>(&mut self, writer: &Writer<'t, Stored>) -> Option<Found<'t, Stored>> {
        let (mut steps, mut stale) = (0, 0);
        let mut kept = 0;
        while stale < STALE_STEPS && kept <= self.places() {
            let is_small = self.small.len() * SMALL_PART > self.places() || self.main.len() == 0;
            let (place, queue) = match is_small {
                true => (self.small.pop()?, SMALL),
                false => (self.main.pop()?, MAIN),
            };
            let Some(found) = at(writer, place, queue) else {
                stale += 1;
                continue;
            };
            let uses = found.marks().uses;
            if is_kept(&found) {
                kept += 1;
                self.put_back(&found, MAIN, uses); // where it is not met again soon
                continue;
            }
            steps += 1;
            let stays = match queue {
                _ if uses == 0 || steps > STEPS => false,
                SMALL => self.put_back(&found, MAIN, 0),
                _ => self.put_back(&found, MAIN, uses - 1),
            };
            if stays {
                continue;
            }
            if queue == SMALL {
                self.ghost.add(found.hash(), self.places());
            }
            return Some(found);
        }
        None
    }

    /// Any key that may go: where no place leads to one.
    #[cold]
    fn any<'t>(writer: &Writer<'t, Stored>) -> Option<Found<'t, Stored>> {
        writer.entries().ok()?.find(|found| !is_kept(found))
    }

    /// Looks at some places, if many lead nowhere.
    fn tidy(&mut self, writer: &Writer<'_, Stored>, keys: usize) {
        for _ in 0..TIDIED {
            if self.places() <= keys * 2 + STALE {
                return;
            }
            // In the longer one there are more of them.
            let (place, queue) = match self.small.len() > self.main.len() {
                true => (self.small.pop(), SMALL),
                false => (self.main.pop(), MAIN),
            };
            let Some(found) = place.and_then(|place| at(writer, place, queue)) else {
                continue;
            };
            let uses = found.marks().uses;
            self.put_back(&found, queue, uses);
        }
    }
}

impl Eviction {
    pub(super) fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.count() as u64,
            misses: self.misses.count() as u64,
            evicted: self.evicted.load(Relaxed),
        }
    }
}

/// Of readers.
impl Contents {
    /// What an evicting bucket has counted.
    pub(crate) fn cache_counts(&self) -> CacheCounts {
        let eviction = self.eviction.as_ref();
        eviction.map_or_else(CacheCounts::default, |it| it.counts())
    }

    /// Notes that a key is read. The short way does so before, so that a read that meets a writer,
    /// and is begun anew, may count twice. Two instructions, where that is not to be noted.
    #[inline(always)]
    pub(super) fn note_hit(&self, found: &Found<'_, Stored>) {
        if found.is_noted() {
            self.note_counted_hit(found.again());
        }
    }

    /// Cold, so that it costs nothing where it is not called.
    #[cold]
    fn note_counted_hit(&self, found: Found<'_, Stored>) {
        found.note_use();
        self.count_hits(1);
    }

    pub(super) fn count_hits(&self, hits: usize) {
        if let Some(eviction) = &self.eviction {
            eviction.hits.add_many(hits);
        }
    }

    pub(super) fn count_misses(&self, misses: usize) {
        if let Some(eviction) = &self.eviction {
            eviction.misses.add_many(misses);
        }
    }
}

/// Of the writer.
impl<'c> Exclusive<'c, Contents> {
    /// # Safety
    /// The answer of an earlier call is not used any more.
    #[allow(clippy::mut_from_ref)] // the right is one thread's
    unsafe fn queues(&self) -> Option<&mut Queues> {
        let eviction = self.eviction.as_ref()?;
        // SAFETY: this right is one thread's at a time, and by contract it has no other.
        Some(unsafe { &mut *eviction.queues.get() })
    }

    /// What a new key is noted with.
    #[inline(always)]
    pub(super) fn enter(&self, hash: u64, pinned: &Guard) -> Marks {
        match self.eviction {
            None => Marks::NONE,
            Some(_) => self.enter_queue(hash, pinned),
        }
    }

    #[cold]
    fn enter_queue(&self, hash: u64, pinned: &Guard) -> Marks {
        // SAFETY: used here alone.
        let Some(queues) = (unsafe { self.queues() }) else {
            return Marks::NONE;
        };
        queues.tidy(&self.writer(pinned), self.table.len(pinned).unwrap_or(0));
        queues.enter(hash)
    }

    /// As `marks_of`, while a batch is put in: then no place can be looked at.
    pub(super) fn marks_within_batch(&self, old: Option<&Found<'_, Stored>>, hash: u64) -> Marks {
        // SAFETY: used here alone.
        match (old, unsafe { self.queues() }) {
            (None, Some(queues)) => queues.enter(hash),
            (None, None) => Marks::NONE,
            (Some(old), _) => {
                old.note_use();
                old.marks()
            }
        }
    }

    /// What a key is noted with whose entry is replaced, or made.
    pub(super) fn marks_of(
        &self,
        old: Option<&Found<'_, Stored>>,
        hash: u64,
        pinned: &Guard,
    ) -> Marks {
        match old {
            Some(old) => {
                old.note_use();
                old.marks()
            }
            None => self.enter(hash, pinned),
        }
    }

    /// A key was taken out.
    #[inline(always)]
    pub(super) fn note_gone(&self, why: Gone, writer: &Writer<'_, Stored>, pinned: &Guard) {
        if let Some(eviction) = &self.eviction {
            if why == Gone::Evicted {
                let evicted = eviction.evicted.load(Relaxed);
                eviction.evicted.store(evicted + 1, Relaxed);
                return; // with its place
            }
            // SAFETY: used here alone.
            if let Some(queues) = unsafe { self.queues() } {
                queues.tidy(writer, self.table.len(pinned).unwrap_or(0));
            }
        }
    }

    /// As `note_gone`, after a batch of so many changes.
    pub(super) fn tidy_places(&self, changes: usize, writer: &Writer<'_, Stored>, pinned: &Guard) {
        if self.eviction.is_some() {
            (0..changes).for_each(|_| self.note_gone(Gone::Deleted, writer, pinned));
        }
    }

    /// All keys were taken out.
    pub(super) fn forget_places(&self) {
        // SAFETY: used here alone.
        if let Some(queues) = unsafe { self.queues() } {
            *queues = Queues::default();
        }
    }

    /// Counts what a change takes, as `charge`; where keys are evicted it makes room for that.
    #[inline(always)]
    pub(super) fn charge_or_evict(
        &self,
        less: Cost,
        more: Cost,
        keep: Option<&Found<'_, Stored>>,
        pinned: &Guard,
    ) -> Result<(), Error> {
        match self.charge(less, more) {
            Err(refused) if self.eviction.is_some() => {
                self.evict_and_charge(less, more, keep, pinned, refused)
            }
            charged => charged,
        }
    }

    /// By the short way, where `charge` was refused: only while more may wait to be freed, as some
    /// take this way for it leaves nothing.
    #[cold]
    pub(super) fn evict_for(
        &self,
        less: Cost,
        more: Cost,
        keep: Option<Found<'_, Stored>>,
        pinned: &Guard,
    ) -> Result<(), Error> {
        if self.eviction.is_none() || !reclaim::has_room() {
            return Err(Error::NoMemory);
        }
        self.evict_and_charge(less, more, keep.as_ref(), pinned, Error::NoMemory)
    }

    fn evict_and_charge(
        &self,
        less: Cost,
        more: Cost,
        keep: Option<&Found<'_, Stored>>,
        pinned: &Guard,
        refused: Error,
    ) -> Result<(), Error> {
        keep.into_iter().for_each(|it| keep_it(it, true));
        let charge = || self.charge(less, more);
        let charged = self.make_room(more, pinned, refused, charge);
        keep.into_iter().for_each(|it| keep_it(it, false));
        charged
    }

    /// Takes keys out until it is charged. Refused with nothing changed if it would be yet when all
    /// are gone that are not kept.
    #[inline(never)]
    pub(super) fn make_room(
        &self,
        more: Cost,
        pinned: &Guard,
        mut refused: Error,
        charge: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let limits = self.limits.as_ref();
        if !limits.is_some_and(|limits| limits.could_hold(more, self.bytes())) {
            return Err(refused);
        }
        loop {
            if !self.evict(pinned) {
                return Err(refused);
            }
            match charge() {
                Ok(()) => return Ok(()),
                Err(again) => refused = again,
            }
        }
    }

    /// Takes one key out; `false` if none may go.
    fn evict(&self, pinned: &Guard) -> bool {
        let writer = self.writer(pinned);
        // SAFETY: used here alone.
        let victim = unsafe { self.queues() }.and_then(|queues| queues.victim(&writer));
        let Some(found) = victim.or_else(|| Queues::any(&writer)) else {
            return false;
        };
        self.take_out(&writer, &found, found.hash(), Gone::Evicted, pinned);
        self.tell_deleted(found.key());
        true
    }
}

/// Whether an entry must not go. The writer's.
pub(super) fn keep_it(found: &Found<'_, Stored>, is_kept: bool) {
    let place = found.marks().place & !KEPT;
    found.set_place(place | if is_kept { KEPT } else { 0 });
}
