//! The plain helpers: `kvreg_bucket_put_int` and so on, for values of one type.

use std::ffi::{c_char, c_void};

use super::argument::{self, invalid, Out};
use super::bucket::{fast_put, fast_read, ranked, OK};
use super::fast;
use super::guard::guard;
use super::object::{kvreg_bucket, with};
use super::status::{kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::value::{Value, ValueRef};

/// The bodies of the plain helpers.
///
/// # Safety
/// The key is good for its length.
unsafe fn put(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    value: impl FnOnce() -> Result<ValueRef<'static>, Failure>,
) -> Result<(), Failure> {
    with(bucket, |bucket, caller| {
        // SAFETY: by contract.
        let key = unsafe { argument::key(key, key_len) }?;
        let value = value().map_err(|failure| ranked(bucket, failure))?;
        Ok(bucket.put(caller, key, value)?)
    })
}

/// # Safety
/// The key is good for its length.
unsafe fn scalar<T: Copy>(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    output: &Out<T>,
    of_type: impl FnOnce(ValueRef<'static>) -> Option<T>,
) -> Result<(), Failure> {
    with(bucket, |bucket, caller| {
        output.required()?;
        // SAFETY: by contract.
        let key = unsafe { argument::key(key, key_len) }?;
        let value = bucket.scalar(caller, key)?;
        output.set(value.and_then(of_type).ok_or(Status::WrongType)?);
        Ok(())
    })
}

/// @name Buckets: one key, by the type of its value
///
/// Stores an integer under a key, as kvreg_bucket_put does. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_int(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    integer: i64,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    if unsafe { fast_put(bucket, key, key_len, ValueRef::Int(integer)) }.is_some() {
        return OK;
    }
    guard("kvreg_bucket_put_int", || {
        // SAFETY: the key is good for its length.
        unsafe { put(bucket, key, key_len, || Ok(ValueRef::Int(integer))) }
    })
}

/// Stores a floating-point number under a key, as kvreg_bucket_put does. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_float(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    real: f64,
) -> kvreg_status {
    // SAFETY: the key is good for its length.
    if unsafe { fast_put(bucket, key, key_len, ValueRef::Float(real)) }.is_some() {
        return OK;
    }
    guard("kvreg_bucket_put_float", || {
        // SAFETY: the key is good for its length.
        unsafe { put(bucket, key, key_len, || Ok(ValueRef::Float(real))) }
    })
}

/// Stores a text of UTF-8 under a key, as kvreg_bucket_put does. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_string(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    data: *const c_char,
    len: usize,
) -> kvreg_status {
    let string = kvreg_value::string(data.cast(), len);
    // SAFETY: key and text are good for their lengths.
    let done = unsafe {
        let small = string.get_small();
        small.and_then(|value| fast_put(bucket, key, key_len, value))
    };
    if done.is_some() {
        return OK;
    }
    guard("kvreg_bucket_put_string", || {
        // SAFETY: the key is good for its length, and so is the text.
        unsafe { put(bucket, key, key_len, || string.get()) }
    })
}

/// Stores bytes under a key, as kvreg_bucket_put does. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_bytes(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    data: *const c_void,
    len: usize,
) -> kvreg_status {
    let bytes = kvreg_value::bytes(data.cast(), len);
    // SAFETY: key and text are good for their lengths.
    let done = unsafe {
        let small = bytes.get_small();
        small.and_then(|value| fast_put(bucket, key, key_len, value))
    };
    if done.is_some() {
        return OK;
    }
    guard("kvreg_bucket_put_bytes", || {
        // SAFETY: the key is good for its length, and so are the bytes.
        unsafe { put(bucket, key, key_len, || bytes.get()) }
    })
}

/// Gives the integer under a key, as kvreg_bucket_get does. It answers KVREG_WRONG_TYPE if the
/// value is no integer. Blocks only while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_int(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    integer: *mut i64,
) -> kvreg_status {
    let of_type = |value| match value {
        ValueRef::Int(value) => Some(value),
        _ => None,
    };
    if !integer.is_null() {
        // SAFETY: an output; the key is good for its length.
        unsafe {
            let reader = fast::Scalar(of_type);
            if let Some(value) = fast_read(bucket, key, key_len, reader).flatten() {
                integer.write(value);
                return OK;
            }
        }
    }
    guard("kvreg_bucket_get_int", || {
        // SAFETY: null or an output; the key is good for its length.
        let integer = unsafe { Out::new(integer, 0) };
        unsafe { scalar(bucket, key, key_len, &integer, of_type) }
    })
}

