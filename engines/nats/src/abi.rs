//! The structs of `kvreg_engine.h`, and what this engine needs of `kvreg.h`.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;

use crate::value::Value as Stored;

pub type Status = i32;

pub(crate) const OK: Status = 0;
pub(crate) const NOT_FOUND: Status = 1;
pub(crate) const TIMEOUT: Status = 5;
pub(crate) const OUTCOME_UNKNOWN: Status = 6;
pub(crate) const INVALID_ARGUMENT: Status = 10;
pub(crate) const CONFLICT: Status = 12;
pub(crate) const LIMIT: Status = 13;
pub(crate) const UNSUPPORTED: Status = 18;
pub(crate) const IO: Status = 19;
pub(crate) const INTERNAL: Status = 20;

pub(crate) const ABI: u32 = 2;
pub(crate) const SHARED: u64 = 2;
pub(crate) const BATCHES: u64 = 4;
pub(crate) const TTL: u64 = 8;

pub(crate) const PUT: u32 = 0;
pub(crate) const DELETE: u32 = 1;

/// In the place of `expected`: no condition.
pub(crate) const ANY: u64 = u64::MAX;

/// What is told.
pub(crate) const TOLD_PUT: u32 = 0;
pub(crate) const TOLD_DELETE: u32 = 1;
pub(crate) const TOLD_EXPIRE: u32 = 2;
pub(crate) const TOLD_RESET: u32 = 3;
pub(crate) const TOLD_CURRENT: u32 = 4;
pub(crate) const TOLD_UP: u32 = 5;
pub(crate) const TOLD_AWAY: u32 = 6;
pub(crate) const TOLD_DELETED: u32 = 7;

/// A length that says: up to the NUL.
const NUL: usize = usize::MAX;
/// Of a scan: without values.
pub(crate) const KEYS_ONLY: u32 = 1;

/// Types of values.
pub(crate) const NIL: u32 = 0;
pub(crate) const BOOL: u32 = 1;
pub(crate) const INT: u32 = 2;
pub(crate) const FLOAT: u32 = 3;
pub(crate) const STRING: u32 = 4;
pub(crate) const BYTES: u32 = 5;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    data: *const c_char,
    len: usize,
}

impl Text {
    pub(crate) fn of(bytes: &[u8]) -> Text {
        Text {
            data: bytes.as_ptr().cast(),
            len: bytes.len(),
        }
    }

    /// # Safety
    /// The text is there as long as the answer is used.
    pub(crate) unsafe fn get<'a>(&self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: by contract.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len) }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
union Inner {
    boolean: u8,
    integer: i64,
    real: f64,
    text: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    kind: u32,
    reserved: u32,
    inner: Inner,
    private: u64,
}

impl Value {
    pub(crate) fn of(stored: &Stored) -> Value {
        let none = Inner {
            text: Text::of(&[]),
        };
        let text = |bytes| Inner {
            text: Text::of(bytes),
        };
        let (kind, inner) = match stored {
            Stored::Nil => (NIL, none),
            Stored::Bool(it) => {
                let boolean = u8::from(*it);
                (BOOL, Inner { boolean })
            }
            Stored::Int(integer) => (INT, Inner { integer: *integer }),
            Stored::Float(real) => (FLOAT, Inner { real: *real }),
            Stored::String(bytes) => (STRING, text(bytes)),
            Stored::Bytes(bytes) => (BYTES, text(bytes)),
        };
        Value {
            kind,
            reserved: 0,
            inner,
            private: 0,
        }
    }

    /// A copy of it; `None` if it is none that can be stored.
    ///
    /// # Safety
    /// It is initialised, and its text is there.
    pub(crate) unsafe fn get(&self) -> Option<Stored> {
        // SAFETY: by contract, what the type says is there; any bytes are a number.
        unsafe {
            Some(match self.kind {
                NIL => Stored::Nil,
                BOOL => Stored::Bool(self.inner.boolean != 0),
                INT => Stored::Int(self.inner.integer),
                FLOAT => Stored::Float(self.inner.real),
                STRING => Stored::String(self.inner.text.get().to_vec().into()),
                BYTES => Stored::Bytes(self.inner.text.get().to_vec().into()),
                _ => return None,
            })
        }
    }
}

/// A key with what is kept of it.
#[repr(C)]
pub struct Entry {
    pub(crate) size: u32,
    pub(crate) reserved: u32,
    pub(crate) key: Text,
    pub(crate) value: Value,
    pub(crate) revision: u64,
    pub(crate) expires_ms: i64,
}

#[repr(C)]
pub struct Write {
    pub(crate) size: u32,
    pub(crate) kind: u32,
    pub(crate) key: Text,
    pub(crate) value: Value,
    pub(crate) revision: u64,
    pub(crate) expires_ms: i64,
    pub(crate) expected: u64,
}

/// What is told to a watch, or of a store.
#[repr(C)]
pub struct Event {
    pub(crate) size: u32,
    pub(crate) kind: u32,
    pub(crate) key: Text,
    pub(crate) value: Value,
    pub(crate) revision: u64,
    pub(crate) expires_ms: i64,
}

/// Which keys a scan gives.
#[repr(C)]
pub struct ScanOptions {
    pub(crate) size: u32,
    pub(crate) flags: u32,
    prefix: *const c_void,
    prefix_len: usize,
    after: *const c_void,
    after_len: usize,
    pub(crate) limit: u64,
}

impl ScanOptions {
    /// # Safety
    /// The prefix is there as long as the answer is used.
    pub(crate) unsafe fn prefix<'a>(&self) -> &'a [u8] {
        // SAFETY: by contract.
        unsafe { bytes_of(self.prefix, self.prefix_len) }.unwrap_or_default()
    }

