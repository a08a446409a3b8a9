//! `kvreg_registry_*`.

use std::ffi::{c_char, c_void};

use super::argument::{self, invalid, Out};
use super::guard::guard;
use super::items::Items;
use super::object::{
    self, free, kvreg_bucket, kvreg_items, kvreg_registry, make, set_timeout, with,
    DEFAULT_TIMEOUT_MS,
};
use super::status::{kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::process::Process;
use crate::registry::RegistryServer;
use crate::value::{Text, Value};

const EXCLUSIVE: u32 = 1;

/// The header's `kvreg_registry_options`.
#[repr(C)]
pub struct kvreg_registry_options {
    size: u32,
    reserved: u32,
}

/// # Safety
/// Null, or a struct of the size it tells.
unsafe fn check_options(options: *const kvreg_registry_options) -> Result<(), Failure> {
    if options.is_null() {
        return Ok(());
    }
    // SAFETY: by contract.
    let size = unsafe { (*options).size } as usize;
    let known = size_of::<kvreg_registry_options>();
    if size < known {
        return Err(invalid("the size of the options is not set"));
    }
    if size > 4096 {
        return Err(invalid(
            "the size of the options is not that of any version",
        ));
    }
    // SAFETY: by contract; plain bytes.
    let bytes = unsafe { std::slice::from_raw_parts(options.cast::<u8>(), size) };
    if bytes[size_of::<u32>()..].iter().any(|byte| *byte != 0) {
        let text = "an option that this version does not know is set";
        return Err(Failure::new(Status::Unsupported, text));
    }
    Ok(())
}

/// Starts a registry. `options` may be NULL: the defaults. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_start(
    options: *const kvreg_registry_options,
    registry: *mut *mut kvreg_registry,
) -> kvreg_status {
    guard("kvreg_registry_start", || {
        // SAFETY: null or an output.
        let registry = unsafe { Out::new(registry, std::ptr::null_mut()) };
        let process = Process::running()?;
        // SAFETY: null or options.
        unsafe { check_options(options) }?;
        registry.required()?;
        let server = RegistryServer::start_registry(process);
        make(server, DEFAULT_TIMEOUT_MS, &registry)
    })
}

/// Gives another handle to the same registry, with the timeout of this one. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_clone(
    registry: *mut kvreg_registry,
    clone: *mut *mut kvreg_registry,
) -> kvreg_status {
    guard("kvreg_registry_clone", || {
        // SAFETY: null or an output.
        object::clone(registry, unsafe { Out::new(clone, std::ptr::null_mut()) })
    })
}

/// Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if it
/// need not wait. Other handles keep theirs. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_set_timeout(
    registry: *mut kvreg_registry,
    timeout_ms: i64,
) -> kvreg_status {
    guard("kvreg_registry_set_timeout", || {
        set_timeout(registry, timeout_ms)
    })
}

/// Gives the bucket of that name, and starts it if there is none: a call. With
/// KVREG_EXCLUSIVE in `flags` (else 0): KVREG_ALREADY_STARTED if there is one. `bucket` may be
/// NULL. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_create(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    flags: u32,
    bucket: *mut *mut kvreg_bucket,
) -> kvreg_status {
    guard("kvreg_registry_create", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        with(registry, |registry, caller| {
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            if flags & !EXCLUSIVE != 0 {
                return Err(invalid("an unknown flag"));
            }
            let server = registry.create(caller, name, flags & EXCLUSIVE != 0)?;
            if bucket.is_wanted() {
                make(server, DEFAULT_TIMEOUT_MS, &bucket)?;
            }
            Ok(())
        })
    })
}

/// Starts a bucket of that name unless there is one: a cast. A call or lookup of the same
/// thread after it finds the bucket. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_create_cast(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
) -> kvreg_status {
    guard("kvreg_registry_create_cast", || {
        with(registry, |registry, _| {
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            Ok(registry.create_cast(name)?)
        })
    })
}

