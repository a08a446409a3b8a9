//! Changes of what a bucket holds, by the one thread that may make them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::contents::{Change, Contents, Observer, Pair};
use super::limits::{Cost, Limits};
use super::reading::{read, read_as, size, Reader};
use super::stored::{tail_of, Stored};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::table::{Closed, Found, Place, Writer};
use crate::value::{Text, Value, ValueRef};

/// Values of this size, or so many keys at once, are freed as soon as readers allow.
const LARGE: usize = 64 << 10;
const MANY: usize = 1024;

fn is_large(found: &Found<'_, Stored>) -> bool {
    size(found) >= LARGE
}

/// What is large must not wait for chance to be freed.
fn note_large(retired: Option<&Found<'_, Stored>>) {
    if retired.is_some_and(is_large) {
        reclaim::note_large();
    }
}

fn note_all(writer: &Writer<'_, Stored>) {
    let Ok(entries) = writer.entries() else {
        return;
    };
    let mut bytes = 0;
    for (number, found) in entries.enumerate() {
        bytes += size(&found);
        if number == MANY || bytes >= LARGE {
            return reclaim::note_large();
        }
    }
}

impl Exclusive<'_, Contents> {
    #[inline]
    fn count_bytes(&self, less: usize, more: usize) {
        if less == more {
            return; // and leave the cache line to readers, who find the table there
        }
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.bytes.store(bytes + more - less, Ordering::Relaxed);
    }

    /// From now on the observer is told of every change, if there is none yet.
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    fn tell_stored(&self, pair: &Pair) -> Option<Change> {
        self.observer()?;
        let view = pair.0.view();
        // Without memory for the copy there is none for the line either: told as nil.
        let value = read(&view).unwrap_or(Value::Nil);
        Some(Change {
            key: view.key().into(),
            value: Some(value),
        })
    }

    fn tell(&self, change: Option<Change>) {
        if let (Some(observer), Some(change)) = (self.observer.get(), change) {
            observer.changed(change);
        }
    }

    fn tell_deleted(&self, key: &[u8]) {
        if let Some(observer) = self.observer() {
            let key = key.into();
            observer.changed(Change { key, value: None });
        }
    }

    fn writer<'t>(&'t self, pinned: &'t Guard) -> Writer<'t, Stored> {
        // SAFETY: this right is one thread's at a time.
        unsafe { self.table.writer(pinned) }
    }

    /// Stores a small value in the place of an older one, or as that of a new key that finds
    /// room; `false` if that cannot be done, or others are to be asked or told. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_put(&self, key: &[u8], value: ValueRef<'_>, pinned: &Guard) -> bool {
        if self.limits.is_some() || self.observer.get().is_some() {
            return false;
        }
        match self.writer(pinned).fast_place(key) {
            Some(Place::Taken(found)) => {
                let stored = found.value();
                let less = stored.size();
                let is_done = stored.overwrite(found.tail(), value);
                if is_done {
                    self.count_bytes(less, stored.size());
                }
                is_done
            }
            Some(Place::Free(place)) => {
                let Ok(stored) = Stored::new(value) else {
                    return false;
                };
                let more = key.len() + stored.size();
                let is_done = place.fill(key, stored, tail_of(value)).is_ok();
                if is_done {
                    self.count_bytes(0, more);
                }
                is_done
            }
            None => false,
        }
    }

    /// Takes out a small value, if nobody is to be asked or told. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_delete<R: Reader>(
        &self,
        key: &[u8],
        reader: R,
        pinned: &Guard,
    ) -> Option<R::Read> {
        if self.limits.is_some() || self.observer.get().is_some() {
            return None;
        }
        let mut less = 0;
        let old = self.writer(pinned).fast_remove(key, |found| {
            if found.value().is_shared() || is_large(found) {
                return None; // then it is to be freed at once
            }
            less = size(found);
            read_as(found, reader)
        })?;
        self.count_bytes(less, 0);
        Some(old)
    }

    /// Stores a small value: in the place of the older one if there is one with room for it.
    /// That costs no memory, and leaves nothing to be freed.
    pub(crate) fn put_small(&self, key: &[u8], value: ValueRef<'_>) -> Result<(), Error> {
        let pinned = reclaim::pin();
        if self.fast_put(key, value, &pinned) {
            return Ok(());
        }
        self.put(Pair::new(key, value)?)
    }

    pub(crate) fn put(&self, pair: Pair) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let new = pair.cost();
        if let Some(limits) = &self.limits {
            let old = writer.get(pair.0.key());
            let old = old.map_err(|Closed| Error::ServerDown)?;
            limits.change(old.as_ref().map(Cost::of).unwrap_or_default(), new)?;
        }
        let change = self.tell_stored(&pair);
        let replaced = match writer.insert(pair.0) {
            Ok(replaced) => replaced,
            Err(error) => {
                // It can only be a new key that finds no room.
                self.give_back(new);
                return Err(error);
            }
        };
        self.count_bytes(replaced.as_ref().map_or(0, size), new.bytes);
        note_large(replaced.as_ref());
        self.tell(change);
        Ok(())
    }

    fn give_back(&self, cost: Cost) {
        if let Some(limits) = &self.limits {
            let _ = limits.change(cost, Cost::default());
        }
    }

    /// What a batch takes of the limits: of keys that it names twice the last one counts.
    fn change_for_batch(
        &self,
        limits: &Limits,
        writer: &Writer<'_, Stored>,
        pairs: &[Pair],
    ) -> Result<(), Error> {
        let last: HashMap<&[u8], Cost> = pairs
            .iter()
            .map(|pair| (pair.0.key(), pair.cost()))
            .collect();
        let mut less = Cost::default();
        for key in last.keys() {
            let old = writer.get(key).map_err(|Closed| Error::ServerDown)?;
            less = less.and(old.as_ref().map(Cost::of).unwrap_or_default());
        }
        let more = last.into_values().fold(Cost::default(), Cost::and);
        limits.change(less, more)
    }

    /// Stores all in the places of older ones; `false`, with nothing changed, if one has none
    /// there, or others are to be asked or told. Neither takes memory nor looks twice.
    pub(crate) fn overwrite_all(&self, pairs: &[(&[u8], ValueRef<'_>)]) -> bool {
        if self.limits.is_some() || self.observer.get().is_some() {
            return false;
        }
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let mut places = Vec::new();
        if memory::reserve(&mut places, pairs.len()).is_err() {
            return false;
        }
        for (key, value) in pairs {
            match writer.get(key) {
                Ok(Some(found)) if found.value().can_become(found.tail(), *value) => {
                    places.push(found);
                }
                _ => return false,
            }
        }
        let (mut less, mut more) = (0, 0);
        writer.as_one_change(|| {
            for (found, (_, value)) in places.iter().zip(pairs) {
                less += found.value().size();
                let is_done = found.value().overwrite(found.tail(), *value);
                debug_assert!(is_done, "it was asked before");
                more += found.value().size();
            }
        });
        self.count_bytes(less, more);
        true
    }

    /// Stores all, or none.
    pub(crate) fn put_many(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        // First, so that nothing fails once it is counted.
        writer.reserve_for(pairs.iter().map(|pair| pair.0.key()))?;
        let limits = self.limits.as_ref();
        let changed = limits.map(|limits| self.change_for_batch(limits, &writer, &pairs));
        changed.transpose()?;
        let more: usize = pairs.iter().map(|pair| pair.cost().bytes).sum();
        let changes: Vec<_> = pairs.iter().map(|pair| self.tell_stored(pair)).collect();
        let entries = pairs.into_iter().map(|pair| pair.0).collect();
        let less = AtomicUsize::new(0);
        let replaced = |old: &Found<'_, Stored>| {
            less.fetch_add(size(old), Ordering::Relaxed);
            note_large(Some(old));
        };
        writer.insert_all(entries, replaced)?;
        self.count_bytes(less.into_inner(), more);
        for change in changes {
            self.tell(change);
        }
        Ok(())
    }

    /// Takes the key out; its value is the answer. Fails, with nothing changed, if the value
    /// cannot be copied.
    pub(crate) fn delete(&self, key: &[u8]) -> Result<Value, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let found = writer.get(key).map_err(|Closed| Error::ServerDown)?;
        let old = found.as_ref().map(read).transpose()?;
        self.removed(key, writer.remove(key).as_ref());
        old.ok_or(Error::NotFound)
    }

    fn removed(&self, key: &[u8], old: Option<&Found<'_, Stored>>) {
        if let Some(old) = old {
            let cost = Cost::of(old);
            self.count_bytes(cost.bytes, 0);
            self.give_back(cost);
        }
        note_large(old);
        self.tell_deleted(key);
    }

    /// Takes the key out, without an answer.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let removed = self.writer(&pinned).remove(key);
        self.removed(key, removed.as_ref());
        removed.map(|_| ()).ok_or(Error::NotFound)
    }

    pub(crate) fn clear(&self) {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        note_all(&writer);
        let all = self.all(&pinned);
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        if let (Some(_), Ok(entries)) = (self.observer(), writer.entries()) {
            keys.extend(entries.map(|found| found.key().into()));
        }
        writer.clear();
        self.count_bytes(all.bytes, 0);
        self.give_back(all);
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
        note_all(&writer);
        let all = self.all(&pinned);
        let was_open = writer.close();
        self.count_bytes(all.bytes, 0);
        self.give_back(all);
        if let Some(observer) = self.observer.get() {
            observer.close();
        }
        was_open
    }

    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Result<Vec<Option<Value>>, Error> {
        let pinned = reclaim::pin();
        let mut values = Vec::new();
        memory::reserve(&mut values, keys.len())?;
        for key in keys {
            values.push(match self.find(key, &pinned) {
                Ok(found) => Some(read(&found)?),
                Err(Error::NotFound) => None,
                Err(error) => return Err(error),
            });
        }
        Ok(values)
    }

    /// All keys and values at one instant.
    pub(crate) fn items(&self) -> Result<Vec<(Text, Value)>, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let len = self.count()?;
        let mut items = Vec::new();
        memory::reserve(&mut items, len)?;
        for found in writer.entries().map_err(|Closed| Error::NoProcess)? {
            items.push((Text::copy(found.key())?, read(&found)?));
        }
        Ok(items)
    }
}
