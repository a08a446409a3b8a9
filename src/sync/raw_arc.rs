//! Counts of an [`Arc`] that are kept as a plain pointer: in a word, in a table.
//!
//! The pointer is to where the memory begins. That of `Arc::into_raw` is to what it holds,
//! behind the counts, and programs that look for leaks take memory for lost that only pointers
//! into its middle lead to.
//!
//! **Argument.** An `Arc` of a sized type is one pointer (asserted below), and is only copied
//! bit by bit into a pointer and back, as the same type: so each `Arc` that comes out is one
//! that went in, whatever it looks like inside.

use std::marker::PhantomData;
use std::mem::{transmute_copy, ManuallyDrop};
use std::ops::Deref;

use crate::sync::Arc;

/// The pointer that an `Arc` is; its count remains its own.
#[inline(always)]
pub(crate) fn pointer<T>(arc: &Arc<T>) -> *const () {
    const { assert!(size_of::<Arc<T>>() == size_of::<*const ()>()) }
    // SAFETY: of one size, and every `Arc` is a valid pointer.
    unsafe { transmute_copy(arc) }
}

/// The count is the pointer's from here on.
#[inline(always)]
pub(crate) fn keep<T>(arc: Arc<T>) -> *const () {
    pointer(&ManuallyDrop::new(arc))
}

/// The `Arc` that a pointer was made of: to drop it drops the count that was kept.
///
/// # Safety
/// The pointer is that of an `Arc` of the same type, and a count of it lasts as long as the
/// answer is used.
#[inline(always)]
pub(crate) unsafe fn kept<T>(pointer: *const ()) -> ManuallyDrop<Arc<T>> {
    const { assert!(size_of::<Arc<T>>() == size_of::<*const ()>()) }
    // SAFETY: by contract.
    unsafe { transmute_copy(&pointer) }
}

/// An `Arc` whose count is another's, who has it as long as this lives.
pub(crate) struct Lent<'a, T> {
    arc: ManuallyDrop<Arc<T>>,
    owner: PhantomData<&'a Arc<T>>,
}

impl<T> Lent<'_, T> {
    /// # Safety
    /// The count is not the caller's, and lasts for the lifetime of the answer.
    #[inline(always)]
    pub(crate) unsafe fn new(arc: Arc<T>) -> Self {
        Lent {
            arc: ManuallyDrop::new(arc),
            owner: PhantomData,
        }
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = Arc<T>;

    #[inline(always)]
    fn deref(&self) -> &Arc<T> {
        &self.arc
    }
}
