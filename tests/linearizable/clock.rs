//! The clock by which keys live, moved by the threads of a history: this program's `clock_gettime`
//! is the one that the library finds. To read it takes a load alone, as the system's does: nothing
//! flushes what a processor has not yet shown to others.

use std::sync::atomic::{AtomicI64, Ordering};

/// Milliseconds; 0: it goes as the system's does.
static NOW: AtomicI64 = AtomicI64::new(0);

/// It can be moved.
pub const IS_OURS: bool = cfg!(target_os = "linux");

const START: i64 = 1_000_000_000;

/// Stands still from here on.
pub fn stop() {
    let _ = NOW.compare_exchange(0, START, Ordering::SeqCst, Ordering::SeqCst);
}

pub fn now() -> u64 {
    NOW.load(Ordering::Acquire) as u64
}

/// Goes on by so many milliseconds; what it showed before.
pub fn advance(ms: u64) -> u64 {
    NOW.fetch_add(ms as i64, Ordering::SeqCst) as u64
}

/// As the system has it.
///
/// # Safety
/// `time` may be written.
#[cfg(target_os = "linux")]
#[no_mangle]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    let now = NOW.load(Ordering::Acquire);
    if clock == libc::CLOCK_BOOTTIME && now != 0 {
        // SAFETY: by contract.
        unsafe {
            (*time).tv_sec = now / 1000;
            (*time).tv_nsec = now % 1000 * 1_000_000;
        }
        return 0;
    }
    // SAFETY: by contract.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 }
}
