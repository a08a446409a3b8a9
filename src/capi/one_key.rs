//! Reading and storing one key, for all functions that do: each goes the short way first, and the
//! long one if that finds anything out of the ordinary.

use std::ffi::c_void;

use super::argument;
use super::fast;
use super::guard::guard;
use super::kinds::kvreg_bucket;
use super::object::with;
use super::status::{kvreg_status, Failure, Status};
use super::value::{given, kvreg_value};
use crate::bucket::BucketServer;
use crate::store::{Always, Key, Reader};

pub(super) const OK: kvreg_status = Status::Ok as kvreg_status;

/// Reads the value of a key with a reader, and does with what that answers what `done` says.
/// `check` looks at the arguments, where it is their turn, and resets the outputs.
///
/// # Safety
/// The key is good for its length. The reader may be used if the arguments are right, as
/// `is_right` says too.
#[inline(always)]
pub(super) unsafe fn read<R: Reader + Copy>(
    function: &'static str,
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    is_right: bool,
    check: impl Fn() -> Result<(), Failure>,
    reader: impl Fn() -> R,
    done: impl Fn(R::Read) -> Result<(), Failure>,
) -> kvreg_status {
    if is_right {
        // SAFETY: by contract.
        let read = unsafe { fast::key(key.cast(), key_len) }.and_then(|key| {
            fast::fast_read(bucket, |bucket, pinned| {
                bucket.fast_read(key, pinned, reader())
            })
        });
        if read.is_some_and(|read| done(read).is_ok()) {
            return OK;
        }
        // SAFETY: by contract.
        let key = unsafe { fast::key(key.cast(), key_len) };
        if key.is_some_and(|key| read_timed(bucket, key, &reader, &done)) {
            return OK;
        }
    }
    // SAFETY: by contract.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard(function, move || {
        let checked = check();
        with(bucket, |bucket, caller| {
            checked?;
            // SAFETY: by contract.
            let key = Key::new(unsafe { argument::key(key, key_len) }?);
            let read = bucket.read(caller, key, reader())?;
            caller.unpin(); // what is left to do may take long
            done(read)
        })
    })
}

/// Reads a key with a time to live by a short way of its own; `false` if it cannot be read so.
#[cold]
fn read_timed<R: Reader>(
    bucket: *mut kvreg_bucket,
    key: Key<'_>,
    reader: &impl Fn() -> R,
    done: &impl Fn(R::Read) -> Result<(), Failure>,
) -> bool {
    let read = fast::fast_read(bucket, |bucket, pinned| {
        bucket.fast_read_timed(key, pinned, reader())
    });
    read.is_some_and(|read| done(read).is_ok())
}

/// How a value is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Call,
    Cast,
}

/// Stores a value under a key. The name is given by a closure, so that each caller has a copy of
/// what is here: a closure that several share is not inlined.
///
/// # Safety
/// Key and value are good for their lengths; the value may be null.
#[inline(always)]
pub(super) unsafe fn put(
    function: impl Fn() -> &'static str,
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    value: *const kvreg_value,
    how: How,
) -> kvreg_status {
    // A cast too is handled at once if nobody is in the way.
    // SAFETY: by contract.
    let done = unsafe { value.as_ref() }.and_then(|value| unsafe {
        let value = value.get_small()?;
        let key = fast::key(key.cast(), key_len)?;
        fast::fast(bucket, |bucket, pinned| {
            bucket.fast_put(key, value, Always, pinned)
        })
    });
    if done.is_some() {
        return OK;
    }
    // SAFETY: by contract.
    unsafe { put_slowly(function(), bucket, (key, key_len), value, how) }
}

/// # Safety
/// As of `put`.
#[cold]
unsafe fn put_slowly(
    function: &'static str,
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    value: *const kvreg_value,
    how: How,
) -> kvreg_status {
    // SAFETY: by contract.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard(function, || {
        with(bucket, |bucket, caller| {
            // SAFETY: null, or a value.
            if unsafe { value.as_ref() }.is_some_and(kvreg_value::is_long) {
                caller.unpin(); // it may have to be waited for
            }
            // SAFETY: by contract.
            let (key, value) = unsafe { (argument::key(key, key_len)?, given(value)) };
            let value = value.map_err(|failure| ranked(bucket, failure, how))?;
            Ok(match how {
                How::Call => bucket.put(caller, key, value),
                How::Cast => bucket.put_cast(key, value),
            }?)
        })
    })
}

/// A limit is named only to who could have got further: the statuses of the header's order that
/// come before it are asked first. A cast may come from inside.
pub(super) fn ranked(bucket: &BucketServer, failure: Failure, how: How) -> Failure {
    if !failure.is_limit() {
        return failure;
    }
    match (bucket.has_ended(), how) {
        (true, _) => Status::NoProcess.into(),
        (false, How::Call) if bucket.is_occupied_by_caller() => Status::CallingSelf.into(),
        _ => failure,
    }
}
