//! A key that is looked for: with its hash, which is made before anything is pinned or locked, so
//! that the bytes have been looked at once by then.

use std::ops::Deref;

use crate::hash::hash;

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 64 << 10;

#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    bytes: &'a [u8],
    pub(super) hash: u64,
}

impl<'a> Key<'a> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8]) -> Key<'a> {
        let hash = hash(bytes);
        Key { bytes, hash }
    }

    /// The hash of a key that lies aside.
    pub(super) fn hash_aside(bytes: &[u8]) -> u64 {
        Key::new(bytes).aside().hash
    }

    /// The key where nobody finds it who looks for it as usual: under a hash of which every bit is
    /// another.
    pub(crate) fn aside(self) -> Key<'a> {
        let hash = !self.hash;
        Key { hash, ..self }
    }
}

impl Deref for Key<'_> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}
