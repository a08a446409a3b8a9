//! The limits of a bucket: what its entries take of them, and what waits in its mailbox.

use std::sync::Arc;

use crate::error::Error;
use crate::server::{Budget, Reservation};

/// What an entry takes of the limits.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) keys: usize,
    pub(super) bytes: usize,
}

impl Cost {
    /// Of a key that is there already.
    #[inline(always)]
    pub(super) fn of_bytes(bytes: usize) -> Cost {
        Cost { keys: 0, bytes }
    }

    pub(super) fn and(self, other: Cost) -> Cost {
        Cost {
            keys: self.keys + other.keys,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The limits of a bucket that has any.
pub(crate) struct Limits {
    keys: Option<Arc<Budget>>,
    bytes: Option<Arc<Budget>>,
    /// Of all buckets of its registry.
    registry: Option<Arc<Budget>>,
}

impl Limits {
    pub(crate) fn new(
        max_keys: usize,
        max_bytes: usize,
        registry: Option<Arc<Budget>>,
    ) -> Option<Box<Limits>> {
        let keys = Budget::limited("keys of a bucket", max_keys);
        let bytes = Budget::limited("bytes of a bucket", max_bytes);
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
    pub(super) fn change(&self, less: Cost, more: Cost) -> Result<(), Error> {
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

    /// Undoes a `change`. It is not refused, for what was given back may be used by others.
    pub(super) fn undo(&self, less: Cost, more: Cost) {
        let all = [
            (&self.keys, less.keys, more.keys),
            (&self.bytes, less.bytes, more.bytes),
            (&self.registry, less.bytes, more.bytes),
        ];
        for (budget, less, more) in all {
            budget.iter().for_each(|budget| budget.undo(less, more));
        }
    }

    /// Whether `change` would do it, as it is now.
    pub(super) fn have_room(&self, less: Cost, more: Cost) -> bool {
        let all = [
            (&self.keys, less.keys, more.keys),
            (&self.bytes, less.bytes, more.bytes),
            (&self.registry, less.bytes, more.bytes),
        ];
        let mut all = all.into_iter();
        all.all(|(budget, less, more)| {
            let budget = budget.as_ref();
            budget.is_none_or(|budget| budget.has_room(less, more))
        })
    }

    /// Whether `more` would be allowed if the bucket, which has so many bytes, were empty.
    pub(super) fn could_hold(&self, more: Cost, bytes: usize) -> bool {
        let all = usize::MAX;
        let fits = |budget: &Option<Arc<Budget>>, gone: usize, more: usize| {
            let budget = budget.as_ref();
            budget.is_none_or(|budget| budget.could_hold(gone, more))
        };
        fits(&self.keys, all, more.keys)
            && fits(&self.bytes, all, more.bytes)
            && fits(&self.registry, bytes, more.bytes)
    }

    /// Counts a cast that waits, until what is returned is dropped.
    pub(super) fn reserve(&self, new_keys: usize, bytes: usize) -> Result<Vec<Reservation>, Error> {
        let amounts = [
            (&self.keys, new_keys),
            (&self.bytes, bytes),
            (&self.registry, bytes),
        ];
        amounts
            .into_iter()
            .filter_map(|(budget, amount)| Some(budget.as_ref()?.reserve(amount)))
            .collect()
    }
}
