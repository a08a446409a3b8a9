//! `kvreg_items_*`: snapshots, read one by one.

use std::sync::{Arc, Mutex};

use super::argument::Out;
use super::entry::{kvreg_entry, Wanted};
use super::guard::guard;
use super::handles::free;
use super::kinds::kvreg_items;
use super::object::releasing;
use super::status::{kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::memory;
use crate::store::{Item, NO_TTL};
use crate::sync::lock;
use crate::value::{Text, Value};

/// What is left of a snapshot.
pub(super) struct Items {
    /// Its keys are texts.
    are_names: bool,
    left: Mutex<std::vec::IntoIter<Item>>,
}

impl Items {
    fn of(items: Vec<Item>, are_names: bool) -> Arc<Items> {
        Arc::new(Items {
            are_names,
            left: Mutex::new(items.into_iter()),
        })
    }

    pub(super) fn of_bucket(items: Vec<Item>) -> Arc<Items> {
        Items::of(items, false)
    }

    /// Names have neither a value nor a revision.
    pub(super) fn of_names(names: &[String]) -> Result<Arc<Items>, Failure> {
        let mut items = Vec::new();
        memory::reserve(&mut items, names.len())?;
        for name in names {
            items.push(Item {
                key: Text::copy(name.as_bytes())?,
                value: Value::Nil,
                revision: 0,
                ttl_ms: NO_TTL,
            });
        }
        Ok(Items::of(items, true))
    }

    /// The next item's key, and the item without it.
    fn next(&self) -> Result<(kvreg_value, Value, u64, i64), Failure> {
        let next = lock(&self.left).next();
        let item = next.ok_or_else(|| Failure::from(Status::NotFound))?;
        let key = match self.are_names {
            true => Value::String(item.key),
            false => Value::Bytes(item.key),
        };
        let key = kvreg_value::owned(key)?;
        Ok((key, item.value, item.revision, item.ttl_ms))
    }

    fn count(&self) -> usize {
        lock(&self.left).len()
    }

    /// Frees what is left: a call on another thread may keep the rest for a while.
    pub(super) fn forget(&self) {
        let left = std::mem::take(&mut *lock(&self.left));
        drop(left);
    }
}

/// @name Snapshots
///
/// Gives the next item of a snapshot, or answers KVREG_NOT_FOUND at its end. The key is of type
/// KVREG_BYTES, or of KVREG_STRING if it is a name. Clear the key and the value; `value` may be
/// NULL. Threads may share a snapshot: each item goes to one of them. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_items_next(
    items: *mut kvreg_items,
    key: *mut kvreg_value,
    value: *mut kvreg_value,
) -> kvreg_status {
    guard("kvreg_items_next", || {
        // SAFETY: null or outputs.
        let key = unsafe { Out::new(key, kvreg_value::NIL) };
        let value = unsafe { Out::new(value, kvreg_value::NIL) };
        releasing(items, |items, _| {
            key.required()?;
            let (next_key, next_value, _, _) = items.next()?;
            key.set(next_key);
            if value.is_wanted() {
                value.set(kvreg_value::owned(next_value)?);
            }
            Ok(())
        })
    })
}

/// As kvreg_items_next, with the revision of the key and what was left of its time to live at the
/// instant of the snapshot; clear `key` and `entry->value`. Set `entry->size` before, or use
/// kvreg_entry_init. A name has the revision 0, and is there for ever. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_items_next_entry(
    items: *mut kvreg_items,
    key: *mut kvreg_value,
    entry: *mut kvreg_entry,
) -> kvreg_status {
    guard("kvreg_items_next_entry", || {
        // SAFETY: null or outputs.
        let (key, wanted) = unsafe { (Out::new(key, kvreg_value::NIL), Wanted(entry)) };
        // SAFETY: as above.
        let is_whole = unsafe { wanted.required() };
        releasing(items, |items, _| {
            key.required()?;
            is_whole?;
            let (next_key, value, revision, ttl_ms) = items.next()?;
            key.set(next_key);
            let value = kvreg_value::owned(value)?;
            // SAFETY: it was found whole.
            unsafe { wanted.fill(value, revision, ttl_ms) };
            Ok(())
        })
    })
}

/// Tells how many items of a snapshot are left to be given: at first, how many it has. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_items_count(
    items: *mut kvreg_items,
    count: *mut usize,
) -> kvreg_status {
    guard("kvreg_items_count", || {
        // SAFETY: null or an output.
        let count = unsafe { Out::new(count, 0) };
        releasing(items, |items, _| {
            count.required()?;
            count.set(items.count());
            Ok(())
        })
    })
}

/// Frees a snapshot, which takes the time to free its items. NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_items_free(items: *mut kvreg_items) -> kvreg_status {
    guard("kvreg_items_free", || free(items))
}
