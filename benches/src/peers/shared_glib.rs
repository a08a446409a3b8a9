//! GLib's hash table with a mutex, called from C.

use std::ffi::c_void;

use super::Map;
use crate::keys::Keys;

extern "C" {
    fn glib_new() -> *mut c_void;
    fn glib_loop_get(table: *mut c_void, keys: *const u8, count: usize) -> u64;
    fn glib_loop_put(
        table: *mut c_void,
        keys: *const u8,
        count: usize,
        data: *const u8,
        len: usize,
    );
}

/// Lives to the end of the program.
pub struct Glib(*mut c_void);

// SAFETY: it has a lock.
unsafe impl Send for Glib {}
// SAFETY: as above.
unsafe impl Sync for Glib {}

impl Glib {
    pub fn new() -> Glib {
        // SAFETY: nothing is asked of the caller.
        Glib(unsafe { glib_new() })
    }
}

impl Map for Glib {
    fn get(&self, keys: &Keys) -> u64 {
        // SAFETY: so many keys.
        unsafe { glib_loop_get(self.0, keys.as_ptr(), keys.len()) }
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        // SAFETY: so many keys, and so many bytes.
        unsafe {
            let (data, len) = (value.as_ptr(), value.len());
            glib_loop_put(self.0, keys.as_ptr(), keys.len(), data, len);
        }
    }
}
