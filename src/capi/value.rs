//! Values across the boundary. The struct is the header's `kvreg_value`.
//!
//! `private_` tells who owns the text: 0 is nobody (borrowed, or no text). Else its lower 48
//! bits are an address and the upper 16 say of what: a copy, by its length and 1, or `SHARED`
//! for a count of a blob. A copy has at most `COPY_LIMIT` bytes, so the two are apart.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::mem::ManuallyDrop;

use super::argument::{self, invalid};
use super::guard::guard;
use super::status::{kvreg_status, Failure, Status};
use crate::store::Small;
use crate::sync::{Area, ThreadLocal};
use crate::value::{Copied, Repr, Shared, Text, Value, ValueRef, COPY_LIMIT, VALUE_LIMIT};

pub(super) const NIL: u32 = 0;
pub(super) const BOOL: u32 = 1;
pub(super) const INT: u32 = 2;
pub(super) const FLOAT: u32 = 3;
pub(super) const STRING: u32 = 4;
pub(super) const BYTES: u32 = 5;
/// Told of a key that is absent, and never stored.
pub(super) const ABSENT: u32 = 6;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_value {
    kind: u32, // `type` in C
    reserved: u32,
    payload: Payload, // `as` in C
    private_: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
union Payload {
    boolean: u8,
    integer: i64,
    real: f64,
    text: RawText,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RawText {
    data: *const u8,
    len: usize,
}

const _: () = assert!(size_of::<kvreg_value>() == 32 && align_of::<kvreg_value>() == 8);

#[cfg(test)]
laid_out_as_in_c!(kvreg_value { kind as "type", reserved, payload as "as", private_ });

const ADDRESS_BITS: u32 = 48;
const SHARED: u64 = 0xffff;
/// As `SHARED`, but the count is another's: a view of a value that stays where it is.
const LENT: u64 = 0xfffe;
const _: () = assert!((COPY_LIMIT as u64) + 1 < LENT);

impl kvreg_value {
    pub(super) const NIL: kvreg_value = kvreg_value {
        kind: NIL,
        reserved: 0,
        payload: Payload {
            text: RawText {
                data: std::ptr::null(),
                len: 0,
            },
        },
        private_: 0,
    };

    pub(super) const ABSENT: kvreg_value = kvreg_value {
        kind: ABSENT,
        ..kvreg_value::NIL
    };

    fn scalar(kind: u32, payload: Payload) -> kvreg_value {
        // The rest of the payload stays zero: C may compare values bytewise.
        let mut value = kvreg_value {
            kind,
            ..kvreg_value::NIL
        };
        match kind {
            // SAFETY: a union's fields are written, not read.
            BOOL => value.payload.boolean = unsafe { payload.boolean },
            _ => value.payload.integer = unsafe { payload.integer },
        }
        value
    }

    fn text(kind: u32, bytes: &[u8], private_: u64) -> kvreg_value {
        let text = RawText {
            data: bytes.as_ptr(),
            len: bytes.len(),
        };
        kvreg_value {
            kind,
            reserved: 0,
            payload: Payload { text },
            private_,
        }
    }

    /// What C gave as a pointer and a length.
    pub(super) fn string(data: *const u8, len: usize) -> kvreg_value {
        kvreg_value::unchecked(STRING, data, len)
    }

    pub(super) fn bytes(data: *const u8, len: usize) -> kvreg_value {
        kvreg_value::unchecked(BYTES, data, len)
    }

    fn unchecked(kind: u32, data: *const u8, len: usize) -> kvreg_value {
        let text = RawText { data, len };
        kvreg_value {
            kind,
            payload: Payload { text },
            ..kvreg_value::NIL
        }
    }

    /// A value that C owns until `kvreg_value_clear`.
    #[inline(always)] // handed over in registers: a stop in memory costs as much as a lookup
    pub(super) fn owned(value: Value) -> Result<kvreg_value, Failure> {
        Ok(match value {
            Value::String(text) => owned_text(true, text)?,
            Value::Bytes(text) => owned_text(false, text)?,
            scalar => kvreg_value::borrowed(&scalar),
        })
    }

    /// `None`, as of `shared`, if an address has more bits than on any platform of today; the
    /// text is leaked then, rather than mistaken.
    #[inline(always)]
    pub(super) fn copied(is_string: bool, copied: Copied) -> Option<kvreg_value> {
        let (data, len) = copied.into_raw();
        let private_ = private(len as u64 + 1, data.expose_provenance())?;
        Some(kvreg_value {
            private_,
            ..kvreg_value::unchecked(text_kind(is_string), data, len)
        })
    }

    #[inline(always)]
    pub(super) fn shared(is_string: bool, blob: Shared) -> Option<kvreg_value> {
        // The bytes stay where they are as long as the count that C owns from here on.
        let value = kvreg_value::text(text_kind(is_string), blob.bytes(), 0);
        let private_ = private(SHARED, blob.into_address())?;
        Some(kvreg_value { private_, ..value })
    }

    /// A text that was copied to the caller's own memory.
    #[inline(always)]
    pub(super) fn copied_to(is_string: bool, data: *const u8, len: usize) -> kvreg_value {
        kvreg_value::unchecked(text_kind(is_string), data, len)
    }

    /// A view of a value that stays where it is.
    pub(super) fn borrowed(value: &Value) -> kvreg_value {
        match value {
            Value::Nil => kvreg_value::NIL,
            Value::Bool(value) => kvreg_value::of_scalar(ValueRef::Bool(*value)),
            Value::Int(value) => kvreg_value::of_scalar(ValueRef::Int(*value)),
            Value::Float(value) => kvreg_value::of_scalar(ValueRef::Float(*value)),
            Value::String(text) => kvreg_value::text(STRING, text.as_bytes(), 0),
            Value::Bytes(text) => kvreg_value::text(BYTES, text.as_bytes(), 0),
        }
    }

    /// A view of a value that stays where it is, of which another count can be taken.
    pub(super) fn lent(value: &Value) -> kvreg_value {
        let mut view = kvreg_value::borrowed(value);
        if let Value::String(text) | Value::Bytes(text) = value {
            if let Repr::Shared(blob) = &text.0 {
                view.private_ = private(LENT, blob.address()).unwrap_or(0);
            }
        }
        view
    }

    /// Another value with the same content.
    ///
    /// # Safety
    /// As of `get`; and if it owns a text, that is not cleared meanwhile.
    pub(super) unsafe fn another(&self) -> Result<kvreg_value, Failure> {
        // SAFETY: by contract.
        let value = unsafe { self.get() }?;
        let address = (self.private_ & ((1 << ADDRESS_BITS) - 1)) as usize;
        if matches!(self.kind, STRING | BYTES)
            && matches!(self.private_ >> ADDRESS_BITS, SHARED | LENT)
        {
            // SAFETY: noted by `owned` or `lent`, of one that is there.
            let blob = Shared::clone(unsafe { &Shared::at(address) });
            let another = kvreg_value::shared(self.kind == STRING, blob);
            return another.ok_or_else(|| Failure::new(Status::Unsupported, ADDRESSES));
        }
        kvreg_value::owned(Value::new(value)?)
    }

    /// Whether it is in order, and a text has a NUL behind it, by what is known without a look at it.
    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        match self.kind {
            NIL | INT | FLOAT => true,
            // SAFETY: any bits are a number.
            BOOL => matches!(unsafe { self.payload.boolean }, 0 | 1),
            STRING | BYTES => self.private_ != 0,
            _ => false,
        }
    }

    /// The bytes of a text; 0 of any other value.
    #[inline(always)]
    pub(super) fn text_len(&self) -> usize {
        match self.kind {
            // SAFETY: any bits are a length.
            STRING | BYTES => unsafe { self.payload.text }.len,
            _ => 0,
        }
    }

    /// The answer of a call, if it needs no memory.
    #[inline(always)]
    pub(super) fn as_scalar(&self) -> Option<kvreg_value> {
        match self.kind {
            NIL => Some(kvreg_value::NIL),
            // SAFETY of all: any bits are a number.
            INT => Some(kvreg_value::of_scalar(ValueRef::Int(unsafe {
                self.payload.integer
            }))),
            FLOAT => Some(kvreg_value::of_scalar(ValueRef::Float(unsafe {
                self.payload.real
            }))),
            BOOL if unsafe { self.payload.boolean } <= 1 => {
                let value = unsafe { self.payload.boolean } == 1;
                Some(kvreg_value::of_scalar(ValueRef::Bool(value)))
            }
            _ => None,
        }
    }

    #[inline(always)]
    pub(super) fn is_absent(&self) -> bool {
        self.kind == ABSENT
    }

    /// Makes it own nothing, until it is taken back with what it owned.
    #[inline(always)]
    pub(super) fn lend(&mut self) -> u64 {
        std::mem::take(&mut self.private_)
    }

    #[inline(always)]
    pub(super) fn take_back(&mut self, owned: u64) {
        self.private_ = owned;
    }

    /// Of a value that is no text.
    #[inline(always)]
    pub(super) fn of_scalar(value: ValueRef<'_>) -> kvreg_value {
        match value {
            ValueRef::Bool(value) => {
                let boolean = u8::from(value);
                kvreg_value::scalar(BOOL, Payload { boolean })
            }
            ValueRef::Int(value) => kvreg_value::scalar(INT, Payload { integer: value }),
            ValueRef::Float(value) => kvreg_value::scalar(FLOAT, Payload { real: value }),
            _ => kvreg_value::NIL,
        }
    }

    /// What C gave, if it is small and in order; its bytes have been looked at by then.
    ///
    /// # Safety
    /// As of `get`.
    #[inline(always)]
    pub(super) unsafe fn get_small<'a>(&self) -> Option<Small<'a>> {
        match self.kind {
            // SAFETY of both: any bits are a number.
            INT => return Some(Small::int(unsafe { self.payload.integer })),
            FLOAT => return Some(Small::float(unsafe { self.payload.real })),
            STRING | BYTES => {}
            // SAFETY: by contract.
            _ => return unsafe { self.get() }.ok().and_then(Small::of),
        }
        // SAFETY: any bits are a pointer and a length.
        let RawText { data, len } = unsafe { self.payload.text };
        if data.is_null() || len > COPY_LIMIT {
            return None;
        }
        // SAFETY: by contract.
        let bytes = unsafe { std::slice::from_raw_parts(data, len) };
        let is_string = self.kind == STRING;
        match is_string {
            true => _ = std::str::from_utf8(bytes).ok()?,
            // SAFETY: by contract.
            false => unsafe { argument::touch_to_read(data, len) },
        }
        Small::of_text(is_string, bytes)
    }

    /// Whether it is a text that is not looked at by `get_small`.
    pub(super) fn is_long(&self) -> bool {
        // SAFETY: any bits are a pointer and a length.
        matches!(self.kind, STRING | BYTES) && unsafe { self.payload.text }.len > COPY_LIMIT
    }

    /// What C gave.
    ///
    /// # Safety
    /// The text of a STRING or BYTES value is good for its length while the answer is used.
    pub(super) unsafe fn get<'a>(&self) -> Result<ValueRef<'a>, Failure> {
        // SAFETY: every field of the payload may hold any bits, so reading one is fine
        // whatever was written; the text is good by contract.
        unsafe {
            Ok(match self.kind {
                NIL => ValueRef::Nil,
                BOOL => match self.payload.boolean {
                    0 => ValueRef::Bool(false),
                    1 => ValueRef::Bool(true),
                    _ => return Err(invalid("a bool is neither 0 nor 1")),
                },
                INT => ValueRef::Int(self.payload.integer),
                FLOAT => ValueRef::Float(self.payload.real),
                STRING => {
                    let bytes = text_bytes(self.payload.text)?;
                    let text = std::str::from_utf8(bytes);
                    ValueRef::String(text.map_err(|_| invalid("a STRING is not UTF-8"))?)
                }
                BYTES => ValueRef::Bytes(text_bytes(self.payload.text)?),
                ABSENT => return Err(absent_is_no_value()),
                _ => return Err(invalid("a value of an unknown type")),
            })
        }
    }

    /// Gives up what the value owns, and makes it nil.
    pub(super) fn clear(&mut self) {
        self.clear_here();
    }

    /// As `clear`, where a call would cost as much.
    #[inline(always)]
    pub(super) fn clear_here(&mut self) {
        let private_ = std::mem::replace(self, kvreg_value::NIL).private_;
        let address = (private_ & ((1 << ADDRESS_BITS) - 1)) as usize;
        // SAFETY: `private_` was made by `owned_text` from an owner that nobody has dropped:
        // the header asks that one copy of a value is cleared, once.
        unsafe {
            match private_ >> ADDRESS_BITS {
                0 | LENT => {}
                SHARED => {
                    drop(ManuallyDrop::into_inner(Shared::at(address)));
                }
                copied => {
                    let data = std::ptr::with_exposed_provenance_mut(address);
                    Copied::free(data, copied as usize - 1);
                }
            }
        }
    }
}

/// Who was told KVREG_ABSENT may hand it on by mistake.
pub(super) fn absent_is_no_value() -> Failure {
    invalid("KVREG_ABSENT tells that a key is absent, and cannot be stored")
}

#[inline(always)]
fn text_kind(is_string: bool) -> u32 {
    match is_string {
        true => STRING,
        false => BYTES,
    }
}

#[inline(always)]
fn private(what: u64, address: usize) -> Option<u64> {
    let fits = address as u64 >> ADDRESS_BITS == 0;
    fits.then_some(what << ADDRESS_BITS | address as u64)
}

/// # Safety
/// The text is good for its length.
unsafe fn text_bytes<'a>(text: RawText) -> Result<&'a [u8], Failure> {
    if text.len > VALUE_LIMIT && text.len != argument::NUL {
        // Before the bytes are looked at: a wrong length should not be read.
        return Err(Failure::new(Status::Limit, "a value has at most 512 MiB"));
    }
    // SAFETY: by contract.
    unsafe { argument::bytes(text.data.cast(), text.len) }
}

/// The value behind a pointer from C.
///
/// # Safety
/// `value` is null or points to an initialised value whose text is good for its length.
pub(super) unsafe fn given<'a>(value: *const kvreg_value) -> Result<ValueRef<'a>, Failure> {
    // SAFETY: by contract.
    match unsafe { value.as_ref() } {
        None => Err(invalid("a value is NULL")),
        // SAFETY: by contract.
        Some(value) => unsafe { value.get() },
    }
}

#[inline(always)]
fn owned_text(is_string: bool, text: Text) -> Result<kvreg_value, Failure> {
    match text.0 {
        Repr::Copied(copied) => kvreg_value::copied(is_string, copied),
        Repr::Shared(blob) => kvreg_value::shared(is_string, blob),
    }
    .ok_or_else(|| Failure::new(Status::Unsupported, ADDRESSES))
}

const ADDRESSES: &str = "addresses beyond 48 bits";

/// @name Values
///
/// Releases what a function returned in `value`, and makes the value nil. It may be called twice
/// on one variable, and on a value that owns nothing. NULL is fine. It works after kvreg_shutdown
/// too. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_value_clear(value: *mut kvreg_value) {
    // Without a guard: nothing in here can panic, and every read ends here.
    // SAFETY: null, or a value that was initialised.
    if let Some(value) = unsafe { value.as_mut() } {
        value.clear();
    }
}

