//! The primitives under the server core, in one place: `tests/model` compiles the same
//! files against a model checker's module of this name.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
pub(crate) use std::thread_local;

/// How often a caller looks again before it sleeps. Turns are short: most are over by then.
pub(crate) const SPINS: u32 = 100;

/// Tells the processor, or the model checker, that this thread waits for another.
pub(crate) fn spin() {
    std::hint::spin_loop();
}

/// Locks, whatever became of an earlier holder: nothing panics while it holds a lock of ours,
/// and a guest must not spread a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
