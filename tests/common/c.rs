//! Functions of the C interface, as a Rust program with bindings would declare them: for tests that
//! take the ways of most programs, and for the measurements.
#![allow(dead_code)] // each of them calls some

use std::ffi::c_void;

pub type Handle = *mut c_void;

pub const NIL: u32 = 0;
pub const INT: u32 = 2;
pub const BYTES: u32 = 5;
pub const ABSENT: u32 = 6;

pub const KEEP: i32 = 0;
pub const STORE: i32 = 1;
pub const REMOVE: i32 = 2;

pub const REASON_KILLED: i32 = 2;

pub const OK: i32 = 0;
pub const NOT_FOUND: i32 = 1;
pub const NO_PROCESS: i32 = 3;
pub const SERVER_DOWN: i32 = 4;
pub const WRONG_TYPE: i32 = 11;
pub const CONFLICT: i32 = 12;
pub const LIMIT: i32 = 13;
pub const NO_MEMORY: i32 = 14;
pub const TOO_SMALL: i32 = 21;

/// `kvreg_value`: the number, or where the bytes are. The default is nil.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Value {
    pub kind: u32,
    reserved: u32,
    pub word: u64,
    pub len: usize,
    private: u64,
}

impl Value {
    pub fn int(number: i64) -> Value {
        let mut value = Value::default();
        (value.kind, value.word) = (INT, number as u64);
        value
    }

    /// Borrows the bytes.
    pub fn bytes(bytes: &[u8]) -> Value {
        let mut value = Value::default();
        (value.kind, value.len) = (BYTES, bytes.len());
        value.word = bytes.as_ptr() as u64;
        value
    }
}

/// `kvreg_pair`.
#[repr(C)]
pub struct Pair {
    key: *const u8,
    len: usize,
    pub value: Value,
}

// SAFETY: the keys are borrowed from somebody who outlives the threads.
unsafe impl Send for Pair {}

impl Pair {
    /// Borrows the key.
    pub fn new(key: &[u8], value: Value) -> Pair {
        let (key, len) = (key.as_ptr(), key.len());
        Pair { key, len, value }
    }
}

/// `kvreg_op`.
#[repr(C)]
pub struct Op {
    pub size: u32,
    pub op: u32,
    pub key: *const u8,
    pub key_len: usize,
    pub value: Value,
    pub expected: u64,
    pub delta: i64,
    pub ttl_ms: i64,
    pub revision: u64,
    pub private_: [u64; 4],
}

impl Default for Op {
    fn default() -> Op {
        Op {
            size: size_of::<Op>() as u32,
            op: 0,
            key: std::ptr::null(),
            key_len: 0,
            value: Value::default(),
            expected: 0,
            delta: 0,
            ttl_ms: 0,
            revision: 0,
            private_: [0; 4],
        }
    }
}

/// `kvreg_entry`.
#[repr(C)]
pub struct Entry {
    size: u32,
    reserved: u32,
    pub value: Value,
    pub revision: u64,
    pub ttl_ms: i64,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            size: size_of::<Entry>() as u32,
            reserved: 0,
            value: Value::default(),
            revision: 0,
            ttl_ms: 0,
        }
    }
}

pub type Decide = unsafe extern "C" fn(*mut c_void, *const Value, *mut Value) -> i32;

