//! `kvreg_bucket_*`, but for updates.

use std::ffi::{c_char, c_void};

use super::argument::{self, invalid, Out};
use super::fast;
use super::guard::guard;
use super::handles::{self, free, make, set_timeout};
use super::info::{fill, kvreg_bucket_stats};
use super::items::Items;
use super::kinds::{kvreg_bucket, kvreg_items};
use super::object::{releasing, with};
use super::object::{with_both, Needs};
use super::one_key::{put, ranked, read, How, OK};
use super::options::{bucket_options, kvreg_bucket_options};
use super::status::{kvreg_reason, kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::memory;
use crate::process::Process;
use crate::reason::Reason;
use crate::server::State;
use crate::store::{Key, Reader};
use crate::value::{Text, Value};

/// The header's `kvreg_pair`.
#[repr(C)]
pub struct kvreg_pair {
    key: *const c_void,
    key_len: usize,
    value: kvreg_value,
}

#[cfg(test)]
laid_out_as_in_c!(kvreg_pair {
    key,
    key_len,
    value
});

/// @name Buckets: start and handles
///
/// Starts a bucket without a registry, with the default options. The bucket stops when its last
/// handle is freed. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_start(bucket: *mut *mut kvreg_bucket) -> kvreg_status {
    guard("kvreg_bucket_start", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        let process = Process::starting()?;
        bucket.required()?;
        let server = process.start_bucket();
        make(server, &bucket)
    })
}

/// Starts a bucket without a registry, with options. The bucket stops when its last handle is
/// freed. `options` may be NULL, which means the defaults. Their `restart` must be
/// KVREG_TEMPORARY, else the answer is KVREG_INVALID_ARGUMENT: there is no registry that would
/// start the bucket again. So `max_restarts` and `restart_period_ms` have no effect. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_start_with(
    options: *const kvreg_bucket_options,
    bucket: *mut *mut kvreg_bucket,
) -> kvreg_status {
    guard("kvreg_bucket_start_with", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        let process = Process::starting()?;
        // SAFETY: null or options.
        let options = unsafe { bucket_options(options) }?;
        bucket.required()?;
        let server = match options {
            Some(options) => process.start_bucket_with(options)?,
            None => process.start_bucket(),
        };
        make(server, &bucket)
    })
}

/// Gives another handle to the bucket, with the timeout of this handle. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_clone(
    bucket: *mut kvreg_bucket,
    clone: *mut *mut kvreg_bucket,
) -> kvreg_status {
    guard("kvreg_bucket_clone", || {
        // SAFETY: null or an output.
        handles::clone(bucket, unsafe { Out::new(clone, std::ptr::null_mut()) })
    })
}

/// Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if the call
/// need not wait. Other handles keep theirs. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_set_timeout(
    bucket: *mut kvreg_bucket,
    timeout_ms: i64,
) -> kvreg_status {
    guard("kvreg_bucket_set_timeout", || {
        set_timeout(bucket, timeout_ms)
    })
}

/// Gives the name that the bucket is registered under, also after its end; clear it. It is nil if
/// the bucket has no name. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_name(
    bucket: *mut kvreg_bucket,
    name: *mut kvreg_value,
) -> kvreg_status {
    guard("kvreg_bucket_name", || {
        // SAFETY: null or an output.
        let name = unsafe { Out::new(name, kvreg_value::NIL) };
        releasing(bucket, |bucket, _| {
            name.required()?;
            if let Some(text) = bucket.state().name() {
                let text = Text::copy(text.as_bytes())?;
                name.set(kvreg_value::owned(Value::String(text))?);
            }
            Ok(())
        })
    })
}

/// Tells facts about the bucket. It fills as much of `stats` as its `size` says. Blocks only while
/// casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_info(
    bucket: *mut kvreg_bucket,
    stats: *mut kvreg_bucket_stats,
) -> kvreg_status {
    guard("kvreg_bucket_info", || {
        with(bucket, |bucket, caller| {
            caller.unpin(); // the struct may have to be waited for
                            // SAFETY: null, or a struct of the size it tells.
            unsafe { fill(stats, || Ok(bucket.info(caller)?.into())) }
        })
    })
}

/// Frees the handle. A registered bucket goes on. A bucket without a registry ends with its last
/// handle; this takes the time to free what it holds, about 0.1 us a key. NULL is fine. Never
/// blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_free(bucket: *mut kvreg_bucket) -> kvreg_status {
    if handles::fast_free(bucket).is_some() {
        return OK;
    }
    guard("kvreg_bucket_free", || free(bucket))
}

/// @name Buckets: end and links
///
/// Stops the bucket, with the reason KVREG_REASON_NORMAL, after what is queued. When it returns,
/// the bucket is gone, and its name too (OTP's GenServer.stop). It answers KVREG_SERVER_DOWN if
/// the bucket ended meanwhile for another reason. It does not free the handle. Blocks for its
/// turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_stop(bucket: *mut kvreg_bucket) -> kvreg_status {
    guard("kvreg_bucket_stop", || {
        releasing(bucket, |bucket, caller| Ok(bucket.stop(caller)?))
    })
}

