//! What a bucket holds: a map from key to value, behind a narrow interface. Reads come from
//! any thread; changes need the server's `Write`.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::changes::{Change, Subscriber, Subscribers};
use super::limits::{Cost, Limits};
use super::reading::{read, read_as, size, Reader};
use super::stored::{tail_of, Stored};
use crate::budget::Waiting;
use crate::epoch::{self, Guard};
use crate::error::Error;
use crate::server::Write;
use crate::table::{Closed, Entry, Found, NewEntry, Place, Table, Writer};
use crate::value::{Text, Value, ValueRef, COPY_LIMIT, VALUE_LIMIT};

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 64 << 10;

/// Values of this size, or so many keys at once, are freed as soon as readers allow.
const LARGE: usize = 64 << 10;
const MANY: usize = 1024;

/// A key with its value, ready to be stored: made before the turn is taken, and the only
/// step that needs memory of the caller's size.
pub(crate) struct Pair(NewEntry<Stored>);

impl Pair {
    fn cost(&self) -> Cost {
        Cost::of(&self.0.view())
    }

    pub(crate) fn new(key: &[u8], value: ValueRef<'_>) -> Result<Pair, Error> {
        let text = match value {
            ValueRef::String(text) => text.as_bytes(),
            ValueRef::Bytes(bytes) => bytes,
            _ => b"",
        };
        if text.len() > VALUE_LIMIT {
            return Err(Error::Limit("a value has at most 512 MiB"));
        }
        let stored = Stored::new(value)?;
        Entry::allocate(key, stored, tail_of(value)).map(Pair)
    }
}

fn is_large(found: &Found<'_, Stored>) -> bool {
    size(found) >= LARGE
}

/// What is large must not wait for chance to be freed.
fn note_large(retired: Option<&Found<'_, Stored>>) {
    if retired.is_some_and(is_large) {
        epoch::note_large();
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
            return epoch::note_large();
        }
    }
}

pub(crate) struct Contents {
    table: Table<Stored>,
    /// Of keys and values. The writer's.
    bytes: AtomicUsize,
    limits: Option<Box<Limits>>,
    subscribers: OnceLock<Box<Subscribers>>,
}

impl Contents {
    pub(super) fn new(limits: Option<Box<Limits>>) -> Contents {
        Contents {
            table: Table::new(),
            bytes: AtomicUsize::new(0),
            limits,
            subscribers: OnceLock::new(),
        }
    }

    /// The bytes of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    #[inline]
    fn count_bytes(&self, less: usize, more: usize) {
        if less == more {
            return; // and leave the cache line to readers, who find the table there
        }
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.bytes.store(bytes + more - less, Ordering::Relaxed);
    }

    /// Counts a put that waits in the mailbox, where there are limits.
    pub(super) fn wait(&self, pair: &Pair) -> Result<Vec<Waiting>, Error> {
        let Some(limits) = &self.limits else {
            return Ok(Vec::new());
        };
        let pinned = epoch::pin();
        let found = self.table.get(pair.0.key(), &pinned);
        let is_new = !matches!(found, Ok(Some(_)));
        limits.wait(usize::from(is_new), pair.cost().bytes)
    }

    /// From now on the subscriber is told of every change.
    pub(super) fn subscribe(&self, _write: &Write<'_>, subscriber: Arc<dyn Subscriber>) {
        self.subscribers.get_or_init(Box::default).add(subscriber);
    }

    /// Who is to be told, if anybody.
    fn subscribers(&self) -> Option<&Subscribers> {
        self.subscribers
            .get()
            .map(|it| &**it)
            .filter(|it| !it.is_empty())
    }

    fn tell_stored(&self, pair: &Pair) -> Option<Change> {
        self.subscribers()?;
        let view = pair.0.view();
        // Without memory for the copy there is none for the line either: told as nil.
        let value = read(&view).unwrap_or(Value::Nil);
        Some(Change {
            key: view.key().into(),
            value: Some(value),
        })
    }

    fn tell(&self, change: Option<Change>) {
        if let (Some(subscribers), Some(change)) = (self.subscribers.get(), change) {
            subscribers.tell(change);
        }
    }

    fn tell_deleted(&self, key: &[u8]) {
        if let Some(subscribers) = self.subscribers() {
            let key = key.into();
            subscribers.tell(Change { key, value: None });
        }
    }

    fn writer<'t>(&'t self, _proof: &'t Write<'_>, pinned: &'t Guard) -> Writer<'t, Stored> {
        // SAFETY: contents belong to one bucket, and only its handlers pass its `Write`,
        // which one thread has at a time.
        unsafe { self.table.writer(pinned) }
    }

    pub(crate) fn get(&self, key: &[u8], pinned: &Guard) -> Result<Value, Error> {
        read(&self.find(key, pinned)?)
    }

