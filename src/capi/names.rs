//! Words for numbers: statuses, reasons and verdicts by name, and the last error of a thread.

use std::ffi::{c_char, CStr};

use super::guard::guard_quietly;
use super::status::{
    kvreg_reason, kvreg_status, kvreg_verdict, last_error, last_os_error, texts, UNKNOWN,
};

/// In the order of the header's numbers.
const REASONS: &[&CStr] = &[
    c"KVREG_REASON_NORMAL",
    c"KVREG_REASON_SHUTDOWN",
    c"KVREG_REASON_KILLED",
    c"KVREG_REASON_CRASHED",
    c"KVREG_REASON_NOPROC",
];

const VERDICTS: &[&CStr] = &[
    c"KVREG_KEEP",
    c"KVREG_STORE",
    c"KVREG_REMOVE",
    c"KVREG_ABORT",
    c"KVREG_CRASH",
    c"KVREG_STOP",
    c"KVREG_LATER",
    c"KVREG_UNHANDLED",
];

fn name(names: &[&'static CStr], number: i32) -> *const c_char {
    let at = usize::try_from(number).ok();
    let name = at.and_then(|at| names.get(at).copied());
    name.unwrap_or(UNKNOWN).as_ptr()
}

/// @name Names of statuses, reasons and verdicts; errors
///
/// Gives the name of a status, as "KVREG_OK", and "KVREG_UNKNOWN" for any other number. The text
/// is static. Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_status_name(status: kvreg_status) -> *const c_char {
    texts(status).0.as_ptr()
}

/// Says in a few words what a status means. The text is static, and never NULL. Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_status_message(status: kvreg_status) -> *const c_char {
    texts(status).1.as_ptr()
}

/// Gives the name of a reason, as "KVREG_REASON_KILLED", and "KVREG_UNKNOWN" for any other number.
/// The text is static. Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_reason_name(reason: kvreg_reason) -> *const c_char {
    name(REASONS, reason)
}

/// Gives the name of a verdict, as "KVREG_STORE", and "KVREG_UNKNOWN" for any other number. The
/// text is static. Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_verdict_name(verdict: kvreg_verdict) -> *const c_char {
    name(VERDICTS, verdict)
}

/// Copies the text of the last failing call of this thread into `buffer`, cut to `capacity` bytes
/// with its NUL. The text is empty if no call failed. It is for people; programs use the status.
/// `buffer` may be NULL if `capacity` is 0. Returns the full length in bytes, without the NUL.
/// Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_last_error(buffer: *mut c_char, capacity: usize) -> usize {
    let mut full = 0;
    guard_quietly(|| {
        let text = last_error();
        full = text.len();
        if buffer.is_null() || capacity == 0 {
            return;
        }
        let len = text.len().min(capacity - 1);
        // SAFETY: `buffer` is good for `capacity` bytes, of which `len` and a NUL are written.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), len);
            buffer.add(len).write(0);
        }
    });
    full
}

/// Gives the operating system's error number of the last failing call of this thread: errno, or
/// GetLastError on Windows. It is 0 if that call did not answer KVREG_IO, if the system gave no
/// number, or if no call failed. A call that succeeds leaves it as it is. Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_last_os_error() -> i32 {
    last_os_error()
}
