//! The structs of `kvreg_engine.h`, and what this engine needs of `kvreg.h`.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;

use crate::record::Value as Read;

pub type Status = i32;

pub(crate) const OK: Status = 0;
pub(crate) const NOT_FOUND: Status = 1;
pub(crate) const INVALID_ARGUMENT: Status = 10;
pub(crate) const LIMIT: Status = 13;
pub(crate) const NO_MEMORY: Status = 14;
pub(crate) const UNSUPPORTED: Status = 18;
pub(crate) const IO: Status = 19;
pub(crate) const INTERNAL: Status = 20;

pub(crate) const ABI: u32 = 2;
pub(crate) const EXCLUSIVE: u64 = 1;

pub(crate) const PUT: u32 = 0;
pub(crate) const DELETE: u32 = 1;
pub(crate) const CLEAR: u32 = 2;

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
    pub(crate) fn of(read: Read<'_>) -> Value {
        let none = Inner {
            text: Text::of(&[]),
        };
        let (kind, inner) = match read {
            Read::Nil => (NIL, none),
            Read::Bool(it) => {
                let boolean = u8::from(it);
                (BOOL, Inner { boolean })
            }
            Read::Int(integer) => (INT, Inner { integer }),
            Read::Float(real) => (FLOAT, Inner { real }),
            Read::String(bytes) => {
                let text = Text::of(bytes);
                (STRING, Inner { text })
            }
            Read::Bytes(bytes) => {
                let text = Text::of(bytes);
                (BYTES, Inner { text })
            }
        };
        Value {
            kind,
            reserved: 0,
            inner,
            private: 0,
        }
    }

    /// `None` if it is none that can be stored.
    ///
    /// # Safety
    /// It is initialised, and its text is there as long as the answer is used.
    pub(crate) unsafe fn get<'a>(&self) -> Option<Read<'a>> {
        // SAFETY: by contract, what the type says is there; any bytes are a number.
        unsafe {
            Some(match self.kind {
                NIL => Read::Nil,
                BOOL => Read::Bool(self.inner.boolean != 0),
                INT => Read::Int(self.inner.integer),
                FLOAT => Read::Float(self.inner.real),
                STRING => Read::String(self.inner.text.get()),
                BYTES => Read::Bytes(self.inner.text.get()),
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
    /// Of shared stores.
    pub(crate) expected: u64,
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
    /// Of shared stores, as `tell`.
    pub(crate) done: unsafe extern "C" fn(*mut c_void, Status, u64),
    pub(crate) tell: unsafe extern "C" fn(*mut c_void, *const c_void),
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
    /// Of shared stores.
    pub(crate) listener: *mut c_void,
}

pub type AddFn = unsafe extern "C" fn(*const c_char, usize, *const Engine) -> Status;

#[repr(C)]
pub struct Engine {
    pub(crate) size: u32,
    pub(crate) abi: u32,
    pub(crate) abilities: u64,
    pub(crate) open: unsafe extern "C" fn(*const Open, i64, *mut *mut c_void) -> Status,
    pub(crate) close: unsafe extern "C" fn(*mut c_void),
    pub(crate) write:
        unsafe extern "C" fn(*mut c_void, *const Write, usize, i64, *mut u64) -> Status,
    pub(crate) scan: unsafe extern "C" fn(*mut c_void, *const c_void, i64, *mut c_void) -> Status,
    pub(crate) destroy: unsafe extern "C" fn(*const Open, i64) -> Status,
    /// `None` where a process has no forks.
    pub(crate) forked: Option<unsafe extern "C" fn()>,
    /// What shared stores have beside: get, count, send, watch, unwatch, interrupt, and their
    /// abilities.
    pub(crate) shared: [Option<unsafe extern "C" fn()>; 7],
}

/// As a compiler of C lays them out.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Text>() == 16);
    assert!(size_of::<Value>() == 32 && offset_of!(Value, inner) == 8);
    assert!(size_of::<Entry>() == 72 && offset_of!(Entry, value) == 24);
    assert!(size_of::<Write>() == 80 && offset_of!(Write, revision) == 56);
    assert!(size_of::<Host>() == 56 && offset_of!(Host, explain) == 24);
    assert!(size_of::<Open>() == 72 && offset_of!(Open, host) == 56);
    assert!(size_of::<Engine>() == 120 && offset_of!(Engine, forked) == 56);
};
