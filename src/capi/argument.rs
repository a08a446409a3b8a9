//! Arguments from C: checked before they are used, as far as C lets one check.

use std::ffi::{c_char, c_void};

use super::status::{Failure, Status};
use crate::value::{ValueRef, COPY_LIMIT};

/// `KVREG_NUL`: the text ends at its NUL.
pub(super) const NUL: usize = usize::MAX;

pub(super) fn invalid(text: &'static str) -> Failure {
    Failure::new(Status::InvalidArgument, text)
}

/// An output that the caller must give; cleared at once, so that it is clean on failure.
pub(super) struct Out<T: Copy>(*mut T);

impl<T: Copy> Out<T> {
    /// Called first of all, with a pointer that may be null.
    ///
    /// # Safety
    /// `pointer` is null or may be written until the function returns.
    pub(super) unsafe fn new(pointer: *mut T, clean: T) -> Out<T> {
        if !pointer.is_null() {
            // SAFETY: by contract.
            unsafe { pointer.write(clean) };
        }
        Out(pointer)
    }

    /// Refuses null, where the output is not optional.
    pub(super) fn required(&self) -> Result<(), Failure> {
        if self.0.is_null() {
            return Err(invalid("an output is NULL"));
        }
        Ok(())
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.0.is_null()
    }

    pub(super) fn set(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: as `new` was promised.
            unsafe { self.0.write(value) };
        }
    }
}

/// A struct with its size in front: integers and pointers, of which all zero is the default.
///
/// # Safety
/// Any bytes are a value of it, and it begins with a u32.
pub(super) unsafe trait WithSize: Copy {}

/// Options as the caller knows them: what its version of the struct lacks is zero, what this
/// version lacks must be. `None` if the pointer is null.
///
/// # Safety
/// `pointer` is null, or to a struct of the size it tells.
pub(super) unsafe fn options<T: WithSize>(pointer: *const T) -> Result<Option<T>, Failure> {
    /// Larger than any version will be.
    const LARGEST: usize = 4096;
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: by contract; plain bytes.
    unsafe {
        let size = pointer.cast::<u32>().read_unaligned() as usize;
        // A size that ends within a field would leave half a pointer.
        if !(1..=LARGEST / 8).contains(&(size / 8)) || size % 8 != 0 {
            return Err(invalid("the size of the options is not set"));
        }
        let given = std::slice::from_raw_parts(pointer.cast::<u8>(), size);
        let (known, unknown) = given.split_at(size.min(size_of::<T>()));
        if unknown.iter().any(|byte| *byte != 0) {
            let text = "an option is set that this version does not know: the program was \
                        compiled with a newer header than the library's";
            return Err(Failure::new(Status::Unsupported, text));
        }
        let mut options = std::mem::MaybeUninit::<T>::zeroed();
        std::ptr::copy_nonoverlapping(known.as_ptr(), options.as_mut_ptr().cast(), known.len());
        Ok(Some(options.assume_init()))
    }
}

/// What 0 stands for is the default.
pub(super) fn limit(given: u64, default: usize) -> usize {
    match given {
        0 => default,
        given => usize::try_from(given).unwrap_or(usize::MAX),
    }
}

/// Bytes of a key, a message or a buffer.
///
/// # Safety
/// `data` is good for `len` bytes until the function returns, or up to its NUL if `len` is
/// `KVREG_NUL`.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    if data.is_null() {
        return match len {
            0 => Ok(&[]),
            _ => Err(invalid("a pointer is NULL and its length is not 0")),
        };
    }
    // SAFETY: by contract; a length that no object can have is refused.
    unsafe {
        let len = match len {
            NUL => libc::strlen(data.cast()),
            len => len,
        };
        if isize::try_from(len).is_err() {
            return Err(invalid("a length is beyond any object's"));
        }
        Ok(std::slice::from_raw_parts(data.cast(), len))
    }
}

/// Text: UTF-8.
///
/// # Safety
/// As for `bytes`.
pub(super) unsafe fn text<'a>(data: *const c_char, len: usize) -> Result<&'a str, Failure> {
    // SAFETY: by contract.
    let bytes = unsafe { bytes(data.cast(), len) }?;
    std::str::from_utf8(bytes).map_err(|_| invalid("a text is not UTF-8"))
}

