//! The primitives under the server core, in one place: `tests/model` compiles the same
//! files against a model checker's module of this name.

pub(crate) mod racing;
pub(crate) mod raw_arc;
mod stripes;
mod thread_local;

pub(crate) use std::sync::atomic::{
    fence, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::TryLockError;
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
pub(crate) use std::thread::yield_now;
pub(crate) use stripes::{Apart, Counter};
pub(crate) use thread_local::{Area, ThreadLocal};

/// How to store where this thread stored with Release before, if who sees it is to see what came
/// before that one. The language no longer says so of a plain store, and so the model checker does
/// not; the processors do, for stores of one thread to one place are seen in their order (on aarch64
/// what a releasing store orders, later ones to its place inherit).
pub(crate) const AFTER_RELEASE: Ordering = Ordering::Relaxed;

/// Whether memory of zeros is as good as atomics of 0 and null; not to a model checker.
pub(crate) const ZEROS_ARE_ATOMICS: bool = true;

/// How often a caller looks again before it sleeps. Turns are short: most are over by then.
pub(crate) const SPINS: u32 = 12;

/// How often a sleeper may find, when it was woken, that others took what it was woken for, before
/// it is kept for the sleeper.
pub(crate) const PASSES: u32 = 3;

/// Tells the processor, or the model checker, that this thread waits for another.
pub(crate) fn spin() {
    std::hint::spin_loop();
}

/// Waits for another thread, the longer the more often it did: first for one that runs, whose
/// cache line should be left alone meanwhile, then for one that does not.
pub(crate) fn back_off(step: u32) {
    match keeps_processor(step) {
        true => (0..1 << step).for_each(|_| spin()),
        false => yield_now(),
    }
}

/// Whether a wait of this step leaves the processor to nobody else.
pub(crate) fn keeps_processor(step: u32) -> bool {
    step < 4
}

/// Tells the processor that the line will be read, while others are still on their way.
#[inline(always)]
pub(crate) fn will_read<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, whatever the address.
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Tells the processor that the line will be written, while others are still on their way.
#[inline(always)]
pub(crate) fn will_write<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, whatever the address.
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_ET0};
        _mm_prefetch::<_MM_HINT_ET0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// A cell of which the argument at its user's says that one thread at a time looks at it; the
/// checker's looks if that is so.
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(what: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(what))
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, look: impl FnOnce(*mut T) -> R) -> R {
        look(self.0.get())
    }
}

/// Locks it if nobody has it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(locked) => Some(locked),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Locks, whatever became of an earlier holder: nothing panics while it holds a lock of ours,
/// and a guest must not spread a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
