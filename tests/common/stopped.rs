//! A thread that is stopped wherever it is, as one that loses its processor, until it is told to go
//! on.

use std::os::unix::thread::JoinHandleExt;
use std::sync::OnceLock;
use std::thread::JoinHandle;

/// Two pipes: what the thread says, and what it is told.
struct Pipes {
    says: [libc::c_int; 2],
    told: [libc::c_int; 2],
}

static PIPES: OnceLock<Pipes> = OnceLock::new();

fn pipe() -> [libc::c_int; 2] {
    let mut ends = [0; 2];
    // SAFETY: there is room for two.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    ends
}

const STOPS: u8 = 0;
const GOES_ON: u8 = 1;

fn send(pipe: [libc::c_int; 2], word: u8) {
    // SAFETY: one byte; may be called by a handler.
    while unsafe { libc::write(pipe[1], (&raw const word).cast(), 1) } != 1 {}
}

fn receive(pipe: [libc::c_int; 2]) -> u8 {
    let mut word = 0u8;
    // SAFETY: room for one byte; may be called by a handler.
    while unsafe { libc::read(pipe[0], (&raw mut word).cast(), 1) } != 1 {}
    word
}

extern "C" fn be_stopped(_signal: libc::c_int) {
    let Some(pipes) = PIPES.get() else { return };
    if allocator::is_inside() {
        return send(pipes.says, GOES_ON);
    }
    send(pipes.says, STOPS);
    receive(pipes.told);
    send(pipes.says, GOES_ON);
}

/// In the place of the C library's, which it calls: a thread is not stopped in there, for it may
/// have a lock that whoever frees what it allocated would wait for.
#[cfg(target_env = "gnu")]
pub mod allocator {
    use std::cell::Cell;
    use std::ffi::c_void;

    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        /// Blocks that the thread freed.
        static FREED: Cell<usize> = const { Cell::new(0) };
    }

    extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_free(block: *mut c_void);
    }

    pub(super) fn is_inside() -> bool {
        DEPTH.get() > 0
    }

    /// How many blocks this thread has freed.
    #[allow(dead_code)]
    pub fn freed() -> usize {
        FREED.get()
    }

    fn inside<T>(work: impl FnOnce() -> T) -> T {
        DEPTH.set(DEPTH.get() + 1);
        let answer = work();
        DEPTH.set(DEPTH.get() - 1);
        answer
    }

    // SAFETY of all: as of the C library's.

    #[no_mangle]
    unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
        inside(|| unsafe { __libc_malloc(size) })
    }

    #[no_mangle]
    unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        inside(|| unsafe { __libc_calloc(count, size) })
    }

    #[no_mangle]
    unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        inside(|| unsafe { __libc_realloc(block, size) })
    }

    #[no_mangle]
    unsafe extern "C" fn free(block: *mut c_void) {
        FREED.set(FREED.get() + 1);
        inside(|| unsafe { __libc_free(block) });
    }
}

#[cfg(not(target_env = "gnu"))]
mod allocator {
    pub(super) fn is_inside() -> bool {
        false
    }
}

/// It goes on when this is dropped.
pub struct Stopped(());

/// One thread at a time.
pub fn stop<T>(thread: &JoinHandle<T>) -> Stopped {
    let pipes = PIPES.get_or_init(|| Pipes {
        says: pipe(),
        told: pipe(),
    });
    // SAFETY: a handler that does no more than a handler may, and a thread that was not joined.
    unsafe {
        let handler = be_stopped as *const () as libc::sighandler_t;
        assert_ne!(libc::signal(libc::SIGUSR1, handler), libc::SIG_ERR);
        loop {
            assert_eq!(libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1), 0);
            if receive(pipes.says) == STOPS {
                return Stopped(());
            }
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(pipes) = PIPES.get() {
            send(pipes.told, GOES_ON);
            receive(pipes.says);
        }
    }
}
