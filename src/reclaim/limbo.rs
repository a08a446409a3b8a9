//! What was taken out and is not freed yet, linked through itself: so to retire needs no memory.
//!
//! # The argument
//!
//! A block has a word that no reader looks at, and this leads to the block that was retired before
//! it. A list holds blocks of one type, whose function finds the word and frees the block; a limbo
//! has a list for each type that meets there. It has one owner at a time: a thread, or who has the
//! lock of what threads left. Two limbos become one by a few stores, however long they are.
//!
//! What is taken out as a whole, a table's array with its entries, is one node here, and is freed a
//! slice at a time.
//!
//! A block leaves its list before it is freed: what it holds may be the user's, and may panic.

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What can be retired one by one.
///
/// # Safety
/// The word of `link` is the block's own, aligned, and once the block is retired no reader looks at
/// it but as an atomic. `free` may run on any thread.
pub(crate) unsafe trait Retire {
    /// The word that leads to the block before.
    ///
    /// # Safety
    /// The block is there.
    unsafe fn link(block: *mut Self) -> *mut *mut ();

    /// # Safety
    /// The block was retired, and nobody uses it any more.
    unsafe fn free(block: *mut Self);
}

/// What can be retired as a whole, to be freed in slices.
///
/// # Safety
/// It is `repr(C)` and begins with a [`WholeNode`], at which no reader looks. `free_slice` may run
/// on any thread.
pub(crate) unsafe trait RetireWhole {
    /// Frees some `budget` parts; `true` if that was the last of it, and it is gone.
    ///
    /// # Safety
    /// It was retired, and nobody uses it any more; not called again after `true`.
    unsafe fn free_slice(whole: *mut Self, budget: usize) -> bool;
}

/// With what a [`RetireWhole`] begins; written when it is retired.
#[repr(C)]
pub(crate) struct WholeNode {
    next: *mut WholeNode,
    free_slice: unsafe fn(*mut WholeNode, usize) -> bool,
}

/// Of one whole in a slice: some hundred microseconds if none of it is at hand.
const PARTS: usize = 1024;

/// Blocks that are freed before the clock is looked at.
const BLOCKS: usize = 32;

/// Has a link lead to a block. Who is still pinned may read the word, to find that it no longer
/// says what it was looked for.
///
/// # Safety
/// The link is of a block that was retired.
#[inline(always)]
unsafe fn lead(link: *mut *mut (), to: *mut ()) {
    // SAFETY: by contract; aligned as a pointer.
    unsafe { AtomicPtr::from_ptr(link) }.store(to, Ordering::Release);
}

/// Takes the first block off, and frees it.
type FreeFirst = unsafe fn(&mut *mut ());

/// By which a list is told from those of other types. A constant: where a function is named it may
/// have another address each time, and Miri sees to it that it has.
struct Of<T>(PhantomData<T>);

impl<T: Retire> Of<T> {
    const FREE_FIRST: FreeFirst = free_first::<T>;
}

/// # Safety
/// The list has a block, and all of its blocks are of this type and used by nobody.
unsafe fn free_first<T: Retire>(first: &mut *mut ()) {
    let block = first.cast::<T>();
    // SAFETY: by contract.
    unsafe {
        *first = *T::link(block);
        T::free(block);
    }
}

/// # Safety
/// As of `RetireWhole::free_slice`.
unsafe fn free_slice<T: RetireWhole>(node: *mut WholeNode, budget: usize) -> bool {
    // SAFETY: by contract, and a `T` begins with its node.
    unsafe { T::free_slice(node.cast(), budget) }
}

/// Blocks of one type, the youngest first.
#[derive(Clone, Copy)]
struct List {
    first: *mut (),
    /// The link of the oldest.
    last_link: *mut *mut (),
    free_first: FreeFirst,
}

impl List {
    const EMPTY: List = List {
        first: ptr::null_mut(),
        last_link: ptr::null_mut(),
        free_first: |_| (),
    };

    fn is_of(&self, free_first: FreeFirst) -> bool {
        // Two addresses of one function would make two lists, which is as good.
        ptr::fn_addr_eq(self.free_first, free_first)
    }
}

/// So many types are retired at one time; in the tests, which have types of their own, too.
const TYPES: usize = 12;

pub(super) struct Limbo {
    bytes: usize,
    /// Of blocks.
    len: usize,
    lists: [List; TYPES],
    wholes: Wholes,
}

/// What was taken out as a whole, the oldest first.
struct Wholes {
    first: *mut WholeNode,
    last: *mut WholeNode,
}

// SAFETY: what is in it may be freed on any thread, by contract of the traits.
unsafe impl Send for Limbo {}

