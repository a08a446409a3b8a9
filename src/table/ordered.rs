//! An index of a table's entries in the order of their keys, for tables that are read in order.
//!
//! # The argument
//!
//! The index is the writer's: who reads in order has the right to write too, so nobody is in
//! another's way; its lock is there to say so. It has the address of each entry that stands in a
//! cell, and compares their keys, which never change. An entry never moves. It is put into the
//! index when it is put into its cell; another entry of the same key takes its place there at once,
//! and what leaves its cell leaves the index, each before it is retired. So each address is that of
//! an entry which is not freed. `clear` and `close` take the whole index away, and then no address
//! is followed any more; it is freed in slices, like the entries.
//!
//! A batch lists its new keys first, while it may still fail; nobody reads before it is over. What
//! the index takes of memory are nodes of at most 256 bytes, a few at a time, for which the
//! allocator has a reserve: it is asked whether that is whole before a key is listed, and a key
//! that takes another's place needs none.

use std::alloc::{dealloc, Layout};
use std::borrow::Borrow;
use std::cmp::Ordering as Order;
use std::collections::{btree_set, BTreeSet};
use std::mem::MaybeUninit;
use std::ops::Bound;

use super::entry::{Entry, Found, NewEntry, TableValue};
use super::{Table, Writer};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{Guard, RetireWhole, WholeNode};
use crate::sync::{lock, will_read, Mutex};

/// An index of so many keys is freed at once.
const AT_ONCE: usize = 512;

/// Entries that are on their way to the processor.
const AHEAD: usize = 6;

/// An entry, which is compared by its key.
struct Listed<V>(*const Entry<V>);

// SAFETY: an address, which is followed by who has the right to write, as the argument says.
unsafe impl<V: Send + Sync> Send for Listed<V> {}

impl<V> Borrow<[u8]> for Listed<V> {
    fn borrow(&self) -> &[u8] {
        // SAFETY: it is not freed as long as it is listed.
        unsafe { Entry::key(self.0) }
    }
}

impl<V> Ord for Listed<V> {
    fn cmp(&self, other: &Listed<V>) -> Order {
        let (one, other): (&[u8], &[u8]) = (self.borrow(), other.borrow());
        one.cmp(other)
    }
}

impl<V> PartialOrd for Listed<V> {
    fn partial_cmp(&self, other: &Listed<V>) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl<V> PartialEq for Listed<V> {
    fn eq(&self, other: &Listed<V>) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl<V> Eq for Listed<V> {}

/// The writer's.
pub(super) struct Index<V>(Mutex<BTreeSet<Listed<V>>>);

impl<V> Index<V> {
    pub(super) fn new() -> Index<V> {
        Index(Mutex::new(BTreeSet::new()))
    }

    /// Makes sure that there is memory for one more key.
    pub(super) fn make_room() -> Result<(), Error> {
        match memory::is_ready() {
            true => Ok(()),
            false => Err(Error::NoMemory),
        }
    }

    /// Lists an entry, in the place of an older one of its key; takes memory for a new key only.
    pub(super) fn put(&self, entry: *const Entry<V>) {
        lock(&self.0).replace(Listed(entry));
    }

    /// Takes the entry of the same key out.
    pub(super) fn remove(&self, entry: *const Entry<V>) {
        lock(&self.0).remove(&Listed(entry));
    }
}

impl<V: Send + Sync + 'static> Index<V> {
    /// Takes all out.
    pub(super) fn clear(&self, pinned: &Guard) {
        let all = std::mem::take(&mut *lock(&self.0));
        let len = all.len();
        if len <= AT_ONCE {
            return;
        }
        let whole = Gone::<V> {
            node: MaybeUninit::uninit(),
            left: all.into_iter(),
        };
        // SAFETY: the layout of what is written; and it is this one's alone.
        unsafe {
            let gone = memory::try_alloc(Gone::<V>::LAYOUT).cast::<Gone<V>>();
            if gone.is_null() {
                return; // freed here: to take out is not refused for want of memory
            }
            gone.write(whole);
            pinned.retire_whole(gone, len * size_of::<Listed<V>>());
        }
    }
}

/// An index that is being freed.
#[repr(C)]
struct Gone<V> {
    /// Written when it is retired.
    node: MaybeUninit<WholeNode>,
    left: btree_set::IntoIter<Listed<V>>,
}

impl<V> Gone<V> {
    const LAYOUT: Layout = Layout::new::<Gone<V>>();
}

// SAFETY: it begins with its node. It has addresses alone, which nobody follows.
unsafe impl<V: Send + Sync> RetireWhole for Gone<V> {
    unsafe fn free_slice(gone: *mut Gone<V>, budget: usize) -> bool {
        // SAFETY: by contract it is this one's alone; the layout is that of its allocation.
        unsafe {
            // It gives back its nodes as it passes them.
            let freed = (*gone).left.by_ref().take(budget).count();
            if freed == budget {
                return false;
            }
            gone.drop_in_place();
            dealloc(gone.cast(), Gone::<V>::LAYOUT);
            true
        }
    }
}

impl<V: TableValue> Table<V> {
    /// A table that can be read in the order of its keys.
    pub(crate) fn ordered() -> Table<V> {
        let mut table = Table::new();
        table.index = Some(Box::new(Index::new()));
        table
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.index.is_some()
    }
}

impl<'t, V: TableValue + Send + Sync + 'static> Writer<'t, V> {
    /// Shows the entries in the order of their keys, until `show` says that it is enough; of an
    /// ordered table.
    pub(crate) fn in_order(
        &self,
        from: Bound<&[u8]>,
        mut show: impl FnMut(Found<'t, V>) -> bool,
    ) -> Result<(), Error> {
        self.open_array()?;
        let Some(index) = &self.table.index else {
            return Ok(());
        };
        let all = lock(&index.0);
        let entries = all.range::<[u8], _>((from, Bound::Unbounded));
        let mut ahead = entries.clone();
        ahead.by_ref().take(AHEAD).for_each(|it| will_read(it.0));
        for entry in entries {
            if let Some(next) = ahead.next() {
                will_read(next.0);
            }
            // SAFETY: an entry of the table, and the writer is pinned.
            if !show(unsafe { Found::new(entry.0) }) {
                break;
            }
        }
        Ok(())
    }

    /// Lists the new keys of a batch, or none of them, so that to put them in cannot fail. What is
    /// not put in is to be taken out by `unlist`.
    pub(crate) fn list<'e>(
        &self,
        entries: impl Iterator<Item = &'e NewEntry<V>> + Clone,
    ) -> Result<(), Error>
    where
        V: 'e,
    {
        let Some(index) = &self.table.index else {
            return Ok(());
        };
        for entry in entries.clone() {
            if let Err(refused) = Index::<V>::make_room() {
                self.unlist(entries);
                return Err(refused);
            }
            lock(&index.0).insert(Listed(entry.view().entry()));
        }
        Ok(())
    }

    /// Takes back what `list` did, before any of it was put in.
    pub(crate) fn unlist<'e>(&self, entries: impl Iterator<Item = &'e NewEntry<V>>)
    where
        V: 'e,
    {
        let Some(index) = &self.table.index else {
            return;
        };
        for entry in entries.filter(|it| self.at(it.hash(), it.key()).is_none()) {
            index.remove(entry.view().entry());
        }
    }
}
