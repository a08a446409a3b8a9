//! The structs of `kvreg_engine.h`.

use std::ffi::{c_char, c_void};

use crate::capi::scan::kvreg_scan_options;
use crate::capi::status::kvreg_status;
use crate::capi::value::kvreg_value;

pub(super) const ABI: u32 = 2;

pub(super) const EXCLUSIVE: u64 = 1;
pub(super) const SHARED: u64 = 2;
pub(super) const BATCHES: u64 = 4;
pub(super) const TTL: u64 = 8;

pub(super) const PUT: u32 = 0;
pub(super) const DELETE: u32 = 1;
pub(super) const CLEAR: u32 = 2;

/// In the place of a revision that is expected.
pub(super) const ANY: u64 = u64::MAX;

pub(super) const TOLD_PUT: u32 = 0;
pub(super) const TOLD_DELETE: u32 = 1;
pub(super) const TOLD_EXPIRE: u32 = 2;
pub(super) const TOLD_RESET: u32 = 3;
pub(super) const TOLD_CURRENT: u32 = 4;
pub(super) const TOLD_UP: u32 = 5;
pub(super) const TOLD_AWAY: u32 = 6;
pub(super) const TOLD_DELETED: u32 = 7;

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
    pub(super) expected: u64,
}

/// What a shared store tells.
#[repr(C)]
pub(super) struct Event {
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
    pub(super) done: unsafe extern "C" fn(*mut c_void, kvreg_status, u64),
    pub(super) tell: unsafe extern "C" fn(*mut c_void, *const Event),
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
    pub(super) listener: *mut c_void,
}

type OpenFn = unsafe extern "C" fn(*const Open, i64, *mut *mut c_void) -> kvreg_status;
type CloseFn = unsafe extern "C" fn(*mut c_void);
type WriteFn =
    unsafe extern "C" fn(*mut c_void, *const Write, usize, i64, *mut u64) -> kvreg_status;
type ScanFn =
    unsafe extern "C" fn(*mut c_void, *const kvreg_scan_options, i64, *mut c_void) -> kvreg_status;
type DestroyFn = unsafe extern "C" fn(*const Open, i64) -> kvreg_status;
type GetFn = unsafe extern "C" fn(*mut c_void, *const Text, i64, *mut c_void) -> kvreg_status;
type CountFn = unsafe extern "C" fn(*mut c_void, i64, *mut u64, *mut u64) -> kvreg_status;
type SendFn =
    unsafe extern "C" fn(*mut c_void, *const Write, usize, i64, *mut c_void) -> kvreg_status;
type WatchFn = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut *mut c_void) -> kvreg_status;

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
    pub(super) get: Option<GetFn>,
    pub(super) count: Option<CountFn>,
    pub(super) send: Option<SendFn>,
    pub(super) watch: Option<WatchFn>,
    pub(super) unwatch: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(super) interrupt: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(super) abilities_of: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
}
