//! What a bucket holds: a map from key to value, behind a narrow interface. Reads come from
//! any thread; changes need the server's `Write`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::changes::{Change, Subscriber, Subscribers};
use crate::budget::{Budget, Waiting};
use crate::epoch::{self, Guard};
use crate::error::Error;
use crate::options::BucketOptions;
use crate::server::Write;
use crate::table::{Closed, Entry, Found, NewEntry, Table, Writer};
use crate::value::{Blob, Repr, Text, Value, ValueRef, COPY_LIMIT, VALUE_LIMIT};

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 64 << 10;

/// Values of this size, or so many keys at once, are freed as soon as readers allow.
const LARGE: usize = 64 << 10;
const MANY: usize = 1024;

/// A value in the table: a small text is the tail of its entry.
pub(super) enum Stored {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String,
    Bytes,
    SharedString(Arc<Blob>),
    SharedBytes(Arc<Blob>),
}

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
        let small = text.len() <= COPY_LIMIT;
        let stored = match value {
            ValueRef::Nil => Stored::Nil,
            ValueRef::Bool(value) => Stored::Bool(value),
            ValueRef::Int(value) => Stored::Int(value),
            ValueRef::Float(value) => Stored::Float(value),
            ValueRef::String(_) if small => Stored::String,
            ValueRef::Bytes(_) if small => Stored::Bytes,
            ValueRef::String(_) => Stored::SharedString(Blob::new(text)?),
            ValueRef::Bytes(_) => Stored::SharedBytes(Blob::new(text)?),
        };
        let tail = if small { text } else { b"" };
        Entry::allocate(key, stored, tail).map(Pair)
    }
}

/// The value of an entry, copied or shared.
fn read(found: &Found<'_, Stored>) -> Result<Value, Error> {
    Ok(match found.value() {
        Stored::Nil => Value::Nil,
        Stored::Bool(value) => Value::Bool(*value),
        Stored::Int(value) => Value::Int(*value),
        Stored::Float(value) => Value::Float(*value),
        Stored::String => Value::String(Text::copy(found.tail())?),
        Stored::Bytes => Value::Bytes(Text::copy(found.tail())?),
        Stored::SharedString(blob) => Value::String(Text(Repr::Shared(Arc::clone(blob)))),
        Stored::SharedBytes(blob) => Value::Bytes(Text(Repr::Shared(Arc::clone(blob)))),
    })
}

/// The value of an entry, in its place.
fn view<'a>(found: &Found<'a, Stored>) -> ValueRef<'a> {
    // SAFETY: `Pair::new` was given it as a str.
    let string = |bytes: &'a [u8]| unsafe { std::str::from_utf8_unchecked(bytes) };
    match found.value() {
        Stored::Nil => ValueRef::Nil,
        Stored::Bool(value) => ValueRef::Bool(*value),
        Stored::Int(value) => ValueRef::Int(*value),
        Stored::Float(value) => ValueRef::Float(*value),
        Stored::String => ValueRef::String(string(found.tail())),
        Stored::Bytes => ValueRef::Bytes(found.tail()),
        Stored::SharedString(blob) => ValueRef::String(string(blob.bytes())),
        Stored::SharedBytes(blob) => ValueRef::Bytes(blob.bytes()),
    }
}

/// The bytes of key and value; a number has 8.
fn size(found: &Found<'_, Stored>) -> usize {
    let value = match found.value() {
        Stored::Int(_) | Stored::Float(_) => 8,
        Stored::SharedString(blob) | Stored::SharedBytes(blob) => blob.bytes().len(),
        _ => found.tail().len(),
    };
    found.key().len() + value
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

/// What an entry takes of the limits.
#[derive(Clone, Copy, Default)]
struct Cost {
    keys: usize,
    bytes: usize,
}

impl Cost {
    fn of(found: &Found<'_, Stored>) -> Cost {
        Cost {
            keys: 1,
            bytes: size(found),
        }
    }

    fn and(self, other: Cost) -> Cost {
        Cost {
            keys: self.keys + other.keys,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The limits of a bucket that has any.
pub(super) struct Limits {
    keys: Option<Arc<Budget>>,
    bytes: Option<Arc<Budget>>,
    /// Of all buckets of its registry.
    registry: Option<Arc<Budget>>,
}

impl Limits {
    pub(super) fn new(
        options: &BucketOptions,
        registry: Option<Arc<Budget>>,
    ) -> Option<Box<Limits>> {
        let keys = Budget::limited("keys of a bucket", options.max_keys);
        let bytes = Budget::limited("bytes of a bucket", options.max_bytes);
        let any = keys.is_some() || bytes.is_some() || registry.is_some();
        any.then(|| {
            Box::new(Limits {
                keys,
                bytes,
                registry,
            })
        })
    }

    /// All of it or, with an error, nothing.
    fn change(&self, less: Cost, more: Cost) -> Result<(), Error> {
        let keys = (&self.keys, less.keys, more.keys);
        let bytes = (&self.bytes, less.bytes, more.bytes);
        // The registry's last: what is undone must still be free, and only the first two are
        // this bucket's alone.
        let registry = (&self.registry, less.bytes, more.bytes);
        let all = [keys, bytes, registry];
        for (at, (budget, less, more)) in all.iter().enumerate() {
            let Some(budget) = budget else { continue };
            if let Err(refused) = budget.change(*less, *more) {
                for (budget, less, more) in all[..at].iter() {
                    if let Some(budget) = budget {
                        let _ = budget.change(*more, *less);
                    }
                }
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Counts a cast that waits, until what is returned is dropped.
    fn wait(&self, new_keys: usize, bytes: usize) -> Result<Vec<Waiting>, Error> {
        let amounts = [
            (&self.keys, new_keys),
            (&self.bytes, bytes),
            (&self.registry, bytes),
        ];
        amounts
            .into_iter()
            .filter_map(|(budget, amount)| Some(budget.as_ref()?.wait(amount)))
            .collect()
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

    fn count_bytes(&self, less: usize, more: usize) {
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
        match self.table.get(key, pinned) {
            Ok(Some(found)) => read(&found),
            Ok(None) => Err(Error::NotFound),
            Err(Closed) => Err(Error::NoProcess),
        }
    }

    /// Looks at a value in its place.
    pub(crate) fn look<R>(
        &self,
        key: &[u8],
        pinned: &Guard,
        at: impl FnOnce(ValueRef<'_>) -> R,
    ) -> Result<R, Error> {
        match self.table.get(key, pinned) {
            Ok(Some(found)) => Ok(at(view(&found))),
            Ok(None) => Err(Error::NotFound),
            Err(Closed) => Err(Error::NoProcess),
        }
    }

    pub(crate) fn count(&self, pinned: &Guard) -> Result<usize, Error> {
        self.table.len(pinned).map_err(|Closed| Error::NoProcess)
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

    pub(crate) fn close(&self, write: &Write<'_>) {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        note_all(&writer);
        let all = self.all(&pinned);
        writer.close();
        self.count_bytes(all.bytes, 0);
        self.give_back(all);
        if let Some(subscribers) = self.subscribers.get() {
            subscribers.close();
        }
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
