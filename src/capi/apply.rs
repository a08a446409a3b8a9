//! `kvreg_bucket_apply`: several changes of several kinds in one step.

use std::ffi::c_void;

use super::argument::{self, invalid, Out};
use super::entry::ttl_given;
use super::guard::guard;
use super::kinds::kvreg_bucket;
use super::object::with;
use super::one_key::{ranked, How};
use super::status::{kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::memory;
use crate::store::{Key, Op, Ttl, What};

/// The header's `kvreg_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_op {
    size: u32,
    op: u32,
    key: *const c_void,
    key_len: usize,
    value: kvreg_value,
    expected: u64,
    delta: i64,
    ttl_ms: i64,
    revision: u64,
    private_: [u64; 4],
}

#[cfg(test)]
laid_out_as_in_c!(kvreg_op {
    size,
    op,
    key,
    key_len,
    value,
    expected,
    delta,
    ttl_ms,
    revision,
    private_,
});

const PUT: u32 = 0;
const DELETE: u32 = 1;
const PUT_IF: u32 = 2;
const DELETE_IF: u32 = 3;
const ADD: u32 = 4;

/// Changes as the caller knows them: each begins with its size, which is that of all.
struct Ops {
    first: *mut u8,
    size: usize,
    count: usize,
}

impl Ops {
    /// # Safety
    /// `ops` is good for `count` structs of the size that the first tells, while nobody else has
    /// them.
    unsafe fn new(ops: *mut kvreg_op, count: usize) -> Result<Ops, Failure> {
        /// Larger than any version will be.
        const LARGEST: usize = 4096;
        let first = ops.cast::<u8>();
        if count == 0 {
            return Ok(Ops {
                first,
                size: 0,
                count,
            });
        }
        if ops.is_null() {
            return Err(invalid("changes are NULL and their count is not 0"));
        }
        // SAFETY: by contract.
        let size = unsafe { first.cast::<u32>().read_unaligned() } as usize;
        if !(size_of::<kvreg_op>()..=LARGEST).contains(&size) || size % 8 != 0 {
            return Err(invalid("the size of a change is not set"));
        }
        if count > isize::MAX as usize / size {
            return Err(invalid("a count is beyond any object's"));
        }
        Ok(Ops { first, size, count })
    }

    /// # Safety
    /// As of `new`; there are more than `at`.
    unsafe fn at(&self, at: usize) -> *mut kvreg_op {
        // SAFETY: by contract.
        unsafe { self.first.add(at * self.size).cast() }
    }

    /// One of them, whose key and value are at hand.
    ///
    /// # Safety
    /// As of `at`; key and value are good for their lengths.
    unsafe fn get<'a>(&self, at: usize) -> Result<Op<'a>, Failure> {
        // SAFETY: by contract.
        let (op, unknown) = unsafe {
            let op = self.at(at);
            let (known, whole) = (size_of::<kvreg_op>(), op.cast::<u8>());
            let unknown = std::slice::from_raw_parts(whole.add(known), self.size - known);
            (op.read_unaligned(), unknown)
        };
        if op.size as usize != self.size {
            return Err(invalid("the sizes of changes differ"));
        }
        if unknown.iter().any(|byte| *byte != 0) {
            let text = "a change has a field that this version does not know";
            return Err(Failure::new(Status::Unsupported, text));
        }
        // SAFETY: by contract.
        let key = Key::new(unsafe { argument::key(op.key, op.key_len) }?);
        let expected = match op.op {
            PUT | DELETE | ADD => None,
            DELETE_IF if op.expected == 0 => {
                return Err(invalid("a key that is absent cannot be deleted"));
            }
            _ => Some(op.expected),
        };
        let mut ttl = Ttl::Default;
        let what = match op.op {
            PUT | PUT_IF => {
                // SAFETY: by contract.
                let value = unsafe { op.value.get() };
                if value.is_ok() || value.as_ref().is_err_and(Failure::is_limit) {
                    ttl = ttl_given(op.ttl_ms)?;
                }
                What::Put(argument::at_hand(value?))
            }
            DELETE | DELETE_IF => What::Delete,
            ADD => What::Add(op.delta),
            _ => return Err(invalid("a change of an unknown kind")),
        };
        Ok(Op {
            key,
            what,
            expected,
            ttl,
        })
    }
}

/// Makes several changes in one step: all of them or none. Each is told what an earlier one made of
/// its key, and readers see what was before, or what all have made of it. Each has a revision of its
/// own, rising in their order, with no other change between; `revision` of each is filled on
/// KVREG_OK only.
///
/// What they ask is as the functions for one key do: KVREG_OP_PUT as kvreg_bucket_put_entry,
/// KVREG_OP_DELETE as kvreg_bucket_delete, which answers KVREG_NOT_FOUND for an absent key,
/// KVREG_OP_PUT_IF and KVREG_OP_DELETE_IF as kvreg_bucket_put_if and kvreg_bucket_delete_if, and
/// KVREG_OP_ADD as kvreg_bucket_add_int. A key that an earlier one changed has a revision that
/// nobody can expect: that is KVREG_CONFLICT. A limit is asked for all of them together.
///
/// If one refuses, the answer is its status, `*failed` is its index, the first if there are several,
/// and nothing has changed; for a limit it is the first with which the limit was passed. If none is
/// to blame `*failed` is `count`. `failed` may be NULL. Keys and values are borrowed. Blocks for its
/// turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_apply(
    bucket: *mut kvreg_bucket,
    ops: *mut kvreg_op,
    count: usize,
    failed: *mut usize,
) -> kvreg_status {
    guard("kvreg_bucket_apply", || {
        // SAFETY: null or an output.
        let failed = unsafe { Out::new(failed, count) };
        with(bucket, |bucket, caller| {
            caller.unpin(); // the changes may be many
                            // SAFETY: the changes are good, and tell their size.
            let ops = unsafe { Ops::new(ops, count) }?;
            let mut ready = Vec::new();
            memory::reserve(&mut ready, count)?;
            let mut too_large = None;
            for at in 0..count {
                // SAFETY: as above; keys and values are good for their lengths.
                match unsafe { ops.get(at) } {
                    Ok(op) => ready.push(op),
                    // What is invalid behind it comes first.
                    Err(failure) if failure.is_limit() => {
                        too_large.get_or_insert((at, failure));
                    }
                    Err(failure) => {
                        failed.set(at);
                        return Err(failure);
                    }
                }
            }
            if let Some((at, failure)) = too_large {
                let failure = ranked(bucket, failure, How::Call);
                if failure.is_limit() {
                    failed.set(at);
                }
                return Err(failure);
            }
            let first = bucket.apply(caller, &ready).map_err(|refused| {
                failed.set(refused.at.unwrap_or(count));
                refused.error
            })?;
            for (at, revision) in (0..ops.count).zip(first..) {
                // SAFETY: as above.
                unsafe { (&raw mut (*ops.at(at)).revision).write_unaligned(revision) };
            }
            Ok(())
        })
    })
}