impl Limbo {
    pub(super) const EMPTY: Limbo = Limbo {
        bytes: 0,
        len: 0,
        lists: [List::EMPTY; TYPES],
        wholes: Wholes {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
        },
    };

    /// Of what was retired one by one.
    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts what belongs to a block that is here.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn has_wholes(&self) -> bool {
        !self.wholes.first.is_null()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.has_wholes()
    }

    pub(super) fn take(&mut self) -> Limbo {
        std::mem::replace(self, Limbo::EMPTY)
    }

    /// # Safety
    /// No reader finds the block from here on, and this is its only owner.
    #[inline(always)]
    pub(super) unsafe fn push<T: Retire>(&mut self, block: *mut T, bytes: usize) {
        self.bytes += bytes;
        self.len += 1;
        // SAFETY: the block is there.
        let link = unsafe { T::link(block) };
        let list = &mut self.lists[0];
        if list.is_of(Of::<T>::FREE_FIRST) && !list.first.is_null() {
            // SAFETY: the block's own word.
            unsafe { lead(link, list.first) };
            list.first = block.cast();
            return;
        }
        self.append_list(List {
            first: block.cast(),
            last_link: link,
            free_first: Of::<T>::FREE_FIRST,
        });
    }

    /// # Safety
    /// As of `push`, for all that belongs to it.
    pub(super) unsafe fn push_whole<T: RetireWhole>(&mut self, whole: *mut T) {
        let node = whole.cast::<WholeNode>();
        // SAFETY: a `T` begins with its node, and no reader looks at that.
        unsafe {
            node.write(WholeNode {
                next: ptr::null_mut(),
                free_slice: free_slice::<T>,
            });
        }
        self.append_wholes(Wholes {
            first: node,
            last: node,
        });
    }

    #[inline(never)]
    fn append_list(&mut self, other: List) {
        let mut lists = self.lists.iter_mut();
        let place = lists.find(|list| list.first.is_null() || list.is_of(other.free_first));
        let Some(list) = place else {
            // More types than there are. What is not freed does no harm to readers.
            debug_assert!(false, "a type too many");
            return;
        };
        // SAFETY: the last one's own word, or what the oldest of an empty list leads to.
        unsafe { lead(other.last_link, list.first) };
        if list.first.is_null() {
            list.last_link = other.last_link;
        }
        list.first = other.first;
        list.free_first = other.free_first;
    }

    fn append_wholes(&mut self, other: Wholes) {
        if other.first.is_null() {
            return;
        }
        match self.has_wholes() {
            // SAFETY: a node that is here.
            true => unsafe { (*self.wholes.last).next = other.first },
            false => self.wholes.first = other.first,
        }
        self.wholes.last = other.last;
    }

    /// Takes over all that another has.
    pub(super) fn append(&mut self, other: Limbo) {
        self.bytes += other.bytes;
        self.len += other.len;
        let lists = other.lists.into_iter();
        for list in lists.filter(|list| !list.first.is_null()) {
            self.append_list(list);
        }
        self.append_wholes(other.wholes);
    }

    /// Frees until `is_enough`, which is asked each few blocks; `true` if all is gone.
    ///
    /// # Safety
    /// Nobody uses what is here any more.
    pub(super) unsafe fn free(&mut self, mut is_enough: impl FnMut() -> bool) -> bool {
        for at in 0..TYPES {
            // SAFETY: by contract, as long as there is a first.
            while unsafe { self.free_blocks(at) } {
                if is_enough() {
                    return false;
                }
            }
        }
        if self.len == 0 {
            self.bytes = 0;
        }
        while self.has_wholes() {
            // SAFETY: by contract.
            unsafe { self.free_of_whole() };
            if is_enough() {
                return self.is_empty();
            }
        }
        true
    }

    /// Frees a few blocks of one type; `false` if there are no more.
    ///
    /// # Safety
    /// As of `free`.
    unsafe fn free_blocks(&mut self, at: usize) -> bool {
        for _ in 0..BLOCKS {
            let list = &mut self.lists[at];
            if list.first.is_null() {
                return false;
            }
            self.bytes -= self.bytes / self.len.max(1); // what a block has on an average
            self.len = self.len.saturating_sub(1);
            // SAFETY: by contract.
            unsafe { (list.free_first)(&mut list.first) };
        }
        true
    }

    /// # Safety
    /// As of `free`, and there is one.
    unsafe fn free_of_whole(&mut self) {
        let node = self.wholes.first;
        // SAFETY: a node that is here. It is taken off first: it may be gone afterwards.
        unsafe {
            self.wholes.first = (*node).next;
            if !((*node).free_slice)(node, PARTS) {
                if self.wholes.first.is_null() {
                    self.wholes.last = node;
                }
                (*node).next = self.wholes.first;
                self.wholes.first = node;
            }
        }
    }
}
