//! What a bucket holds: a map from key to value. Reads come from any thread; who may change it
//! has [`Exclusive`](crate::server::Exclusive) of it (`writing.rs`).

use std::ptr;
use std::sync::{Arc, OnceLock};

use super::backed::Gone;
use super::eviction::Eviction;
use super::key::Key;
use super::limits::{Cost, Limits};
use super::reading::{fast_read, fast_read_any, fast_read_any_entry, fast_read_entry};
use super::reading::{size, try_read, try_read_entry};
use super::reading::{EntryFacts, Owned, Reader, Tried};
use super::revisions::{RevisionBlocks, Revisions};
use super::snapshot::Slots;
use super::stored::{Look, Obstacle, Small, Stored};
use super::times::Times;
use super::watching::Watching;
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::Reservation;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};
use crate::table::{Closed, Found, NewEntry, Spot, Staged, Table};
use crate::time::Clock;
use crate::value::{Shared, Value, ValueRef, VALUE_LIMIT};

/// A key with its value, ready to be stored: made before the turn is taken, and the only
/// step that needs memory of the caller's size.
pub(crate) struct Pair(pub(super) NewEntry<Stored>);

impl Pair {
    pub(super) fn cost(&self) -> Cost {
        Cost::of(&self.0.view())
    }

    pub(crate) fn new(key: Key<'_>, value: ValueRef<'_>) -> Result<Pair, Error> {
        Pair::with_room(key, value, false)
    }

    /// With room for a time to live.
    pub(crate) fn with_room(
        key: Key<'_>,
        value: ValueRef<'_>,
        is_timed: bool,
    ) -> Result<Pair, Error> {
        if value.text().len() > VALUE_LIMIT {
            return Err(Error::Limit("a value has at most 512 MiB"));
        }
        if let Some(small) = Small::of(value) {
            let stored = Stored::small(&small, 0);
            return Pair::of(&key, key.hash, stored, small.tail(), is_timed);
        }
        let text = Shared::new(value.text())?;
        let is_string = matches!(value, ValueRef::String(_));
        let (stored, tail) = Stored::shared(is_string, &text);
        let pair = Pair::of(&key, key.hash, stored, &tail, is_timed)?;
        let _ = text.into_address(); // the count is the entry's now
        Ok(pair)
    }
}

/// A key that was stored, or deleted. As in the guide a delete is told also if the key was
/// absent.
pub(crate) struct Change {
    pub(crate) key: Box<[u8]>,
    /// `None`: deleted.
    pub(crate) value: Option<Value>,
}

/// Is told of changes in the order they are made, by the thread that makes them, while it has
/// the right to: it must be short and must not wait.
pub(crate) trait Observer: Send + Sync {
    /// Whether a change would be told to anybody.
    fn is_wanted(&self) -> bool;

    fn changed(&self, change: Change);

    /// There will be no more changes.
    fn close(&self);
}

/// Why a key was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The writer is in the middle of a change, or changes the value too often: to be read under
    /// the write exclusion.
    Busy,
    Error(Error),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Unread {
        Unread::Error(error)
    }
}

/// Where the value of a key lies, beyond the pin of who found it.
pub(crate) struct ValueSpot(pub(super) Spot<Stored>);

/// How often a value is copied in vain, for it changed meanwhile.
const TRIES: u32 = 32;

/// In `heed`: the observer is told of changes.
pub(super) const OBSERVED: u32 = 1 << 31;
/// In `heed`: changes are noted for watches. Set under the write exclusion.
pub(super) const WATCHED: u32 = 1 << 30;
/// In `heed`: a store keeps the contents, and is told of a change first. From the beginning on.
pub(super) const BACKED: u32 = 1 << 29;
/// Below them snapshots are counted.
pub(super) const SNAPSHOTS: u32 = BACKED - 1;

pub(crate) struct Contents {
    pub(super) table: Table<Stored>,
    pub(super) limits: Option<Box<Limits>>,
    /// Whether a change concerns anybody but readers: `OBSERVED`, `WATCHED`, `BACKED`, and how many
    /// snapshots are taken.
    pub(super) heed: AtomicU32,
    /// Of keys and values. The writer's.
    pub(super) bytes: AtomicUsize,
    pub(super) revisions: Revisions,
    pub(super) snapshots: Slots,
    pub(super) observer: OnceLock<Arc<dyn Observer>>,
    /// None where nothing is taken out to make room.
    pub(super) eviction: Option<Box<Eviction>>,
    pub(super) watching: Watching,
    pub(crate) times: Times,
    /// Of contents that a store keeps.
    pub(super) gone: Option<Box<Gone>>,
}

