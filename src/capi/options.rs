//! The header's structs of options. In each, 0 stands for the default.

use std::ffi::{c_char, c_void, CStr};
use std::time::Duration;

use super::argument::{self, invalid, limit, options, WithSize};
use super::engine;
use super::status::Failure;
use crate::bucket::{BucketOptions, OnFull, Order, Reads};
use crate::inbox::WatchOptions;
use crate::memory;
use crate::process;
use crate::registry::RegistryOptions;
use crate::server::Restart;
use crate::time::Timeout;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_options {
    size: u32,
    worker_threads: u32,
    callback_threads: u32,
    max_monitors: u32,
    default_timeout_ms: i64,
    thread_name: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_bucket_options {
    size: u32,
    restart: u32,
    max_restarts: u32,
    restart_period_ms: u32,
    max_mailbox: u64,
    max_keys: u64,
    max_bytes: u64,
    max_value: u64,
    order: u32,
    on_full: u32,
    default_ttl_ms: i64,
    store: *const c_char,
    store_len: usize,
    reads: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_registry_options {
    size: u32,
    reserved: u32,
    name: *const c_char,
    name_len: usize,
    bucket: *const kvreg_bucket_options,
    max_buckets: u64,
    max_bytes: u64,
    max_mailbox: u64,
    max_servers: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_watch_options {
    size: u32,
    flags: u32,
    prefix: *const c_void,
    prefix_len: usize,
    max_pending: u64,
}

// SAFETY of all: integers and pointers, and the first is a u32.
unsafe impl WithSize for kvreg_options {}
unsafe impl WithSize for kvreg_bucket_options {}
unsafe impl WithSize for kvreg_registry_options {}
unsafe impl WithSize for kvreg_watch_options {}

#[cfg(test)]
laid_out_as_in_c!(kvreg_watch_options {
    size,
    flags,
    prefix,
    prefix_len,
    max_pending
});

#[cfg(test)]
laid_out_as_in_c!(kvreg_options {
    size,
    worker_threads,
    callback_threads,
    max_monitors,
    default_timeout_ms,
    thread_name
});
#[cfg(test)]
laid_out_as_in_c!(kvreg_bucket_options {
    size,
    restart,
    max_restarts,
    restart_period_ms,
    max_mailbox,
    max_keys,
    max_bytes,
    max_value,
    order,
    on_full,
    default_ttl_ms,
    store,
    store_len,
    reads,
    reserved
});
#[cfg(test)]
laid_out_as_in_c!(kvreg_registry_options {
    size,
    reserved,
    name,
    name_len,
    bucket,
    max_buckets,
    max_bytes,
    max_mailbox,
    max_servers
});

/// The last of the ways to read. Where all keys are in memory they are the same.
const READ_COPY: u32 = 1;

/// A thread's name is at most so long on Linux.
const THREAD_NAME_LIMIT: usize = 15;

/// # Safety
/// Null, or a struct of the size it tells, whose name ends at its NUL.
pub(super) unsafe fn process_options(
    given: *const kvreg_options,
) -> Result<process::Options, Failure> {
    let default = process::Options::default();
    // SAFETY: by contract.
    let given = unsafe { options(given) }?;
    let Some(given) = given else {
        return Ok(default);
    };
    if given.worker_threads > 1024 || given.callback_threads > 1 << 20 {
        return Err(invalid("so many threads"));
    }
    let thread_name = if given.thread_name.is_null() {
        default.thread_name
    } else {
        // SAFETY: by contract.
        let name = unsafe { CStr::from_ptr(given.thread_name) }.to_str();
        let name = name.map_err(|_| invalid("a text is not UTF-8"))?;
        if name.is_empty() || name.len() > THREAD_NAME_LIMIT {
            return Err(invalid("the name of a thread has 1 to 15 bytes"));
        }
        name.to_owned()
    };
    let default_timeout_ms = match given.default_timeout_ms {
        0 => default.default_timeout_ms,
        given => Some(given),
    };
    Timeout::from_millis(default_timeout_ms.unwrap_or(0))?;
    Ok(process::Options {
        worker_threads: limit(given.worker_threads.into(), default.worker_threads),
        callback_threads: limit(given.callback_threads.into(), default.callback_threads),
        thread_name,
        default_timeout_ms,
        max_monitors: limit(given.max_monitors.into(), default.max_monitors),
    })
}

/// # Safety
/// Null, or a struct of the size it tells.
pub(super) unsafe fn bucket_options(
    given: *const kvreg_bucket_options,
) -> Result<Option<BucketOptions>, Failure> {
    // SAFETY: by contract.
    let given = unsafe { options(given) }?;
    let Some(given) = given else {
        return Ok(None);
    };
    if given.reserved != 0 {
        return Err(invalid("a reserved field is not 0"));
    }
    if given.reads > READ_COPY {
        return Err(invalid("an unknown way to read"));
    }
    let store = match given.store.is_null() {
        true if given.store_len == 0 => None,
        _ => {
            engine::are_loaded();
            // SAFETY: by contract.
            Some(unsafe { argument::text(given.store, given.store_len) }?.into())
        }
    };
    let reads = match given.reads {
        READ_COPY => Reads::Copy,
        _ => Reads::Store,
    };
    let default = BucketOptions::default();
    let restart = Restart::from_number(given.restart);
    let restart_period = match given.restart_period_ms {
        0 => default.restart_period,
        millis => Duration::from_millis(millis.into()),
    };
    let options = BucketOptions {
        store,
        reads,
        restart: restart.ok_or_else(|| invalid("an unknown restart option"))?,
        max_restarts: match given.max_restarts {
            0 => default.max_restarts,
            given => given,
        },
        restart_period,
        max_mailbox: limit(given.max_mailbox, default.max_mailbox),
        max_keys: limit(given.max_keys, default.max_keys),
        max_bytes: limit(given.max_bytes, default.max_bytes),
        max_value: limit(given.max_value, default.max_value),
        order: match given.order {
            0 => Order::Unordered,
            1 => Order::Ordered,
            _ => return Err(invalid("an unknown order")),
        },
        on_full: match given.on_full {
            0 => OnFull::Refuse,
            1 => OnFull::Evict,
            _ => return Err(invalid("an unknown answer to a full bucket")),
        },
        default_ttl: match given.default_ttl_ms {
            0 => None,
            1.. => Some(Duration::from_millis(given.default_ttl_ms.unsigned_abs())),
            _ => return Err(invalid("a default time to live is negative")),
        },
    };
    options.check()?;
    Ok(Some(options))
}

/// # Safety
/// Null, or a struct of the size it tells, whose prefix is null or good.
pub(super) unsafe fn watch_options(
    given: *const kvreg_watch_options,
) -> Result<WatchOptions, Failure> {
    const KEYS_ONLY: u32 = 1;
    const ONLY_NEW: u32 = 2;
    const ONE_KEY: u32 = 4;
    let mut wanted = WatchOptions::default();
    // SAFETY: by contract.
    let Some(given) = (unsafe { options(given) })? else {
        return Ok(wanted);
    };
    if given.flags & !(KEYS_ONLY | ONLY_NEW | ONE_KEY) != 0 {
        return Err(invalid("an unknown flag"));
    }
    // SAFETY: by contract.
    let prefix = unsafe { argument::key(given.prefix, given.prefix_len) }?;
    memory::reserve(&mut wanted.prefix, prefix.len())?;
    wanted.prefix.extend_from_slice(prefix);
    wanted.keys_only = given.flags & KEYS_ONLY != 0;
    wanted.only_new = given.flags & ONLY_NEW != 0;
    wanted.one_key = given.flags & ONE_KEY != 0;
    wanted.max_pending = given.max_pending;
    Ok(wanted)
}

/// # Safety
/// Null, or a struct of the size it tells, whose pointers are null or good.
pub(super) unsafe fn registry_options(
    given: *const kvreg_registry_options,
) -> Result<RegistryOptions, Failure> {
    let default = RegistryOptions::default();
    // SAFETY: by contract.
    let given = unsafe { options(given) }?;
    let Some(given) = given else {
        return Ok(default);
    };
    if given.reserved != 0 {
        return Err(invalid("a reserved field is not 0"));
    }
    let name = match given.name.is_null() {
        true if given.name_len == 0 => None,
        // SAFETY: by contract.
        _ => Some(unsafe { argument::name(given.name, given.name_len) }?.to_owned()),
    };
    // SAFETY: by contract.
    let bucket = unsafe { bucket_options(given.bucket) }?;
    Ok(RegistryOptions {
        name,
        bucket: bucket.unwrap_or(default.bucket),
        max_buckets: limit(given.max_buckets, default.max_buckets),
        max_servers: limit(given.max_servers, default.max_servers),
        max_bytes: limit(given.max_bytes, default.max_bytes),
        max_mailbox: limit(given.max_mailbox, default.max_mailbox),
    })
}
