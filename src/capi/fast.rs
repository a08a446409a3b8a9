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

use std::sync::Arc;

use super::argument::touch_to_write;
use super::kinds::Handle;
use super::object::token;
use super::value::kvreg_value;
use crate::process::Process;
use crate::reclaim::{self, Guard};
use crate::runtime::platform;
use crate::server::Thread;
use crate::store::{Key, Reader, KEY_LIMIT};
use crate::sync::raw_arc;
use crate::value::{Copied, Shared, ValueRef, COPY_LIMIT};

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

/// Runs `work` pinned, without a handle.
#[inline(always)]
pub(super) fn pinned<R>(work: impl FnOnce(&Guard) -> Option<R>) -> Option<R> {
    reclaim::fast_pin(Process::if_any()?.system().domain(), work)
}

/// Runs a read with the object of a handle, unless casts of the calling thread are queued
/// somewhere: it must not pass them.
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

/// A key, or name, that needs no more looks.
///
/// # Safety
/// `data` is good for `len` bytes, if `len` is that of a key.
#[inline(always)]
pub(super) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by contract.
    (!data.is_null() && len <= KEY_LIMIT).then(|| unsafe { std::slice::from_raw_parts(data, len) })
}

/// A key that needs no more looks, and has been looked at once.
///
/// # Safety
/// As of `bytes`.
#[inline(always)]
pub(super) unsafe fn key<'a>(data: *const u8, len: usize) -> Option<Key<'a>> {
    // SAFETY: by contract.
    unsafe { bytes(data, len) }.map(Key::new)
}

/// Makes the C value; `None` if an address has more bits than it should.
#[derive(Clone, Copy)]
pub(super) struct Output;

// SAFETY: `Copied::new` makes room for `len` bytes.
unsafe impl Reader for Output {
    type Read = Option<kvreg_value>;
    type Copy = Copied;

    #[inline(always)]
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<Copied> {
        // SAFETY: all of them are written.
        unsafe { Copied::new(len, fill) }
    }

    #[inline(always)]
    fn scalar(self, value: ValueRef<'static>) -> Option<kvreg_value> {
        Some(kvreg_value::of_scalar(value))
    }

    #[inline(always)]
    fn copied(self, is_string: bool, text: Copied) -> Option<kvreg_value> {
        kvreg_value::copied(is_string, text)
    }

    #[inline(always)]
    fn shared(self, is_string: bool, text: &Shared) -> Option<kvreg_value> {
        kvreg_value::shared(is_string, text.clone())
    }
}

/// Copies a text into the caller's buffer if it has room there, and tells its length; `None` if
/// the value is no text. Nobody is promised what the buffer holds otherwise, so that a torn copy
/// may show there. A large text is left to be copied by who called, who is pinned no longer.
#[derive(Clone, Copy)]
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

    /// Has the buffer at hand, as far as it is written while the thread is pinned.
    ///
    /// # Safety
    /// `data` may be written for `capacity` bytes.
    #[inline(always)]
    pub(super) unsafe fn touch(data: *mut u8, capacity: usize) {
        if capacity > 0 {
            // SAFETY: by contract.
            unsafe { touch_to_write(data, capacity.min(COPY_LIMIT)) };
        }
    }

    /// Copies a large text, if there is room.
    pub(super) fn fill(self, text: &[u8]) -> bool {
        let has_room = self.has_room_for(text.len());
        if has_room {
            // SAFETY: there is room for so many.
            unsafe {
                self.data
                    .copy_from_nonoverlapping(text.as_ptr(), text.len());
            }
        }
        has_room
    }

    #[inline(always)]
    fn has_room_for(&self, len: usize) -> bool {
        len <= self.capacity && !self.data.is_null()
    }
}

// SAFETY: the caller's buffer is filled with no more than its capacity, as `new` was promised.
unsafe impl Reader for Buffer {
    type Read = InBuffer;
    /// How many bytes it has.
    type Copy = usize;

    #[inline(always)]
    fn scalar(self, _value: ValueRef<'static>) -> InBuffer {
        InBuffer::NoText
    }

    #[inline(always)]
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<usize> {
        if self.has_room_for(len) {
            fill(self.data);
        }
        Some(len)
    }

    #[inline(always)]
    fn copied(self, _is_string: bool, len: usize) -> InBuffer {
        InBuffer::Copied(len)
    }

    #[inline(always)]
    fn shared(self, _is_string: bool, text: &Shared) -> InBuffer {
        InBuffer::Large(text.clone())
    }
}

/// What became of a text that was to be copied to a buffer.
pub(super) enum InBuffer {
    NoText,
    /// It has so many bytes.
    Copied(usize),
    Large(Shared),
}

/// Copies a text into the caller's buffer if it has room there, else as [`Output`] does, and makes
/// the C value. A large text is left to who called, as by [`Buffer`].
#[derive(Clone, Copy)]
pub(super) struct IntoBuffer(pub(super) Buffer);

/// What was made of a value, or is left to do.
pub(super) enum Got {
    Value(Option<kvreg_value>),
    Large(bool, Shared),
}

impl IntoBuffer {
    /// The value, once a large text is dealt with too.
    pub(super) fn finish(self, got: Got) -> Option<kvreg_value> {
        match got {
            Got::Value(value) => value,
            Got::Large(is_string, text) => match self.0.fill(text.bytes()) {
                true => Some(self.in_buffer(is_string, text.bytes().len())),
                false => kvreg_value::shared(is_string, text),
            },
        }
    }

    #[inline(always)]
    fn in_buffer(self, is_string: bool, len: usize) -> kvreg_value {
        kvreg_value::copied_to(is_string, self.0.data, len)
    }
}

/// Where a text was copied.
pub(super) enum Place {
    Buffer(usize),
    Own(Copied),
}

// SAFETY: as `Buffer`, and as `Output`.
unsafe impl Reader for IntoBuffer {
    type Read = Got;
    type Copy = Place;

    #[inline(always)]
    fn scalar(self, value: ValueRef<'static>) -> Got {
        Got::Value(Output.scalar(value))
    }

    #[inline(always)]
    fn copy(&self, len: usize, fill: impl FnOnce(*mut u8)) -> Option<Place> {
        if self.0.has_room_for(len) {
            fill(self.0.data);
            return Some(Place::Buffer(len));
        }
        Output.copy(len, fill).map(Place::Own)
    }

    #[inline(always)]
    fn copied(self, is_string: bool, text: Place) -> Got {
        Got::Value(match text {
            Place::Buffer(len) => Some(self.in_buffer(is_string, len)),
            Place::Own(copied) => Output.copied(is_string, copied),
        })
    }

    #[inline(always)]
    fn shared(self, is_string: bool, text: &Shared) -> Got {
        Got::Large(is_string, text.clone())
    }
}

/// Wants nothing: for who takes a key out.
#[derive(Clone, Copy)]
pub(super) struct Unwanted;

// SAFETY: it copies nothing.
unsafe impl Reader for Unwanted {
    type Read = ();
    type Copy = ();

    fn scalar(self, _value: ValueRef<'static>) {}

    fn copy(&self, _len: usize, _fill: impl FnOnce(*mut u8)) -> Option<()> {
        Some(())
    }

    fn copied(self, _is_string: bool, (): ()) {}

    fn shared(self, _is_string: bool, _text: &Shared) {}
}

/// Takes a number, as long as it is of the right type.
#[derive(Clone, Copy)]
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
        Some(())
    }

    fn copied(self, _is_string: bool, (): ()) -> Option<T> {
        None
    }

    fn shared(self, _is_string: bool, _text: &Shared) -> Option<T> {
        None
    }
}