impl Contents {
    pub(crate) fn new(
        limits: Option<Box<Limits>>,
        blocks: Option<Arc<RevisionBlocks>>,
    ) -> Contents {
        Contents {
            table: Table::new(),
            limits,
            heed: AtomicU32::new(0),
            bytes: AtomicUsize::new(0),
            revisions: Revisions::of(blocks),
            snapshots: Slots::default(),
            observer: OnceLock::new(),
            eviction: None,
            watching: Watching::default(),
            times: Times::new(0),
            gone: None,
        }
    }

    /// From the beginning on a store keeps them: changes are made by `prepare` and `publish` alone.
    pub(crate) fn backed(mut self) -> Contents {
        self.heed = AtomicU32::new(BACKED);
        self.gone = Some(Box::default());
        self
    }

    /// From the beginning on keys are taken out where the limits would refuse a write.
    pub(crate) fn evicting(mut self) -> Contents {
        self.eviction = Some(Box::default());
        self
    }

    /// Empty ones, which can be read in the order of their keys.
    pub(crate) fn ordered(self) -> Contents {
        Contents {
            table: Table::ordered(),
            ..self
        }
    }

    /// Keys that are given no time to live of their own live so many milliseconds; 0: for ever.
    pub(crate) fn with_default_ttl(mut self, ttl: u64) -> Contents {
        self.times = Times::new(ttl);
        self
    }

    /// The bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts a put that waits in the mailbox, where there are limits.
    pub(crate) fn reserve(&self, pair: &Pair) -> Result<Vec<Reservation>, Error> {
        self.reserve_for(pair.0.hash(), pair.0.key(), pair.cost().bytes)
    }

    /// As `reserve`, of what is no pair yet.
    pub(crate) fn reserve_put(
        &self,
        key: Key<'_>,
        value: ValueRef<'_>,
    ) -> Result<Vec<Reservation>, Error> {
        self.reserve_for(key.hash, &key, key.len() + value.size())
    }

    fn reserve_for(&self, hash: u64, key: &[u8], bytes: usize) -> Result<Vec<Reservation>, Error> {
        let Some(limits) = &self.limits else {
            return Ok(Vec::new());
        };
        let pinned = reclaim::pin();
        let found = self.table.get(hash, key, &pinned);
        let is_new = !matches!(found, Ok(Some(_)));
        limits.reserve(usize::from(is_new), bytes)
    }

    /// The value of a key, as the reader makes it.
    pub(crate) fn read<R: Reader + Copy>(
        &self,
        key: Key<'_>,
        reader: R,
    ) -> Result<R::Read, Unread> {
        self.read_at(key, reader, &Clock::new())
    }

    /// As `read`, at the moment of the clock.
    pub(crate) fn read_at<R: Reader + Copy>(
        &self,
        key: Key<'_>,
        reader: R,
        clock: &Clock,
    ) -> Result<R::Read, Unread> {
        self.read_with(key, |look| try_read(look, reader, clock))
    }

    /// As `read_at`, with what else there is to know of the key.
    pub(crate) fn read_entry<R: Reader + Copy>(
        &self,
        key: Key<'_>,
        reader: R,
        clock: &Clock,
    ) -> Result<(R::Read, EntryFacts), Unread> {
        self.read_with(key, |look| {
            let is_still_there = || self.has_still(key, look);
            try_read_entry(look, reader, clock, is_still_there)
        })
    }

