//! The ways through the core, each a few times: short enough for Miri to follow (`make
//! test-miri`), which finds what is undefined and yet does no harm here. By the C interface, which
//! goes the short ways first.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use kvreg as _; // links the functions below

/// Where it would hang it fails; Miri's time is that of what it has followed.
const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 6000 } else { 60 });

const ROUNDS: i64 = if cfg!(miri) { 20 } else { 2000 };

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const NIL: u32 = 0;
const INT: u32 = 2;
const STRING: u32 = 4;
const KEEP: i32 = 0;
const STORE: i32 = 1;

type Handle = *mut c_void;

/// `kvreg_value`: type, and two words for the value.
#[repr(C)]
struct Value {
    kind: u32,
    reserved: u32,
    words: Words,
    private: u64,
}

#[repr(C)]
union Words {
    integer: i64,
    text: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    data: *const u8,
    len: usize,
}

extern "C" {
    fn kvreg_registry_start(options: *const c_void, registry: *mut Handle) -> i32;
    fn kvreg_registry_create(
        registry: Handle,
        name: *const u8,
        len: usize,
        flags: u32,
        bucket: *mut Handle,
    ) -> i32;
    fn kvreg_registry_lookup(
        registry: Handle,
        name: *const u8,
        len: usize,
        bucket: *mut Handle,
    ) -> i32;
    fn kvreg_registry_free(registry: Handle) -> i32;
    fn kvreg_bucket_start(bucket: *mut Handle) -> i32;
    fn kvreg_bucket_free(bucket: Handle) -> i32;
    fn kvreg_bucket_exit(bucket: Handle, reason: i32, detail: *const u8, len: usize) -> i32;
    fn kvreg_bucket_link(bucket: Handle, other: Handle) -> i32;
    fn kvreg_bucket_put_int(bucket: Handle, key: *const u8, len: usize, integer: i64) -> i32;
    fn kvreg_bucket_get_int(bucket: Handle, key: *const u8, len: usize, integer: *mut i64) -> i32;
    fn kvreg_bucket_put_string(
        bucket: Handle,
        key: *const u8,
        key_len: usize,
        text: *const u8,
        len: usize,
    ) -> i32;
    fn kvreg_bucket_get(bucket: Handle, key: *const u8, len: usize, value: *mut Value) -> i32;
    fn kvreg_bucket_delete(bucket: Handle, key: *const u8, len: usize, old: *mut Value) -> i32;
    fn kvreg_bucket_get_bytes(
        bucket: Handle,
        key: *const u8,
        key_len: usize,
        buffer: *mut u8,
        capacity: usize,
        len: *mut usize,
    ) -> i32;
    fn kvreg_bucket_put_cast(
        bucket: Handle,
        key: *const u8,
        len: usize,
        value: *const Value,
    ) -> i32;
    fn kvreg_bucket_count(bucket: Handle, count: *mut usize) -> i32;
    fn kvreg_bucket_clear(bucket: Handle) -> i32;
    fn kvreg_bucket_update_begin(
        bucket: Handle,
        key: *const u8,
        len: usize,
        current: *mut Value,
        update: *mut Handle,
    ) -> i32;
    fn kvreg_update_end(update: Handle, verdict: i32, next: *const Value) -> i32;
    fn kvreg_value_clear(value: *mut Value);
}

impl Value {
    fn nil() -> Value {
        Value {
            kind: NIL,
            reserved: 0,
            words: Words {
                text: Text {
                    data: null(),
                    len: 0,
                },
            },
            private: 0,
        }
    }

    fn text(&self) -> &[u8] {
        assert_eq!(self.kind, STRING);
        // SAFETY: a text, of so many bytes, until it is cleared.
        unsafe { std::slice::from_raw_parts(self.words.text.data, self.words.text.len) }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: nil, or a value that kvreg made.
        unsafe { kvreg_value_clear(self) }
    }
}

/// Of a bucket, which it ends. Not more than what threads may share: a number.
#[derive(Clone, Copy)]
struct Bucket(usize);

impl Bucket {
    fn start() -> Bucket {
        let mut bucket = null_mut();
        // SAFETY: an output.
        assert_eq!(unsafe { kvreg_bucket_start(&mut bucket) }, OK);
        Bucket(bucket.addr())
    }

