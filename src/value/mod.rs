//! Values: immutable, small ones copied, large ones shared.

mod blob;
pub(crate) mod buffer_cache;
mod convert;

use crate::error::Error;
use std::fmt;
use std::ptr::{self, NonNull};

pub(crate) use blob::Shared;
pub use convert::{AsValue, FromValue};

/// The longest value, in bytes.
pub const VALUE_LIMIT: usize = 512 << 20;

/// Up to so many bytes a value is copied out, beyond it is shared. Copying scales over cores
/// and a shared count does not, but copying costs by the byte.
pub(crate) const COPY_LIMIT: usize = 4096;

/// A value as it is given: borrowed. For pairs of several types, and for what no Rust type says.
///
/// ```
/// use kvreg::{Bucket, ValueRef};
///
/// let bucket = Bucket::start()?;
/// bucket.put_many([("milk", ValueRef::Int(1)), ("bread", "rye".into())])?;
/// bucket.put("nothing", ValueRef::Nil)?;
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// Nothing, which is not the same as an absent key.
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A floating-point number of 64 bits.
    Float(f64),
    /// A text.
    String(&'a str),
    /// Any bytes.
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

    /// What it counts for, in bytes: a number has 8.
    #[inline(always)]
    pub(crate) fn size(self) -> usize {
        match self {
            ValueRef::Int(_) | ValueRef::Float(_) => 8,
            value => value.text().len(),
        }
    }

    /// The same type and the same bytes: so a NaN is identical to itself, and 0.0 is not to -0.0.
    pub(crate) fn is_identical(self, other: ValueRef<'_>) -> bool {
        match (self, other) {
            (ValueRef::Float(one), ValueRef::Float(other)) => one.to_bits() == other.to_bits(),
            (one, other) => one == other,
        }
    }

    /// Whether it is copied instead of shared.
    #[inline]
    pub(crate) fn is_small(&self) -> bool {
        self.text().len() <= COPY_LIMIT
    }
}

/// A value as it was read: valid and unchanged as long as it is kept, whatever becomes of its
/// bucket.
///
/// ```
/// use kvreg::{Bucket, Value};
///
/// let bucket = Bucket::start()?;
/// bucket.put("bread", "rye")?;
/// let bread: Value = bucket.get("bread")?;
/// assert_eq!(bread.as_str(), Some("rye"));
/// assert_eq!(bread.as_i64(), None);
/// assert_eq!(i64::try_from(Value::from(7))?, 7);
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Nothing, which is not the same as an absent key.
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A floating-point number of 64 bits.
    Float(f64),
    /// A text: valid UTF-8.
    String(Text),
    /// Any bytes.
    Bytes(Text),
}

/// The bytes of a text or of a key, as they were read. Small ones are a copy, large ones shared.
///
/// ```
/// let bucket = kvreg::Bucket::start()?;
/// bucket.put("milk", 1)?;
/// let (key, _) = &bucket.items()?[0];
/// assert_eq!(key, "milk");
/// assert_eq!(key.len(), 4);
/// assert_eq!(key.to_string(), "milk");
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone)]
pub struct Text(pub(crate) Repr);

#[derive(Clone)]
pub(crate) enum Repr {
    Copied(Copied),
    Shared(Shared),
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

impl Text {
    /// A copy of its own, whatever the size.
    #[inline]
    pub(crate) fn copy(bytes: &[u8]) -> Result<Text, Error> {
        Ok(Text(if bytes.len() <= COPY_LIMIT {
            Repr::Copied(Copied::copy(bytes).ok_or(Error::NoMemory)?)
        } else {
            Repr::Shared(Shared::new(bytes)?)
        }))
    }

    /// All of its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Copied(copied) => copied.bytes(),
            Repr::Shared(blob) => blob.bytes(),
        }
    }

    /// The bytes as a text, if they are one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

impl std::ops::Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// As a text, with what is none replaced.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl Value {
    /// A value of its own from a borrowed one; [`Error::NoMemory`] if there is none for it.
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

    /// Whether it is nil.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// The value if it is true or false.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value if it is an integer.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The value if it is a floating-point number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The value if it is a text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// The bytes of a text or of bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::String(text) | Value::Bytes(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The value, borrowed.
    #[must_use]
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

/// As one would print it: a text as it is, bytes with what is not ASCII written as a code.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.pad("nil"),
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::String(text) => text.fmt(f),
            Value::Bytes(bytes) => write!(f, "{}", bytes.as_bytes().escape_ascii()),
        }
    }
}
