//! The thread that stores once a second what waits, as long as there is a store which leaves that
//! to it.
//!
//! # The argument
//!
//! The first such store starts it, and the last one ends it and waits until it has ended: it holds
//! no lock of the files then, and the lock of `Ticker` is not held meanwhile. A store that comes in
//! between starts another one; each has its own word that it is to end. A child of a fork has
//! another `Ticker` (`world.rs`).
//!
//! It is the engine's own: it takes none of the host's signals.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::file::lock;
use crate::panics;
use crate::world::World;

const PERIOD: Duration = Duration::from_secs(1);

#[derive(Default)]
struct End {
    is_near: Mutex<bool>,
    told: Condvar,
}

struct Running {
    end: Arc<End>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    users: usize,
    running: Option<Running>,
}

#[derive(Default)]
pub(crate) struct Ticker(Mutex<State>);

/// That the thread runs.
pub(crate) struct Ticking(&'static World);

impl Ticking {
    pub(crate) fn new(world: &'static World) -> Result<Ticking, Failure> {
        let mut state = lock(&world.ticker.0);
        if state.users == 0 {
            let started = start(world).map_err(|error| Failure {
                os_error: error.raw_os_error().unwrap_or(0),
                ..Failure::io(format!("a thread cannot be started: {error}"))
            })?;
            state.running = Some(started);
        }
        state.users += 1;
        Ok(Ticking(world))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        let mut state = lock(&self.0.ticker.0);
        state.users -= 1;
        let last = match state.users {
            0 => state.running.take(),
            _ => None,
        };
        drop(state);
        if let Some(running) = last {
            *lock(&running.end.is_near) = true;
            running.end.told.notify_one();
            let _ = running.thread.join(); // what panics there is contained
        }
    }
}

fn start(world: &'static World) -> io::Result<Running> {
    let end = Arc::new(End::default());
    let its_end = Arc::clone(&end);
    let builder = std::thread::Builder::new().name("kvreg-file".into());
    let thread = without_signals(|| builder.spawn(move || run(world, &its_end)))?;
    Ok(Running { end, thread })
}

fn run(world: &World, end: &End) {
    let mut next = Instant::now() + PERIOD;
    let mut is_near = lock(&end.is_near);
    while !*is_near {
        let now = Instant::now();
        if now < next {
            let waited = end.told.wait_timeout(is_near, next - now);
            is_near = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        drop(is_near);
        next = now + PERIOD;
        for file in world.files() {
            // What fails is told by the next write of a bucket that it concerns.
            panics::contain(|| file.store_waiting());
        }
        is_near = lock(&end.is_near);
    }
}

/// Runs `work`; threads that it starts take no signals.
#[cfg(unix)]
fn without_signals<R>(work: impl FnOnce() -> R) -> R {
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are this function's, and are written before they are read.
    let is_changed = unsafe {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let answer = work();
    if is_changed {
        // SAFETY: written above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    answer
}

#[cfg(not(unix))]
fn without_signals<R>(work: impl FnOnce() -> R) -> R {
    work()
}
