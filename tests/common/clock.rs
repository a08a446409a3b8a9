//! The clock by which keys live, set by a test: this program's `clock_gettime` is the one that the
//! library finds. It has its own clock for that of the keys, and the system's for all others.
//!
//! The library's own threads read it whenever they sweep: what a test counts, and what happens in
//! the middle of a read, is of the test's thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Mutex;

/// Nanoseconds; 0: it goes as the system's does.
static NOW: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static READ: Cell<u64> = const { Cell::new(0) };
    /// Whether a surprise waits for this thread.
    static IS_AWAITED: Cell<bool> = const { Cell::new(false) };
}

/// Stands still from here on, at so many milliseconds.
pub fn set(ms: i64) {
    NOW.store(ms * 1_000_000, Ordering::SeqCst);
}

/// Goes on by so many milliseconds.
pub fn advance(ms: i64) {
    NOW.fetch_add(ms * 1_000_000, Ordering::SeqCst);
}

/// Done once, by who reads the clock after so many others.
type Work = Box<dyn FnOnce() + Send>;
static SURPRISE: Mutex<Option<(u32, Work)>> = Mutex::new(None);

/// Has something happen in the middle of the read of this thread that looks at the clock then. One
/// at a time.
pub fn surprise(after: u32, work: impl FnOnce() + Send + 'static) {
    *SURPRISE.lock().unwrap() = Some((after, Box::new(work)));
    IS_AWAITED.set(true);
}

fn be_surprised() {
    if !IS_AWAITED.get() {
        return;
    }
    let mut surprise = SURPRISE.lock().unwrap();
    match &mut *surprise {
        None => {}
        Some((0, _)) => {
            let work = surprise.take();
            IS_AWAITED.set(false);
            drop(surprise);
            work.into_iter().for_each(|(_, work)| work());
        }
        Some((after, _)) => *after -= 1,
    }
}

/// How often this thread read it.
pub fn reads() -> u64 {
    READ.get()
}

/// As the system has it.
///
/// # Safety
/// `time` may be written.
#[no_mangle]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    if clock == libc::CLOCK_BOOTTIME {
        READ.set(READ.get() + 1);
        be_surprised();
        let now = NOW.load(Ordering::SeqCst);
        if now != 0 {
            // SAFETY: by contract.
            unsafe {
                (*time).tv_sec = now / 1_000_000_000;
                (*time).tv_nsec = now % 1_000_000_000;
            }
            return 0;
        }
    }
    // SAFETY: by contract.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as i32 }
}