    /// `None`: from the first.
    ///
    /// # Safety
    /// The key is there as long as the answer is used.
    pub(crate) unsafe fn after<'a>(&self) -> Option<&'a [u8]> {
        // SAFETY: by contract.
        unsafe { bytes_of(self.after, self.after_len) }
    }

    #[cfg(test)]
    pub(crate) fn of(flags: u32, prefix: &[u8], after: Option<&[u8]>) -> ScanOptions {
        ScanOptions {
            size: size_of::<ScanOptions>() as u32,
            flags,
            prefix: prefix.as_ptr().cast(),
            prefix_len: prefix.len(),
            after: after.map_or(std::ptr::null(), |it| it.as_ptr().cast()),
            after_len: after.map_or(0, <[u8]>::len),
            limit: 0,
        }
    }
}

/// # Safety
/// The bytes are there as long as the answer is used, or there is no pointer.
unsafe fn bytes_of<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: by contract.
    Some(unsafe {
        match len {
            NUL => std::ffi::CStr::from_ptr(data.cast()).to_bytes(),
            len => std::slice::from_raw_parts(data.cast(), len),
        }
    })
}

/// What kvreg offers; it stays as it is for ever.
#[repr(C)]
pub struct Host {
    pub(crate) size: u32,
    pub(crate) reserved: u32,
    pub(crate) found: unsafe extern "C" fn(*mut c_void, *const Entry) -> Status,
    pub(crate) last_revision: unsafe extern "C" fn(*mut c_void, u64) -> Status,
    pub(crate) explain: unsafe extern "C" fn(*const c_char, usize, i32),
    pub(crate) clock_ns: unsafe extern "C" fn() -> i64,
    pub(crate) done: unsafe extern "C" fn(*mut c_void, Status, u64),
    pub(crate) tell: unsafe extern "C" fn(*mut c_void, *const Event),
}

#[repr(C)]
pub struct Open {
    pub(crate) size: u32,
    pub(crate) reserved: u32,
    pub(crate) url: Text,
    pub(crate) bucket: Text,
    pub(crate) owner: u64,
    pub(crate) max_value: u64,
    pub(crate) host: *const Host,
    pub(crate) listener: *mut c_void,
}

pub type AddFn = unsafe extern "C" fn(*const c_char, usize, *const Engine) -> Status;

type Store = *mut c_void;

#[repr(C)]
pub struct Engine {
    pub(crate) size: u32,
    pub(crate) abi: u32,
    pub(crate) abilities: u64,
    pub(crate) open: unsafe extern "C" fn(*const Open, i64, *mut Store) -> Status,
    pub(crate) close: unsafe extern "C" fn(Store),
    pub(crate) write: unsafe extern "C" fn(Store, *const Write, usize, i64, *mut u64) -> Status,
    pub(crate) scan: unsafe extern "C" fn(Store, *const ScanOptions, i64, *mut c_void) -> Status,
    pub(crate) destroy: unsafe extern "C" fn(*const Open, i64) -> Status,
    /// `None` where a process has no forks.
    pub(crate) forked: Option<unsafe extern "C" fn()>,
    pub(crate) get: unsafe extern "C" fn(Store, *const Text, i64, *mut c_void) -> Status,
    pub(crate) count: unsafe extern "C" fn(Store, i64, *mut u64, *mut u64) -> Status,
    pub(crate) send: unsafe extern "C" fn(Store, *const Write, usize, i64, *mut c_void) -> Status,
    pub(crate) watch: unsafe extern "C" fn(Store, *mut c_void, *mut *mut c_void) -> Status,
    pub(crate) unwatch: unsafe extern "C" fn(*mut c_void),
    pub(crate) interrupt: unsafe extern "C" fn(Store),
    pub(crate) abilities_of: unsafe extern "C" fn(Store) -> u64,
}

/// As a compiler of C lays them out.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Text>() == 16);
    assert!(size_of::<Value>() == 32 && offset_of!(Value, inner) == 8);
    assert!(size_of::<Entry>() == 72 && offset_of!(Entry, value) == 24);
    assert!(size_of::<Write>() == 80 && offset_of!(Write, expected) == 72);
    assert!(size_of::<Event>() == 72 && offset_of!(Event, revision) == 56);
    assert!(size_of::<ScanOptions>() == 48 && offset_of!(ScanOptions, limit) == 40);
    assert!(size_of::<Host>() == 56 && offset_of!(Host, tell) == 48);
    assert!(size_of::<Open>() == 72 && offset_of!(Open, listener) == 64);
    assert!(size_of::<Engine>() == 120 && offset_of!(Engine, abilities_of) == 112);
};
