//! Keys with their revisions: reads that tell them, changes on a condition, and sums.

use std::ffi::c_void;

use super::argument::{self, invalid, Out};
use super::fast;
use super::guard::guard;
use super::kinds::kvreg_bucket;
use super::object::{releasing, with};
use super::one_key::{ranked, How, OK};
use super::status::{kvreg_status, Failure, Status};
use super::value::{given, kvreg_value};
use crate::store::TTL_LIMIT;
use crate::store::{Always, Changed, Condition, EntryFacts, Expected, Key, Living, Ttl};

/// The header's `kvreg_entry`.
#[repr(C)]
pub struct kvreg_entry {
    size: u32,
    reserved: u32,
    value: kvreg_value,
    revision: u64,
    ttl_ms: i64,
}

#[cfg(test)]
laid_out_as_in_c!(kvreg_entry {
    size,
    reserved,
    value,
    revision,
    ttl_ms
});

const TTL_KEEP: i64 = -2;
const TTL_NEVER: i64 = -1;
const TTL_MAX: i64 = TTL_LIMIT.as_millis() as i64;

const TTL_DEFAULT: i64 = 0;

/// A time to live that was given.
#[inline(always)]
fn ttl_of(ttl_ms: i64) -> Option<Ttl> {
    match ttl_ms {
        TTL_DEFAULT => Some(Ttl::Default),
        TTL_NEVER => Some(Ttl::Never),
        TTL_KEEP => Some(Ttl::Keep(None)),
        1..=TTL_MAX => Some(Ttl::Millis(ttl_ms.unsigned_abs())),
        _ => None,
    }
}

/// As `ttl_of`, for who tells what is wrong with it.
pub(super) fn ttl_given(ttl_ms: i64) -> Result<Ttl, Failure> {
    ttl_of(ttl_ms).ok_or_else(|| invalid("a time to live is below -2, or above 100 years"))
}

/// What is left of a time to live, as the header tells it.
fn left(facts: EntryFacts) -> i64 {
    facts.ttl_ms.map_or(TTL_NEVER, |left| left as i64)
}

/// An entry that a caller wants filled.
#[derive(Clone, Copy)]
pub(super) struct Wanted(pub(super) *mut kvreg_entry);

impl Wanted {
    /// Whether there is room for all of it.
    ///
    /// # Safety
    /// It is null, or may be written for as many bytes as the size that it begins with.
    #[inline(always)]
    unsafe fn is_whole(self) -> bool {
        // SAFETY: by contract.
        !self.0.is_null() && unsafe { (*self.0).size } as usize >= size_of::<kvreg_entry>()
    }

    /// # Safety
    /// It is whole.
    #[inline(always)]
    pub(super) unsafe fn fill(self, value: kvreg_value, revision: u64, ttl_ms: i64) {
        // SAFETY: by contract.
        unsafe {
            (*self.0).reserved = 0;
            (*self.0).value = value;
            (*self.0).revision = revision;
            (*self.0).ttl_ms = ttl_ms;
        }
    }

    /// Empties it, so that it can be cleared after a failure.
    ///
    /// # Safety
    /// As of `is_whole`.
    pub(super) unsafe fn required(self) -> Result<(), Failure> {
        if self.0.is_null() {
            return Err(invalid("an output is NULL"));
        }
        // SAFETY: by contract, and it is whole.
        unsafe {
            if !self.is_whole() {
                return Err(invalid("the size of the entry is not set"));
            }
            self.fill(kvreg_value::NIL, 0, 0);
        }
        Ok(())
    }
}

/// As `one_key::read_timed`.
///
/// # Safety
/// `wanted` is whole.
#[cold]
unsafe fn get_timed_entry(bucket: *mut kvreg_bucket, key: Key<'_>, wanted: Wanted) -> bool {
    let read = fast::fast_read(bucket, |bucket, pinned| {
        bucket.fast_read_timed_entry(key, pinned, fast::Output)
    });
    let Some((Some(value), facts)) = read else {
        return false;
    };
    // SAFETY: by contract.
    unsafe { wanted.fill(value, facts.revision, left(facts)) };
    true
}

