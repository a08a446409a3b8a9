//! Many keys stored as one change, by the one thread that may make it.
//!
//! A short batch whose keys are all there, with room for what is stored, is written in their
//! places: readers of these keys are kept out from before the first is written until after the
//! last is, so that nobody sees a part. That lasts as long as a large value takes. Any other batch
//! is put in entry by entry, and readers see what was before it until all count (`table::Batch`).

use std::collections::HashMap;

use super::contents::{Contents, Pair, SNAPSHOTS, WATCHED};
use super::eviction::keep_it;
use super::key::Key;
use super::key_log::Kind;
use super::limits::Cost;
use super::reading::size;
use super::saved::Saved;
use super::stored::{Small, Stored};
use super::ttl::Ttl;
use super::writing::count_retired;
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::sync::Ordering;
use crate::table::{Batch, Closed, Found, Staged, Writer};
use crate::time::Clock;
use crate::value::ValueRef;

/// So many keys and bytes readers may be kept waiting for.
pub(super) const SHORT: usize = 32;
pub(super) const SHORT_BYTES: usize = 4096;

/// Where a short batch is written, and what.
struct Places<'t> {
    places: [Option<(Found<'t, Stored>, Small<'t>)>; SHORT],
    /// What was there, and what will be.
    less: usize,
    more: usize,
}

impl<'t> Places<'t> {
    fn each(&self) -> impl Iterator<Item = &(Found<'t, Stored>, Small<'t>)> {
        self.places.iter().map_while(Option::as_ref)
    }
}

impl Contents {
    /// Whether a batch may be written in its places.
    pub(crate) fn is_short(pairs: &[(Key<'_>, ValueRef<'_>)]) -> bool {
        let bytes = pairs.iter().map(|(_, value)| value.size());
        pairs.len() <= SHORT && bytes.sum::<usize>() <= SHORT_BYTES
    }
}

