//! Reading the keys of a table in parts, beside its writer and without its right.
//!
//! # The argument
//!
//! A page is read in the array that readers know when it is begun, by a reader that is pinned: so
//! neither the array nor its entries are freed meanwhile. That array is whole when it is found
//! (`growth`), and entries never move within it. An entry that is there while its home group is
//! read lies in that group or behind groups which count it as passed, so whoever goes on as far as
//! the counts say finds it; what comes or goes meanwhile is found or not. A staged entry
//! has its key as any other. The hash is made of the key, since the entry's first word is the
//! writer's.
//!
//! What home groups belong together, whatever the size of the array is, says `scan`: so pages that
//! are read in whatever arrays there are show each key once that is there all the time, and none
//! twice.

use super::array::Array;
use super::entry::{Entry, TableValue};
use super::scan::Position;
use super::{Closed, Table};
use crate::hash::hash;
use crate::reclaim::Guard;

/// Groups that are looked at for one page, though they be empty.
const GROUPS: usize = 256;

impl<V: TableValue> Table<V> {
    /// Shows the keys from a position on, whole home groups of them, until there are `enough` or
    /// many groups had none; answers how far it came. Not all is shown if `show` says that it is
    /// to end: then the page is to be read again.
    pub(crate) fn page<E>(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<Position, E>, Closed> {
        self.page_hashed(hash, from, enough, pinned, show)
    }

    /// As `page`, of keys that have this hash here.
    pub(crate) fn page_hashed<E>(
        &self,
        hash: fn(&[u8]) -> u64,
        from: Position,
        enough: usize,
        pinned: &Guard,
        mut show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<Position, E>, Closed> {
        let Some(array) = self.array(pinned)? else {
            return Ok(Ok(Position::End));
        };
        let (mut position, mut shown) = (from, 0);
        for _ in 0..GROUPS {
            let Some((home, next)) = position.group_in(array.log()) else {
                break;
            };
            let each = |key: &[u8]| {
                if position.has_passed(hash(key)) {
                    return Ok(());
                }
                shown += 1;
                show(key)
            };
            if let Err(ended) = array.keys_at_home(hash, home, each) {
                return Ok(Err(ended));
            }
            position = next;
            if shown >= enough {
                break;
            }
        }
        Ok(Ok(position))
    }
}

impl<V: TableValue> Array<'_, V> {
    /// Shows the keys that belong into a group, wherever they lie.
    fn keys_at_home<E>(
        self,
        hash: fn(&[u8]) -> u64,
        home: usize,
        mut show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mask = self.groups() - 1;
        for at in home..=home + mask {
            for entry in self.entries_of(at & mask).filter(|entry| !entry.is_null()) {
                // SAFETY: found in the table by who is pinned.
                let key = unsafe { Entry::key(entry) };
                if hash(key) as usize & mask == home {
                    show(key)?;
                }
            }
            if !self.overflows(at & mask) {
                break;
            }
        }
        Ok(())
    }
}