    fn handle(self) -> Handle {
        std::ptr::without_provenance_mut(self.0)
    }

    fn put(self, key: &str, text: &str) {
        // SAFETY of all: what is passed is there, and of the length that is told.
        let put = unsafe {
            let (key, key_len) = (key.as_ptr(), key.len());
            kvreg_bucket_put_string(self.handle(), key, key_len, text.as_ptr(), text.len())
        };
        assert_eq!(put, OK);
    }

    fn get(self, key: &str) -> Value {
        let mut value = Value::nil();
        let got = unsafe { kvreg_bucket_get(self.handle(), key.as_ptr(), key.len(), &mut value) };
        assert_eq!(got, OK);
        value
    }

    fn delete(self, key: &str) -> (i32, Value) {
        let mut old = Value::nil();
        let deleted =
            unsafe { kvreg_bucket_delete(self.handle(), key.as_ptr(), key.len(), &mut old) };
        (deleted, old)
    }

    fn count(self) -> usize {
        let mut count = 0;
        assert_eq!(unsafe { kvreg_bucket_count(self.handle(), &mut count) }, OK);
        count
    }

    fn free(self) {
        assert_eq!(unsafe { kvreg_bucket_free(self.handle()) }, OK);
    }
}

/// Texts that are copied, in each way that there is, and one that is shared.
fn texts() -> Vec<String> {
    [0, 7, 9, 64, 65, 128, 512, 700]
        .map(|len| "x".repeat(len))
        .to_vec()
}

#[test]
fn texts_of_all_sizes_take_each_others_place() {
    let bucket = Bucket::start();
    for text in texts() {
        for other in texts() {
            bucket.put("key", &text);
            bucket.put("key", &other);
            assert_eq!(bucket.get("key").text(), other.as_bytes());
            let (mut buffer, mut len) = ([0u8; 600], 0);
            // SAFETY: room for what is told.
            let got = unsafe {
                let (to, capacity) = (buffer.as_mut_ptr(), buffer.len());
                kvreg_bucket_get_bytes(bucket.handle(), b"key".as_ptr(), 3, to, capacity, &mut len)
            };
            assert_eq!(len, other.len());
            assert_eq!(got == OK, len <= buffer.len());
            if got == OK {
                assert_eq!(&buffer[..len], other.as_bytes());
            }
        }
    }
    let (deleted, old) = bucket.delete("key");
    assert_eq!((deleted, old.text().len()), (OK, 700));
    assert_eq!(bucket.delete("key").0, NOT_FOUND);
    bucket.free();
}

#[test]
fn a_table_grows_and_shrinks_and_is_cleared() {
    let bucket = Bucket::start();
    let name = |number: i64| format!("key number {number}");
    for number in 0..4 * ROUNDS {
        let key = name(number);
        // SAFETY of all: the keys are there.
        let put = unsafe { kvreg_bucket_put_int(bucket.handle(), key.as_ptr(), key.len(), number) };
        assert_eq!(put, OK);
    }
    for number in 0..4 * ROUNDS {
        let (key, mut found) = (name(number), 0);
        let got =
            unsafe { kvreg_bucket_get_int(bucket.handle(), key.as_ptr(), key.len(), &mut found) };
        assert_eq!((got, found), (OK, number));
        if number % 8 != 0 {
            assert_eq!(bucket.delete(&key).0, OK);
        }
    }
    assert_eq!(
        bucket.count() as i64,
        4 * ROUNDS / 8 + (4 * ROUNDS % 8 + 7) / 8
    );
    assert_eq!(unsafe { kvreg_bucket_clear(bucket.handle()) }, OK);
    assert_eq!(bucket.count(), 0);
    bucket.free();
}

#[test]
fn an_update_holds_the_turn_and_stores() {
    let bucket = Bucket::start();
    bucket.put("key", "before");
    let (mut current, mut update) = (Value::nil(), null_mut());
    let after = "after";
    let next = Value {
        kind: STRING,
        reserved: 0,
        words: Words {
            text: Text {
                data: after.as_ptr(),
                len: after.len(),
            },
        },
        private: 0,
    };
    // SAFETY: outputs, and a value that is there.
    unsafe {
        let (key, len) = (b"key".as_ptr(), 3);
        let begun = kvreg_bucket_update_begin(bucket.handle(), key, len, &mut current, &mut update);
        assert_eq!(begun, OK);
        assert_eq!(current.text(), b"before");
        assert_eq!(kvreg_update_end(update, STORE, &next), OK);
    }
    std::mem::forget(next); // borrowed
    assert_eq!(bucket.get("key").text(), b"after");
    bucket.free();
}

