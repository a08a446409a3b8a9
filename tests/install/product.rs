//! Another Rust library: it has Rust's run-time too, panics, and uses kvreg as C does.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

extern "C" {
    fn kvreg_registry_whereis(name: *const c_char, len: usize, registry: *mut *mut c_void) -> i32;
    fn kvreg_registry_lookup(
        registry: *mut c_void,
        name: *const c_char,
        len: usize,
        bucket: *mut *mut c_void,
    ) -> i32;
    fn kvreg_bucket_get_int(
        bucket: *mut c_void,
        key: *const c_void,
        len: usize,
        number: *mut i64,
    ) -> i32;
    fn kvreg_bucket_free(bucket: *mut c_void) -> i32;
    fn kvreg_registry_free(registry: *mut c_void) -> i32;
}

/// What the product in C put, or -1. A panic on the way stays inside.
#[no_mangle]
pub extern "C" fn product_in_rust() -> c_int {
    let caught = std::panic::catch_unwind(|| {
        std::panic::resume_unwind(Box::new("caught"));
    });
    assert!(caught.is_err());
    let mut number = -1;
    // SAFETY: names and lengths agree, and the outputs outlive the calls.
    unsafe {
        let (mut registry, mut bucket) = (null_mut(), null_mut());
        kvreg_registry_whereis(c"products".as_ptr(), 8, &mut registry);
        kvreg_registry_lookup(registry, c"words".as_ptr(), 5, &mut bucket);
        kvreg_bucket_get_int(bucket, c"c".as_ptr().cast(), 1, &mut number);
        kvreg_bucket_free(bucket);
        kvreg_registry_free(registry);
    }
    number as c_int
}