/// What the innermost callback that runs on this thread copies, or null.
struct Innermost(Cell<*const Copies>);

// SAFETY: null at first; the area is its own.
unsafe impl ThreadLocal for Innermost {
    const AREA: Area = Area::Copies;
}

/// Keeps what a callback copies until the update is done with it. It lies on the stack of who
/// calls the callback, and stays where it is.
pub(super) struct Copies {
    texts: RefCell<Vec<Text>>,
}

impl Copies {
    #[inline(always)]
    pub(super) fn new() -> Copies {
        Copies {
            texts: RefCell::default(),
        }
    }

    /// What is copied on this thread while `callback` runs is kept as long as this.
    #[inline(always)]
    pub(super) fn keep<R>(&self, callback: impl FnOnce() -> R) -> R {
        let outer = Innermost::own(|innermost| innermost.0.replace(self));
        let answer = callback();
        Innermost::own(|innermost| innermost.0.set(outer));
        answer
    }

    /// Most callbacks copy nothing.
    #[inline(always)]
    pub(super) fn release(self) {
        match self.texts.into_inner() {
            none if none.capacity() == 0 => std::mem::forget(none),
            some => drop(some),
        }
    }

    /// Keeps a text for the innermost callback; gives it back if there is none.
    fn add(text: Text) -> Result<Option<Text>, Failure> {
        // SAFETY: null, or on the stack below: `keep` runs.
        let Some(copies) = (unsafe { Innermost::own(|innermost| innermost.0.get()).as_ref() })
        else {
            return Ok(Some(text));
        };
        let mut texts = copies.texts.borrow_mut();
        texts.try_reserve(1).map_err(|_| Status::NoMemory)?;
        texts.push(text);
        Ok(None)
    }
}

