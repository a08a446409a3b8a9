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
const SHORT: usize = 32;
const SHORT_BYTES: usize = 4096;

/// Where a short batch is written.
type Places<'t> = [Option<Found<'t, Stored>>; SHORT];

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
        let mut places: Places<'_> = [const { None }; SHORT];
        if !self.find_places(pairs, &mut places, &pinned) {
            return false;
        }
        let founds = || places.iter().flatten().zip(pairs);
        let first = self.revisions.begin(pairs.len() as u64);
        // Noted after the look above: then it does not know what is taken away here.
        if self.heed.load(Ordering::Relaxed) != 0 {
            for ((found, (key, _)), revision) in founds().zip(first..) {
                self.snapshots.keep(found, key.hash, revision, &pinned);
            }
        }
        // One whose readers are kept out already is a key that comes twice.
        let out = founds().take_while(|(found, _)| found.value().keep_readers_out());
        let out = out.count();
        let less = founds().map(|(found, _)| found.value().size(found.tail()));
        let more = founds().map(|(_, (_, value))| value.size());
        let (less, more) = (Cost::of_bytes(less.sum()), Cost::of_bytes(more.sum()));
        if out < pairs.len() || self.charge(less, more).is_err() {
            founds()
                .take(out)
                .for_each(|(found, _)| found.value().let_readers_in());
            self.revisions.commit();
            return false;
        }
        let smalls =
            || founds().filter_map(|(found, (_, value))| Some((found, Small::of(*value)?)));
        for ((found, value), revision) in smalls().zip(first..) {
            found.value().write_kept_out(found.tail(), &value, revision);
        }
        for (found, value) in smalls() {
            found.value().let_readers_see(&value);
        }
        self.revisions.commit();
        true
    }

    fn find_places<'t>(
        &'t self,
        pairs: &[(Key<'_>, ValueRef<'_>)],
        places: &mut Places<'t>,
        pinned: &'t Guard,
    ) -> bool {
        let writer = self.writer(pinned);
        for ((key, value), place) in pairs.iter().zip(places) {
            match writer.get(key.hash, key) {
                Ok(Some(found))
                    if Small::of(*value)
                        .is_some_and(|small| found.value().can_become(found.tail(), &small)) =>
                {
                    *place = Some(found);
                }
                _ => return false,
            }
        }
        true
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

    /// Stores all, or none.
    pub(crate) fn put_many(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let mut new = 0;
        for pair in &pairs {
            let there = writer.get(pair.0.hash(), pair.0.key());
            let is_new = there.map_err(|Closed| Error::ServerDown)?.is_none();
            new += usize::from(is_new);
        }
        // First, so that nothing fails once it is counted.
        writer.reserve(new)?;
        let mut batch = Batch::begin(&writer, pairs.len())?;
        let (less, more) = self.costs(&writer, &pairs)?;
        let mut changes = Vec::new();
        if self.observer().is_some() {
            memory::reserve(&mut changes, pairs.len())?;
        }
        // From here on nothing fails.
        self.charge(less, more)?;
        changes.extend(pairs.iter().map(|pair| self.tell_stored(pair)));
        let first = self.revisions.begin(pairs.len() as u64);
        for (pair, revision) in pairs.into_iter().zip(first..) {
            let hash = pair.0.hash();
            pair.0.view().value().stage(revision);
            let Some(replaced) = batch.add(pair.0) else {
                continue;
            };
            if replaced.value().is_withdrawn() {
                continue;
            }
            if self.heed.load(Ordering::Relaxed) != 0 {
                self.snapshots.keep(&replaced, hash, revision, &pinned);
            }
            count_retired(Some(&replaced), &pinned);
        }
        self.revisions.commit();
        batch.settle();
        for change in changes {
            self.tell(change);
        }
        Ok(())
    }
}