/// @name Buckets: revisions and conditions
///
/// Gives the value of a key with its revision, as kvreg_bucket_get does, or answers
/// KVREG_NOT_FOUND; clear `entry->value`. Set `entry->size` before, or use kvreg_entry_init. Both
/// are of the same change. `entry->ttl_ms` is what is left of the key's time to live, 1 at least,
/// or KVREG_TTL_NEVER. Blocks only while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_entry(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    entry: *mut kvreg_entry,
) -> kvreg_status {
    let wanted = Wanted(entry);
    // SAFETY: null or an output; the key is good for its length.
    unsafe {
        if wanted.is_whole() {
            let read = fast::key(key.cast(), key_len).and_then(|key| {
                fast::fast_read(bucket, |bucket, pinned| {
                    bucket.fast_read_entry(key, pinned, fast::Output)
                })
            });
            if let Some((Some(value), facts)) = read {
                wanted.fill(value, facts.revision, left(facts));
                return OK;
            }
            let key = fast::key(key.cast(), key_len);
            if key.is_some_and(|key| get_timed_entry(bucket, key, wanted)) {
                return OK;
            }
        }
    }
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_get_entry", move || {
        // SAFETY: as above.
        let checked = unsafe { wanted.required() };
        with(bucket, |bucket, caller| {
            checked?;
            // SAFETY: as above.
            let key = Key::new(unsafe { argument::key(key, key_len) }?);
            let (value, facts) = bucket.read_entry(caller, key, fast::Output)?;
            caller.unpin(); // the output may be slow
                            // SAFETY: it was found whole.
            unsafe { wanted.fill(value.ok_or(Status::NoMemory)?, facts.revision, left(facts)) };
            Ok(())
        })
    })
}

/// Stores a value on a condition, and tells its revision.
///
/// # Safety
/// Key and value are good for their lengths; the value may be null, and so may the output.
#[inline(always)]
unsafe fn put_on(
    function: &'static str,
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    value: *const kvreg_value,
    (condition, ttl_ms): (impl Condition, i64),
    revision: *mut u64,
) -> kvreg_status {
    // SAFETY: by contract.
    let changed = unsafe { value.as_ref() }.and_then(|value| unsafe {
        let condition = Living(condition, ttl_of(ttl_ms)?);
        let value = value.get_small()?;
        let key = fast::key(key.cast(), key_len)?;
        fast::fast(bucket, |bucket, pinned| {
            bucket.fast_put(key, value, condition, pinned)
        })
    });
    if let Some(Changed::To(number)) = changed {
        if !revision.is_null() {
            // SAFETY: an output.
            unsafe { revision.write(number) };
        }
        return OK;
    }
    // SAFETY: by contract.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard(function, || {
        // SAFETY: null or an output.
        let revision = unsafe { Out::new(revision, 0) };
        if let Some(Changed::Conflict) = changed {
            return Err(Status::Conflict.into()); // found by this call: it is not made twice
        }
        with(bucket, |bucket, caller| {
            // SAFETY: null, or a value.
            if unsafe { value.as_ref() }.is_some_and(kvreg_value::is_long) {
                caller.unpin(); // it may have to be waited for
            }
            // SAFETY: by contract.
            let (key, value) = unsafe { (argument::key(key, key_len)?, given(value)) };
            let value = match value {
                Err(failure) if !failure.is_limit() => return Err(failure),
                value => value,
            };
            let ttl = ttl_given(ttl_ms)?;
            let value = value.map_err(|failure| ranked(bucket, failure, How::Call))?;
            revision.set(bucket.put_on(caller, key, value, Living(condition, ttl))?);
            Ok(())
        })
    })
}

/// Stores a value, as kvreg_bucket_put does, with a time to live, and tells the revision of that
/// change. `ttl_ms` is in milliseconds, 100 years at most; or KVREG_TTL_DEFAULT, that of the
/// bucket's options, as kvreg_bucket_put; KVREG_TTL_NEVER; or KVREG_TTL_KEEP, what the key has, and
/// the bucket's if it is absent. When its time is over no read and no condition sees the key, and
/// within 2 s it is gone from memory. The clock goes on while the machine is suspended.
/// `revision` may be NULL; it is 0 on failure. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_entry(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    value: *const kvreg_value,
    ttl_ms: i64,
    revision: *mut u64,
) -> kvreg_status {
    // SAFETY: null, or a value; key and value are good for their lengths; null or an output.
    unsafe {
        put_on(
            "kvreg_bucket_put_entry",
            bucket,
            (key, key_len),
            value,
            (Always, ttl_ms),
            revision,
        )
    }
}

/// Stores a value only if the revision of the key is `expected`, in one step; 0 means: only if the
/// key is absent. If it is not so the answer is KVREG_CONFLICT, and nothing has changed. A revision
/// that no change has yet is a conflict too. For the rest it is as kvreg_bucket_put_entry. Blocks
/// for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_if(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    value: *const kvreg_value,
    expected: u64,
    ttl_ms: i64,
    revision: *mut u64,
) -> kvreg_status {
    // SAFETY: null, or a value; key and value are good for their lengths; null or an output.
    unsafe {
        put_on(
            "kvreg_bucket_put_if",
            bucket,
            (key, key_len),
            value,
            (Expected(expected), ttl_ms),
            revision,
        )
    }
}

