//! Many keys read as they are at one instant.

use super::contents::{Contents, Unread};
use super::key::Key;
use super::reading::{read, try_read, Owned, Tried};
use super::snapshot::{About, Filter, Kept, Snapshot};
use super::ttl::is_over;
use crate::error::Error;
use crate::memory;
use crate::reclaim;
use crate::server::Exclusive;
use crate::sync::{back_off, Ordering};
use crate::table::Closed;
use crate::time::Clock;
use crate::value::Value;

/// The values of some keys; `None` where a key is absent.
pub(crate) type Many = Vec<Option<Value>>;

/// So many keys are read in one pin, and before it is asked whether it was all in vain.
const CHUNK: usize = 64;

/// How often the change that is under way is waited for.
const WAITS: u32 = 16;

impl Contents {
    /// A value with the revision of its change.
    fn get_with_revision(
        &self,
        key: Key<'_>,
        clock: &Clock,
    ) -> Result<Option<(Value, u64)>, Unread> {
        self.resolve(key, &reclaim::pin(), |look| {
            let revision = look.revision();
            match try_read(look, Owned, clock) {
                Tried::Read(value) => Tried::Read((value, revision)),
                Tried::NoMemory => Tried::NoMemory,
                Tried::Torn => Tried::Torn,
                Tried::Over => Tried::Over,
            }
        })
    }

    /// Reads the keys without being noticed; `None` if there was a change meanwhile.
    fn get_many_between_changes(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        let Some(last) = self.revisions.between_changes() else {
            return Ok(None);
        };
        let (mut values, clock) = (room_for(keys.len())?, Clock::new());
        for chunk in keys.chunks(CHUNK) {
            let pinned = reclaim::pin();
            for key in chunk {
                let value = self.resolve_found(*key, &pinned, |look| try_read(look, Owned, &clock));
                match value {
                    Ok(value) => values.push(value.map(|(value, found)| {
                        found.note_use();
                        value
                    })),
                    Err(Unread::Busy) => return Ok(None),
                    Err(Unread::Error(error)) => return Err(error),
                }
            }
            if !self.revisions.is_still(last) {
                return Ok(None);
            }
        }
        Ok(Some(values))
    }

    /// Reads the keys beside the writer, who keeps what it takes away meanwhile; `None` if it
    /// could not.
    pub(crate) fn get_many_beside_writer(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        let filter = Filter::of(keys.iter().map(|key| key.hash))?;
        let Ok(noted) = Noted::new(self, Snapshot::new(About::Some(filter))) else {
            return Ok(None);
        };
        if !reclaim::heavy() {
            return Ok(None);
        }
        // Known from here on, so that no more is kept than is of it. The instant of both is one: the
        // clock shows the same before and after it.
        let (clock, are_timed) = (Clock::new(), self.times.are_used());
        let before = are_timed.then(|| clock.now().ms());
        let revision = self.revisions.begun();
        if before.is_some_and(|before| Clock::new().now().ms() != before) {
            return Ok(None);
        }
        noted.snapshot.set_revision(revision);
        let mut step = 0;
        while self.revisions.committed() < revision {
            if step == WAITS {
                return Ok(None); // a batch, perhaps
            }
            back_off(step);
            step += 1;
        }
        if self.times.are_used() != are_timed {
            return Ok(None);
        }
        let mut values = room_for(keys.len())?;
        let mut missing = Vec::new();
        for key in keys {
            match self.get_with_revision(*key, &clock) {
                Ok(Some((value, from))) if from <= revision => values.push(Some(value)),
                Ok(_) => {
                    grow(&mut missing)?;
                    missing.push(values.len());
                    values.push(None);
                }
                Err(Unread::Busy) => return Ok(None),
                Err(Unread::Error(error)) => return Err(error),
            }
        }
        let mut kept = noted.snapshot.take_kept();
        if noted.snapshot.has_failed() {
            return Ok(None);
        }
        kept.retain(|kept| kept.is_of(revision) && kept.lives(&clock));
        kept.sort_unstable_by_key(|kept| kept.hash);
        for place in missing {
            values[place] = find(&kept, keys[place]);
        }
        Ok(Some(values))
    }

    /// Reads the keys, if it can be done without the write exclusion.
    pub(crate) fn get_many(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        let read = match self.get_many_between_changes(keys)? {
            None => self.get_many_beside_writer(keys)?,
            read => read,
        };
        if let Some(values) = &read {
            self.count_reads(values);
        }
        Ok(read)
    }

    /// Where that is counted.
    fn count_reads(&self, values: &[Option<Value>]) {
        if self.eviction.is_some() {
            let hits = values.iter().flatten().count();
            self.count_hits(hits);
            self.count_misses(values.len() - hits);
        }
    }
}

fn find(kept: &[Kept], key: Key<'_>) -> Option<Value> {
    let first = kept.partition_point(|kept| kept.hash < key.hash);
    let mut candidates = kept[first..].iter().take_while(|it| it.hash == key.hash);
    let found = candidates.find(|kept| kept.item.key.as_bytes() == &key[..])?;
    Some(found.item.value.clone())
}

pub(super) fn room_for<T>(len: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    memory::reserve(&mut room, len)?;
    Ok(room)
}

/// Room for one more.
pub(super) fn grow<T>(room: &mut Vec<T>) -> Result<(), Error> {
    memory::without_reserve(|| room.try_reserve(1)).map_err(|_| Error::NoMemory)
}

/// A snapshot that the writer heeds, until it is dropped.
pub(super) struct Noted<'c> {
    contents: &'c Contents,
    pub(super) snapshot: &'c Snapshot,
}

impl<'c> Noted<'c> {
    pub(super) fn new(contents: &'c Contents, snapshot: Snapshot) -> Result<Noted<'c>, Error> {
        let snapshot = contents.snapshots.add(Box::new(snapshot));
        let snapshot = snapshot.map_err(|_| Error::Limit("snapshots of a bucket"))?;
        contents.heed.fetch_add(1, Ordering::SeqCst);
        Ok(Noted { contents, snapshot })
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.contents.heed.fetch_sub(1, Ordering::Release);
        let pinned = reclaim::pin();
        self.contents.snapshots.remove(self.snapshot, &pinned);
        // The writer may have it yet, but keeps nothing more; and what it kept is freed here.
        self.snapshot.fail();
        drop(self.snapshot.take_kept());
        drop(self.snapshot.take_rest());
    }
}

impl Exclusive<'_, Contents> {
    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many(&self, keys: &[Key<'_>]) -> Result<Many, Error> {
        let (pinned, clock) = (reclaim::pin(), Clock::new());
        let mut values = room_for(keys.len())?;
        for key in keys {
            let found = self.writer(&pinned).get(key.hash, key);
            let found = found.map_err(|Closed| Error::NoProcess)?;
            let found = found.filter(|found| !is_over(found, &clock));
            if let Some(found) = &found {
                found.note_use();
            }
            values.push(found.as_ref().map(read).transpose()?);
        }
        self.count_reads(&values);
        Ok(values)
    }
}
