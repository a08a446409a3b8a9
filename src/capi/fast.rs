//! The short way of gets and puts.
//!
//! A get that meets nobody is a few dozen nanoseconds, of which the lookup is a part: what
//! the guard, the caller and the failures of the long way need on the stack costs as much
//! again. So these functions go a way first that has none of it. It answers `None` unless it
//! is sure to succeed, and then the long way finds out what is the matter. What it does it
//! does in the same order: the pin, the handle, the thread's own casts, the turn.
//!
//! There is no guard, for nothing here panics, runs user code, waits, or frees what is large;
//! a thread that has something to free goes the long way, which does it.

use std::mem::MaybeUninit;
use std::sync::Arc;

use super::object::{token, Handle};
use super::value::kvreg_value;
use crate::process::Process;
use crate::reclaim::{self, Guard};
use crate::runtime::platform;
use crate::server::Thread;
use crate::store::Reader;
use crate::store::KEY_LIMIT;
use crate::sync::raw_arc;
use crate::value::{Blob, Copied, ValueRef};

/// Runs `work` with the object of a handle.
#[inline(always)]
pub(super) fn fast<H: Handle, R>(
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &Guard) -> Option<R>,
) -> Option<R> {
    if platform::is_ending() {
        return None; // even here a lock may have to be taken
    }
    let process = Process::if_any()?;
    reclaim::fast_pin(process.system().domain(), |pinned| {
        let handles = process.handles();
        let object = handles.fast_get(token(handle), H::KIND, pinned)?;
        // SAFETY: as in `object::with`: a count of the table's, which lasts as long as the pin.
        let object = unsafe { raw_arc::kept::<H::Object>(object) };
        work(&object, pinned)
    })
}

/// The same for reads, which must not pass the thread's own casts.
#[inline(always)]
pub(super) fn fast_read<H: Handle, R>(
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &Guard) -> Option<R>,
) -> Option<R> {
    fast(handle, |object, pinned| match Thread::has_queued() {
        true => None,
        false => work(object, pinned),
    })
}

/// A key that needs no more looks.
///
/// # Safety
/// `data` is good for `len` bytes, if `len` is that of a key.
#[inline(always)]
pub(super) unsafe fn key<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by contract.
    (!data.is_null() && len <= KEY_LIMIT).then(|| unsafe { std::slice::from_raw_parts(data, len) })
}

/// Makes the C value, in its place: to hand it on costs more than to make it.
pub(super) struct Output(*mut kvreg_value);

impl Output {
    /// # Safety
    /// It may be written.
    pub(super) unsafe fn new(place: *mut kvreg_value) -> Output {
        Output(place)
    }

    #[inline(always)]
    fn set(self, value: Option<kvreg_value>) -> Option<()> {
        // SAFETY: as `new` was promised.
        unsafe { self.0.write(value?) };
        Some(())
    }
}

// SAFETY: `Copied::new` makes room for `len` bytes.
unsafe impl Reader for Output {
    type Read = Option<()>;
    type Copy = Copied;

    #[inline(always)]
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<Copied> {
        // SAFETY: all of them are written.
        unsafe { Copied::new(len, fill) }
    }

    #[inline(always)]
    fn scalar(self, value: ValueRef<'static>) -> Option<()> {
        self.set(Some(kvreg_value::of_scalar(value)))
    }

    #[inline(always)]
    fn copied(self, is_string: bool, text: Copied) -> Option<()> {
        self.set(kvreg_value::copied(is_string, text))
    }

    #[inline(always)]
    fn shared(self, is_string: bool, blob: &Arc<Blob>) -> Option<()> {
        self.set(kvreg_value::shared(is_string, Arc::clone(blob)))
    }
}

/// Copies a text into the caller's buffer, and tells its length: unless it is none, or has no
/// room there.
pub(super) struct Buffer {
    data: *mut u8,
    capacity: usize,
}

