//! Memory that is there when the system has none (G14).
//!
//! Rust's collections, std's threads and tokio abort the process when a small allocation fails.
//! So the C library's allocator keeps a reserve of small blocks for them, and a call that begins
//! while the reserve is not whole, and cannot be made so, answers `NO_MEMORY`. What releases is
//! not asked: it takes little, and gives back more. What is as large as a caller wishes is asked
//! of the system alone ([`try_alloc`], [`without_reserve`]), and may be refused.
//!
//! A Rust program has an allocator of its own choice: without the feature `capi` nothing here
//! stands before it, and the reserve is always whole.
//!
//! # The argument
//!
//! The blocks are the system's own, each in a place of a fixed table: whoever swaps a null in has
//! the block, and whoever finds a null may swap a block of that size in. So there is no lock, and a
//! forked child has the table as it was. To free a block needs no look: it is one of the system's.
//!
//! `WORD` says whether the table is whole, and counts what was taken. Who takes a block counts it
//! afterwards, and says that the table is not whole. Who has filled the table says that it is whole
//! only if nothing was counted since before the first look: so a block that was taken after that
//! look is counted later, and takes the word back. While the table is not whole, small blocks that
//! are freed are kept in it first: what a release takes for a moment does not wear it out.

use std::alloc::Layout;
use std::fmt;

use crate::error::Error;

#[cfg(feature = "capi")]
pub(crate) use reserve::{is_ready, try_alloc, without_reserve};

/// Whether the reserve is whole, or could be made so.
#[cfg(not(feature = "capi"))]
pub(crate) fn is_ready() -> bool {
    true
}

/// Memory of a size that the caller chose, or null.
///
/// # Safety
/// As of `std::alloc::alloc`, whose `dealloc` frees it.
#[cfg(not(feature = "capi"))]
#[inline]
pub(crate) unsafe fn try_alloc(layout: Layout) -> *mut u8 {
    // SAFETY: by contract.
    unsafe { std::alloc::alloc(layout) }
}

/// Runs `work`, whose allocations may fail.
#[cfg(not(feature = "capi"))]
#[inline]
pub(crate) fn without_reserve<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Room for so many more, as the caller chose.
pub(crate) fn reserve<T>(vec: &mut Vec<T>, more: usize) -> Result<(), Error> {
    without_reserve(|| vec.try_reserve_exact(more)).map_err(|_| Error::NoMemory)
}

/// A copy of a text, or `None`; with room for a NUL.
pub(crate) fn text(text: &str) -> Option<String> {
    let mut copy = Text::default();
    copy.reserve(text.len() + 1)?;
    copy.0.push_str(text);
    Some(copy.0)
}

/// A copy of bytes, or `None`.
pub(crate) fn bytes(bytes: &[u8]) -> Option<Box<[u8]>> {
    let mut copy = Vec::new();
    reserve(&mut copy, bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy.into_boxed_slice()) // its length is its capacity
}

/// What is written, or `None`; with room for a NUL.
pub(crate) fn written(arguments: fmt::Arguments<'_>) -> Option<String> {
    let mut text = Text::default();
    fmt::Write::write_fmt(&mut text, arguments).ok()?;
    text.reserve(1)?;
    Some(text.0)
}

/// Grows as far as there is memory.
#[derive(Default)]
struct Text(String);

