//! kvreg, called from C through the shared library.

use std::ffi::c_void;
use std::path::Path;

use libloading::Library;

use crate::{Keys, Peer, Work};

/// In the order of `functions` in `loops.c`.
#[repr(C)]
struct Functions {
    bucket_start: *const c_void,
    bucket_put: *const c_void,
    bucket_get: *const c_void,
    bucket_get_bytes: *const c_void,
    bucket_free: *const c_void,
    value_clear: *const c_void,
}

extern "C" {
    fn loop_put(
        kvreg: *const Functions,
        bucket: *mut c_void,
        keys: *const u8,
        count: usize,
        data: *const u8,
        len: usize,
    ) -> u64;
    fn loop_get(
        kvreg: *const Functions,
        bucket: *mut c_void,
        keys: *const u8,
        count: usize,
        sum: *mut u64,
    ) -> u64;
    fn loop_get_bytes(
        kvreg: *const Functions,
        bucket: *mut c_void,
        keys: *const u8,
        count: usize,
        sum: *mut u64,
    ) -> u64;
}

pub struct Kvreg {
    functions: Functions,
    bucket: *mut c_void,
    into_buffer: bool,
    _library: Library,
}

impl Kvreg {
    /// `into_buffer`: get by `kvreg_bucket_get_bytes`, else by `kvreg_bucket_get`.
    pub fn load(path: &Path, into_buffer: bool) -> Kvreg {
        // SAFETY: kvreg's library does nothing when it is loaded, and its functions have the
        // types that loops.c takes from its header.
        unsafe {
            let library = Library::new(path)
                .unwrap_or_else(|error| panic!("{error}: run `cargo build --release` first"));
            let function = |name: &str| {
                let symbol = library.get::<*const c_void>(name.as_bytes());
                *symbol.expect("a function of the header")
            };
            let functions = Functions {
                bucket_start: function("kvreg_bucket_start"),
                bucket_put: function("kvreg_bucket_put"),
                bucket_get: function("kvreg_bucket_get"),
                bucket_get_bytes: function("kvreg_bucket_get_bytes"),
                bucket_free: function("kvreg_bucket_free"),
                value_clear: function("kvreg_value_clear"),
            };
            let start: extern "C" fn(*mut *mut c_void) -> i32 =
                std::mem::transmute(functions.bucket_start);
            let mut bucket = std::ptr::null_mut();
            assert_eq!(start(&mut bucket), 0);
            Kvreg {
                functions,
                bucket,
                into_buffer,
                _library: library,
            }
        }
    }
}

impl Peer for Kvreg {
    fn run(&self, work: Work, keys: &Keys, value: &[u8]) -> u64 {
        let (bytes, count) = (keys.bytes.as_ptr(), keys.count);
        let mut sum = 0;
        // SAFETY: the bucket lives, and the keys and the value are good for their lengths.
        let failed = unsafe {
            match work {
                Work::Put => loop_put(
                    &self.functions,
                    self.bucket,
                    bytes,
                    count,
                    value.as_ptr(),
                    value.len(),
                ),
                Work::Get if self.into_buffer => {
                    loop_get_bytes(&self.functions, self.bucket, bytes, count, &mut sum)
                }
                Work::Get => loop_get(&self.functions, self.bucket, bytes, count, &mut sum),
            }
        };
        assert_eq!(failed, 0);
        sum
    }
}

impl Drop for Kvreg {
    fn drop(&mut self) {
        // SAFETY: the function's type in the header; the handle is freed once.
        unsafe {
            let free: extern "C" fn(*mut c_void) -> i32 =
                std::mem::transmute(self.functions.bucket_free);
            free(self.bucket);
        }
    }
}
