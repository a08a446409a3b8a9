//! `kvreg_bucket_put_columns`: a batch as those have it who call C from elsewhere.

use std::ffi::c_void;

use super::argument::{self, invalid, options, WithSize};
use super::guard::guard;
use super::kinds::kvreg_bucket;
use super::object::with;
use super::one_key::{ranked, How};
use super::status::{kvreg_status, Failure, Status};
use super::value::{absent_is_no_value, ABSENT, BOOL, BYTES, FLOAT, INT, NIL, STRING};
use crate::memory;
use crate::store::{Key, KEY_LIMIT};
use crate::value::{ValueRef, VALUE_LIMIT};

/// The header's `kvreg_columns`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_columns {
    size: u32,
    kind: u32,
    count: usize,
    keys: *const c_void,
    key_lens: *const u64,
    values: *const c_void,
    value_lens: *const u64,
}

// SAFETY: integers and pointers, and the first is a u32.
unsafe impl WithSize for kvreg_columns {}

#[cfg(test)]
laid_out_as_in_c!(kvreg_columns {
    size, kind as "type", count, keys, key_lens, values, value_lens
});

/// Texts one after the other.
struct Texts {
    data: *const u8,
    lens: *const u64,
    limit: usize,
}

impl Texts {
    fn new(data: *const c_void, lens: *const u64, limit: usize) -> Result<Texts, Failure> {
        if lens.is_null() {
            return Err(invalid("the lengths of a column are NULL"));
        }
        let data = data.cast();
        Ok(Texts { data, lens, limit })
    }

    /// The next of them, which is number `at`; `None` if it is longer than the limit.
    ///
    /// # Safety
    /// There are so many lengths, and so many bytes behind those before.
    unsafe fn next<'a>(&mut self, at: usize) -> Result<Option<&'a [u8]>, Failure> {
        // SAFETY: by contract.
        let len = unsafe { self.lens.add(at).read_unaligned() };
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= self.limit) else {
            return Ok(None);
        };
        if len == 0 {
            return Ok(Some(&[]));
        }
        if self.data.is_null() {
            return Err(invalid("a pointer is NULL and its length is not 0"));
        }
        // SAFETY: by contract.
        unsafe {
            let text = std::slice::from_raw_parts(self.data, len);
            self.data = self.data.add(len);
            Ok(Some(text))
        }
    }
}

/// The values of one column.
enum Values {
    Nil,
    Scalars(u32, *const c_void),
    Texts(bool, Texts),
}

impl Values {
    fn of(columns: &kvreg_columns) -> Result<Values, Failure> {
        let (values, lens) = (columns.values, columns.value_lens);
        match columns.kind {
            NIL => Ok(Values::Nil),
            BOOL | INT | FLOAT if values.is_null() => Err(invalid("the values are NULL")),
            kind @ (BOOL | INT | FLOAT) => Ok(Values::Scalars(kind, values)),
            kind @ (STRING | BYTES) => {
                let texts = Texts::new(values, lens, VALUE_LIMIT)?;
                Ok(Values::Texts(kind == STRING, texts))
            }
            ABSENT => Err(absent_is_no_value()),
            _ => Err(invalid("values of an unknown type")),
        }
    }

    /// The next value, which is number `at`.
    ///
    /// # Safety
    /// There are so many.
    unsafe fn next<'a>(&mut self, at: usize) -> Result<ValueRef<'a>, Failure> {
        // SAFETY: by contract; the arrays need not be aligned.
        unsafe {
            Ok(match self {
                Values::Nil => ValueRef::Nil,
                Values::Scalars(BOOL, values) => match values.cast::<u8>().add(at).read() {
                    0 => ValueRef::Bool(false),
                    1 => ValueRef::Bool(true),
                    _ => return Err(invalid("a bool is neither 0 nor 1")),
                },
                Values::Scalars(INT, values) => {
                    ValueRef::Int(values.cast::<i64>().add(at).read_unaligned())
                }
                Values::Scalars(_, values) => {
                    ValueRef::Float(values.cast::<f64>().add(at).read_unaligned())
                }
                Values::Texts(is_string, texts) => {
                    let text = texts.next(at)?.ok_or_else(|| {
                        Failure::new(Status::Limit, "a value has at most 512 MiB")
                    })?;
                    match is_string {
                        false => ValueRef::Bytes(text),
                        true => {
                            let text = std::str::from_utf8(text);
                            ValueRef::String(text.map_err(|_| invalid("a STRING is not UTF-8"))?)
                        }
                    }
                }
            })
        }
    }
}

/// Stores many values of one type in one message: all of them or none, as kvreg_bucket_put_many
/// does. Of equal keys the last one counts. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_put_columns(
    bucket: *mut kvreg_bucket,
    columns: *const kvreg_columns,
) -> kvreg_status {
    guard("kvreg_bucket_put_columns", || {
        with(bucket, |bucket, caller| {
            caller.unpin(); // the columns may be long
                            // SAFETY: null, or a struct of the size it tells.
            let columns = unsafe { options(columns) }?;
            let columns = columns.ok_or_else(|| invalid("columns are NULL"))?;
            if columns.count > isize::MAX as usize / size_of::<u64>() {
                return Err(invalid("a count is beyond any object's"));
            }
            let mut ready = Vec::new();
            if columns.count > 0 {
                let mut keys = Texts::new(columns.keys, columns.key_lens, KEY_LIMIT)?;
                let mut values = Values::of(&columns)?;
                memory::reserve(&mut ready, columns.count)?;
                let mut too_large = None;
                for at in 0..columns.count {
                    // SAFETY: the columns have so many keys and values.
                    let key = unsafe { keys.next(at) }?;
                    let key = key.ok_or_else(|| invalid("a key has at most 65536 bytes"))?;
                    if too_large.is_some() {
                        continue; // a key that is invalid comes first
                    }
                    // SAFETY: as above; each value before it was read.
                    match unsafe { values.next(at) } {
                        Ok(value) => ready.push((Key::new(key), argument::at_hand(value))),
                        Err(failure) if failure.is_limit() => too_large = Some(failure),
                        Err(failure) => return Err(failure),
                    }
                }
                if let Some(failure) = too_large {
                    return Err(ranked(bucket, failure, How::Call));
                }
            }
            Ok(bucket.put_many(caller, &ready)?)
        })
    })
}
