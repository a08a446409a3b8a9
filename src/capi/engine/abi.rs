//! The structs of `kvreg_engine.h`.

use std::ffi::{c_char, c_void};

use crate::capi::status::kvreg_status;
use crate::capi::value::kvreg_value;

pub(super) const ABI: u32 = 1;
pub(super) const EXCLUSIVE: u64 = 1;

pub(super) const PUT: u32 = 0;
pub(super) const DELETE: u32 = 1;
pub(super) const CLEAR: u32 = 2;

/// In the place of the moment when a key goes.
pub(super) const NEVER: i64 = -1;

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) data: *const c_char,
    pub(super) len: usize,
}

#[repr(C)]
pub(super) struct Entry {
    pub(super) size: u32,
    pub(super) reserved: u32,
    pub(super) key: Text,
    pub(super) value: kvreg_value,
    pub(super) revision: u64,
    pub(super) expires_ms: i64,
}

#[repr(C)]
pub(super) struct Write {
    pub(super) size: u32,
    pub(super) kind: u32,
    pub(super) key: Text,
    pub(super) value: kvreg_value,
    pub(super) revision: u64,
    pub(super) expires_ms: i64,
}

#[repr(C)]
pub(super) struct Host {
    pub(super) size: u32,
    pub(super) reserved: u32,
    pub(super) found: unsafe extern "C" fn(*mut c_void, *const Entry) -> kvreg_status,
    pub(super) last_revision: unsafe extern "C" fn(*mut c_void, u64) -> kvreg_status,
    pub(super) explain: unsafe extern "C" fn(*const c_char, usize, i32),
    pub(super) clock_ns: extern "C" fn() -> i64,
}

#[repr(C)]
pub(super) struct Open {
    pub(super) size: u32,
    pub(super) reserved: u32,
    pub(super) url: Text,
    pub(super) bucket: Text,
    pub(super) owner: u64,
    pub(super) max_value: u64,
    pub(super) host: *const Host,
}

type OpenFn = unsafe extern "C" fn(*const Open, i64, *mut *mut c_void) -> kvreg_status;
type CloseFn = unsafe extern "C" fn(*mut c_void);
type WriteFn = unsafe extern "C" fn(*mut c_void, *const Write, usize, i64) -> kvreg_status;
type ScanFn = unsafe extern "C" fn(*mut c_void, i64, *mut c_void) -> kvreg_status;
type DestroyFn = unsafe extern "C" fn(*const Open, i64) -> kvreg_status;

/// An engine. What a program that was compiled with an older header lacks is none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_engine {
    pub(super) size: u32,
    pub(super) abi: u32,
    pub(super) abilities: u64,
    pub(super) open: Option<OpenFn>,
    pub(super) close: Option<CloseFn>,
    pub(super) write: Option<WriteFn>,
    pub(super) scan: Option<ScanFn>,
    pub(super) destroy: Option<DestroyFn>,
    pub(super) forked: Option<unsafe extern "C" fn()>,
}
