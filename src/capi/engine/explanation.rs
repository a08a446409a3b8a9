//! What an engine says about a failure, for `kvreg_last_error`: kept by the thread from there to
//! where the failure becomes a status.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use crate::capi::status;
use crate::runtime::{platform, thread_end};

/// What is told of a failure that an engine may have explained, and of no other.
pub(super) const STORE: &str = "a store";
pub(super) const URL: &str = "the URL of a store";
pub(super) const ROOM: &str = "room for a store";
pub(super) const ABILITY: &str = "what the store's engine cannot do";

thread_local! {
    /// Without a destructor, as all that a thread has here: see `thread_end`.
    static TEXT: ManuallyDrop<RefCell<Option<String>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
    static OS_ERROR: Cell<i32> = const { Cell::new(0) };
}

pub(super) fn keep(text: &str, os_error: i32) {
    if platform::is_ending() {
        return;
    }
    OS_ERROR.set(os_error);
    if thread_end::may_keep() {
        thread_end::also(status::forget);
        let before = TEXT.with(|place| place.replace(Some(text.to_owned())));
        drop(before);
    }
}

pub(in crate::capi) fn forget() {
    OS_ERROR.set(0);
    let before = TEXT.with(|place| place.borrow_mut().take());
    drop(before);
}

/// The system's error number, if it was told one.
pub(super) fn os_error() -> Option<i32> {
    Some(OS_ERROR.take()).filter(|it| *it != 0)
}

/// What was said about a failure of which this is told, if that is an engine's.
pub(in crate::capi) fn of(told: &str) -> Option<String> {
    if ![STORE, URL, ROOM, ABILITY].contains(&told) {
        return None;
    }
    TEXT.with(|place| place.borrow_mut().take())
}
