//! Which keys a scan gives.

use std::ops::Bound;

use super::items::Item;
use super::shared::Which;
use crate::error::Error;
use crate::memory;

/// Keys that begin so and lie above another, the smallest of them, and how they are given.
pub(crate) struct Wanted {
    prefix: Box<[u8]>,
    after: Option<Box<[u8]>>,
    /// So many at most.
    pub(super) limit: usize,
    /// Without their values.
    pub(super) keys_only: bool,
    /// In the order of their bytes.
    pub(super) in_order: bool,
}

impl Wanted {
    /// All, in no order.
    pub(crate) fn all() -> Wanted {
        Wanted {
            prefix: Box::default(),
            after: None,
            limit: usize::MAX,
            keys_only: false,
            in_order: false,
        }
    }

    /// Keys in their order.
    pub(crate) fn in_order(
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        keys_only: bool,
    ) -> Result<Wanted, Error> {
        let copy = |key: &[u8]| memory::bytes(key).ok_or(Error::NoMemory);
        Ok(Wanted {
            prefix: copy(prefix)?,
            after: after.map(copy).transpose()?,
            limit,
            keys_only,
            in_order: true,
        })
    }

    /// What a store is asked for.
    pub(crate) fn which(&self) -> Which<'_> {
        Which {
            prefix: &self.prefix,
            after: self.after.as_deref(),
            keys_only: self.keys_only,
        }
    }

    /// Of items that are wanted those that are given, as they are given.
    pub(crate) fn choose(&self, items: &mut Vec<Item>) {
        if self.in_order {
            items.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            items.truncate(self.limit);
        }
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && self.after.as_ref().is_none_or(|after| *key > **after)
    }

    /// Where the first of them would be.
    pub(super) fn beginning(&self) -> Bound<&[u8]> {
        match &self.after {
            Some(after) if **after >= *self.prefix => Bound::Excluded(after),
            _ => Bound::Included(&self.prefix),
        }
    }

    /// Of a key from the beginning on: whether it lies behind the last of them.
    pub(super) fn is_behind(&self, key: &[u8]) -> bool {
        !key.starts_with(&self.prefix)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Whether all keys are.
    pub(super) fn is_all(&self) -> bool {
        self.prefix.is_empty() && self.after.is_none() && !self.is_limited()
    }
}
