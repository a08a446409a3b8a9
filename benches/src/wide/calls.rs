//! One call of the C interface each, as Rust programs with bindings would make it. What needs a
//! struct of options or an event is in `needs.c`.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use crate::c::*;
use crate::kvreg::{ok, Bucket, Inbox, Registry};
use crate::peers::Store;

pub use crate::c::{KEEP, STORE};

extern "C" {
    fn wide_limited(max_bytes: u64, registry: *mut Handle) -> i32;
    fn wide_listen(registry: Handle, listener: *mut Handle, port: *mut u16) -> i32;
    fn wide_unlisten(listener: Handle) -> i32;
    fn wide_monitor(inbox: Handle, bucket: Handle, count: usize) -> i32;
    fn wide_kill_and_receive(inbox: Handle, bucket: Handle, count: usize) -> i32;
}

// SAFETY of all below: handles are tokens that are checked; what is passed is good for its length
// and outlives the call.
impl Bucket {
    /// One whose calls wait as long as it takes.
    pub fn patient() -> Bucket {
        let bucket = Bucket::start();
        ok(unsafe { kvreg_bucket_set_timeout(bucket.0, -1) });
        bucket
    }

    pub fn stop(&self) {
        ok(unsafe { kvreg_bucket_stop(self.0) });
    }

    pub fn clear(&self) {
        ok(unsafe { kvreg_bucket_clear(self.0) });
    }

    /// Waits for this thread's casts.
    pub fn settle(&self) {
        let mut count = 0;
        ok(unsafe { kvreg_bucket_count(self.0, &mut count) });
    }

    pub fn put_int(&self, key: &[u8], number: i64) {
        ok(unsafe { kvreg_bucket_put_int(self.0, key.as_ptr(), key.len(), number) });
    }

    pub fn get_int(&self, key: &[u8]) -> i64 {
        let mut number = 0;
        ok(unsafe { kvreg_bucket_get_int(self.0, key.as_ptr(), key.len(), &mut number) });
        number
    }

    pub fn put_one(&self, key: &[u8], value: &[u8]) {
        let (data, len) = (value.as_ptr(), value.len());
        ok(unsafe { kvreg_bucket_put_bytes(self.0, key.as_ptr(), key.len(), data, len) });
    }

    pub fn delete_one(&self, key: &[u8]) {
        ok(unsafe { kvreg_bucket_delete(self.0, key.as_ptr(), key.len(), null_mut()) });
    }

    /// Puts by a cast, once the mailbox has room.
    pub fn cast_int(&self, key: &[u8], number: i64) {
        let value = Value::int(number);
        loop {
            match unsafe { kvreg_bucket_put_cast(self.0, key.as_ptr(), key.len(), &value) } {
                LIMIT => std::thread::yield_now(),
                status => return ok(status),
            }
        }
    }

    pub fn copy_one(&self, key: &[u8], buffer: &mut [u8]) {
        let (data, room, mut len) = (buffer.as_mut_ptr(), buffer.len(), 0);
        ok(unsafe {
            kvreg_bucket_get_bytes(self.0, key.as_ptr(), key.len(), data, room, &mut len)
        });
    }

    /// Gets a value that the library owns, and clears it.
    pub fn get_one(&self, key: &[u8]) {
        let mut value = Value::default();
        ok(unsafe { kvreg_bucket_get(self.0, key.as_ptr(), key.len(), &mut value) });
        unsafe { kvreg_value_clear(&mut value) };
    }

    pub fn get_many(&self, pairs: &mut [Pair]) {
        ok(unsafe { kvreg_bucket_get_many(self.0, pairs.as_mut_ptr(), pairs.len()) });
        for pair in pairs {
            unsafe { kvreg_value_clear(&mut pair.value) };
        }
    }

    /// Adds one by a callback.
    pub fn increment(&self, key: &[u8]) {
        let (data, len) = (key.as_ptr(), key.len());
        ok(unsafe { kvreg_bucket_update(self.0, data, len, add_one, null_mut()) });
    }