/// Gives a key another time to live, in milliseconds, or KVREG_TTL_NEVER: a change, with a new
/// revision. KVREG_TTL_KEEP and KVREG_TTL_DEFAULT are KVREG_INVALID_ARGUMENT; if the key is absent
/// the answer is KVREG_NOT_FOUND. `revision` may be NULL; it is 0 on failure. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_expire(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    ttl_ms: i64,
    revision: *mut u64,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_expire", || {
        // SAFETY: null or an output.
        let revision = unsafe { Out::new(revision, 0) };
        with(bucket, |bucket, caller| {
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            let ttl = match ttl_of(ttl_ms) {
                Some(ttl @ (Ttl::Never | Ttl::Millis(_))) => ttl,
                _ => return Err(invalid("a time to live of a key is -1, or 1 to 100 years")),
            };
            revision.set(bucket.expire(caller, key, ttl)?);
            Ok(())
        })
    })
}

/// Takes a key out only if its revision is `expected`, in one step, and gives its value; clear the
/// value. If it has another one the answer is KVREG_CONFLICT, if it is absent KVREG_NOT_FOUND. An
/// `expected` of 0 is KVREG_INVALID_ARGUMENT. `old` may be NULL. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_delete_if(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    expected: u64,
    old: *mut kvreg_value,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_delete_if", || {
        // SAFETY: null or an output.
        let old = unsafe { Out::new(old, kvreg_value::NIL) };
        releasing(bucket, |bucket, caller| {
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            if expected == 0 {
                return Err(invalid("a key that is absent cannot be deleted"));
            }
            if old.is_wanted() {
                let value = bucket.delete_if(caller, key, expected)?;
                old.set(kvreg_value::owned(value)?);
            } else {
                bucket.remove_if(caller, key, expected)?;
            }
            Ok(())
        })
    })
}

/// Stores a value only if the key has the value `expected`, in one step: of the same type, with the
/// same bytes; floating-point numbers are compared by their bits. `expected` NULL means that the
/// key is absent; `value` NULL takes the key out. If it is not as expected the answer is
/// KVREG_CONFLICT, and nothing has changed. To store the same value again is a change; where an
/// absent key stays absent there is none, and the revision is 0. `revision` may be NULL. Blocks for
/// its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_if_equal(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    expected: *const kvreg_value,
    value: *const kvreg_value,
    revision: *mut u64,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_put_if_equal", || {
        // SAFETY: null or an output.
        let revision = unsafe { Out::new(revision, 0) };
        with(bucket, |bucket, caller| {
            caller.unpin(); // the values may have to be waited for
                            // SAFETY: all are good for their lengths.
            let (key, expected, value) = unsafe {
                let given = |value: *const kvreg_value| match value.is_null() {
                    true => Ok(None),
                    false => given(value).map(|value| Some(argument::all_at_hand(value))),
                };
                (argument::key(key, key_len)?, given(expected), given(value))
            };
            let (expected, value) = match (expected, value) {
                (Ok(expected), Ok(value)) => (expected, value),
                (Err(first), Err(second)) => {
                    let failure = if first.is_limit() { second } else { first };
                    return Err(ranked(bucket, failure, How::Call));
                }
                (Err(failure), _) | (_, Err(failure)) => {
                    return Err(ranked(bucket, failure, How::Call));
                }
            };
            revision.set(bucket.put_if_equal(caller, key, expected, value)?);
            Ok(())
        })
    })
}

/// Adds `delta` to the integer under a key, in one step, and gives the sum; a key that is absent
/// counts as 0. It answers KVREG_WRONG_TYPE if the value is no INT, and KVREG_LIMIT if the sum has
/// no room in 64 bits; then nothing has changed. `sum` may be NULL. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_add_int(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    delta: i64,
    sum: *mut i64,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    let added = unsafe { fast::key(key.cast(), key_len) }
        .and_then(|key| fast::fast(bucket, |bucket, pinned| bucket.fast_add(key, delta, pinned)));
    if let Some(added) = added {
        if !sum.is_null() {
            // SAFETY: an output.
            unsafe { sum.write(added) };
        }
        return OK;
    }
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_add_int", || {
        // SAFETY: null or an output.
        let sum = unsafe { Out::new(sum, 0) };
        with(bucket, |bucket, caller| {
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            sum.set(bucket.add_int(caller, key, delta)?);
            Ok(())
        })
    })
}

/// Gives the revision of the bucket's last change, or 0 if it was never changed. Blocks only while
/// casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_revision(
    bucket: *mut kvreg_bucket,
    revision: *mut u64,
) -> kvreg_status {
    guard("kvreg_bucket_revision", || {
        // SAFETY: null or an output.
        let revision = unsafe { Out::new(revision, 0) };
        with(bucket, |bucket, caller| {
            revision.required()?;
            revision.set(bucket.revision(caller)?);
            Ok(())
        })
    })
}
