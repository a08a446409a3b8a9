//! `kvreg_items_*`: snapshots, read one by one.

use std::sync::{Arc, Mutex};

use super::argument::Out;
use super::guard::guard;
use super::object::{free, kvreg_items, releasing};
use super::status::{kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::sync::lock;
use crate::value::Value;

/// What is left of a snapshot.
pub(super) struct Items(Mutex<std::vec::IntoIter<(Value, Value)>>);

impl Items {
    pub(super) fn of(items: Vec<(Value, Value)>) -> Arc<Items> {
        Arc::new(Items(Mutex::new(items.into_iter())))
    }

    fn next(&self) -> Option<(Value, Value)> {
        lock(&self.0).next()
    }

    /// Frees what is left: a call on another thread may keep the rest for a while.
    pub(super) fn forget(&self) {
        let left = std::mem::take(&mut *lock(&self.0));
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
            let (next_key, next_value) = items
                .next()
                .ok_or_else(|| Failure::from(Status::NotFound))?;
            key.set(kvreg_value::owned(next_key)?);
            if value.is_wanted() {
                value.set(kvreg_value::owned(next_value)?);
            }
            Ok(())
        })
    })
}

/// Frees a snapshot, which takes the time to free its items. NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_items_free(items: *mut kvreg_items) -> kvreg_status {
    guard("kvreg_items_free", || free(items))
}
