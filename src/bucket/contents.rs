//! What a bucket holds: a map from key to value, behind a narrow interface. Reads come from
//! any thread; changes need the server's `Write`.

use std::sync::Arc;

use crate::epoch::{self, Guard};
use crate::error::Error;
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

/// The bytes of key and value.
fn size(found: &Found<'_, Stored>) -> usize {
    let value = match found.value() {
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

pub(crate) struct Contents {
    table: Table<Stored>,
}

impl Contents {
    pub(super) fn new() -> Contents {
        Contents {
            table: Table::new(),
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
        let replaced = self.writer(write, &pinned).insert(pair.0)?;
        note_large(replaced.as_ref());
        Ok(())
    }

    /// Stores all, or none.
    pub(crate) fn put_many(&self, write: &Write<'_>, pairs: Vec<Pair>) -> Result<(), Error> {
        let pinned = epoch::pin();
        let entries = pairs.into_iter().map(|pair| pair.0).collect();
        let replaced = |old: &Found<'_, Stored>| note_large(Some(old));
        self.writer(write, &pinned).insert_all(entries, replaced)
    }

    /// Takes the key out; its value is the answer. Fails, with nothing changed, if the value
    /// cannot be copied.
    pub(crate) fn delete(&self, write: &Write<'_>, key: &[u8]) -> Result<Value, Error> {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        let found = writer.get(key).map_err(|Closed| Error::ServerDown)?;
        let old = read(&found.ok_or(Error::NotFound)?)?;
        note_large(writer.remove(key).as_ref());
        Ok(old)
    }

    /// The same without an answer.
    pub(crate) fn remove(&self, write: &Write<'_>, key: &[u8]) -> Result<(), Error> {
        let pinned = epoch::pin();
        let removed = self.writer(write, &pinned).remove(key);
        note_large(removed.as_ref());
        removed.map(|_| ()).ok_or(Error::NotFound)
    }

    pub(crate) fn clear(&self, write: &Write<'_>) {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        note_all(&writer);
        writer.clear();
    }

    pub(crate) fn close(&self, write: &Write<'_>) {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        note_all(&writer);
        writer.close();
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
