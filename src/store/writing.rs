//! Changes of what a bucket holds, by the one thread that may make them.

use std::sync::Arc;

use super::conditions::{Changed, Condition};
use super::contents::{Change, Contents, Observer, Pair, ValueSpot};
use super::contents::{BACKED, OBSERVED, SNAPSHOTS, WATCHED};
use super::key::Key;
use super::key_log::Kind;
use super::limits::Cost;
use super::reading::{fast_read_any, read, size, Reader};
use super::stored::{Alike, Small, Stored, MIN_TAIL};
use super::ttl::{is_over, life};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::sync::Ordering;
use crate::table::{Closed, Found, FreePlace, Place, Spot, Writer};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

/// A value of this size takes the long way out, where it is freed at once.
const LARGE: usize = 1 << 10;

/// Why a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Deleted,
    /// Its time to live was over.
    Expired,
    /// To make room.
    Evicted,
}

/// Counts what an entry that was just taken out has beside its own memory.
pub(super) fn count_retired(retired: Option<&Found<'_, Stored>>, pinned: &Guard) {
    if let Some(retired) = retired.filter(|it| it.value().is_shared()) {
        pinned.count(size(retired));
    }
}

impl Exclusive<'_, Contents> {
    #[inline(always)]
    pub(super) fn count_bytes(&self, less: usize, more: usize) {
        if less == more {
            return; // and leave the cache line to readers, who find the table there
        }
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.bytes.store(bytes + more - less, Ordering::Relaxed);
    }

    /// Counts what a change takes, and asks the limits; refused with nothing changed.
    #[inline(always)]
    pub(super) fn charge(&self, less: Cost, more: Cost) -> Result<(), Error> {
        if let Some(limits) = &self.limits {
            limits.change(less, more)?;
        }
        self.count_bytes(less.bytes, more.bytes);
        Ok(())
    }

    /// Undoes a `charge`.
    #[cold]
    pub(super) fn uncharge(&self, less: Cost, more: Cost) {
        if let Some(limits) = &self.limits {
            limits.undo(less, more);
        }
        self.count_bytes(more.bytes, less.bytes);
    }

    /// Counts what is given back, or was charged for nothing.
    pub(super) fn discharge(&self, cost: Cost) {
        // To use less is never refused.
        let _ = self.charge(cost, Cost::default());
    }

    /// Whether the short ways are closed: somebody is to be told of each change with its value.
    #[inline(always)]
    pub(super) fn is_observed(&self) -> bool {
        self.heed.load(Ordering::Relaxed) & (OBSERVED | BACKED) != 0
    }

    /// From now on the observer is told of every change, as long as that is wanted.
    pub(crate) fn observe(&self, observer: impl FnOnce() -> Arc<dyn Observer>) {
        self.observer.get_or_init(observer);
        self.heed.fetch_or(OBSERVED, Ordering::Relaxed);
    }

    /// Who is to be told, if anybody.
    pub(super) fn observer(&self) -> Option<&dyn Observer> {
        if self.heed.load(Ordering::Relaxed) & OBSERVED == 0 {
            return None;
        }
        let observer = self.observer.get()?;
        if !observer.is_wanted() {
            self.heed.fetch_and(!OBSERVED, Ordering::Relaxed); // until `observe` is called again
            return None;
        }
        Some(&**observer)
    }

    pub(super) fn tell_stored(&self, pair: &Pair) -> Option<Change> {
        self.observer()?;
        let view = pair.0.view();
        // Without memory for the copy there is none for the line either: told as nil.
        let value = read(&view).unwrap_or(Value::Nil);
        Some(Change {
            key: memory::bytes(view.key())?,
            value: Some(value),
        })
    }

    pub(super) fn tell(&self, change: Option<Change>) {
        if let (Some(observer), Some(change)) = (self.observer.get(), change) {
            observer.changed(change);
        }
    }

    pub(super) fn tell_deleted(&self, key: &[u8]) {
        if let Some(observer) = self.observer() {
            // Without memory for the key nobody can be told.
            if let Some(key) = memory::bytes(key) {
                observer.changed(Change { key, value: None });
            }
        }
    }

    pub(super) fn writer<'t>(&'t self, pinned: &'t Guard) -> Writer<'t, Stored> {
        // SAFETY: this right is one thread's at a time.
        unsafe { self.table.writer(pinned) }
    }

    /// Begins a change that takes this entry's value away.
    #[inline(always)]
    pub(super) fn begin_over(&self, found: &Found<'_, Stored>, hash: u64, pinned: &Guard) -> u64 {
        let revision = self.revisions.begin(1);
        if self.heed.load(Ordering::Relaxed) & SNAPSHOTS != 0 {
            self.snapshots.keep(found, hash, revision, pinned);
        }
        revision
    }

    /// Stores a small value in the place of an older one, or as that of a new key that finds
    /// room; `None` if that cannot be done, or others are to be told. Does not panic.
    ///
    /// What it does mostly it does here: what else there is has functions of its own, which need
    /// registers, and have the value in memory.
    #[inline(always)]
    pub(crate) fn fast_put(
        &self,
        key: Key<'_>,
        value: Small<'_>,
        condition: impl Condition,
        pinned: &Guard,
    ) -> Option<Changed> {
        if self.is_observed() {
            return None;
        }
        if !self.gives_none(condition.ttl()) {
            return self.fast_put_timed(key, value, condition, pinned);
        }
        match self.writer(pinned).fast_place(key.hash, &key)? {
            Place::Taken(found) => match found.value().alike(&value) {
                Some(alike) => {
                    if !condition.allows(Some(found.value().revision())) {
                        return Some(Changed::Conflict);
                    }
                    self.overwrite_alike(&found, alike, &value, Some(pinned))
                }
                None => self.fast_put_over(key, found, value, condition, pinned),
            },
            Place::Free(place) => self.fast_put_new(key, place, value, condition, pinned),
        }
    }

    /// As `fast_put`, over a value of another type or length.
    #[inline(never)]
    fn fast_put_over(
        &self,
        key: Key<'_>,
        found: Found<'_, Stored>,
        value: Small<'_>,
        condition: impl Condition,
        pinned: &Guard,
    ) -> Option<Changed> {
        if found.value().is_timed() {
            return self.fast_put_timed(key, value, condition, pinned);
        }
        if !condition.allows(Some(found.value().revision())) {
            return Some(Changed::Conflict);
        }
        self.fast_overwrite(found, value, Some((key.hash, pinned)))
    }

    /// As `fast_put`, of a new key.
    #[inline(never)]
    fn fast_put_new(
        &self,
        key: Key<'_>,
        place: FreePlace<'_, Stored>,
        value: Small<'_>,
        condition: impl Condition,
        pinned: &Guard,
    ) -> Option<Changed> {
        if !condition.allows(None) {
            return Some(Changed::Conflict);
        }
        let cost = Cost {
            keys: 1,
            bytes: key.len() + value.size(),
        };
        let mut place = place;
        if self.charge(Cost::default(), cost).is_err() {
            self.evict_for(Cost::default(), cost, None, pinned).ok()?;
            // What was taken out may have made the table smaller.
            let again = self.writer(pinned).fast_place(key.hash, &key);
            let Some(Place::Free(again)) = again else {
                self.discharge(cost);
                return None;
            };
            place = again;
        }
        let marks = self.enter(key.hash, pinned);
        let revision = self.revisions.begin(1);
        let stored = Stored::small(&value, revision);
        let tail = (value.tail(), MIN_TAIL);
        if place.fill(&key, stored, tail, marks).is_err() {
            self.revisions.abandon();
            self.discharge(cost);
            return None;
        }
        self.revisions.commit();
        self.note(Kind::Put, revision, &key, pinned);
        Some(Changed::To(revision))
    }

    /// As `fast_put` of a key whose value lies there. Needs no pin.
    ///
    /// # Safety
    /// The entry was not taken out since it was found.
    #[inline(always)]
    pub(crate) unsafe fn fast_put_at(&self, spot: ValueSpot, value: Small<'_>) -> bool {
        // SAFETY: by contract, and nobody else may take it out as long as this thread may write.
        let found = unsafe { spot.0.found() };
        if self.is_observed() {
            return false;
        }
        let changed = match found.value().alike(&value) {
            Some(alike) => self.overwrite_alike(&found, alike, &value, None),
            None => {
                let value = value.living(life(&found)); // which it had when the update began
                self.fast_overwrite(found, value, None)
            }
        };
        changed.is_some()
    }

    /// As `fast_overwrite`, with a value that is alike: of the limits it takes nothing.
    #[inline(always)]
    pub(super) fn overwrite_alike(
        &self,
        found: &Found<'_, Stored>,
        alike: Alike,
        value: &Small<'_>,
        keep: Option<&Guard>,
    ) -> Option<Changed> {
        found.note_use();
        let revision = self.revisions.begin(1);
        let heed = self.heed.load(Ordering::Relaxed);
        if heed & SNAPSHOTS != 0 || keep.is_none() && heed != 0 {
            self.keep_alike(found.again(), revision, keep)?;
        }
        let (stored, tail) = (found.value(), found.tail());
        stored.overwrite_alike(alike, tail, value, revision);
        self.revisions.commit_one(revision);
        if let (true, Some(pinned)) = (heed & WATCHED != 0, keep) {
            self.watching.note(Kind::Put, revision, found.key(), pinned);
        }
        Some(Changed::To(revision))
    }

    #[cold]
    fn keep_alike(
        &self,
        found: Found<'_, Stored>,
        revision: u64,
        keep: Option<&Guard>,
    ) -> Option<()> {
        let Some(pinned) = keep else {
            self.revisions.abandon();
            return None;
        };
        self.snapshots.keep(&found, found.hash(), revision, pinned);
        Some(())
    }

    /// The hash and a pin are needed to keep the older value for snapshots, and to note the change
    /// for watches.
    pub(super) fn fast_overwrite(
        &self,
        found: Found<'_, Stored>,
        value: Small<'_>,
        keep: Option<(u64, &Guard)>,
    ) -> Option<Changed> {
        let (found, value) = (&found, &value);
        let (stored, tail) = (found.value(), found.tail());
        if !stored.can_become(tail, value) {
            return None;
        }
        let (less, more) = (stored.small_size(), value.size());
        let (less, more) = (Cost::of_bytes(less), Cost::of_bytes(more));
        // To grow may be refused, and to undo that may not: so what shrinks is counted afterwards.
        let grows = more.bytes > less.bytes;
        if grows && self.charge(less, more).is_err() {
            let (_, pinned) = keep?;
            // With the key: an entry that has no room of its own makes none.
            let key = found.key().len();
            let with_key = |cost: Cost| Cost::of_bytes(cost.bytes + key);
            self.evict_for(with_key(less), with_key(more), Some(found.again()), pinned)
                .ok()?;
        }
        found.note_use();
        let revision = self.revisions.begin(1);
        let heed = self.heed.load(Ordering::Relaxed);
        if heed != 0 {
            let Some((hash, pinned)) = keep else {
                self.revisions.abandon();
                if grows {
                    self.uncharge(less, more);
                }
                return None;
            };
            if heed & SNAPSHOTS != 0 {
                self.snapshots.keep(found, hash, revision, pinned);
            }
        }
        let was_timed = stored.is_timed();
        stored.overwrite(tail, value, revision);
        self.revisions.commit();
        if let (true, Some((_, pinned))) = (heed & WATCHED != 0, keep) {
            let key = found.key();
            self.watching.note(Kind::Put, revision, key, pinned);
        }
        self.count_timed(was_timed, value.is_timed());
        if more.bytes < less.bytes {
            let _ = self.charge(less, more);
        }
        Some(Changed::To(revision))
    }

    /// Takes out a small value, if nobody is to be told. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_delete<R: Reader>(
        &self,
        key: Key<'_>,
        reader: R,
        pinned: &Guard,
    ) -> Option<R::Read> {
        if self.is_observed() {
            return None;
        }
        let writer = self.writer(pinned);
        let removable = writer.fast_find(key.hash, &key)?;
        let found = removable.found();
        let cost = Cost::of(&found);
        if found.value().is_shared() || cost.bytes >= LARGE {
            return None; // it is to be freed at once
        }
        let was_timed = found.value().is_timed();
        if was_timed && self.timed() == 1 {
            return None; // somebody is to be told that nothing is due any more
        }
        // The last step that may find anything out: what was read for C is not given up.
        let old = fast_read_any(&found, reader, &Clock::new())?;
        let revision = self.begin_over(&found, key.hash, pinned);
        writer.fast_remove(removable, key.hash);
        self.revisions.commit();
        self.note(Kind::Deleted, revision, &key, pinned);
        self.discharge(cost);
        self.count_timed(was_timed, false);
        self.note_gone(Gone::Deleted, &writer, pinned);
        Some(old)
    }

    /// Stores a small value: in the place of the older one if there is one with room for it.
    /// That costs no memory, and leaves nothing to be freed. Answers the revision.
    pub(crate) fn put_small(
        &self,
        key: Key<'_>,
        value: ValueRef<'_>,
        condition: impl Condition,
    ) -> Result<u64, Error> {
        let pinned = reclaim::pin();
        let small = Small::of(value);
        match small.and_then(|small| self.fast_put(key, small, condition, &pinned)) {
            Some(changed) => changed.into(),
            None => {
                self.check(key, condition, &pinned)?; // before memory is asked for
                self.put(Pair::new(key, value)?, condition)
            }
        }
    }

    /// Stores a pair; answers the revision.
    pub(crate) fn put(&self, pair: Pair, condition: impl Condition) -> Result<u64, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let hash = pair.0.hash();
        let (clock, ttl, more) = (Clock::new(), condition.ttl(), pair.cost());
        let _held = self.hold_times();
        let (mut pair, mut first) = (pair, None);
        let old = loop {
            let old = writer.get(hash, pair.0.key());
            let old = old.map_err(|Closed| Error::ServerDown)?;
            let there = old.as_ref().filter(|old| !is_over(old, &clock));
            if !condition.allows(there.map(|there| there.value().revision())) {
                return Err(Error::Conflict);
            }
            // Of what was there at first: it may be swept meanwhile.
            let first = *first.get_or_insert_with(|| old.as_ref().map(life));
            let deadline = self.deadline(ttl, first, &clock);
            let live = || {
                let old = old.as_ref().and_then(life);
                let until = |it| self.life_until(it, old, hash, clock.now(), &pinned);
                deadline.map(until).transpose()
            };
            pair = pair.living(live()?)?;
            let less = old.as_ref().map(Cost::of).unwrap_or_default();
            match self.charge(less, more) {
                Ok(()) => break old,
                Err(Error::Limit(_)) if self.sweep_for_room() => {}
                Err(_) => {
                    self.charge_or_evict(less, more, old.as_ref(), &pinned)?;
                    pair = pair.living(live()?)?; // the sweep may have taken its note
                    break old;
                }
            }
        };
        let was_timed = old.as_ref().is_some_and(|old| old.value().is_timed());
        let is_timed = pair.0.view().value().is_timed();
        pair.0.set_marks(self.marks_of(old.as_ref(), hash, &pinned));
        let change = self.tell_stored(&pair);
        let revision = match &old {
            Some(old) => self.begin_over(old, hash, &pinned),
            None => self.revisions.begin(1),
        };
        pair.0.view().value().set_revision(revision);
        let spot = Spot::of(&pair.0.view());
        match writer.insert(pair.0) {
            Ok(replaced) => {
                self.revisions.commit();
                self.count_timed(was_timed, is_timed);
                // SAFETY: in the table now, from which nobody else takes it out.
                let found = unsafe { spot.found() };
                self.note(Kind::Put, revision, found.key(), &pinned);
                count_retired(replaced.as_ref(), &pinned);
            }
            Err(error) => {
                // It can only be a new key that finds no room.
                self.revisions.abandon();
                self.discharge(more);
                return Err(error);
            }
        }
        self.tell(change);
        Ok(revision)
    }

    /// Takes the key out; its value is the answer. Fails, with nothing changed, if the value
    /// cannot be copied.
    pub(crate) fn delete(&self, key: Key<'_>) -> Result<Value, Error> {
        let pinned = reclaim::pin();
        let found = self.found(key, &Clock::new(), &pinned)?;
        let old = found.as_ref().map(read).transpose()?;
        match &found {
            Some(found) => self.remove_found(key, found, &pinned),
            None => drop(self.remove(key)),
        }
        old.ok_or(Error::NotFound)
    }

    /// Takes the key out, without an answer.
    pub(crate) fn remove(&self, key: Key<'_>) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let found = self.writer(&pinned).get(key.hash, &key);
        match found {
            Ok(Some(found)) if is_over(&found, &Clock::new()) => {
                self.expire_now(&found, &pinned);
                Err(Error::NotFound)
            }
            Ok(Some(found)) => {
                self.remove_found(key, &found, &pinned);
                Ok(())
            }
            Ok(None) | Err(Closed) => {
                self.tell_deleted(&key);
                Err(Error::NotFound)
            }
        }
    }

    /// Takes out a key that is there.
    pub(super) fn remove_found(&self, key: Key<'_>, found: &Found<'_, Stored>, pinned: &Guard) {
        let writer = self.writer(pinned);
        self.take_out(&writer, found, key.hash, Gone::Deleted, pinned);
        self.tell_deleted(&key);
    }

    /// Takes an entry out, as a change of its own.
    pub(super) fn take_out(
        &self,
        writer: &Writer<'_, Stored>,
        found: &Found<'_, Stored>,
        hash: u64,
        why: Gone,
        pinned: &Guard,
    ) {
        let cost = Cost::of(found);
        if let (Some(gone), true) = (&self.gone, why != Gone::Deleted) {
            gone.note(found.key());
        }
        let revision = self.begin_over(found, hash, pinned);
        writer.remove(hash, found.key());
        self.revisions.commit();
        self.note(why.into(), revision, found.key(), pinned);
        self.discharge(cost);
        self.count_timed(found.value().is_timed(), false);
        if why == Gone::Expired {
            self.count_expired();
        }
        count_retired(Some(found), pinned);
        self.note_gone(why, writer, pinned);
    }

    pub(crate) fn clear(&self) {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let all = self.all(&pinned);
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        if let (Some(_), Ok(entries)) = (self.observer(), writer.entries()) {
            // As far as there is memory: to take out is not refused for want of it.
            let room = memory::reserve(&mut keys, self.count().unwrap_or(0));
            let copies = entries.map_while(|found| memory::bytes(found.key()));
            keys.extend(copies.take_while(|_| room.is_ok()));
        }
        let revision = self.revisions.begin(1);
        self.snapshots.fail_all(&pinned);
        writer.clear();
        self.revisions.commit();
        self.forget_times();
        self.note(Kind::Cleared, revision, b"", &pinned);
        self.discharge(all);
        self.forget_places();
        for key in keys {
            self.tell_deleted(&key);
        }
    }

    /// What all entries take of the limits.
    fn all(&self, pinned: &Guard) -> Cost {
        Cost {
            keys: self.table.len(pinned).unwrap_or(0),
            bytes: self.bytes(),
        }
    }

    /// `false` if it was closed already.
    pub(crate) fn close(&self) -> bool {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let all = self.all(&pinned);
        self.snapshots.fail_all(&pinned);
        let was_open = writer.close();
        if was_open {
            self.forget_times();
            self.discharge(all);
            self.forget_places();
            self.watching.close(&pinned);
        }
        if let Some(observer) = self.observer.get() {
            observer.close();
        }
        was_open
    }
}
