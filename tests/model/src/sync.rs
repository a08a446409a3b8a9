//! The model checker's primitives, under the names that the server core uses. `Arc` stays
//! std's: the core relies on no more than what counting references gives.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{
    fence, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread::yield_now;
use std::sync::TryLockError;
pub(crate) use std::sync::{Arc, PoisonError, Weak};

/// Zeros are no atomics of the checker's.
pub(crate) const ZEROS_ARE_ATOMICS: bool = false;

#[path = "../../../src/sync/racing/words.rs"]
pub(crate) mod racing;

#[path = "../../../src/sync/raw_arc.rs"]
pub(crate) mod raw_arc;

/// Counts; nothing for the model to explore.
#[derive(Default)]
pub(crate) struct Counter(std::sync::atomic::AtomicUsize);

impl Counter {
    pub(crate) fn add_many(&self, more: usize) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) enum Area {
    Buffers,
    Turns,
}

loom::thread_local! {
    /// By type, what a thread of the model has.
    static OWN: RefCell<BTreeMap<TypeId, Rc<dyn Any>>> = RefCell::default();
}

/// Lies in the library's block as long as the thread is there; here what is last to go finds an
/// empty one.
///
/// # Safety
/// All bytes zero is a value of it.
pub(crate) unsafe trait ThreadLocal: Sized + 'static {
    const AREA: Area;

    fn own<R>(look: impl FnOnce(&Self) -> R) -> R {
        // SAFETY: zeros are a value of it, by contract.
        let make = || Rc::new(unsafe { std::mem::zeroed::<Self>() });
        let find = |own: &RefCell<BTreeMap<TypeId, Rc<dyn Any>>>| {
            let mut own = own.borrow_mut();
            let mine = own.entry(TypeId::of::<Self>()).or_insert_with(|| make());
            Rc::clone(mine)
                .downcast::<Self>()
                .expect("it is found by its type")
        };
        look(&OWN.try_with(find).unwrap_or_else(|_| make()))
    }
}

/// What the processors do is said by the language's means.
pub(crate) const AFTER_RELEASE: Ordering = Ordering::Release;

/// A spin is a wait that the checker would have to try in every length.
pub(crate) const SPINS: u32 = 0;

/// So that the checker comes to it.
pub(crate) const PASSES: u32 = 1;

pub(crate) fn spin() {
    loom::thread::yield_now();
}

pub(crate) fn back_off(_step: u32) {
    spin();
}

pub(crate) fn keeps_processor(_step: u32) -> bool {
    false
}

pub(crate) fn will_read<T>(_place: *const T) {}

pub(crate) fn will_write<T>(_place: *const T) {}

/// As in the library.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(locked) => Some(locked),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