impl Buffer {
    /// # Safety
    /// `data` may be written for `capacity` bytes.
    pub(super) unsafe fn new(data: *mut u8, capacity: usize) -> Buffer {
        Buffer { data, capacity }
    }
}

/// A copy that may yet turn out to be torn: it must not show in the caller's buffer. Longer
/// texts go the long way, which is not much longer for them.
pub(super) struct Draft {
    bytes: [MaybeUninit<u8>; DRAFT],
    len: usize,
}

const DRAFT: usize = 64;

// SAFETY: a draft is filled with no more than it has room for.
unsafe impl Reader for Buffer {
    type Read = Option<usize>;
    type Copy = Draft;

    #[inline(always)]
    fn scalar(self, _value: ValueRef<'static>) -> Option<usize> {
        None
    }

    #[inline(always)]
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<Draft> {
        (len <= self.capacity && len <= DRAFT).then(|| {
            let mut bytes = [MaybeUninit::uninit(); DRAFT];
            fill(bytes.as_mut_ptr().cast());
            Draft { bytes, len }
        })
    }

    #[inline(always)]
    fn copied(self, _is_string: bool, text: Draft) -> Option<usize> {
        // SAFETY: there is room for so many, and they were written.
        unsafe {
            let from = text.bytes.as_ptr().cast();
            self.data.copy_from_nonoverlapping(from, text.len);
        }
        Some(text.len)
    }

    #[inline(always)]
    fn shared(self, _is_string: bool, blob: &Arc<Blob>) -> Option<usize> {
        let bytes = blob.bytes();
        (bytes.len() <= self.capacity).then(|| {
            // SAFETY: there is room for so many.
            unsafe {
                self.data
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
            };
            bytes.len()
        })
    }
}

/// Copies a text into the caller's buffer if it has room there, and makes the C value. Nobody
/// is promised what the buffer holds otherwise, so that a torn copy may show there.
pub(super) struct Into {
    data: *mut u8,
    capacity: usize,
    output: Output,
}

impl Into {
    /// # Safety
    /// `data` may be written for `capacity` bytes.
    pub(super) unsafe fn new(data: *mut u8, capacity: usize, output: Output) -> Into {
        Into {
            data,
            capacity,
            output,
        }
    }
}

// SAFETY: the caller's buffer is filled with no more than its capacity, as `new` was promised.
unsafe impl Reader for Into {
    type Read = Option<()>;
    /// How many bytes were copied.
    type Copy = usize;

    #[inline(always)]
    fn scalar(self, value: ValueRef<'static>) -> Option<()> {
        self.output.scalar(value)
    }

    #[inline(always)]
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<usize> {
        (len <= self.capacity).then(|| {
            fill(self.data);
            len
        })
    }

    #[inline(always)]
    fn copied(self, is_string: bool, len: usize) -> Option<()> {
        self.output
            .set(Some(kvreg_value::copied_to(is_string, self.data, len)))
    }

    #[inline(always)]
    fn shared(self, is_string: bool, blob: &Arc<Blob>) -> Option<()> {
        let bytes = blob.bytes();
        if bytes.len() > self.capacity {
            return self.output.shared(is_string, blob);
        }
        // SAFETY: there is room for so many.
        unsafe {
            self.data
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        self.copied(is_string, bytes.len())
    }
}

/// Takes a number, as long as it is of the right type.
pub(super) struct Scalar<F>(pub(super) F);

// SAFETY: it copies nothing.
unsafe impl<T, F: FnOnce(ValueRef<'static>) -> Option<T>> Reader for Scalar<F> {
    type Read = Option<T>;
    type Copy = ();

    #[inline(always)]
    fn scalar(self, value: ValueRef<'static>) -> Option<T> {
        (self.0)(value)
    }

    fn copy(&self, _len: usize, _fill: impl FnOnce(*mut u8)) -> Option<()> {
        None
    }

    fn copied(self, _is_string: bool, (): ()) -> Option<T> {
        None
    }

    fn shared(self, _is_string: bool, _blob: &Arc<Blob>) -> Option<T> {
        None
    }
}
