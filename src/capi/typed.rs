//! One key, by the type of its value: `kvreg_bucket_put_int` and so on.

use std::ffi::{c_char, c_void};

use super::argument::{invalid, Out};
use super::fast;
use super::kinds::kvreg_bucket;
use super::one_key::{put, read, How};
use super::status::{kvreg_status, Status};
use super::value::kvreg_value;
use crate::value::ValueRef;

/// Shared by those that follow: a copy of the short way for each would be large.
///
/// # Safety
/// Key and value are good for their lengths.
#[inline(never)]
unsafe fn put_typed(
    function: &'static str,
    bucket: *mut kvreg_bucket,
    key: (*const c_void, usize),
    value: &kvreg_value,
) -> kvreg_status {
    // SAFETY: by contract.
    unsafe { put(|| function, bucket, key, value, How::Call) }
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
    let value = kvreg_value::of_scalar(ValueRef::Int(integer));
    // SAFETY: key and value are good for their lengths.
    unsafe { put_typed("kvreg_bucket_put_int", bucket, (key, key_len), &value) }
}

/// Stores a floating-point number under a key, as kvreg_bucket_put does. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_float(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    real: f64,
) -> kvreg_status {
    let value = kvreg_value::of_scalar(ValueRef::Float(real));
    // SAFETY: key and value are good for their lengths.
    unsafe { put_typed("kvreg_bucket_put_float", bucket, (key, key_len), &value) }
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
    let value = kvreg_value::string(data.cast(), len);
    // SAFETY: key and value are good for their lengths.
    unsafe { put_typed("kvreg_bucket_put_string", bucket, (key, key_len), &value) }
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
    let value = kvreg_value::bytes(data.cast(), len);
    // SAFETY: key and value are good for their lengths.
    unsafe { put_typed("kvreg_bucket_put_bytes", bucket, (key, key_len), &value) }
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
    // SAFETY: null or an output; the key is good for its length.
    unsafe {
        let check = move || Out::new(integer, 0).required();
        let reader = move || fast::Scalar(of_type);
        let done = move |value: Option<_>| match value {
            Some(value) => {
                integer.write(value);
                Ok(())
            }
            None => Err(Status::WrongType.into()),
        };
        let key = (key, key_len);
        read(
            "kvreg_bucket_get_int",
            bucket,
            key,
            !integer.is_null(),
            check,
            reader,
            done,
        )
    }
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
    // SAFETY: null or an output; the key is good for its length.
    unsafe {
        let check = move || Out::new(real, 0.0).required();
        let reader = move || fast::Scalar(of_type);
        let done = move |value: Option<_>| match value {
            Some(value) => {
                real.write(value);
                Ok(())
            }
            None => Err(Status::WrongType.into()),
        };
        let key = (key, key_len);
        read(
            "kvreg_bucket_get_float",
            bucket,
            key,
            !real.is_null(),
            check,
            reader,
            done,
        )
    }
}

/// Copies the text or bytes under a key into `buffer`, without a NUL, as kvreg_bucket_get does,
/// and sets `len` to their length in bytes. It answers KVREG_TOO_SMALL if that is more than
/// `capacity`, and sets `len` nevertheless; and KVREG_WRONG_TYPE if the value is neither text nor
/// bytes. What `buffer` holds then is undefined, if others write the key meanwhile. It may be NULL
/// if `capacity` is 0, and must not overlap the key. Blocks only while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_bytes(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
) -> kvreg_status {
    // SAFETY: null or an output; the key is good for its length, the buffer for its capacity.
    unsafe {
        let check = move || {
            let len = Out::new(len, 0);
            if buffer.is_null() && capacity > 0 {
                return Err(invalid("a buffer is NULL and its capacity is not 0"));
            }
            len.required()
        };
        let reader = move || fast::Buffer::new(buffer.cast(), capacity);
        let done = move |found: fast::InBuffer| {
            let found = match found {
                fast::InBuffer::NoText => return Err(Status::WrongType.into()),
                fast::InBuffer::Copied(found) => found,
                fast::InBuffer::Large(text) => {
                    reader().fill(text.bytes());
                    text.bytes().len()
                }
            };
            len.write(found);
            match found > capacity {
                true => Err(Status::TooSmall.into()),
                false => Ok(()),
            }
        };
        let is_right = !buffer.is_null() && !len.is_null();
        if !buffer.is_null() {
            fast::Buffer::touch(buffer.cast(), capacity);
        }
        let (name, key) = ("kvreg_bucket_get_bytes", (key, key_len));
        read(name, bucket, key, is_right, check, reader, done)
    }
}

/// Gives the value of a key, as kvreg_bucket_get does, but without memory of its own where it can.
/// A text of at most `capacity` bytes is copied into `buffer`, without a NUL, and `value` borrows
/// it there. A longer one is to be cleared; to clear any other does nothing. What `buffer` holds
/// beside that text, or after a failure, is undefined. It may be NULL if `capacity` is 0, and must
/// not overlap the key. Blocks only while casts of this thread to the bucket are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_get_into(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    value: *mut kvreg_value,
) -> kvreg_status {
    // SAFETY: null or an output; the key is good for its length, the buffer for its capacity.
    unsafe {
        let check = move || {
            let value = Out::new(value, kvreg_value::NIL);
            if buffer.is_null() && capacity > 0 {
                return Err(invalid("a buffer is NULL and its capacity is not 0"));
            }
            value.required()
        };
        let reader = move || fast::IntoBuffer(fast::Buffer::new(buffer.cast(), capacity));
        let done = move |got: fast::Got| {
            let got = reader().finish(got);
            value.write(got.ok_or(Status::NoMemory)?);
            Ok(())
        };
        let is_right = !buffer.is_null() && !value.is_null();
        if is_right {
            fast::Buffer::touch(buffer.cast(), capacity);
        }
        let (name, key) = ("kvreg_bucket_get_into", (key, key_len));
        read(name, bucket, key, is_right, check, reader, done)
    }
}
