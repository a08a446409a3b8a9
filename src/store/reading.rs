//! How a value is read while the writer may be changing it in its place.

use super::stored::{Look, Obstacle, Stored};
use crate::error::Error;
use crate::table::Found;
use crate::time::Clock;
use crate::value::{Copied, Repr, Shared, Text, Value, ValueRef};

/// The bytes of key and value; a number has 8. The writer's.
pub(super) fn size(found: &Found<'_, Stored>) -> usize {
    found.key().len() + found.value().size(found.tail())
}

/// What a reader makes of a value: three ways, so that none of them need be told apart again.
///
/// # Safety
/// What `copy` hands to `fill` may be written for `len` bytes.
pub(crate) unsafe trait Reader {
    type Read;
    /// A small text while it is not sure that its parts belong together.
    type Copy;
    fn scalar(self, value: ValueRef<'static>) -> Self::Read;
    /// Copies a text of `len` bytes, which `fill` writes; `None` if there is no memory.
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<Self::Copy>;
    fn copied(self, is_string: bool, text: Self::Copy) -> Self::Read;
    /// A large text: a count of it.
    fn shared(self, is_string: bool, text: &Shared) -> Self::Read;
}

/// How a try to read ended.
pub(super) enum Tried<R> {
    Read(R),
    NoMemory,
    /// The value changed meanwhile.
    Torn,
    /// The time of the key was over, if it was still this entry's then.
    Over,
}

/// What is read of a key beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryFacts {
    /// Of the key's last change.
    pub(crate) revision: u64,
    /// What is left of its time to live; `None` is for ever.
    pub(crate) ttl_ms: Option<u64>,
}

/// Copies what a look found, unless the time of the key is over.
#[inline(always)]
pub(super) fn try_read<R: Reader>(look: &Look<'_>, reader: R, clock: &Clock) -> Tried<R::Read> {
    match look.is_timed() {
        false => try_copy(look, reader),
        true => try_read_timed(look, reader, clock),
    }
}

/// The clock is read while the look may still hold: then the entry was over, or lived, as it is.
#[inline(never)]
fn try_read_timed<R: Reader>(look: &Look<'_>, reader: R, clock: &Clock) -> Tried<R::Read> {
    if !clock.now().is_past(look.deadline()) {
        return try_copy(look, reader);
    }
    match look.holds() {
        true => Tried::Over,
        false => Tried::Torn,
    }
}

/// Copies what a look found.
#[inline(always)]
fn try_copy<R: Reader>(look: &Look<'_>, reader: R) -> Tried<R::Read> {
    if look.is_small_text() {
        // SAFETY: a reader promises room for so many bytes.
        let Some(text) = reader.copy(look.len(), |to| unsafe { look.copy_to(to) }) else {
            return Tried::NoMemory;
        };
        if look.holds() {
            return Tried::Read(reader.copied(look.is_string(), text));
        }
    } else if let Some(scalar) = look.scalar() {
        if look.holds() {
            return Tried::Read(reader.scalar(scalar));
        }
    } else if let Some(shared) = look.shared() {
        return Tried::Read(reader.shared(look.is_string(), &shared));
    }
    Tried::Torn
}

/// As `try_read`, with what else there is: read first, it is the value's if that holds. A shared value
/// never gets another. What is left of the key's time is of the moment at which the clock is read: the
/// key must have the entry after that, before anything is made that would have to be freed.
#[inline(always)]
pub(super) fn try_read_entry<R: Reader>(
    look: &Look<'_>,
    reader: R,
    clock: &Clock,
    is_still_there: impl FnOnce() -> bool,
) -> Tried<(R::Read, EntryFacts)> {
    let facts = EntryFacts {
        revision: look.revision(),
        ttl_ms: match look.is_timed() {
            false => None,
            true => Some(clock.now().until(look.deadline())),
        },
    };
    if facts.ttl_ms.is_some() && !is_still_there() {
        return Tried::Torn;
    }
    match try_read(look, reader, clock) {
        Tried::Read(read) => Tried::Read((read, facts)),
        Tried::NoMemory => Tried::NoMemory,
        Tried::Torn => Tried::Torn,
        Tried::Over => Tried::Over,
    }
}

