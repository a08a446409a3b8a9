//! A short key with a value that is no text, to wait in the mailbox without memory of its own.

use crate::value::ValueRef;

/// Keys up to so many bytes.
const SHORT: usize = 22;

pub(crate) struct SmallPair {
    len: u8,
    key: [u8; SHORT],
    value: ValueRef<'static>,
}

impl SmallPair {
    /// `None` if key or value are larger.
    pub(super) fn new(key: &[u8], value: ValueRef<'_>) -> Option<SmallPair> {
        let value = match value {
            ValueRef::Nil => ValueRef::Nil,
            ValueRef::Bool(value) => ValueRef::Bool(value),
            ValueRef::Int(value) => ValueRef::Int(value),
            ValueRef::Float(value) => ValueRef::Float(value),
            ValueRef::String(_) | ValueRef::Bytes(_) => return None,
        };
        let mut short = [0; SHORT];
        short.get_mut(..key.len())?.copy_from_slice(key);
        Some(SmallPair {
            len: key.len() as u8,
            key: short,
            value,
        })
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.len)]
    }

    pub(super) fn value(&self) -> ValueRef<'static> {
        self.value
    }
}
