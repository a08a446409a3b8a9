//! Values: immutable, small ones copied, large ones shared.

use std::alloc::{alloc, Layout};
use std::fmt;
use std::ptr;
use std::sync::Arc;

use crate::error::Error;

/// The longest value, in bytes.
pub const VALUE_LIMIT: usize = 512 << 20;

/// Up to so many bytes a value is copied out, beyond it is shared. Copying scales over cores
/// and a shared count does not, but copying costs by the byte.
pub(crate) const COPY_LIMIT: usize = 512;

/// A value as it is given: borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(&'a str),
    Bytes(&'a [u8]),
}

/// A value as it was read: valid and unchanged as long as it is kept (G13).
#[derive(Clone, Debug)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Text),
    Bytes(Text),
}

/// The bytes of a value, followed by a NUL that does not count.
#[derive(Clone)]
pub struct Text(pub(crate) Repr);

#[derive(Clone)]
pub(crate) enum Repr {
    /// With the NUL.
    Copied(Box<[u8]>),
    Shared(Arc<Blob>),
}

/// A large value's bytes, with the NUL: read-only from the first share on.
pub(crate) struct Blob(Vec<u8>);

impl Blob {
    pub(crate) fn new(bytes: &[u8]) -> Result<Arc<Blob>, Error> {
        Ok(Arc::new(Blob(with_nul(bytes)?)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0[..self.0.len() - 1]
    }
}

/// A small copy: on the way of every read, so without the steps of a growing vector.
fn copy_with_nul(bytes: &[u8]) -> Result<Box<[u8]>, Error> {
    let len = bytes.len() + 1;
    let layout = Layout::array::<u8>(len).map_err(|_| Error::NoMemory)?;
    // SAFETY: the layout is not of size zero; all `len` bytes are written before they are
    // read; a Box of so many bytes is freed with the same layout.
    unsafe {
        let copy = alloc(layout);
        if copy.is_null() {
            return Err(Error::NoMemory);
        }
        ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        copy.add(bytes.len()).write(0);
        Ok(Box::from_raw(ptr::slice_from_raw_parts_mut(copy, len)))
    }
}

/// The caller chose the size, so there may be no memory for it.
fn with_nul(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len() + 1)
        .map_err(|_| Error::NoMemory)?;
    copy.extend_from_slice(bytes);
    copy.push(0);
    Ok(copy)
}

impl Text {
    /// A copy of its own, whatever the size.
    pub(crate) fn copy(bytes: &[u8]) -> Result<Text, Error> {
        Ok(Text(if bytes.len() <= COPY_LIMIT {
            Repr::Copied(copy_with_nul(bytes)?)
        } else {
            Repr::Shared(Blob::new(bytes)?)
        }))
    }

    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Copied(bytes) => &bytes[..bytes.len() - 1],
            Repr::Shared(blob) => blob.bytes(),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl Value {
    /// A value of its own from a borrowed one.
    pub fn new(value: ValueRef<'_>) -> Result<Value, Error> {
        Ok(match value {
            ValueRef::Nil => Value::Nil,
            ValueRef::Bool(value) => Value::Bool(value),
            ValueRef::Int(value) => Value::Int(value),
            ValueRef::Float(value) => Value::Float(value),
            ValueRef::String(text) => Value::String(Text::copy(text.as_bytes())?),
            ValueRef::Bytes(bytes) => Value::Bytes(Text::copy(bytes)?),
        })
    }

    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Nil => ValueRef::Nil,
            Value::Bool(value) => ValueRef::Bool(*value),
            Value::Int(value) => ValueRef::Int(*value),
            Value::Float(value) => ValueRef::Float(*value),
            // Checked when it was stored, so this finds nothing; should it ever, the bytes
            // are what there is to give.
            Value::String(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => ValueRef::String(text),
                Err(_) => ValueRef::Bytes(text.as_bytes()),
            },
            Value::Bytes(bytes) => ValueRef::Bytes(bytes.as_bytes()),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl PartialEq<ValueRef<'_>> for Value {
    fn eq(&self, other: &ValueRef<'_>) -> bool {
        self.as_ref() == *other
    }
}

impl From<bool> for ValueRef<'_> {
    fn from(value: bool) -> Self {
        ValueRef::Bool(value)
    }
}

impl From<i64> for ValueRef<'_> {
    fn from(value: i64) -> Self {
        ValueRef::Int(value)
    }
}

impl From<f64> for ValueRef<'_> {
    fn from(value: f64) -> Self {
        ValueRef::Float(value)
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(value: &'a str) -> Self {
        ValueRef::String(value)
    }
}

impl<'a> From<&'a [u8]> for ValueRef<'a> {
    fn from(value: &'a [u8]) -> Self {
        ValueRef::Bytes(value)
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        value.as_ref()
    }
}