impl Text {
    fn reserve(&mut self, more: usize) -> Option<()> {
        without_reserve(|| self.0.try_reserve(more)).ok()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.reserve(text.len()).ok_or(fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(feature = "capi")]
mod reserve {
    use std::alloc::{GlobalAlloc, System};
    use std::cell::Cell;
    use std::ptr;
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    use super::Layout;

    struct Class {
        size: usize,
        align: usize,
        first: usize,
        count: usize,
    }

    /// The system gives every block this alignment, and frees those of a larger one otherwise on
    /// some platforms: so they are kept apart.
    const PLAIN: usize = 16;
    const WIDE: usize = 128;

    /// (alignment, size, how many): from small to large.
    const SIZES: [(usize, usize, usize); 7] = [
        (PLAIN, 64, 128),
        (PLAIN, 256, 64),
        (PLAIN, 1 << 10, 32),
        (PLAIN, 4 << 10, 8),
        (PLAIN, 16 << 10, 4),
        (WIDE, 512, 32),
        (WIDE, 4 << 10, 2),
    ];

    const CLASSES: [Class; SIZES.len()] = {
        let mut classes = [const {
            Class {
                size: 0,
                align: 0,
                first: 0,
                count: 0,
            }
        }; SIZES.len()];
        let (mut at, mut first) = (0, 0);
        while at < SIZES.len() {
            let (align, size, count) = SIZES[at];
            classes[at] = Class {
                size,
                align,
                first,
                count,
            };
            first += count;
            at += 1;
        }
        classes
    };

    const PLACES: usize = CLASSES[SIZES.len() - 1].first + CLASSES[SIZES.len() - 1].count;

    static TABLE: [AtomicPtr<u8>; PLACES] = [const { AtomicPtr::new(ptr::null_mut()) }; PLACES];

    /// The two lowest bits are the state, the rest counts what was taken.
    static WORD: AtomicUsize = AtomicUsize::new(UNUSED);
    const STATE: usize = 3;
    /// Nothing was started yet.
    const UNUSED: usize = 0;
    const WHOLE: usize = 1;
    const SHORT: usize = 2;
    const ONE_TAKEN: usize = STATE + 1;

    thread_local! {
        /// Without a destructor, and so without an allocation of its own.
        static IS_BARRED: Cell<bool> = const { Cell::new(false) };
    }

    impl Class {
        fn layout(&self) -> Layout {
            // SAFETY: both are powers of two, and small.
            unsafe { Layout::from_size_align_unchecked(self.size, self.align) }
        }

        fn places(&self) -> &'static [AtomicPtr<u8>] {
            &TABLE[self.first..self.first + self.count]
        }

        fn has_room_for(&self, layout: Layout) -> bool {
            let is_of_kind = match self.align {
                PLAIN => layout.align() <= PLAIN,
                _ => layout.align() > PLAIN && layout.align() <= self.align,
            };
            is_of_kind && layout.size() <= self.size
        }

        fn take(&self) -> Option<*mut u8> {
            let taken = self.places().iter().find_map(|place| {
                if place.load(Ordering::SeqCst).is_null() {
                    return None;
                }
                let block = place.swap(ptr::null_mut(), Ordering::SeqCst);
                (!block.is_null()).then_some(block)
            });
            if taken.is_some() {
                note_taken();
            }
            taken
        }

        /// `false` if it has no empty place.
        fn keep(&self, block: *mut u8) -> bool {
            self.places().iter().any(|place| put(place, block))
        }
    }

    fn put(place: &AtomicPtr<u8>, block: *mut u8) -> bool {
        let (null, order) = (ptr::null_mut(), Ordering::SeqCst);
        place.load(order).is_null() && place.compare_exchange(null, block, order, order).is_ok()
    }

    fn note_taken() {
        let counted = |word: usize| Some((word & !STATE).wrapping_add(ONE_TAKEN) | SHORT);
        let _ = WORD.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
    }

    fn state() -> usize {
        WORD.load(Ordering::Relaxed) & STATE
    }

    /// Whether the reserve is whole, or could be made so.
    #[inline]
    pub(crate) fn is_ready() -> bool {
        state() == WHOLE || fill()
    }

    #[cold]
    fn fill() -> bool {
        let before = WORD.load(Ordering::SeqCst);
        for class in &CLASSES {
            let empty = class.places().iter();
            for place in empty.filter(|place| place.load(Ordering::SeqCst).is_null()) {
                // SAFETY: not of size zero.
                let block = unsafe { System.alloc(class.layout()) };
                if block.is_null() {
                    return false;
                }
                if !put(place, block) {
                    // SAFETY: allocated just now, with this layout.
                    unsafe { System.dealloc(block, class.layout()) };
                }
            }
        }
        // Refused if something was taken meanwhile: then the next who asks fills it again.
        let whole = before & !STATE | WHOLE;
        let _ = WORD.compare_exchange(before, whole, Ordering::SeqCst, Ordering::SeqCst);
        true
    }

    /// Memory of a size that the caller chose, or null: never from the reserve.
    ///
    /// # Safety
    /// As of `std::alloc::alloc`, whose `dealloc` frees it.
    #[inline]
    pub(crate) unsafe fn try_alloc(layout: Layout) -> *mut u8 {
        // SAFETY: by contract; `dealloc` gives it back to the same allocator.
        unsafe { System.alloc(layout) }
    }

    /// Runs `work`, whose allocations may fail: the reserve is not for them.
    pub(crate) fn without_reserve<R>(work: impl FnOnce() -> R) -> R {
        struct Barred(bool);
        impl Drop for Barred {
            fn drop(&mut self) {
                IS_BARRED.set(self.0);
            }
        }
        let _before = Barred(IS_BARRED.replace(true));
        work()
    }

    #[cold]
    #[inline(never)]
    fn take(layout: Layout) -> *mut u8 {
        if IS_BARRED.get() {
            return ptr::null_mut();
        }
        let fitting = |class: &&Class| class.has_room_for(layout);
        let taken = CLASSES.iter().filter(fitting).find_map(Class::take);
        taken.unwrap_or(ptr::null_mut())
    }

    /// Keeps a block that is to be freed, if the reserve has a place for it.
    #[cold]
    #[inline(never)]
    fn keep(block: *mut u8, layout: Layout) -> bool {
        if layout.align() > PLAIN {
            return false;
        }
        let size = usable(block, layout);
        // Not one that is much larger: the table would hold more than it says.
        let fitting =
            |class: &&Class| class.align == PLAIN && (class.size..4 * class.size).contains(&size);
        CLASSES
            .iter()
            .rev()
            .filter(fitting)
            .any(|class| class.keep(block))
    }

    /// How large a block really is: as large as was asked for at least.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn usable(block: *mut u8, _layout: Layout) -> usize {
        // SAFETY: one of malloc's, as all that std's system allocator gives.
        unsafe { libc::malloc_usable_size(block.cast()) }
    }