/// The key of a bucket.
///
/// # Safety
/// As for `bytes`.
pub(super) unsafe fn key<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    if len != NUL {
        // Before the bytes are looked at: a wrong length should not be read.
        if len > crate::store::KEY_LIMIT {
            return Err(invalid("a key has at most 65536 bytes"));
        }
    }
    // SAFETY: by contract.
    Ok(crate::bucket::check_key(unsafe { bytes(data, len) }?)?)
}

/// The name of a bucket.
///
/// # Safety
/// As for `bytes`.
pub(super) unsafe fn name<'a>(data: *const c_char, len: usize) -> Result<&'a str, Failure> {
    if len != NUL && len > crate::registry::NAME_LIMIT {
        return Err(invalid("a name has 1 to 255 bytes"));
    }
    // SAFETY: by contract.
    Ok(crate::registry::check_name(unsafe { text(data, len) }?)?)
}

// Memory of the caller's may be where it takes long to get to: on a disk, or with a program that
// serves its pages. Nobody is to wait for it: neither readers, while a writer has begun a change,
// nor those who free what was replaced, while a reader is pinned. So the first and the last byte
// of what is read or written then are touched before. What lies between them is no longer than a
// page.

/// Has bytes at hand that will be read.
///
/// # Safety
/// `data` is good for `len` bytes.
#[inline(always)]
pub(super) unsafe fn touch_to_read(data: *const u8, len: usize) {
    if len > 0 {
        // SAFETY: by contract.
        unsafe {
            data.read_volatile();
            data.add(len - 1).read_volatile();
        }
    }
}

/// Has a key or a name at hand, whose length is not checked yet: all of it, for it may lie across
/// pages, and its NUL may be far.
///
/// # Safety
/// As for `bytes`.
pub(super) unsafe fn text_at_hand(data: *const u8, len: usize) {
    /// No page is smaller.
    const PAGE: usize = 4096;
    if data.is_null() || (len > crate::store::KEY_LIMIT && len != NUL) {
        return; // and is refused
    }
    // SAFETY: by contract.
    unsafe {
        if len == NUL {
            std::hint::black_box(libc::strlen(data.cast()));
            return;
        }
        for at in (0..len).step_by(PAGE) {
            touch_to_read(data.add(at), PAGE.min(len - at));
        }
    }
}

/// A value whose bytes are at hand, if they are few enough to be copied in place.
pub(super) fn at_hand(value: ValueRef<'_>) -> ValueRef<'_> {
    let text = value.text();
    if text.len() <= COPY_LIMIT {
        // SAFETY: a text is good for its length.
        unsafe { touch_to_read(text.as_ptr(), text.len()) };
    }
    value
}

/// A value whose bytes are at hand, however many: it is looked at while others wait.
pub(super) fn all_at_hand(value: ValueRef<'_>) -> ValueRef<'_> {
    for part in value.text().chunks(COPY_LIMIT) {
        // SAFETY: a part of a text, which is good for its length.
        unsafe { touch_to_read(part.as_ptr(), part.len()) };
    }
    value
}

/// Has bytes at hand that will be written, and leaves them as they are.
///
/// # Safety
/// `data` may be written for `len` bytes, which is not 0. They need not be initialised.
#[inline(always)]
pub(super) unsafe fn touch_to_write(data: *mut u8, len: usize) {
    // SAFETY: by contract.
    unsafe {
        touch_byte(data);
        touch_byte(data.add(len - 1));
    }
}

/// # Safety
/// It may be written.
#[inline(always)]
unsafe fn touch_byte(byte: *mut u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: by contract; the byte stays what it was.
    unsafe {
        std::arch::asm!("or byte ptr [{}], 0", in(reg) byte, options(nostack));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: by contract. As an atomic, which may hold anything.
    unsafe {
        use std::sync::atomic::{AtomicU8, Ordering};
        AtomicU8::from_ptr(byte).fetch_or(0, Ordering::Relaxed);
    }
}
