//! The stacks of the checker's threads, kept from one execution to the next: loom maps them anew
//! each time, and half of all the time went into that. What it calls for it is this program's own
//! `mmap` and `munmap`; they hand out again what has the same size, with its guard page, and leave
//! all else to the system.

use std::ffi::{c_int, c_long, c_void};
use std::sync::Mutex;

/// Of a stack with its guard, which nothing else of the checker's is: 32 KiB and a page.
const STACK: usize = (32 + 4) << 10;

/// Addresses of stacks that nobody has.
static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn is_stack(len: usize, flags: c_int) -> bool {
    len == STACK && flags == libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_STACK
}

/// # Safety
/// As of the system's.
#[no_mangle]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: c_long,
) -> *mut c_void {
    if is_stack(len, flags) {
        if let Some(kept) = KEPT.lock().ok().and_then(|mut kept| kept.pop()) {
            return std::ptr::with_exposed_provenance_mut(kept);
        }
    }
    // SAFETY: by contract.
    let mapped = unsafe {
        libc::syscall(
            libc::SYS_mmap,
            address,
            len,
            protection,
            flags,
            file,
            offset,
        )
    };
    std::ptr::with_exposed_provenance_mut(mapped as usize)
}

/// # Safety
/// As of the system's; who unmaps so many bytes unmaps a stack.
#[no_mangle]
unsafe extern "C" fn munmap(address: *mut c_void, len: usize) -> c_int {
    match KEPT.lock() {
        Ok(mut kept) if len == STACK => {
            kept.push(address.expose_provenance());
            0
        }
        // SAFETY: by contract.
        _ => unsafe { libc::syscall(libc::SYS_munmap, address, len) as c_int },
    }
}