extern "C" {
    pub fn kvreg_registry_start(options: *const c_void, registry: *mut Handle) -> i32;
    pub fn kvreg_registry_whereis(name: *const u8, len: usize, registry: *mut Handle) -> i32;
    pub fn kvreg_registry_set_timeout(registry: Handle, ms: i64) -> i32;
    pub fn kvreg_registry_free(registry: Handle) -> i32;
    pub fn kvreg_registry_create(r: Handle, n: *const u8, l: usize, f: u32, b: *mut Handle) -> i32;
    pub fn kvreg_registry_lookup(r: Handle, n: *const u8, l: usize, b: *mut Handle) -> i32;
    pub fn kvreg_registry_remove(r: Handle, n: *const u8, l: usize) -> i32;
    pub fn kvreg_bucket_start(bucket: *mut Handle) -> i32;
    pub fn kvreg_bucket_set_timeout(b: Handle, ms: i64) -> i32;
    pub fn kvreg_bucket_free(b: Handle) -> i32;
    pub fn kvreg_bucket_stop(b: Handle) -> i32;
    pub fn kvreg_bucket_exit(b: Handle, reason: i32, detail: *const u8, len: usize) -> i32;
    pub fn kvreg_bucket_clear(b: Handle) -> i32;
    pub fn kvreg_bucket_count(b: Handle, count: *mut usize) -> i32;
    pub fn kvreg_bucket_put(b: Handle, k: *const u8, l: usize, value: *const Value) -> i32;
    pub fn kvreg_bucket_put_int(b: Handle, k: *const u8, l: usize, number: i64) -> i32;
    pub fn kvreg_bucket_put_bytes(
        b: Handle,
        k: *const u8,
        l: usize,
        data: *const u8,
        len: usize,
    ) -> i32;
    pub fn kvreg_bucket_put_cast(b: Handle, k: *const u8, l: usize, value: *const Value) -> i32;
    pub fn kvreg_bucket_delete_cast(b: Handle, k: *const u8, l: usize) -> i32;
    pub fn kvreg_bucket_delete(b: Handle, k: *const u8, l: usize, old: *mut Value) -> i32;
    pub fn kvreg_bucket_get(b: Handle, k: *const u8, l: usize, value: *mut Value) -> i32;
    pub fn kvreg_bucket_get_into(
        b: Handle,
        k: *const u8,
        l: usize,
        buffer: *mut u8,
        capacity: usize,
        value: *mut Value,
    ) -> i32;
    pub fn kvreg_bucket_get_int(b: Handle, k: *const u8, l: usize, number: *mut i64) -> i32;
    pub fn kvreg_bucket_get_bytes(
        b: Handle,
        k: *const u8,
        l: usize,
        buffer: *mut u8,
        capacity: usize,
        len: *mut usize,
    ) -> i32;
    pub fn kvreg_bucket_put_many(b: Handle, pairs: *const Pair, count: usize) -> i32;
    pub fn kvreg_bucket_get_many(b: Handle, pairs: *mut Pair, count: usize) -> i32;
    pub fn kvreg_bucket_get_entry(b: Handle, k: *const u8, l: usize, entry: *mut Entry) -> i32;
    pub fn kvreg_bucket_put_entry(
        b: Handle,
        k: *const u8,
        l: usize,
        value: *const Value,
        ttl_ms: i64,
        revision: *mut u64,
    ) -> i32;
    pub fn kvreg_bucket_put_if(
        b: Handle,
        k: *const u8,
        l: usize,
        value: *const Value,
        expected: u64,
        ttl_ms: i64,
        revision: *mut u64,
    ) -> i32;
    pub fn kvreg_bucket_expire(
        b: Handle,
        k: *const u8,
        l: usize,
        ttl_ms: i64,
        revision: *mut u64,
    ) -> i32;
    pub fn kvreg_bucket_delete_if(
        b: Handle,
        k: *const u8,
        l: usize,
        expected: u64,
        old: *mut Value,
    ) -> i32;
    pub fn kvreg_bucket_put_if_equal(
        b: Handle,
        k: *const u8,
        l: usize,
        expected: *const Value,
        value: *const Value,
        revision: *mut u64,
    ) -> i32;
    pub fn kvreg_bucket_add_int(
        b: Handle,
        k: *const u8,
        l: usize,
        delta: i64,
        sum: *mut i64,
    ) -> i32;
    pub fn kvreg_bucket_apply(b: Handle, ops: *mut Op, count: usize, failed: *mut usize) -> i32;
    pub fn kvreg_bucket_revision(b: Handle, revision: *mut u64) -> i32;
    pub fn kvreg_bucket_update(
        b: Handle,
        k: *const u8,
        l: usize,
        decide: Decide,
        data: *mut c_void,
    ) -> i32;
    pub fn kvreg_bucket_update_begin(
        b: Handle,
        k: *const u8,
        l: usize,
        current: *mut Value,
        update: *mut Handle,
    ) -> i32;
    pub fn kvreg_update_end(update: Handle, verdict: i32, next: *const Value) -> i32;
    pub fn kvreg_bucket_items(b: Handle, items: *mut Handle) -> i32;
    pub fn kvreg_bucket_scan(b: Handle, options: *const c_void, items: *mut Handle) -> i32;
    pub fn kvreg_items_next(items: Handle, key: *mut Value, value: *mut Value) -> i32;
    pub fn kvreg_items_free(items: Handle) -> i32;
    pub fn kvreg_inbox_open(inbox: *mut Handle) -> i32;
    pub fn kvreg_inbox_free(inbox: Handle) -> i32;
    pub fn kvreg_value_clear(value: *mut Value);
}