#[test]
fn names_lead_to_buckets_until_they_end() {
    let (mut registry, name) = (null_mut(), "shopping");
    // SAFETY of all: outputs, and names that are there.
    unsafe { assert_eq!(kvreg_registry_start(null(), &mut registry), OK) };
    let mut made = null_mut();
    let created =
        unsafe { kvreg_registry_create(registry, name.as_ptr(), name.len(), 0, &mut made) };
    assert_eq!(created, OK);
    let look_up = || {
        let mut found = null_mut();
        let status =
            unsafe { kvreg_registry_lookup(registry, name.as_ptr(), name.len(), &mut found) };
        (status, Bucket(found.addr()))
    };
    for number in 0..ROUNDS {
        let (status, bucket) = look_up();
        assert_eq!(status, OK);
        bucket.put("milk", &number.to_string());
        assert_eq!(bucket.get("milk").text(), number.to_string().as_bytes());
        bucket.free();
    }
    let linked = Bucket::start();
    let killed = 2;
    unsafe {
        assert_eq!(kvreg_bucket_link(made, linked.handle()), OK);
        assert_eq!(kvreg_bucket_exit(made, killed, b"".as_ptr(), 0), OK);
    }
    assert_eq!(look_up().0, NOT_FOUND);
    let mut value = Value::nil();
    let got = unsafe { kvreg_bucket_get(linked.handle(), b"key".as_ptr(), 3, &mut value) };
    assert!(got != OK && got != NOT_FOUND, "the linked bucket is there");
    Bucket(made.addr()).free();
    linked.free();
    assert_eq!(unsafe { kvreg_registry_free(registry) }, OK);
}

/// Each thread has its own way to a bucket that the other one changes, and none sees a text that
/// was never stored.
#[test]
fn a_reader_sees_whole_texts_beside_a_writer() {
    let bucket = Bucket::start();
    let texts: Vec<String> = [3, 60, 90, 600].map(|len| "y".repeat(len)).to_vec();
    bucket.put("key", &texts[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS as usize {
                bucket.put("key", &texts[round % texts.len()]);
                bucket.put(&format!("{round}"), "other");
                if round % 3 == 0 {
                    assert_eq!(bucket.delete(&format!("{round}")).0, OK);
                }
            }
        });
        for _ in 0..ROUNDS {
            let value = bucket.get("key");
            let text = value.text();
            assert!(text.iter().all(|byte| *byte == b'y'));
            assert!(texts.iter().any(|it| it.len() == text.len()));
        }
    });
    bucket.free();
}

/// What is cast where the turn is taken waits for a drain: for the threads of the runtime.
#[test]
fn a_cast_that_is_queued_is_read_by_who_sent_it() {
    let bucket = Bucket::start();
    for _ in 0..3 {
        let (mut current, mut update) = (Value::nil(), null_mut());
        // SAFETY of all: outputs, keys and values that are there.
        unsafe {
            let begun = kvreg_bucket_update_begin(
                bucket.handle(),
                b"key".as_ptr(),
                3,
                &mut current,
                &mut update,
            );
            assert_eq!(begun, OK);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let number = Value {
                    kind: INT,
                    reserved: 0,
                    words: Words { integer: 7 },
                    private: 0,
                };
                let cast =
                    unsafe { kvreg_bucket_put_cast(bucket.handle(), b"cast".as_ptr(), 4, &number) };
                assert_eq!(cast, OK);
            });
        });
        unsafe { assert_eq!(kvreg_update_end(update, KEEP, null()), OK) };
        let mut found = 0;
        // Until a drain has come: the cast is another thread's.
        let begin = Instant::now();
        while unsafe { kvreg_bucket_get_int(bucket.handle(), b"cast".as_ptr(), 4, &mut found) }
            != OK
        {
            assert!(begin.elapsed() < PATIENCE, "no drain came");
            std::thread::yield_now();
        }
        assert_eq!(found, 7);
        assert_eq!(bucket.delete("cast").0, OK);
    }
    bucket.free();
}