    /// What `key` has, if no step of the search is out of the ordinary. Does not panic.
    #[inline(always)]
    pub(super) fn find_at_once<'g>(
        &self,
        key: &[u8],
        pinned: &'g Guard,
    ) -> Option<Found<'g, Stored>> {
        self.table.get_at_once(key, pinned)
    }

    #[inline(always)]
    pub(super) fn read_at_once<R: Reader>(
        &self,
        key: &[u8],
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        read_as(&self.find_at_once(key, pinned)?, reader)
    }

    /// Stores a small value in the place of an older one, or as that of a new key that finds
    /// room; `false` if that cannot be done, or others are to be asked or told. Does not panic.
    #[inline(always)]
    pub(super) fn put_at_once(
        &self,
        write: &Write<'_>,
        key: &[u8],
        value: ValueRef<'_>,
        pinned: &Guard,
    ) -> bool {
        if self.limits.is_some() || self.subscribers.get().is_some() {
            return false;
        }
        match self.writer(write, pinned).place_at_once(key) {
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
    pub(super) fn delete_at_once<R: Reader>(
        &self,
        write: &Write<'_>,
        key: &[u8],
        reader: R,
        pinned: &Guard,
    ) -> Option<R::Read> {
        if self.limits.is_some() || self.subscribers.get().is_some() {
            return None;
        }
        let mut less = 0;
        let old = self.writer(write, pinned).remove_at_once(key, |found| {
            if found.value().is_shared() || is_large(found) {
                return None; // then it is to be freed at once
            }
            less = size(found);
            read_as(found, reader)
        })?;
        self.count_bytes(less, 0);
        Some(old)
    }

    #[inline]
    fn find<'g>(&self, key: &[u8], pinned: &'g Guard) -> Result<Found<'g, Stored>, Error> {
        match self.table.get(key, pinned) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Error::NotFound),
            Err(Closed) => Err(Error::NoProcess),
        }
    }

    /// A value that is no text; `None` if it is one.
    pub(crate) fn scalar(
        &self,
        key: &[u8],
        pinned: &Guard,
    ) -> Result<Option<ValueRef<'static>>, Error> {
        let found = self.find(key, pinned)?;
        loop {
            let look = found.value().look(found.tail());
            let scalar = look.scalar();
            if look.holds() {
                return Ok(scalar);
            }
        }
    }

    /// Copies a text, if it has at most `capacity` bytes: how many it has; `None` if the value
    /// is none.
    ///
    /// # Safety
    /// `to` may be written for `capacity` bytes.
    pub(crate) unsafe fn copy_text(
        &self,
        key: &[u8],
        pinned: &Guard,
        to: *mut u8,
        capacity: usize,
    ) -> Result<Option<usize>, Error> {
        let found = self.find(key, pinned)?;
        // A copy that turns out to be torn must not show.
        let mut draft = [MaybeUninit::<u8>::uninit(); COPY_LIMIT];
        loop {
            let look = found.value().look(found.tail());
            let len = match (look.scalar(), look.shared()) {
                (Some(_), _) => None,
                (None, Some(blob)) => {
                    let bytes = blob.bytes();
                    if bytes.len() <= capacity {
                        // SAFETY: by contract.
                        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                    }
                    Some(bytes.len())
                }
                (None, None) => {
                    // SAFETY: no text that is copied is longer.
                    unsafe { look.copy_to(draft.as_mut_ptr().cast()) };
                    Some(look.len())
                }
            };
            if look.holds() {
                if let (true, Some(len @ 0..=COPY_LIMIT)) = (look.is_small_text(), len) {
                    if len <= capacity {
                        // SAFETY: by contract; so many were written.
                        unsafe { to.copy_from_nonoverlapping(draft.as_ptr().cast(), len) };
                    }
                }
                return Ok(len);
            }
        }
    }

    pub(crate) fn count(&self, pinned: &Guard) -> Result<usize, Error> {
        self.table.len(pinned).map_err(|Closed| Error::NoProcess)
    }

    /// Stores a small value: in the place of the older one if there is one with room for it.
    /// That costs no memory, and leaves nothing to be freed.
    pub(crate) fn put_small(
        &self,
        write: &Write<'_>,
        key: &[u8],
        value: ValueRef<'_>,
    ) -> Result<(), Error> {
        let pinned = epoch::pin();
        if self.put_at_once(write, key, value, &pinned) {
            return Ok(());
        }
        self.put(write, Pair::new(key, value)?)
    }

    pub(crate) fn put(&self, write: &Write<'_>, pair: Pair) -> Result<(), Error> {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
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
    pub(crate) fn overwrite_all(&self, write: &Write<'_>, pairs: &[(&[u8], ValueRef<'_>)]) -> bool {
        if self.limits.is_some() || self.subscribers.get().is_some() {
            return false;
        }
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        let mut places = Vec::new();
        if places.try_reserve_exact(pairs.len()).is_err() {
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
    pub(crate) fn put_many(&self, write: &Write<'_>, pairs: Vec<Pair>) -> Result<(), Error> {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
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
    pub(crate) fn delete(&self, write: &Write<'_>, key: &[u8]) -> Result<Value, Error> {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
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

    /// The same without an answer.
    pub(crate) fn remove(&self, write: &Write<'_>, key: &[u8]) -> Result<(), Error> {
        let pinned = epoch::pin();
        let removed = self.writer(write, &pinned).remove(key);
        self.removed(key, removed.as_ref());
        removed.map(|_| ()).ok_or(Error::NotFound)
    }

    pub(crate) fn clear(&self, write: &Write<'_>) {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        note_all(&writer);
        let all = self.all(&pinned);
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        if let (Some(_), Ok(entries)) = (self.subscribers(), writer.entries()) {
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
    pub(crate) fn close(&self, write: &Write<'_>) -> bool {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        note_all(&writer);
        let all = self.all(&pinned);
        let was_open = writer.close();
        self.count_bytes(all.bytes, 0);
        self.give_back(all);
        if let Some(subscribers) = self.subscribers.get() {
            subscribers.close();
        }
        was_open
    }

    /// All keys and values, as they are while `write` keeps others out.
    pub(crate) fn items(&self, write: &Write<'_>) -> Result<Vec<(Text, Value)>, Error> {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        let len = self.count(&pinned)?;
        let mut items = Vec::new();
        items.try_reserve_exact(len).map_err(|_| Error::NoMemory)?;
        for found in writer.entries().map_err(|Closed| Error::NoProcess)? {
            items.push((Text::copy(found.key())?, read(&found)?));
        }
        Ok(items)
    }
}
