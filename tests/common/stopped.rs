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

fn send(pipe: [libc::c_int; 2]) {
    // SAFETY: one byte; may be called by a handler.
    while unsafe { libc::write(pipe[1], [0u8].as_ptr().cast(), 1) } != 1 {}
}

fn receive(pipe: [libc::c_int; 2]) {
    // SAFETY: room for one byte; may be called by a handler.
    while unsafe { libc::read(pipe[0], [0u8].as_mut_ptr().cast(), 1) } != 1 {}
}

extern "C" fn be_stopped(_signal: libc::c_int) {
    let Some(pipes) = PIPES.get() else { return };
    send(pipes.says);
    receive(pipes.told);
    send(pipes.says);
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
        assert_eq!(libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1), 0);
    }
    receive(pipes.says);
    Stopped(())
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(pipes) = PIPES.get() {
            send(pipes.told);
            receive(pipes.says);
        }
    }
}