impl Exclusive<'_, Contents> {
    /// Stores all in the places of older ones; `false`, with nothing changed, if the batch is long,
    /// or one has no place there, or others are to be told. Takes no memory.
    pub(crate) fn overwrite_all(&self, pairs: &[(Key<'_>, ValueRef<'_>)]) -> bool {
        if !Contents::is_short(pairs) || self.heed.load(Ordering::Relaxed) & !WATCHED != 0 {
            return false;
        }
        let pinned = reclaim::pin();
        let clock = Clock::new();
        let noting = || self.note_many(pairs.len(), &pinned);
        let _noting = (!self.gives_none(Ttl::Default)).then(noting);
        let Some(places) = self.find_places(pairs, &clock, &pinned) else {
            return false;
        };
        let first = self.revisions.begin(pairs.len() as u64);
        // Noted after the look above: then it does not know what is taken away here.
        if self.heed.load(Ordering::Relaxed) & SNAPSHOTS != 0 {
            let keys = pairs.iter().map(|(key, _)| key);
            for (((found, _), key), revision) in places.each().zip(keys).zip(first..) {
                self.snapshots.keep(found, key.hash, revision, &pinned);
            }
        }
        // One whose readers are kept out already is a key that comes twice.
        let out = places.each();
        let out = out.take_while(|(found, _)| found.value().keep_readers_out());
        let out = out.count();
        let (less, more) = (Cost::of_bytes(places.less), Cost::of_bytes(places.more));
        if out < pairs.len() || self.charge(less, more).is_err() {
            for (found, _) in places.each().take(out) {
                found.value().let_readers_in();
            }
            self.revisions.abandon();
            return false;
        }
        for ((found, value), revision) in places.each().zip(first..) {
            self.count_timed(found.value().is_timed(), value.is_timed());
            found.value().write_kept_out(found.tail(), value, revision);
            found.note_use();
        }
        for (found, value) in places.each() {
            found.value().let_readers_see(value);
        }
        self.revisions.commit();
        for ((found, _), revision) in places.each().zip(first..) {
            self.note(Kind::Put, revision, found.key(), &pinned);
        }
        true
    }

    /// `None` if there is no place for one.
    #[inline(always)]
    fn find_places<'t>(
        &'t self,
        pairs: &[(Key<'_>, ValueRef<'t>)],
        clock: &Clock,
        pinned: &'t Guard,
    ) -> Option<Places<'t>> {
        let writer = self.writer(pinned);
        let mut all = Places {
            places: [const { None }; SHORT],
            less: 0,
            more: 0,
        };
        for ((key, value), place) in pairs.iter().zip(&mut all.places) {
            let small = Small::of(*value)?;
            let found = writer.get(key.hash, key).ok()??;
            let small = match self.gives_none(Ttl::Default) {
                true => small,
                false => {
                    let life = self.new_life(Ttl::Default, Some(&found), key.hash, clock, pinned);
                    small.living(life.ok()?)
                }
            };
            if !found.value().can_become(found.tail(), &small) {
                return None;
            }
            all.less += found.value().small_size();
            all.more += small.size();
            *place = Some((found, small));
        }
        Some(all)
    }

    /// What a batch takes of the limits: of keys that it names twice the last one counts.
    fn costs(&self, writer: &Writer<'_, Stored>, pairs: &[Pair]) -> Result<(Cost, Cost), Error> {
        let mut last: HashMap<&[u8], &Pair> = HashMap::new();
        memory::without_reserve(|| last.try_reserve(pairs.len())).map_err(|_| Error::NoMemory)?;
        last.extend(pairs.iter().map(|pair| (pair.0.key(), pair)));
        let (mut less, mut more) = (Cost::default(), Cost::default());
        for (key, pair) in last {
            let old = writer.get(pair.0.hash(), key);
            let old = old.map_err(|Closed| Error::ServerDown)?;
            less = less.and(old.as_ref().map(Cost::of).unwrap_or_default());
            more = more.and(pair.cost());
        }
        Ok((less, more))
    }

    /// How many keys of a batch the table has not; one that comes twice may count as two.
    fn count_new(writer: &Writer<'_, Stored>, pairs: &[Pair]) -> Result<usize, Error> {
        let mut new = 0;
        for pair in pairs {
            let there = writer.get(pair.0.hash(), pair.0.key());
            let is_new = there.map_err(|Closed| Error::ServerDown)?.is_none();
            new += usize::from(is_new);
        }
        Ok(new)
    }

    /// Takes keys out, but for those of the batch, until it is charged, and has room in the table.
    #[cold]
    fn evict_for_batch(
        &self,
        writer: &Writer<'_, Stored>,
        pairs: &[Pair],
        (less, more): (Cost, Cost),
        refused: Error,
        pinned: &Guard,
    ) -> Result<(), Error> {
        let Some(limits) = &self.limits else {
            return Err(refused);
        };
        let keep = |is_kept| {
            let there = |pair: &Pair| writer.get(pair.0.hash(), pair.0.key()).ok().flatten();
            let there = pairs.iter().filter_map(there);
            there.for_each(|found| keep_it(&found, is_kept));
        };
        keep(true);
        let charged = self.make_room(more, pinned, refused, || limits.change(less, more));
        keep(false);
        charged?;
        // What was taken out may have made the table smaller.
        let room = match writer.has_room_for(pairs.len()) {
            true => Ok(()),
            false => Self::count_new(writer, pairs).and_then(|new| writer.reserve(new)),
        };
        if room.is_err() {
            limits.undo(less, more);
        }
        room
    }

    /// Gives each key the time to live of the bucket's keys, if they have one.
    fn give_lives(&self, pairs: Vec<Pair>, pinned: &Guard) -> Result<Vec<Pair>, Error> {
        if self.gives_none(Ttl::Default) {
            return Ok(pairs);
        }
        let (clock, mut living) = (Clock::new(), Vec::new());
        memory::reserve(&mut living, pairs.len())?;
        for pair in pairs {
            // Noted anew each time: an older note has another mark.
            let life = self.new_life(Ttl::Default, None, pair.0.hash(), &clock, pinned)?;
            living.push(pair.living(life)?);
        }
        Ok(living)
    }

    /// Takes out keys whose time is over, as long as there is no room without that.
    fn sweep_for_batch(&self, writer: &Writer<'_, Stored>, pairs: &[Pair]) -> Result<(), Error> {
        let Some(limits) = self.limits.as_ref().filter(|_| self.timed() > 0) else {
            return Ok(());
        };
        loop {
            let (less, more) = self.costs(writer, pairs)?;
            if limits.have_room(less, more) {
                return Ok(());
            }
            if !self.sweep_for_room() {
                return Ok(());
            }
        }
    }

    /// Stores all, or none. A key is looked for where it is put; before that only if the table
    /// might have to grow, or there are limits to be asked.
    pub(crate) fn put_many(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        let pinned = reclaim::pin();
        self.sweep_for_batch(&self.writer(&pinned), &pairs)?;
        let _noting = self.note_many(pairs.len(), &pinned);
        self.store_many(self.give_lives(pairs, &pinned)?, &pinned)
    }

    /// Whether there is no key but such whose time is over; they are taken out.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        while self.count().map_err(|_| Error::ServerDown)? > 0 {
            if !self.sweep_for_room() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores all in an empty bucket, or none; each with what is left of the time to live that it was
    /// saved with, at this time of the wall clock.
    pub(crate) fn fill(&self, saved: Vec<Saved>, now: i64) -> Result<(), Error> {
        if !self.is_empty()? {
            return Err(Error::Conflict);
        }
        let (clock, pinned, mut pairs) = (Clock::new(), reclaim::pin(), Vec::new());
        memory::reserve(&mut pairs, saved.len())?;
        let _noting = self.note_many(saved.len(), &pinned);
        for saved in saved {
            let (ttl, hash) = (saved.ttl(now), saved.pair.0.hash());
            let life = self.new_life(ttl, None, hash, &clock, &pinned)?;
            pairs.push(saved.pair.living(life)?);
        }
        self.store_many(pairs, &pinned)
    }

    /// As `put_many`, of pairs with their lives.
    fn store_many(&self, pairs: Vec<Pair>, pinned: &Guard) -> Result<(), Error> {
        let writer = self.writer(pinned);
        // First, so that nothing fails once it is counted.
        if !writer.has_room_for(pairs.len()) {
            writer.reserve(Self::count_new(&writer, &pairs)?)?;
        }
        let mut batch = Batch::begin(&writer, pairs.len())?;
        let mut changes = Vec::new();
        let is_observed = self.observer().is_some();
        if is_observed {
            memory::reserve(&mut changes, pairs.len())?;
        }
        let entries = pairs.iter().map(|pair| &pair.0);
        writer.list(entries.clone())?;
        if let Some(limits) = &self.limits {
            let costs = self.costs(&writer, &pairs);
            let charged = costs.and_then(|(less, more)| match limits.change(less, more) {
                Err(refused) if self.eviction.is_some() => {
                    self.evict_for_batch(&writer, &pairs, (less, more), refused, pinned)
                }
                charged => charged,
            });
            charged.inspect_err(|_| writer.unlist(entries))?;
        }
        // From here on nothing fails.
        if is_observed {
            changes.extend(pairs.iter().map(|pair| self.tell_stored(pair)));
        }
        let first = self.revisions.begin(pairs.len() as u64);
        let (mut less, mut more) = (0, 0);
        for (pair, revision) in pairs.into_iter().zip(first..) {
            let hash = pair.0.hash();
            more += pair.cost().bytes;
            self.count_timed(false, pair.0.view().value().is_timed());
            pair.0.view().value().stage(revision);
            if self.eviction.is_some() {
                let there = writer.get(hash, pair.0.key()).ok().flatten();
                pair.0
                    .set_marks(self.marks_within_batch(there.as_ref(), hash));
            }
            let Some(replaced) = batch.add(pair.0) else {
                continue;
            };
            less += size(&replaced);
            self.count_timed(replaced.value().is_timed(), false);
            if replaced.value().is_withdrawn() {
                continue;
            }
            if self.heed.load(Ordering::Relaxed) & SNAPSHOTS != 0 {
                self.snapshots.keep(&replaced, hash, revision, pinned);
            }
            count_retired(Some(&replaced), pinned);
        }
        self.count_bytes(less, more);
        self.revisions.commit();
        for found in batch.entries() {
            self.note(Kind::Put, found.value().revision(), found.key(), pinned);
        }
        let len = batch.len();
        batch.settle();
        self.tidy_places(len, &writer, pinned);
        for change in changes {
            self.tell(change);
        }
        Ok(())
    }
}
