//! What a shared bucket reads at its store.

use std::sync::Arc;

use super::super::backed::wall_clock;
use super::super::{BucketServer, Decision};
use super::Shared;
use crate::error::Error;
use crate::server::Caller;
use crate::store::{EntryFacts, Item, Key, Loaded, Many, Owned, Reader, Wanted, Which, NO_TTL};
use crate::sync::lock;
use crate::time::Deadline;
use crate::value::{Shared as Blob, Text, Value, ValueRef};

/// What a key had when it was looked at.
#[derive(Default)]
pub(super) struct Seen {
    /// None if it was absent, or its time over.
    pub(super) entry: Option<Entry>,
    /// That which the store has, also of one whose time is over which it has not noticed; 0: none.
    pub(super) revision: u64,
}

/// An entry as a store has it now.
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) revision: u64,
    /// In milliseconds since 1970.
    pub(super) expires: Option<i64>,
}

impl Entry {
    fn facts(&self) -> EntryFacts {
        EntryFacts {
            revision: self.revision,
            ttl_ms: self.expires.map(|expires| left(expires, wall_clock())),
        }
    }
}

fn left(expires: i64, now: i64) -> u64 {
    expires.saturating_sub(now).max(0).unsigned_abs()
}

/// Whether the time of a key is over, which its store has not noticed yet.
fn is_over(loaded: &Loaded<'_>, now: i64) -> bool {
    loaded.expires.is_some_and(|expires| expires <= now)
}

/// What a reader makes of a value.
fn made<R: Reader>(value: ValueRef<'_>, reader: R) -> Result<R::Read, Error> {
    let (is_string, text) = match value {
        ValueRef::Nil => return Ok(reader.scalar(ValueRef::Nil)),
        ValueRef::Bool(it) => return Ok(reader.scalar(ValueRef::Bool(it))),
        ValueRef::Int(it) => return Ok(reader.scalar(ValueRef::Int(it))),
        ValueRef::Float(it) => return Ok(reader.scalar(ValueRef::Float(it))),
        ValueRef::String(text) => (true, text.as_bytes()),
        ValueRef::Bytes(text) => (false, text),
    };
    if !value.is_small() {
        return Ok(reader.shared(is_string, &Blob::new(text)?));
    }
    // SAFETY: a reader gives room for so many bytes.
    let fill = |to: *mut u8| unsafe { to.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    let copy = reader.copy(text.len(), fill).ok_or(Error::NoMemory)?;
    Ok(reader.copied(is_string, copy))
}

impl Shared {
    /// What `make` makes of the entry of a key: `None` if it is absent.
    pub(super) fn look<T>(
        &self,
        key: &[u8],
        deadline: &Deadline,
        mut make: impl FnMut(&Loaded<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut made = None;
        let got = self.store()?.get(key, deadline, &mut |loaded| {
            if !is_over(&loaded, wall_clock()) {
                made = Some(make(&loaded)?);
            }
            Ok(())
        });
        match got {
            Err(Error::NotFound) => Ok(None),
            Err(refused) => Err(refused),
            Ok(()) => Ok(made),
        }
    }

    /// The entry of a key, for who is about to change it.
    #[cold]
    pub(super) fn seen(&self, key: &[u8], deadline: &Deadline) -> Result<Seen, Error> {
        let (mut seen, now) = (Seen::default(), wall_clock());
        let got = self.store()?.get(key, deadline, &mut |loaded| {
            seen.revision = loaded.revision;
            if !is_over(&loaded, now) {
                seen.entry = Some(Entry {
                    value: Value::new(loaded.value)?,
                    revision: loaded.revision,
                    expires: loaded.expires,
                });
            }
            Ok(())
        });
        match got {
            Err(Error::NotFound) | Ok(()) => Ok(seen),
            Err(refused) => Err(refused),
        }
    }
}

/// Each as `BucketState` of the module's server, of a bucket that reads at its store.
impl BucketServer {
    /// Where its reads ask the store, and not what is here.
    #[inline]
    pub(in crate::bucket) fn reads_at_store(&self) -> Option<&Arc<Shared>> {
        self.shared().filter(|shared| !shared.reads_copy)
    }

    #[cold]
    pub(in crate::bucket) fn shared_read<R: Reader + Copy>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        shared: &Shared,
        key: Key<'_>,
        reader: R,
    ) -> Result<(R::Read, EntryFacts), Error> {
        let deadline = self.begin_shared(caller)?;
        let read = shared.look(&key, &deadline, |loaded| {
            let facts = EntryFacts {
                revision: loaded.revision,
                ttl_ms: loaded.expires.map(|expires| left(expires, wall_clock())),
            };
            Ok((made(loaded.value, reader)?, facts))
        });
        self.shared_answer(read)?.ok_or(Error::NotFound)
    }

    /// One after the other: they are of no one instant.
    #[cold]
    pub(in crate::bucket) fn shared_get_many(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        shared: &Shared,
        keys: &[Key<'_>],
    ) -> Result<Many, Error> {
        let deadline = self.begin_shared(caller)?;
        let mut values = Vec::new();
        crate::memory::reserve(&mut values, keys.len())?;
        for key in keys {
            let value = shared.look(key, &deadline, |loaded| made(loaded.value, Owned));
            values.push(self.shared_answer(value)?);
        }
        Ok(values)
    }

    /// How many keys there are, and the revision of the last change.
    #[cold]
    pub(in crate::bucket) fn shared_count(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        shared: &Shared,
    ) -> Result<(usize, u64), Error> {
        let deadline = self.begin_shared(caller)?;
        let counted = shared.store().and_then(|store| store.count(&deadline));
        let (keys, revision) = self.shared_answer(counted)?;
        Ok((keys as usize, revision))
    }

    /// The keys that are wanted, of no one instant.
    #[cold]
    pub(in crate::bucket) fn shared_scan(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        shared: &Shared,
        wanted: &Wanted,
    ) -> Result<Vec<Item>, Error> {
        let deadline = self.begin_shared(caller)?;
        let (mut items, now) = (Vec::new(), wall_clock());
        let scanned = shared.store().and_then(|store| {
            let which = wanted.which();
            store.scan(&which, &deadline, &mut |loaded| {
                if is_over(&loaded, now) || !wanted.has(loaded.key) {
                    return Ok(());
                }
                crate::memory::reserve(&mut items, 1)?;
                items.push(item(&loaded, which, now)?);
                Ok(())
            })
        });
        self.shared_answer(scanned)?;
        wanted.choose(&mut items);
        Ok(items)
    }
}

fn item(loaded: &Loaded<'_>, which: Which<'_>, now: i64) -> Result<Item, Error> {
    Ok(Item {
        key: Text::copy(loaded.key)?,
        value: match which.keys_only {
            true => Value::Nil,
            false => Value::new(loaded.value)?,
        },
        revision: loaded.revision,
        ttl_ms: loaded
            .expires
            .map_or(NO_TTL, |expires| left(expires, now) as i64),
    })
}

/// The same with the turn, for an update.
impl Decision<'_> {
    /// The value to decide about, and what else there is to know: the update's change asks for the
    /// revision.
    #[cold]
    pub(in crate::bucket) fn shared_entry(
        &self,
        shared: &Shared,
    ) -> Result<Option<(Value, EntryFacts)>, Error> {
        self.bucket().may_change()?;
        let seen = shared.seen(&self.key(), &shared.deadline_of_update());
        let seen = self.bucket().shared_answer(seen)?;
        lock(&shared.begun).seen = Some(seen.revision);
        Ok(seen.entry.map(|entry| {
            let facts = entry.facts();
            (entry.value, facts)
        }))
    }
}