/// The value of an entry, if it can be read at once and its key has no time to live: who reads those
/// too pays for it, since the answer of either way lies in memory then. Does not panic.
#[inline(always)]
pub(super) fn fast_read<R: Reader>(found: &Found<'_, Stored>, reader: R) -> Option<R::Read> {
    let look = found.value().look(found.tail()).ok()?;
    if look.is_timed() {
        return None;
    }
    read_or_none(try_copy(&look, reader))
}

/// As `fast_read`, of any key.
#[inline(always)]
pub(super) fn fast_read_any<R: Reader>(
    found: &Found<'_, Stored>,
    reader: R,
    clock: &Clock,
) -> Option<R::Read> {
    let look = found.value().look(found.tail()).ok()?;
    read_or_none(try_read(&look, reader, clock))
}

/// As `fast_read`, with the revision.
#[inline(always)]
pub(super) fn fast_read_entry<R: Reader>(
    found: &Found<'_, Stored>,
    reader: R,
) -> Option<(R::Read, EntryFacts)> {
    let look = found.value().look(found.tail()).ok()?;
    if look.is_timed() {
        return None;
    }
    let (revision, ttl_ms) = (look.revision(), None);
    let read = read_or_none(try_copy(&look, reader))?;
    Some((read, EntryFacts { revision, ttl_ms }))
}

/// As `fast_read_entry`, of any key.
pub(super) fn fast_read_any_entry<R: Reader>(
    found: &Found<'_, Stored>,
    reader: R,
    is_still_there: impl FnOnce() -> bool,
) -> Option<(R::Read, EntryFacts)> {
    let look = found.value().look(found.tail()).ok()?;
    read_or_none(try_read_entry(&look, reader, &Clock::new(), is_still_there))
}

#[inline(always)]
fn read_or_none<R>(tried: Tried<R>) -> Option<R> {
    match tried {
        Tried::Read(read) => Some(read),
        Tried::NoMemory | Tried::Torn | Tried::Over => None,
    }
}

/// Makes a value of its own.
#[derive(Clone, Copy)]
pub(crate) struct Owned;

// SAFETY: `Copied::new` makes room for `len` bytes.
unsafe impl Reader for Owned {
    type Read = Value;
    type Copy = Copied;

    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<Copied> {
        // SAFETY: all of them are written.
        unsafe { Copied::new(len, fill) }
    }

    fn scalar(self, value: ValueRef<'static>) -> Value {
        match value {
            ValueRef::Bool(value) => Value::Bool(value),
            ValueRef::Int(value) => Value::Int(value),
            ValueRef::Float(value) => Value::Float(value),
            _ => Value::Nil,
        }
    }

    fn copied(self, is_string: bool, text: Copied) -> Value {
        text_value(is_string, Repr::Copied(text))
    }

    fn shared(self, is_string: bool, text: &Shared) -> Value {
        text_value(is_string, Repr::Shared(text.clone()))
    }
}

/// Wants to know that there is a value, and not which.
#[derive(Clone, Copy)]
pub(super) struct KeyOnly;

// SAFETY: it copies nothing.
unsafe impl Reader for KeyOnly {
    type Read = Value;
    type Copy = ();

    fn scalar(self, _value: ValueRef<'static>) -> Value {
        Value::Nil
    }

    fn copy(&self, _len: usize, _fill: impl FnOnce(*mut u8)) -> Option<()> {
        Some(())
    }

    fn copied(self, _is_string: bool, (): ()) -> Value {
        Value::Nil
    }

    fn shared(self, _is_string: bool, _text: &Shared) -> Value {
        Value::Nil
    }
}

fn text_value(is_string: bool, text: Repr) -> Value {
    match is_string {
        true => Value::String(Text(text)),
        false => Value::Bytes(Text(text)),
    }
}

/// The value of an entry that nobody changes, whether its key lives or not: for the writer, and for
/// entries in no table.
pub(super) fn read(found: &Found<'_, Stored>) -> Result<Value, Error> {
    let stored = found.value();
    loop {
        let look = match stored.look(found.tail()) {
            Ok(look) => look,
            Err(Obstacle::Staged) => match stored.look_at_staged(found.tail()) {
                Some(look) => look,
                None => continue,
            },
            Err(Obstacle::Busy | Obstacle::Withdrawn) => continue,
        };
        match try_copy(&look, Owned) {
            Tried::Read(value) => return Ok(value),
            Tried::NoMemory => return Err(Error::NoMemory),
            Tried::Torn | Tried::Over => {}
        }
    }
}
