//! Many keys stored as one change, by the one thread that may make it.
//!
//! A short batch whose keys are all there, with room for what is stored, is written in their
//! places: readers of these keys are kept out from before the first is written until after the
//! last is, so that nobody sees a part. That lasts as long as a large value takes. Any other batch
//! is put in entry by entry, and readers see what was before it until all count (`table::Batch`).

use std::collections::HashMap;

use super::contents::{Contents, Pair};
use super::key::Key;
use super::limits::Cost;
use super::reading::size;
use super::stored::{Small, Stored};
use super::writing::count_retired;
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::sync::Ordering;
use crate::table::{Batch, Closed, Found, Staged, Writer};
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
        if !Contents::is_short(pairs) || self.heed.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let pinned = reclaim::pin();
        let Some(places) = self.find_places(pairs, &pinned) else {
            return false;
        };
        let first = self.revisions.begin(pairs.len() as u64);
        // Noted after the look above: then it does not know what is taken away here.
        if self.heed.load(Ordering::Relaxed) != 0 {
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
            found.value().write_kept_out(found.tail(), value, revision);
        }
        for (found, value) in places.each() {
            found.value().let_readers_see(value);
        }
        self.revisions.commit();
        true
    }

    /// `None` if there is no place for one.
    #[inline(always)]
    fn find_places<'t>(
        &'t self,
        pairs: &[(Key<'_>, ValueRef<'t>)],
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

    /// Stores all in an empty bucket, or none.
    pub(crate) fn fill(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        match self.count().map_err(|_| Error::ServerDown)? {
            0 => self.put_many(pairs),
            _ => Err(Error::Conflict),
        }
    }

    /// Stores all, or none. A key is looked for where it is put; before that only if the table
    /// might have to grow, or there are limits to be asked.
    pub(crate) fn put_many(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
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
        if let Some(limits) = &self.limits {
            let (less, more) = self.costs(&writer, &pairs)?;
            limits.change(less, more)?;
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
            pair.0.view().value().stage(revision);
            let Some(replaced) = batch.add(pair.0) else {
                continue;
            };
            less += size(&replaced);
            if replaced.value().is_withdrawn() {
                continue;
            }
            if self.heed.load(Ordering::Relaxed) != 0 {
                self.snapshots.keep(&replaced, hash, revision, &pinned);
            }
            count_retired(Some(&replaced), &pinned);
        }
        self.count_bytes(less, more);
        self.revisions.commit();
        batch.settle();
        for change in changes {
            self.tell(change);
        }
        Ok(())
    }
}
