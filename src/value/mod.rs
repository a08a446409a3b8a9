//! Values: immutable, small ones copied, large ones shared.

pub(crate) mod buffer_cache;

use std::fmt;
use std::ptr::{self, NonNull};
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

impl<'a> ValueRef<'a> {
    /// The bytes of a text; none of any other value.
    #[inline(always)]
    pub(crate) fn text(self) -> &'a [u8] {
        match self {
            ValueRef::String(text) => text.as_bytes(),
            ValueRef::Bytes(bytes) => bytes,
            _ => b"",
        }
    }

    /// Whether it is copied instead of shared.
    #[inline]
    pub(crate) fn is_small(&self) -> bool {
        self.text().len() <= COPY_LIMIT
    }
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
    Copied(Copied),
    Shared(Arc<Blob>),
}

/// A small text of its own, with a NUL behind it.
pub(crate) struct Copied {
    data: NonNull<u8>,
    /// Without the NUL.
    len: usize,
}

// SAFETY: the owner of its bytes, which do not change.
unsafe impl Send for Copied {}
// SAFETY: as above.
unsafe impl Sync for Copied {}

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

impl Copied {
    /// # Safety
    /// `fill` writes `len` bytes.
    #[inline(always)]
    pub(crate) unsafe fn new(len: usize, fill: impl FnOnce(*mut u8)) -> Option<Copied> {
        // SAFETY: all `len + 1` bytes are written before they are read.
        unsafe {
            let data = buffer_cache::take(len)?;
            fill(data.as_ptr());
            data.add(len).write(0);
            Some(Copied { data, len })
        }
    }

    fn copy(bytes: &[u8]) -> Option<Copied> {
        // SAFETY: so many bytes are copied.
        unsafe {
            Copied::new(bytes.len(), |to| {
                ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            })
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: written by `new`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// Gives the bytes away, with their NUL.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> (*mut u8, usize) {
        let copied = std::mem::ManuallyDrop::new(self);
        (copied.data.as_ptr(), copied.len)
    }

    /// Ends what `into_raw` gave away.
    ///
    /// # Safety
    /// Once, with the same length, and nobody reads it any more.
    #[inline(always)]
    pub(crate) unsafe fn free(data: *mut u8, len: usize) {
        // SAFETY: by contract.
        unsafe { buffer_cache::give(data, len) };
    }
}

impl Clone for Copied {
    fn clone(&self) -> Copied {
        Copied::copy(self.bytes())
            .unwrap_or_else(|| std::alloc::handle_alloc_error(std::alloc::Layout::new::<u8>()))
    }
}

impl Drop for Copied {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the owner's.
        unsafe { Copied::free(self.data.as_ptr(), self.len) };
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
    #[inline]
    pub(crate) fn copy(bytes: &[u8]) -> Result<Text, Error> {
        Ok(Text(if bytes.len() <= COPY_LIMIT {
            Repr::Copied(Copied::copy(bytes).ok_or(Error::NoMemory)?)
        } else {
            Repr::Shared(Blob::new(bytes)?)
        }))
    }

    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Copied(copied) => copied.bytes(),
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