    #[cfg(not(all(target_os = "linux", not(miri))))]
    fn usable(_block: *mut u8, layout: Layout) -> usize {
        layout.size()
    }

    struct Allocator;

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;

    // SAFETY: all blocks are the system's, as large and as aligned as was asked for at least, and
    // the system frees them whatever their size (of the same kind of alignment).
    unsafe impl GlobalAlloc for Allocator {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: by contract.
            let block = unsafe { System.alloc(layout) };
            match block.is_null() {
                false => block,
                true => take(layout),
            }
        }

        #[inline]
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: by contract.
            let block = unsafe { System.alloc_zeroed(layout) };
            if !block.is_null() {
                return block;
            }
            let block = take(layout);
            if !block.is_null() {
                // SAFETY: it has so many bytes.
                unsafe { block.write_bytes(0, layout.size()) };
            }
            block
        }

        #[inline]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if state() == SHORT && keep(block, layout) {
                return;
            }
            // SAFETY: by contract.
            unsafe { System.dealloc(block, layout) };
        }

        #[inline]
        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: by contract.
            let moved = unsafe { System.realloc(block, layout, size) };
            match moved.is_null() {
                false => moved,
                // SAFETY: by contract; the block is as it was.
                true => unsafe { self.realloc_from_reserve(block, layout, size) },
            }
        }
    }

    impl Allocator {
        /// # Safety
        /// As of `realloc`.
        #[cold]
        #[inline(never)]
        unsafe fn realloc_from_reserve(
            &self,
            block: *mut u8,
            layout: Layout,
            size: usize,
        ) -> *mut u8 {
            if size <= layout.size() {
                return block;
            }
            // SAFETY: the alignment is that of a layout, and the size was checked by the caller.
            let moved = take(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
            if !moved.is_null() {
                // SAFETY: both have so many bytes, and are two; the old one is the caller's.
                unsafe {
                    moved.copy_from_nonoverlapping(block, layout.size());
                    self.dealloc(block, layout);
                }
            }
            moved
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn each_size_has_its_class() {
            let class_of = |size, align| {
                let layout = Layout::from_size_align(size, align).unwrap();
                let fits = |class: &Class| class.has_room_for(layout);
                CLASSES
                    .iter()
                    .find(|class| fits(class))
                    .map(|class| class.size)
            };
            assert_eq!(class_of(1, 1), Some(64));
            assert_eq!(class_of(65, 8), Some(256));
            assert_eq!(class_of(16 << 10, 16), Some(16 << 10));
            assert_eq!(class_of((16 << 10) + 1, 16), None);
            assert_eq!(class_of(64, 64), Some(512));
            assert_eq!(class_of(64, 256), None);
        }

        #[test]
        fn a_block_is_whole_and_fills_the_reserve_again() {
            assert!(is_ready());
            let layout = Layout::from_size_align(200, 8).unwrap();
            let block = take(layout);
            assert!(!block.is_null());
            // SAFETY: of that layout, from the reserve.
            unsafe {
                block.write_bytes(7, 200);
                ALLOCATOR.dealloc(block, layout);
            }
            assert!(is_ready());
        }

        #[test]
        fn what_may_fail_takes_nothing_from_the_reserve() {
            assert!(is_ready());
            let layout = Layout::from_size_align(200, 8).unwrap();
            assert!(without_reserve(|| take(layout)).is_null());
        }

        /// Each block is one thread's at a time: it finds there what it wrote.
        #[test]
        fn threads_take_and_give_back_blocks_of_their_own() {
            let rounds = if cfg!(miri) { 20 } else { 2000 };
            let layout = Layout::from_size_align(200, 8).unwrap();
            std::thread::scope(|scope| {
                for thread in 1..=4 {
                    scope.spawn(move || {
                        for _ in 0..rounds {
                            is_ready();
                            let block = take(layout);
                            if block.is_null() {
                                continue;
                            }
                            // SAFETY: of that layout, and this thread's until it is freed.
                            unsafe {
                                block.write_bytes(thread, 200);
                                std::hint::spin_loop();
                                let seen = std::slice::from_raw_parts(block, 200);
                                assert!(seen.iter().all(|byte| *byte == thread));
                                ALLOCATOR.dealloc(block, layout);
                            }
                        }
                    });
                }
            });
            assert!(is_ready());
        }

        #[test]
        fn what_is_too_large_is_refused() {
            assert!(take(Layout::from_size_align(1 << 20, 8).unwrap()).is_null());
        }
    }
}