/// Ends the bucket at once (OTP's Process.exit). What is queued is dropped, a caller who waits
/// there gets KVREG_SERVER_DOWN, and the name is gone when the function returns. A callback that
/// is running is not interrupted, but its change is discarded. KVREG_REASON_NORMAL does nothing;
/// KVREG_REASON_NOPROC is KVREG_INVALID_ARGUMENT. `detail` is UTF-8 of up to 65,536 bytes for the
/// DOWN; it may be NULL with the length 0. It takes the time to free what the bucket holds, and
/// never waits for a turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_exit(
    bucket: *mut kvreg_bucket,
    reason: kvreg_reason,
    detail: *const c_char,
    detail_len: usize,
) -> kvreg_status {
    guard("kvreg_bucket_exit", || {
        releasing(bucket, |bucket, caller| {
            caller.unpin(); // what is dropped may run user code
            let reason = Reason::from_number(reason).ok_or_else(|| invalid("an unknown reason"))?;
            // SAFETY: the detail is good for its length.
            let detail = unsafe { argument::text(detail, detail_len) }?;
            Ok(bucket.exit(reason, detail)?)
        })
    })
}

/// Links two buckets (Erlang's link): when one ends with any reason but KVREG_REASON_NORMAL, so
/// does the other, with that reason. To link two buckets twice is to link them once; to link a
/// bucket to itself does nothing. It answers KVREG_NO_PROCESS if either has ended. Links do not
/// carry over to a restarted bucket. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_link(
    bucket: *mut kvreg_bucket,
    other: *mut kvreg_bucket,
) -> kvreg_status {
    guard("kvreg_bucket_link", || {
        with_both(Needs::Memory, bucket, other, |bucket, other| {
            Ok(bucket.link(&other.as_any())?)
        })
    })
}

/// Takes the link between two buckets away. It does nothing if there is none. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_unlink(
    bucket: *mut kvreg_bucket,
    other: *mut kvreg_bucket,
) -> kvreg_status {
    guard("kvreg_bucket_unlink", || {
        with_both(Needs::Nothing, bucket, other, |bucket, other| {
            bucket.unlink(&other.as_any());
            Ok(())
        })
    })
}

/// @name Buckets: one key
///
/// Stores a value under a key, over an older one: a call. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    value: *const kvreg_value,
) -> kvreg_status {
    // SAFETY: null, or a value; key and value are good for their lengths.
    unsafe {
        put(
            || "kvreg_bucket_put",
            bucket,
            (key, key_len),
            value,
            How::Call,
        )
    }
}

/// Gives the value of a key, or answers KVREG_NOT_FOUND; clear the value. It does not wait for a
/// running handler: it sees the last committed state. Blocks only while casts of this thread to
/// the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    value: *mut kvreg_value,
) -> kvreg_status {
    // SAFETY: null or an output; the key is good for its length.
    unsafe {
        let check = move || Out::new(value, kvreg_value::NIL).required();
        let reader = || fast::Output;
        let done = move |got: Option<kvreg_value>| {
            value.write(got.ok_or(Status::NoMemory)?);
            Ok(())
        };
        let key = (key, key_len);
        read(
            "kvreg_bucket_get",
            bucket,
            key,
            !value.is_null(),
            check,
            reader,
            done,
        )
    }
}

/// Takes a key out and gives its value, or answers KVREG_NOT_FOUND; clear the value. `old` may be
/// NULL. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_delete(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    old: *mut kvreg_value,
) -> kvreg_status {
    // SAFETY: null or an output; the key is good for its length.
    unsafe {
        if old.is_null() {
            if fast_delete(bucket, (key, key_len), fast::Unwanted).is_some() {
                return OK;
            }
        } else if let Some(removed) = fast_delete(bucket, (key, key_len), fast::Output).flatten() {
            old.write(removed);
            return OK;
        }
    }
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_delete", || {
        // SAFETY: null or an output.
        let old = unsafe { Out::new(old, kvreg_value::NIL) };
        releasing(bucket, |bucket, caller| {
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            if old.is_wanted() {
                old.set(kvreg_value::owned(bucket.delete(caller, key)?)?);
            } else {
                bucket.remove(caller, key)?;
            }
            Ok(())
        })
    })
}

/// # Safety
/// The key is good for its length.
#[inline(always)]
unsafe fn fast_delete<R: Reader>(
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    reader: R,
) -> Option<R::Read> {
    // SAFETY: by contract.
    let key = unsafe { fast::key(key.cast(), key_len) }?;
    fast::fast(bucket, |bucket, pinned| {
        bucket.fast_delete(key, pinned, reader)
    })
}

/// @name Buckets: casts
///
/// Stores a value under a key: a cast. It is done at once or later; a later call or read of the
/// same thread sees it. It answers KVREG_LIMIT if the mailbox is full. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_cast(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    value: *const kvreg_value,
) -> kvreg_status {
    // SAFETY: null, or a value; key and value are good for their lengths.
    unsafe {
        put(
            || "kvreg_bucket_put_cast",
            bucket,
            (key, key_len),
            value,
            How::Cast,
        )
    }
}