    fn read_with<T>(
        &self,
        key: Key<'_>,
        copy: impl FnMut(&Look<'_>) -> Tried<T>,
    ) -> Result<T, Unread> {
        match self.resolve_found(key, &reclaim::pin(), copy)? {
            Some((read, found)) => {
                self.note_hit(&found);
                Ok(read)
            }
            None => {
                self.count_misses(1);
                Err(Unread::Error(Error::NotFound))
            }
        }
    }

    /// Whether a key has the entry still that was looked at.
    #[inline(never)]
    fn has_still(&self, key: Key<'_>, look: &Look<'_>) -> bool {
        let pinned = reclaim::pin();
        let found = self.table.get(key.hash, &key, &pinned).ok().flatten();
        found.is_some_and(|found| look.is_of(found.value()))
    }

    /// The revision of the last change; 0 if there was none.
    pub(crate) fn revision(&self) -> Result<u64, Unread> {
        self.count()?; // of one that has ended there is none
        self.revisions.last().ok_or(Unread::Busy)
    }

    /// The value of a key. For who has the turn, or may wait for the writer.
    pub(crate) fn get(&self, key: Key<'_>, clock: &Clock) -> Result<Value, Unread> {
        self.read_at(key, Owned, clock)
    }

    /// What `copy` makes of the value of a key, as it counts now; `None` if the key is absent. Not
    /// noted as a read.
    pub(super) fn resolve<T>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        copy: impl FnMut(&Look<'_>) -> Tried<T>,
    ) -> Result<Option<T>, Unread> {
        let found = self.resolve_found(key, pinned, copy)?;
        Ok(found.map(|(copied, _)| copied))
    }

    /// As `resolve`, with the entry.
    pub(super) fn resolve_found<'g, T>(
        &'g self,
        key: Key<'_>,
        pinned: &'g Guard,
        mut copy: impl FnMut(&Look<'_>) -> Tried<T>,
    ) -> Result<Option<(T, Found<'g, Stored>)>, Unread> {
        let find = || match self.table.get(key.hash, &key, pinned) {
            Ok(found) => Ok(found),
            Err(Closed) => Err(Error::NoProcess),
        };
        let mut found = find()?;
        // The change from which on the entry is not the key's any more.
        let mut until = None;
        for _ in 0..TRIES {
            let Some(entry) = &found else {
                return Ok(None);
            };
            let (stored, tail) = (entry.value(), entry.tail());
            let look = match stored.look(tail) {
                Ok(look) => look,
                Err(Obstacle::Busy) => return Err(Unread::Busy),
                Err(Obstacle::Withdrawn) => {
                    (found, until) = (find()?, None);
                    continue;
                }
                Err(Obstacle::Staged) if self.revisions.committed() < stored.revision() => {
                    until = Some(stored.revision());
                    if let Some(before) = entry.before() {
                        found = before;
                    }
                    continue;
                }
                Err(Obstacle::Staged) if stored.is_tombstone() => return Ok(None),
                Err(Obstacle::Staged) => match stored.look_at_staged(tail) {
                    Some(look) => look,
                    None => continue,
                },
            };
            match copy(&look) {
                Tried::Read(read) => return Ok(found.map(|found| (read, found))),
                Tried::NoMemory => return Err(Error::NoMemory.into()),
                Tried::Torn => {}
                Tried::Over => {
                    // If it is the key's entry still, it was when the clock was read.
                    let is_still = match until {
                        Some(change) => self.revisions.committed() < change,
                        None => find()?.is_some_and(|it| ptr::eq(it.value(), stored)),
                    };
                    if is_still {
                        return Ok(None);
                    }
                    (found, until) = (find()?, None);
                }
            }
        }
        Err(Unread::Busy)
    }

    /// What the reader makes of the value of a key, if no step is out of the ordinary. Does not
    /// panic.
    #[inline(always)]
    pub(crate) fn fast_read<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        let found = self.table.get(key.hash, &key, pinned).ok()??;
        self.note_hit(&found); // before it is read: so what is read need not be kept meanwhile
        fast_read(&found, reader)
    }

    /// As `fast_read`, where that found nothing: perhaps the key has a time to live.
    pub(crate) fn fast_read_timed<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        let found = self.table.get(key.hash, &key, pinned).ok()??;
        fast_read_any(&found, reader, &Clock::new())
    }

    /// As `fast_read`, with the revision of the key's last change.
    #[inline(always)]
    pub(crate) fn fast_read_entry<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<(R::Read, EntryFacts)> {
        let found = self.table.get(key.hash, &key, pinned).ok()??;
        self.note_hit(&found);
        fast_read_entry(&found, reader)
    }

    /// As `fast_read_timed`, with what else there is to know.
    pub(crate) fn fast_read_timed_entry<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<(R::Read, EntryFacts)> {
        let found = self.table.get(key.hash, &key, pinned).ok()??;
        let is_still_there = || {
            let again = self.table.get(key.hash, &key, pinned).ok().flatten();
            again.is_some_and(|again| ptr::eq(again.value(), found.value()))
        };
        fast_read_any_entry(&found, reader, is_still_there)
    }

    /// As `fast_read`, and where the value lies.
    #[inline(always)]
    pub(crate) fn fast_read_at<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
        clock: &Clock,
    ) -> Option<(R::Read, ValueSpot)> {
        let found = self.table.get(key.hash, &key, pinned).ok()??;
        self.note_hit(&found);
        let read = fast_read_any(&found, reader, clock)?;
        Some((read, ValueSpot(Spot::of(&found))))
    }

    pub(crate) fn count(&self) -> Result<usize, Error> {
        self.table
            .len(&reclaim::pin())
            .map_err(|Closed| Error::NoProcess)
    }
}

impl Cost {
    pub(super) fn of(found: &Found<'_, Stored>) -> Cost {
        Cost {
            keys: 1,
            bytes: size(found),
        }
    }
}