/// Gives the floating-point number under a key, as kvreg_bucket_get does. It answers
/// KVREG_WRONG_TYPE if the value is no floating-point number. Blocks only while casts of this
/// thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_float(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    real: *mut f64,
) -> kvreg_status {
    let of_type = |value| match value {
        ValueRef::Float(value) => Some(value),
        _ => None,
    };
    if !real.is_null() {
        // SAFETY: an output; the key is good for its length.
        unsafe {
            let reader = fast::Scalar(of_type);
            if let Some(value) = fast_read(bucket, key, key_len, reader).flatten() {
                real.write(value);
                return OK;
            }
        }
    }
    guard("kvreg_bucket_get_float", || {
        // SAFETY: null or an output; the key is good for its length.
        let real = unsafe { Out::new(real, 0.0) };
        unsafe { scalar(bucket, key, key_len, &real, of_type) }
    })
}

/// Copies the text or bytes under a key into `buffer`, without a NUL, as kvreg_bucket_get does,
/// and sets `len` to their length in bytes. It answers KVREG_TOO_SMALL if that is more than
/// `capacity`: it sets `len` nevertheless, and copies nothing. It answers KVREG_WRONG_TYPE if the
/// value is neither text nor bytes. `buffer` may be NULL if `capacity` is 0. Blocks only while
/// casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_bytes(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> kvreg_status {
    if !buffer.is_null() && !len.is_null() {
        // SAFETY: outputs; the key is good for its length.
        unsafe {
            let reader = fast::Buffer::new(buffer.cast(), capacity);
            if let Some(copied) = fast_read(bucket, key, key_len, reader).flatten() {
                len.write(copied);
                return OK;
            }
        }
    }
    guard("kvreg_bucket_get_bytes", || {
        // SAFETY: null or an output; the key is good for its length.
        let len = unsafe { Out::new(len, 0) };
        with(bucket, |bucket, caller| {
            if buffer.is_null() && capacity > 0 {
                return Err(invalid("a buffer is NULL and its capacity is not 0"));
            }
            len.required()?;
            // SAFETY: as above; the buffer is good for its capacity.
            let copied = unsafe {
                let key = argument::key(key, key_len)?;
                bucket.copy_text(caller, key, buffer.cast(), capacity)
            };
            let copied = copied?.ok_or(Status::WrongType)?;
            len.set(copied);
            match copied > capacity {
                true => Err(Status::TooSmall.into()),
                false => Ok(()),
            }
        })
    })
}

/// Gives the value of a key, as kvreg_bucket_get does, but without memory of its own where it can.
/// A text of at most `capacity` bytes is copied into `buffer`, without a NUL, and `value` borrows
/// it there. A longer one is to be cleared; to clear any other does nothing. What `buffer` holds
/// beside that text, or after a failure, is undefined. It may be NULL if `capacity` is 0. Blocks
/// only while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_into(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    value: *mut kvreg_value,
) -> kvreg_status {
    if !buffer.is_null() && !value.is_null() {
        // SAFETY: outputs; the key is good for its length.
        unsafe {
            let output = fast::Output::new(value);
            let reader = fast::Into::new(buffer.cast(), capacity, output);
            let read = fast_read(bucket, key, key_len, reader);
            if read.flatten().is_some() {
                return OK;
            }
        }
    }
    guard("kvreg_bucket_get_into", || {
        // SAFETY: null or an output.
        let value = unsafe { Out::new(value, kvreg_value::NIL) };
        with(bucket, |bucket, caller| {
            if buffer.is_null() && capacity > 0 {
                return Err(invalid("a buffer is NULL and its capacity is not 0"));
            }
            value.required()?;
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            let found = bucket.get(caller, key)?;
            let text = match &found {
                Value::String(text) | Value::Bytes(text) => Some(text.as_bytes()),
                _ => None,
            };
            let fits = |text: &&[u8]| !buffer.is_null() && text.len() <= capacity;
            value.set(match text.filter(fits) {
                Some(text) => {
                    let (to, len) = (buffer.cast::<u8>(), text.len());
                    // SAFETY: the buffer is good for its capacity.
                    unsafe { to.copy_from_nonoverlapping(text.as_ptr(), len) };
                    kvreg_value::copied_to(matches!(found, Value::String(_)), to, len)
                }
                None => kvreg_value::owned(found)?,
            });
            Ok(())
        })
    })
}
