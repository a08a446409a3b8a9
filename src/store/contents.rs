//! What a bucket holds: a map from key to value. Reads come from any thread; who may change it
//! has [`Exclusive`](crate::server::Exclusive) of it (`writing.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::limits::{Cost, Limits};
use super::reading::{read, read_as, Reader};
use super::stored::{tail_of, Stored};
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::Reservation;
use crate::table::{Closed, Entry, Found, NewEntry, Table};
use crate::value::{Value, ValueRef, VALUE_LIMIT};

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 64 << 10;

/// A key with its value, ready to be stored: made before the turn is taken, and the only
/// step that needs memory of the caller's size.
pub(crate) struct Pair(pub(super) NewEntry<Stored>);

impl Pair {
    pub(super) fn cost(&self) -> Cost {
        Cost::of(&self.0.view())
    }

    pub(crate) fn new(key: &[u8], value: ValueRef<'_>) -> Result<Pair, Error> {
        if value.text().len() > VALUE_LIMIT {
            return Err(Error::Limit("a value has at most 512 MiB"));
        }
        let stored = Stored::new(value)?;
        Entry::allocate(key, stored, tail_of(value)).map(Pair)
    }
}

/// A key that was stored, or deleted. As in the guide a delete is told also if the key was
/// absent.
pub(crate) struct Change {
    pub(crate) key: Box<[u8]>,
    /// `None`: deleted.
    pub(crate) value: Option<Value>,
}

/// Is told of changes in the order they are made, by the thread that makes them, while it has
/// the right to: it must be short and must not wait.
pub(crate) trait Observer: Send + Sync {
    /// Whether a change would be told to anybody.
    fn is_wanted(&self) -> bool;

    fn changed(&self, change: Change);

    /// There will be no more changes.
    fn close(&self);
}

pub(crate) struct Contents {
    pub(super) table: Table<Stored>,
    /// Of keys and values. The writer's.
    pub(super) bytes: AtomicUsize,
    pub(super) limits: Option<Box<Limits>>,
    pub(super) observer: OnceLock<Arc<dyn Observer>>,
}

impl Contents {
    pub(crate) fn new(limits: Option<Box<Limits>>) -> Contents {
        Contents {
            table: Table::new(),
            bytes: AtomicUsize::new(0),
            limits,
            observer: OnceLock::new(),
        }
    }

    /// The bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts a put that waits in the mailbox, where there are limits.
    pub(crate) fn reserve(&self, pair: &Pair) -> Result<Vec<Reservation>, Error> {
        let Some(limits) = &self.limits else {
            return Ok(Vec::new());
        };
        let pinned = reclaim::pin();
        let found = self.table.get(pair.0.key(), &pinned);
        let is_new = !matches!(found, Ok(Some(_)));
        limits.reserve(usize::from(is_new), pair.cost().bytes)
    }

    /// Who is to be told, if anybody.
    pub(super) fn observer(&self) -> Option<&dyn Observer> {
        let observer = self.observer.get().map(|it| &**it);
        observer.filter(|it| it.is_wanted())
    }

    /// The value of a key, as the reader makes it.
    pub(crate) fn read<R: Reader>(&self, key: &[u8], reader: R) -> Result<R::Read, Error> {
        let pinned = reclaim::pin();
        read_as(&self.find(key, &pinned)?, reader).ok_or(Error::NoMemory)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Value, Error> {
        read(&self.find(key, &reclaim::pin())?)
    }

    /// What `key` has, if no step of the search is out of the ordinary. Does not panic.
    #[inline(always)]
    fn fast_find<'g>(&self, key: &[u8], pinned: &'g Guard) -> Option<Found<'g, Stored>> {
        self.table.fast_get(key, pinned)
    }

    #[inline(always)]
    pub(crate) fn fast_read<R: Reader>(
        &self,
        key: &[u8],
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        read_as(&self.fast_find(key, pinned)?, reader)
    }

    #[inline]
    pub(super) fn find<'g>(
        &self,
        key: &[u8],
        pinned: &'g Guard,
    ) -> Result<Found<'g, Stored>, Error> {
        match self.table.get(key, pinned) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Error::NotFound),
            Err(Closed) => Err(Error::NoProcess),
        }
    }

    pub(crate) fn count(&self) -> Result<usize, Error> {
        self.table
            .len(&reclaim::pin())
            .map_err(|Closed| Error::NoProcess)
    }
}