/// Copies text into a value. This is how an update's callback stores text that does not outlive
/// the callback. The type becomes KVREG_STRING, unless it is KVREG_BYTES. Inside a callback the
/// library keeps the copy until the update is done, and the value owns nothing. Elsewhere the
/// value owns the copy, and kvreg_value_clear releases it. What the value held before is not
/// released. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_value_copy_text(
    value: *mut kvreg_value,
    data: *const c_void,
    len: usize,
) -> kvreg_status {
    guard("kvreg_value_copy_text", || {
        // SAFETY: null, or a value that was initialised.
        let value = unsafe { value.as_mut() }.ok_or_else(|| invalid("a value is NULL"))?;
        let given = RawText {
            data: data.cast(),
            len,
        };
        // SAFETY: `data` is good for `len` bytes.
        let bytes = unsafe { text_bytes(given) }?;
        let kind = if value.kind == BYTES { BYTES } else { STRING };
        if kind == STRING && std::str::from_utf8(bytes).is_err() {
            return Err(invalid("a STRING is not UTF-8"));
        }
        let copy = Text::copy(bytes)?;
        let view = kvreg_value::text(kind, copy.as_bytes(), 0);
        *value = match Copies::add(copy)? {
            None => view,
            Some(copy) => owned_text(kind == STRING, copy)?,
        };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(value: ValueRef<'_>) {
        let mut owned = kvreg_value::owned(Value::new(value).unwrap()).ok().unwrap();
        // SAFETY: owned just now.
        let seen = unsafe { owned.get() }.ok().unwrap();
        assert_eq!(seen, value);
        owned.clear();
        assert_eq!(owned.private_, 0);
        owned.clear();
    }

    #[test]
    fn values_cross_and_come_back() {
        round_trip(ValueRef::Nil);
        round_trip(ValueRef::Bool(true));
        round_trip(ValueRef::Int(i64::MIN));
        round_trip(ValueRef::Float(-0.5));
        for len in [0, 1, COPY_LIMIT - 1, COPY_LIMIT, COPY_LIMIT + 1, 1 << 20] {
            let text = "x".repeat(len);
            round_trip(ValueRef::String(&text));
            round_trip(ValueRef::Bytes(text.as_bytes()));
        }
    }
}
