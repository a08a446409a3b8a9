//! `kvreg_bucket_scan`: keys in the order of their bytes.

use std::ffi::c_void;
use std::ptr;

use super::argument::{self, invalid, limit, options, Out, WithSize};
use super::guard::guard;
use super::handles::make;
use super::items::Items;
use super::kinds::{kvreg_bucket, kvreg_items};
use super::object::with;
use super::status::{kvreg_status, Failure};
use crate::store::{Wanted, Which};

/// The header's `kvreg_scan_options`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_scan_options {
    size: u32,
    flags: u32,
    prefix: *const c_void,
    prefix_len: usize,
    after: *const c_void,
    after_len: usize,
    limit: u64,
}

// SAFETY: integers and pointers, and the first is a u32.
unsafe impl WithSize for kvreg_scan_options {}

#[cfg(test)]
laid_out_as_in_c!(kvreg_scan_options {
    size,
    flags,
    prefix,
    prefix_len,
    after,
    after_len,
    limit
});

const KEYS_ONLY: u32 = 1;

/// As engines are given them.
impl kvreg_scan_options {
    pub(super) const ALL: kvreg_scan_options = kvreg_scan_options {
        size: size_of::<kvreg_scan_options>() as u32,
        flags: 0,
        prefix: ptr::null(),
        prefix_len: 0,
        after: ptr::null(),
        after_len: 0,
        limit: 0,
    };

    /// Borrows what it is made of.
    pub(super) fn of(which: &Which<'_>) -> kvreg_scan_options {
        let after = which.after.unwrap_or_default();
        kvreg_scan_options {
            flags: if which.keys_only { KEYS_ONLY } else { 0 },
            prefix: which.prefix.as_ptr().cast(),
            prefix_len: which.prefix.len(),
            after: match which.after {
                Some(after) => after.as_ptr().cast(),
                None => ptr::null(),
            },
            after_len: after.len(),
            ..kvreg_scan_options::ALL
        }
    }
}

/// # Safety
/// Null, or a struct of the size it tells, whose pointers are null or good for their lengths.
unsafe fn wanted(given: *const kvreg_scan_options) -> Result<Wanted, Failure> {
    // SAFETY: by contract.
    let Some(given) = (unsafe { options(given) })? else {
        return Ok(Wanted::in_order(b"", None, usize::MAX, false)?);
    };
    if given.flags & !KEYS_ONLY != 0 {
        return Err(invalid("unknown flags of a scan"));
    }
    // SAFETY: by contract.
    let prefix = unsafe { argument::key(given.prefix, given.prefix_len) }?;
    let after = match given.after.is_null() {
        true if given.after_len == 0 => None,
        // SAFETY: by contract; null with a length is refused.
        _ => Some(unsafe { argument::key(given.after, given.after_len) }?),
    };
    let limit = limit(given.limit, usize::MAX);
    let keys_only = given.flags & KEYS_ONLY != 0;
    Ok(Wanted::in_order(prefix, after, limit, keys_only)?)
}

/// @name Buckets: scans
///
/// Gives keys and values in the order of their bytes, a shorter key before one that it begins, as
/// they are at one instant: those that begin with a prefix, that lie above another key, or all. NULL
/// for `options` means all. With a limit it gives the smallest, and the next page is had with the
/// last key of this one as `after`: over all pages each key comes at most once, and one that is
/// there all the time comes. With KVREG_KEYS_ONLY the values are nil. In a bucket with
/// KVREG_ORDERED a page costs what it gives; otherwise each scan looks at every key, and sorts what
/// it gives. Writers wait for a part of it at most, and for no longer than 5 ms. A scan takes memory
/// for what it gives. Blocks only while another thread changes or copies the bucket, and while casts
/// of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_scan(
    bucket: *mut kvreg_bucket,
    options: *const kvreg_scan_options,
    items: *mut *mut kvreg_items,
) -> kvreg_status {
    guard("kvreg_bucket_scan", || {
        // SAFETY: null or an output.
        let items = unsafe { Out::new(items, std::ptr::null_mut()) };
        with(bucket, |bucket, caller| {
            items.required()?;
            // SAFETY: null or options.
            let wanted = unsafe { wanted(options) }?;
            let found = bucket.scan(caller, wanted)?;
            make(Items::of_bucket(found), &items)
        })
    })
}