/// Takes a key out if it is there: a cast. It is done at once or later; a later call or read of
/// the same thread sees it. It answers KVREG_LIMIT if the mailbox is full. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_delete_cast(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_delete_cast", || {
        with(bucket, |bucket, _| {
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            Ok(bucket.delete_cast(key)?)
        })
    })
}

/// @name Buckets: many keys
///
/// Counts the keys; a write in flight may count or not. Blocks only while casts of this thread to
/// the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_count(
    bucket: *mut kvreg_bucket,
    count: *mut usize,
) -> kvreg_status {
    guard("kvreg_bucket_count", || {
        // SAFETY: null or an output.
        let count = unsafe { Out::new(count, 0) };
        with(bucket, |bucket, caller| {
            count.required()?;
            count.set(bucket.count(caller)?);
            Ok(())
        })
    })
}

/// Takes all keys out, at one instant. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_clear(bucket: *mut kvreg_bucket) -> kvreg_status {
    guard("kvreg_bucket_clear", || {
        releasing(bucket, |bucket, caller| Ok(bucket.clear(caller)?))
    })
}

/// Gives a snapshot of all keys and values. Blocks only while another thread copies the bucket,
/// and while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_items(
    bucket: *mut kvreg_bucket,
    items: *mut *mut kvreg_items,
) -> kvreg_status {
    guard("kvreg_bucket_items", || {
        // SAFETY: null or an output.
        let items = unsafe { Out::new(items, std::ptr::null_mut()) };
        with(bucket, |bucket, caller| {
            items.required()?;
            let found = bucket.items(caller)?;
            make(Items::of_bucket(found), &items)
        })
    })
}

/// The pairs of a batch.
///
/// # Safety
/// `pairs` is good for `count` pairs, while nobody else has them.
unsafe fn pairs<'a>(pairs: *mut kvreg_pair, count: usize) -> Result<&'a mut [kvreg_pair], Failure> {
    if count == 0 {
        return Ok(&mut []);
    }
    if pairs.is_null() {
        return Err(invalid("pairs are NULL and their count is not 0"));
    }
    if count > isize::MAX as usize / size_of::<kvreg_pair>() {
        return Err(invalid("a count is beyond any object's"));
    }
    // SAFETY: by contract.
    Ok(unsafe { std::slice::from_raw_parts_mut(pairs, count) })
}

/// Stores many values in one message: all of them or none. Of equal keys the last one counts.
/// Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_many(
    bucket: *mut kvreg_bucket,
    pairs: *const kvreg_pair,
    count: usize,
) -> kvreg_status {
    guard("kvreg_bucket_put_many", || {
        with(bucket, |bucket, caller| {
            caller.unpin(); // the pairs may be many
                            // SAFETY: the pairs are good, and only read.
            let pairs: &[kvreg_pair] = unsafe { self::pairs(pairs.cast_mut(), count) }?;
            let mut ready = Vec::new();
            memory::reserve(&mut ready, pairs.len())?;
            let mut too_large = None;
            for pair in pairs {
                // SAFETY: key and value are good for their lengths.
                let (key, value) =
                    unsafe { (argument::key(pair.key, pair.key_len)?, pair.value.get()) };
                match value {
                    Ok(value) => ready.push((Key::new(key), argument::at_hand(value))),
                    // What is invalid behind it comes first.
                    Err(failure) if failure.is_limit() => too_large = Some(failure),
                    Err(failure) => return Err(failure),
                }
            }
            if let Some(failure) = too_large {
                return Err(ranked(bucket, failure, How::Call));
            }
            Ok(bucket.put_many(caller, &ready)?)
        })
    })
}

/// Fills the values of many pairs as they are at one instant. An absent key gets KVREG_ABSENT.
/// Each value is overwritten without being released; clear each. Blocks only while another thread
/// copies the bucket, and while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_many(
    bucket: *mut kvreg_bucket,
    pairs: *mut kvreg_pair,
    count: usize,
) -> kvreg_status {
    guard("kvreg_bucket_get_many", || {
        // SAFETY: the pairs are good.
        let outputs = unsafe { self::pairs(pairs, count) };
        let outputs = match outputs {
            Ok(outputs) => {
                for pair in outputs.iter_mut() {
                    pair.value = kvreg_value::NIL;
                }
                Ok(outputs)
            }
            refused => refused,
        };
        with(bucket, |bucket, caller| {
            let outputs = outputs?;
            caller.unpin(); // the pairs may be many
            let mut keys = Vec::new();
            memory::reserve(&mut keys, outputs.len())?;
            for pair in outputs.iter() {
                // SAFETY: the key is good for its length.
                keys.push(Key::new(unsafe { argument::key(pair.key, pair.key_len) }?));
            }
            let values = bucket.get_many(caller, &keys)?;
            for (pair, value) in outputs.iter_mut().zip(values) {
                pair.value = match value {
                    Some(value) => kvreg_value::owned(value)?,
                    None => kvreg_value::ABSENT,
                };
            }
            Ok(())
        })
    })
}
