//! How a value is read while the writer may be changing it in its place.

use std::sync::Arc;

use super::stored::Stored;
use crate::error::Error;
use crate::table::Found;
use crate::value::{Blob, Copied, Repr, Text, Value, ValueRef};

/// The bytes of key and value; a number has 8.
pub(super) fn size(found: &Found<'_, Stored>) -> usize {
    found.key().len() + found.value().size()
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
    fn shared(self, is_string: bool, blob: &Arc<Blob>) -> Self::Read;
}

/// The value of an entry; `None` if there is no memory for a copy.
#[inline(always)]
pub(super) fn read_as<R: Reader>(found: &Found<'_, Stored>, reader: R) -> Option<R::Read> {
    loop {
        let look = found.value().look(found.tail());
        if look.is_small_text() {
            // SAFETY: a reader promises room for so many bytes.
            let text = reader.copy(look.len(), |to| unsafe { look.copy_to(to) })?;
            if look.holds() {
                return Some(reader.copied(look.is_string(), text));
            }
        } else if let Some(blob) = look.shared() {
            return Some(reader.shared(look.is_string(), &blob));
        } else if let Some(scalar) = look.scalar() {
            if look.holds() {
                return Some(reader.scalar(scalar));
            }
        }
    }
}

/// Makes a value of its own.
struct Owned;

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

    fn shared(self, is_string: bool, blob: &Arc<Blob>) -> Value {
        text_value(is_string, Repr::Shared(Arc::clone(blob)))
    }
}

fn text_value(is_string: bool, text: Repr) -> Value {
    match is_string {
        true => Value::String(Text(text)),
        false => Value::Bytes(Text(text)),
    }
}

pub(super) fn read(found: &Found<'_, Stored>) -> Result<Value, Error> {
    read_as(found, Owned).ok_or(Error::NoMemory)
}
