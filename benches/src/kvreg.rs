//! kvreg, called from C through the shared library.

use std::ptr;

use crate::c::*;
use crate::keys::Keys;
use crate::peers::{Cache, Delete, Map};

extern "C" {
    fn kvreg_loop_get(bucket: Handle, keys: *const u8, count: usize, sum: *mut u64) -> u64;
    fn kvreg_loop_get_into(bucket: Handle, keys: *const u8, count: usize, sum: *mut u64) -> u64;
    fn kvreg_loop_put(b: Handle, keys: *const u8, count: usize, data: *const u8, n: usize) -> u64;
    fn kvreg_loop_delete(bucket: Handle, keys: *const u8, count: usize) -> u64;
    fn kvreg_loop_find_or_put(
        bucket: Handle,
        keys: *const u8,
        count: usize,
        data: *const u8,
        len: usize,
        hits: *mut u64,
    ) -> u64;
    fn kvreg_loop_start_cache(max_keys: u64, bucket: *mut Handle) -> i32;
    fn kvreg_loop_update(bucket: Handle, keys: *const u8, count: usize) -> u64;
    fn kvreg_loop_put_cast(
        bucket: Handle,
        keys: *const u8,
        count: usize,
        data: *const u8,
        len: usize,
    ) -> u64;
    fn kvreg_loop_lookup(registry: Handle, names: *const u8, count: usize) -> u64;
    fn kvreg_loop_create(registry: Handle, names: *const u8, count: usize) -> u64;
    fn kvreg_loop_life(registry: Handle, names: *const u8, count: usize) -> u64;
    fn kvreg_loop_down(inbox: Handle, count: usize) -> u64;
    fn kvreg_loop_timed(
        bucket: Handle,
        keys: *const u8,
        count: usize,
        data: *const u8,
        len: usize,
        what: i32,
        times: *mut u64,
    ) -> u64;
}

fn none_failed(failed: u64) {
    assert_eq!(failed, 0, "calls failed");
}

pub fn ok(status: i32) {
    assert_eq!(status, 0, "a call failed");
}

pub struct Bucket(pub(crate) Handle);

// SAFETY: a handle may be used from any thread.
unsafe impl Send for Bucket {}
// SAFETY: as above.
unsafe impl Sync for Bucket {}

// SAFETY of all below: the handles are freed by `Drop` only; keys and values are good for
// their lengths.
impl Bucket {
    pub fn start() -> Bucket {
        let mut bucket = ptr::null_mut();
        ok(unsafe { kvreg_bucket_start(&mut bucket) });
        Bucket(bucket)
    }

    /// Of so many keys at most: others make room.
    pub fn start_cache(max_keys: usize) -> Bucket {
        let mut bucket = ptr::null_mut();
        ok(unsafe { kvreg_loop_start_cache(max_keys as u64, &mut bucket) });
        Bucket(bucket)
    }

    pub fn update(&self, keys: &Keys) {
        none_failed(unsafe { kvreg_loop_update(self.0, keys.as_ptr(), keys.len()) });
    }

    /// Until the last is handled.
    pub fn put_cast(&self, keys: &Keys, value: &[u8]) {
        none_failed(unsafe {
            let (data, len) = (value.as_ptr(), value.len());
            kvreg_loop_put_cast(self.0, keys.as_ptr(), keys.len(), data, len)
        });
    }

    /// What each call took, in ns: 0 is get, 1 put, 2 put_cast.
    pub fn timed(&self, keys: &Keys, value: &[u8], what: i32) -> Vec<u64> {
        let mut times = vec![0; keys.len()];
        none_failed(unsafe {
            let (data, len) = (value.as_ptr(), value.len());
            let to = times.as_mut_ptr();
            kvreg_loop_timed(self.0, keys.as_ptr(), keys.len(), data, len, what, to)
        });
        times
    }
}

impl Map for Bucket {
    fn get(&self, keys: &Keys) -> u64 {
        let mut sum = 0;
        none_failed(unsafe { kvreg_loop_get(self.0, keys.as_ptr(), keys.len(), &mut sum) });
        sum
    }

    fn get_into(&self, keys: &Keys) -> u64 {
        let mut sum = 0;
        none_failed(unsafe { kvreg_loop_get_into(self.0, keys.as_ptr(), keys.len(), &mut sum) });
        sum
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        none_failed(unsafe {
            let (data, len) = (value.as_ptr(), value.len());
            kvreg_loop_put(self.0, keys.as_ptr(), keys.len(), data, len)
        });
    }
}

impl Cache for Bucket {
    fn find_or_put(&self, keys: &Keys, value: &[u8]) -> u64 {
        let mut hits = 0;
        none_failed(unsafe {
            let (data, len) = (value.as_ptr(), value.len());
            let (keys, count) = (keys.as_ptr(), keys.len());
            kvreg_loop_find_or_put(self.0, keys, count, data, len, &mut hits)
        });
        hits
    }
}

impl Delete for Bucket {
    fn delete(&self, keys: &Keys) {
        none_failed(unsafe { kvreg_loop_delete(self.0, keys.as_ptr(), keys.len()) });
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        ok(unsafe { kvreg_bucket_free(self.0) });
    }
}

pub struct Registry(pub(crate) Handle);

// SAFETY: as of a bucket.
unsafe impl Sync for Registry {}

impl Registry {
    pub fn start() -> Registry {
        let mut registry = ptr::null_mut();
        ok(unsafe { kvreg_registry_start(ptr::null(), &mut registry) });
        Registry(registry)
    }

    /// Creates buckets that live as long as the registry.
    pub fn create(&self, names: &Keys) {
        none_failed(unsafe { kvreg_loop_create(self.0, names.as_ptr(), names.len()) });
    }

    pub fn bucket(&self, name: &str) -> Bucket {
        let mut bucket = ptr::null_mut();
        ok(unsafe { kvreg_registry_create(self.0, name.as_ptr(), name.len(), 0, &mut bucket) });
        Bucket(bucket)
    }

    /// Looks up and frees.
    pub fn lookup(&self, names: &Keys) {
        none_failed(unsafe { kvreg_loop_lookup(self.0, names.as_ptr(), names.len()) });
    }

    /// Creates, looks up, stops.
    pub fn life(&self, names: &Keys) {
        none_failed(unsafe { kvreg_loop_life(self.0, names.as_ptr(), names.len()) });
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        ok(unsafe { kvreg_registry_free(self.0) });
    }
}

pub struct Inbox(pub(crate) Handle);

impl Inbox {
    pub fn open() -> Inbox {
        let mut inbox = ptr::null_mut();
        ok(unsafe { kvreg_inbox_open(&mut inbox) });
        Inbox(inbox)
    }

    /// Starts, monitors, stops, and receives the DOWN.
    pub fn down(&self, count: usize) {
        none_failed(unsafe { kvreg_loop_down(self.0, count) });
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        ok(unsafe { kvreg_inbox_free(self.0) });
    }
}
