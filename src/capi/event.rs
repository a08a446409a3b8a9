//! Events across the boundary. The struct is the header's `kvreg_event`.

use std::ffi::c_char;
use std::mem::ManuallyDrop;

use super::guard::guard_quietly;
use super::status::{kvreg_reason, kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::inbox::{ChangeKind, Event};
use crate::memory;

const DOWN: u32 = 0;
const LOG: u32 = 1;
const LOST: u32 = 2;
const CHANGE: u32 = 3;
const RESET: u32 = 4;
const CURRENT: u32 = 5;
const MAIL: u32 = 6;
const REPLY: u32 = 7;
const STORE: u32 = 8;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_text {
    pub(super) data: *const c_char,
    pub(super) len: usize,
}

impl kvreg_text {
    /// Not NULL: C may print it.
    pub(super) const NONE: kvreg_text = kvreg_text {
        data: c"".as_ptr(),
        len: 0,
    };
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_event {
    kind: u32, // `type` in C
    reason: kvreg_reason,
    level: u32,
    status: kvreg_status,
    reference: u64,
    count: u64,
    revision: u64,
    name: kvreg_text,
    detail: kvreg_text,
    value: kvreg_value,
    /// Address and capacity of the name's allocation, then of the detail's; 0 is none.
    private_: [u64; 8],
}

const _: () = assert!(size_of::<kvreg_event>() == 168);

#[cfg(test)]
laid_out_as_in_c!(kvreg_text { data, len });
#[cfg(test)]
laid_out_as_in_c!(kvreg_event {
    kind as "type", reason, level, status, reference, count, revision, name, detail, value,
    private_
});

impl kvreg_event {
    pub(super) const EMPTY: kvreg_event = kvreg_event {
        kind: 0,
        reason: 0,
        level: 0,
        status: Status::Ok as kvreg_status,
        reference: 0,
        count: 0,
        revision: 0,
        name: kvreg_text::NONE,
        detail: kvreg_text::NONE,
        value: kvreg_value::NIL,
        private_: [0; 8],
    };

    /// An event that C owns until `kvreg_event_clear`.
    pub(super) fn owned(event: Event) -> kvreg_event {
        let mut owned = kvreg_event::EMPTY;
        let (name, detail) = match event {
            Event::Down {
                reference,
                reason,
                name,
                detail,
            } => {
                owned.kind = DOWN;
                owned.reference = reference;
                owned.reason = reason as kvreg_reason;
                (name, detail)
            }
            Event::Log {
                level,
                name,
                message,
            } => {
                owned.kind = LOG;
                owned.level = level as u32;
                (name, message)
            }
            Event::Lost { count } => {
                owned.kind = LOST;
                owned.count = count;
                (None, String::new())
            }
            Event::Change {
                reference,
                change,
                key,
                value,
                revision,
            } => {
                owned.kind = CHANGE;
                owned.level = match change {
                    ChangeKind::Put => 0,
                    ChangeKind::Delete => 1,
                    ChangeKind::Expire => 2,
                    ChangeKind::Evict => 3,
                };
                (owned.reference, owned.revision) = (reference, revision);
                // It fails on no machine that has addresses as others have.
                owned.value = kvreg_value::owned(value).unwrap_or(kvreg_value::NIL);
                let [address, size, ..] = &mut owned.private_;
                owned.name = give(key, address, size);
                return owned;
            }
            Event::Mail { reference } => {
                (owned.kind, owned.reference) = (MAIL, reference);
                (None, String::new())
            }
            Event::Reply {
                reference,
                answer,
                detail,
            } => {
                (owned.kind, owned.reference) = (REPLY, reference);
                let value = answer.map_err(Failure::from).and_then(kvreg_value::owned);
                match value {
                    Ok(value) => owned.value = value,
                    Err(failure) => owned.status = failure.status() as kvreg_status,
                }
                (None, detail)
            }
            Event::Store { reference, is_away } => {
                (owned.kind, owned.reference) = (STORE, reference);
                owned.level = u32::from(is_away);
                (None, String::new())
            }
            Event::Reset { reference } => {
                (owned.kind, owned.reference) = (RESET, reference);
                (None, String::new())
            }
            Event::Current {
                reference,
                revision,
            } => {
                owned.kind = CURRENT;
                (owned.reference, owned.revision) = (reference, revision);
                (None, String::new())
            }
        };
        let [name_address, name_size, detail_address, detail_size, ..] = &mut owned.private_;
        owned.name = give(
            name.unwrap_or_default().into_bytes(),
            name_address,
            name_size,
        );
        owned.detail = give(detail.into_bytes(), detail_address, detail_size);
        owned
    }
}

/// Text for C, with its NUL; the owner is noted in two words. Nothing is left of a text that has no
/// room for its NUL, if there is no memory for it.
fn give(mut bytes: Vec<u8>, address: &mut u64, capacity: &mut u64) -> kvreg_text {
    if bytes.is_empty() {
        return kvreg_text::NONE;
    }
    let len = bytes.len();
    if memory::without_reserve(|| bytes.try_reserve_exact(1)).is_err() {
        return kvreg_text::NONE;
    }
    bytes.push(0);
    let mut bytes = ManuallyDrop::new(bytes);
    let data = bytes.as_mut_ptr();
    *address = data.expose_provenance() as u64;
    *capacity = bytes.capacity() as u64;
    kvreg_text {
        data: data.cast(),
        len,
    }
}

/// Releases what kvreg_inbox_receive gave in `event`, its value included, and empties the event.
/// It may be called twice on one variable. NULL is fine. It works after kvreg_shutdown too. Never
/// blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_event_clear(event: *mut kvreg_event) {
    guard_quietly(|| {
        // SAFETY: null, or an event that was initialised.
        let Some(event) = (unsafe { event.as_mut() }) else {
            return;
        };
        let mut cleared = std::mem::replace(event, kvreg_event::EMPTY);
        cleared.value.clear();
        for owner in cleared.private_.chunks_exact(2) {
            let (address, capacity) = (owner[0] as usize, owner[1] as usize);
            if address != 0 {
                let data: *mut u8 = std::ptr::with_exposed_provenance_mut(address);
                // SAFETY: noted by `give`, and cleared once: the words are zero from now on.
                drop(unsafe { Vec::from_raw_parts(data, 0, capacity) });
            }
        }
    });
}