/// Gives the bucket that has the name now, or KVREG_NOT_FOUND. A bucket of which anybody has
/// learned that it ended is not found. Blocks only while casts of this thread to the registry
/// are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_lookup(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    bucket: *mut *mut kvreg_bucket,
) -> kvreg_status {
    guard("kvreg_registry_lookup", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        with(registry, |registry, caller| {
            bucket.required()?;
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            let server = registry.lookup(caller, name)?;
            make(server, DEFAULT_TIMEOUT_MS, &bucket)
        })
    })
}

/// Counts the names. Blocks only while casts of this thread to the registry are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_count(
    registry: *mut kvreg_registry,
    count: *mut usize,
) -> kvreg_status {
    guard("kvreg_registry_count", || {
        // SAFETY: null or an output.
        let count = unsafe { Out::new(count, 0) };
        with(registry, |registry, caller| {
            count.required()?;
            count.set(registry.count(caller)?);
            Ok(())
        })
    })
}

/// Gives a snapshot of the names: keys of type KVREG_STRING, values nil. Blocks only for its
/// own copying by others, and while casts of this thread to the registry are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_names(
    registry: *mut kvreg_registry,
    names: *mut *mut kvreg_items,
) -> kvreg_status {
    guard("kvreg_registry_names", || {
        // SAFETY: null or an output.
        let names = unsafe { Out::new(names, std::ptr::null_mut()) };
        with(registry, |registry, caller| {
            names.required()?;
            let found = registry.names(caller)?;
            let names_only = found
                .iter()
                .map(|name| Ok((Value::String(Text::copy(name.as_bytes())?), Value::Nil)));
            make(
                Items::of(names_only.collect::<Result<_, Failure>>()?),
                0,
                &names,
            )
        })
    })
}

/// Sends the registry an info of up to 65,536 bytes: a message that it does not expect. It is logged at debug and
/// dropped, as in the guide. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_send(
    registry: *mut kvreg_registry,
    message: *const c_void,
    message_len: usize,
) -> kvreg_status {
    guard("kvreg_registry_send", || {
        with(registry, |registry, _| {
            // SAFETY: the message is good for its length.
            let message = unsafe { argument::bytes(message, message_len) }?;
            Ok(registry.send(message)?)
        })
    })
}

/// Carries out one line of the text protocol (CREATE, PUT, GET, DELETE; see the README), with
/// or without its line break. `reply` is what a connection would get, "NOT FOUND" and "UNKNOWN
/// COMMAND" included: a STRING, or BYTES if it is not UTF-8, with CRLF after each line; to be
/// cleared. A failure has its status: KVREG_INVALID_ARGUMENT for a name or key that cannot be,
/// KVREG_UNSUPPORTED for a value with a line break. Blocks like a call.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_execute(
    registry: *mut kvreg_registry,
    line: *const c_char,
    line_len: usize,
    reply: *mut kvreg_value,
) -> kvreg_status {
    guard("kvreg_registry_execute", || {
        // SAFETY: null or an output.
        let reply = unsafe { Out::new(reply, kvreg_value::NIL) };
        with(registry, |registry, caller| {
            reply.required()?;
            if line.is_null() {
                return Err(invalid("a line is NULL"));
            }
            // SAFETY: the line is good for its length.
            let line = unsafe { argument::bytes(line.cast(), line_len) }?;
            let bytes = crate::protocol::execute(registry, caller, line)?;
            let is_text = std::str::from_utf8(&bytes).is_ok();
            let text = Text::copy(&bytes)?;
            reply.set(kvreg_value::owned(match is_text {
                true => Value::String(text),
                false => Value::Bytes(text),
            })?);
            Ok(())
        })
    })
}

/// Ends all buckets, reason SHUTDOWN, then the registry; returns when all are gone. From
/// inside a callback of one of its buckets: KVREG_CALLING_SELF. The handle is freed separately.
/// Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_stop(registry: *mut kvreg_registry) -> kvreg_status {
    guard("kvreg_registry_stop", || {
        with(registry, |registry, caller| Ok(registry.stop_all(caller)?))
    })
}

/// Frees the handle. The registry stops, with its buckets, when its last handle is freed.
/// NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_free(registry: *mut kvreg_registry) -> kvreg_status {
    guard("kvreg_registry_free", || free(registry))
}