    /// The same without one; or nothing, which the verdict says.
    pub fn begin_and_end(&self, key: &[u8], verdict: i32) {
        let mut value = Value::default();
        let update = self.begin(key, &mut value);
        value.word += 1;
        ok(unsafe { kvreg_update_end(update, verdict, &value) });
    }

    fn begin(&self, key: &[u8], current: &mut Value) -> Handle {
        let mut update = null_mut();
        let (data, len) = (key.as_ptr(), key.len());
        ok(unsafe { kvreg_bucket_update_begin(self.0, data, len, current, &mut update) });
        update
    }

    /// Does something while the bucket is busy, so that casts wait.
    pub fn while_busy<R>(&self, work: impl FnOnce() -> R) -> R {
        let update = self.begin(b"busy", &mut Value::default());
        let answer = work();
        ok(unsafe { kvreg_update_end(update, KEEP, null()) });
        answer
    }

    /// Takes a snapshot and frees it.
    pub fn snapshot(&self) {
        let mut items = null_mut();
        ok(unsafe { kvreg_bucket_items(self.0, &mut items) });
        ok(unsafe { kvreg_items_free(items) });
    }
}

unsafe extern "C" fn add_one(_: *mut c_void, current: *const Value, next: *mut Value) -> i32 {
    let old = current.as_ref().map_or(0, |value| value.word as i64);
    *next = Value::int(old + 1);
    STORE
}

pub fn pairs<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<Pair> {
    keys.map(|key| Pair::new(key, Value::default())).collect()
}

impl Store for Bucket {
    fn read(&self, key: &[u8], buffer: &mut [u8]) {
        self.copy_one(key, buffer);
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        self.put_one(key, value);
    }

    fn modify(&self, key: &[u8], buffer: &mut [u8]) {
        let (key, len) = (key.as_ptr(), key.len());
        let mut buffer = buffer;
        let data = std::ptr::from_mut(&mut buffer).cast();
        ok(unsafe { kvreg_bucket_update(self.0, key, len, next_version, data) });
    }
}

/// The buffer of the caller takes the new value.
unsafe extern "C" fn next_version(data: *mut c_void, old: *const Value, next: *mut Value) -> i32 {
    let buffer = &mut *data.cast::<&mut [u8]>();
    let old = &*old;
    let buffer = &mut buffer[..old.len];
    buffer.copy_from_slice(std::slice::from_raw_parts(old.word as *const u8, old.len));
    buffer[0] = buffer[0].wrapping_add(1);
    *next = Value::bytes(buffer);
    STORE
}

impl Registry {
    pub fn with_limit(max_bytes: u64) -> Registry {
        let mut registry = null_mut();
        ok(unsafe { wide_limited(max_bytes, &mut registry) });
        Registry(registry)
    }

    /// Looks up, and frees the handle.
    pub fn look_up_one(&self, name: &str) {
        let mut bucket = null_mut();
        ok(unsafe { kvreg_registry_lookup(self.0, name.as_ptr(), name.len(), &mut bucket) });
        drop(Bucket(bucket));
    }

    pub fn create_and_stop(&self, name: &str) {
        let mut bucket = null_mut();
        ok(unsafe { kvreg_registry_create(self.0, name.as_ptr(), name.len(), 0, &mut bucket) });
        Bucket(bucket).stop();
    }

    /// What `work` answers, which gets the port of a listener.
    pub fn while_listening<R>(&self, work: impl FnOnce(u16) -> R) -> R {
        let (mut listener, mut port) = (null_mut(), 0);
        ok(unsafe { wide_listen(self.0, &mut listener, &mut port) });
        let answer = work(port);
        ok(unsafe { wide_unlisten(listener) });
        answer
    }
}

impl Inbox {
    pub fn monitor(&self, bucket: &Bucket, times: usize) {
        ok(unsafe { wide_monitor(self.0, bucket.0, times) });
    }

    /// Ends a bucket, and receives the DOWN of each monitor.
    pub fn kill_and_receive(&self, bucket: &Bucket, times: usize) {
        ok(unsafe { wide_kill_and_receive(self.0, bucket.0, times) });
    }
}
