//! Buckets as files.

use std::ffi::c_char;

use super::argument::{self, invalid};
use super::guard::guard;
use super::kinds::kvreg_bucket;
use super::object::with;
use super::status::{kvreg_status, Failure};
use crate::runtime::files::PATH_LIMIT;

/// # Safety
/// As of `argument::text`.
unsafe fn path<'a>(path: *const c_char, path_len: usize) -> Result<&'a str, Failure> {
    const WRONG: &str = "a path has 1 to 32767 bytes, without NUL";
    if path_len != argument::NUL && path_len > PATH_LIMIT {
        return Err(invalid(WRONG));
    }
    // SAFETY: by contract.
    let path = unsafe { argument::text(path, path_len) }?;
    match path.is_empty() || path.len() > PATH_LIMIT || path.contains('\0') {
        true => Err(invalid(WRONG)),
        false => Ok(path),
    }
}

/// @name Buckets: files
///
/// Writes all keys, as they are at one instant, into a file: values, revisions, and when the time of
/// each is over. Others go on meanwhile, as with kvreg_bucket_items. The path is UTF-8. A new file is
/// written in the same folder, brought to the disk, and put in the place of an old one: a crash at
/// any moment leaves the old file or the new one. KVREG_IO if the system refuses; see
/// kvreg_last_os_error. Then the old file is as before. Blocks for the disk, and as kvreg_bucket_items
/// does.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_save(
    bucket: *mut kvreg_bucket,
    path: *const c_char,
    path_len: usize,
) -> kvreg_status {
    guard("kvreg_bucket_save", || {
        with(bucket, |bucket, caller| {
            caller.unpin(); // the path may have to be waited for
                            // SAFETY: the path is good for its length.
            let path = unsafe { self::path(path, path_len) }?;
            Ok(bucket.save(caller, path)?)
        })
    })
}

/// Stores all keys of a file that kvreg_bucket_save wrote, in one step, in a bucket that has no keys:
/// KVREG_CONFLICT if it has. They get new revisions, in the order of the saved ones; a key whose time
/// is over is left out. KVREG_IO if the file is damaged in any way, or the system refuses;
/// KVREG_UNSUPPORTED if it is of a newer format; KVREG_LIMIT if a limit is reached: then the bucket
/// is empty as before. Blocks for the disk, and for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_restore(
    bucket: *mut kvreg_bucket,
    path: *const c_char,
    path_len: usize,
) -> kvreg_status {
    guard("kvreg_bucket_restore", || {
        with(bucket, |bucket, caller| {
            caller.unpin(); // the path may have to be waited for
                            // SAFETY: the path is good for its length.
            let path = unsafe { self::path(path, path_len) }?;
            Ok(bucket.restore(caller, path)?)
        })
    })
}
