//! What concerns the whole process: versions, statuses, the last error, shutdown.

use std::ffi::c_char;

use super::argument::WithSize;
use super::free_all;
use super::guard::guard;
use super::info::fill;
use super::options::{kvreg_options, process_options};
use super::status::{kvreg_status, Failure, Status};
use crate::handle_table::Kind;
use crate::process::Process;
use crate::time::Timeout;

const VERSION: &std::ffi::CStr = match std::ffi::CStr::from_bytes_with_nul(
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
) {
    Ok(version) => version,
    Err(_) => unreachable!(),
};

/// A decimal number, at compile time.
const fn number(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let (mut value, mut at) = (0, 0);
    while at < bytes.len() {
        value = value * 10 + (bytes[at] - b'0') as u32;
        at += 1;
    }
    value
}

const VERSION_NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
    | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
    | number(env!("CARGO_PKG_VERSION_PATCH"));

/// @name The library
///
/// Gives the library's version as text, "major.minor.patch". The text is static. Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_version_string() -> *const c_char {
    VERSION.as_ptr()
}

/// Gives the library's version as a number, 0x00MMmmpp, as KVREG_VERSION_NUMBER is the header's.
/// Never blocks.
#[no_mangle]
pub extern "C" fn kvreg_version_number() -> u32 {
    VERSION_NUMBER
}

/// Sets what holds for the whole process. It comes before any other function of the library:
/// afterwards, and a second time, it answers KVREG_ALREADY_STARTED. A program need not call it.
/// `options` may be NULL, which means the defaults. It starts nothing. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_configure(options: *const kvreg_options) -> kvreg_status {
    guard("kvreg_configure", || {
        if Process::if_any().is_some_and(Process::is_shut_down) {
            return Err(Status::ShutDown.into());
        }
        Process::with_memory()?;
        // SAFETY: null or options.
        Ok(Process::configure(unsafe { process_options(options) }?)?)
    })
}

/// Ends everything: all registries and buckets, with the reason KVREG_REASON_SHUTDOWN, all
/// listeners, all handles, and the library's threads. It waits for these threads for at most
/// `timeout_ms` milliseconds (-1 for ever). KVREG_TIMEOUT means that callbacks were still running
/// then; they are left alone, and kvreg_last_error names their buckets.
///
/// Afterwards frees and clears still succeed, values stay valid, and every other function answers
/// KVREG_SHUT_DOWN. A program need not call it: a process may just exit. From inside a callback it
/// answers KVREG_CALLING_SELF. Blocks.
#[no_mangle]
pub extern "C" fn kvreg_shutdown(timeout_ms: i64) -> kvreg_status {
    guard("kvreg_shutdown", || {
        Process::running()?; // the first of what may be wrong
        let timeout = Timeout::from_millis(timeout_ms)?;
        match crate::api::shut_down(timeout, free_all)? {
            None => Ok(()),
            Some(stuck) => Err(Failure::new(Status::Timeout, stuck)),
        }
    })
}

/// The header's `kvreg_live`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct kvreg_live {
    size: u32,
    reserved: u32,
    registries: u64,
    buckets: u64,
    registry_handles: u64,
    bucket_handles: u64,
    update_handles: u64,
    items_handles: u64,
    inbox_handles: u64,
    listener_handles: u64,
    servers: u64,
    server_handles: u64,
    turn_handles: u64,
    reply_handles: u64,
}

#[cfg(test)]
laid_out_as_in_c!(kvreg_live {
    size,
    reserved,
    registries,
    buckets,
    registry_handles,
    bucket_handles,
    update_handles,
    items_handles,
    inbox_handles,
    listener_handles,
    servers,
    server_handles,
    turn_handles,
    reply_handles
});

// SAFETY: integers, and the first is a u32.
unsafe impl WithSize for kvreg_live {}

/// Counts what lives in the library now: servers that have not ended, and handles that were not
/// freed. It fills as much of `live` as its `size` says. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_live_counts(live: *mut kvreg_live) -> kvreg_status {
    guard("kvreg_live_counts", || {
        let process = Process::running()?;
        let handles = |kind| process.handles().live(kind) as u64;
        let counts = kvreg_live {
            size: size_of::<kvreg_live>() as u32,
            reserved: 0,
            registries: process.registries().live() as u64,
            buckets: process.buckets().live() as u64,
            registry_handles: handles(Kind::Registry),
            bucket_handles: handles(Kind::Bucket),
            update_handles: handles(Kind::Update),
            items_handles: handles(Kind::Items),
            inbox_handles: handles(Kind::Inbox),
            listener_handles: handles(Kind::Listener),
            servers: process.user_servers().live() as u64,
            server_handles: handles(Kind::Server).saturating_sub(process.user_servers().selves()),
            turn_handles: handles(Kind::Turn),
            reply_handles: handles(Kind::Reply),
        };
        // SAFETY: null, or a struct of the size it tells.
        unsafe { fill(live, || Ok(counts)) }
    })
}
