//! The library's own files; only what frees is another: here what was taken out is freed as soon
//! as a pin ends, so that AddressSanitizer sees who still uses it.

#![no_main]
#![allow(dead_code, unused_imports)] // the library uses more of these files

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/error.rs"]
mod error;
mod hash {
    //! Keys that meet in one group, and have one tag: a fuzzer cannot guess the library's hash.

    pub(crate) fn hash(key: &[u8]) -> u64 {
        let at = |at: usize| u64::from(key.get(at).copied().unwrap_or(0));
        at(0) << 56 | at(1) % 64
    }
}
#[path = "../../../src/memory.rs"]
mod memory;
#[path = "../../../src/reclaim/limbo.rs"]
#[allow(private_interfaces)]
mod limbo;
mod reclaim {
    use std::cell::RefCell;

    pub(crate) use super::limbo::{Retire, RetireWhole, WholeNode};

    type Work = Box<dyn FnOnce()>;

    /// What was taken out while it is there.
    #[derive(Default)]
    pub(crate) struct Guard(RefCell<Vec<Work>>);

    impl Guard {
        /// # Safety
        /// As in the library.
        pub(crate) unsafe fn retire<T: Retire>(&self, block: *mut T, _bytes: usize) {
            let block = block.cast::<()>();
            // SAFETY: by contract.
            let work = move || unsafe { T::free(block.cast()) };
            self.push(Box::new(work));
        }

        /// # Safety
        /// As in the library.
        pub(crate) unsafe fn retire_whole<T: RetireWhole>(&self, whole: *mut T, _bytes: usize) {
            let whole = whole.cast::<()>();
            // SAFETY: by contract.
            let work = move || while !unsafe { T::free_slice(whole.cast(), 7) } {};
            self.push(Box::new(work));
        }

        fn push<'a>(&self, work: Box<dyn FnOnce() + 'a>) {
            // SAFETY: what is retired lasts as long as the pin.
            let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + 'a>, Work>(work) };
            self.0.borrow_mut().push(work);
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|work| work());
        }
    }
}
#[path = "../../../src/sync/mod.rs"]
mod sync;
#[path = "../../../src/table/mod.rs"]
mod table;

#[path = "../../../src/table/fuzz.rs"]
mod subject;

fuzz_target!(|bytes: &[u8]| subject::run(bytes, reclaim::Guard::default));
