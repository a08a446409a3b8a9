//! `kvreg_registry_*`.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::argument::{self, invalid, Out};
use super::fast;
use super::guard::guard;
use super::handles::{self, fast_make, free, make, set_timeout};
use super::info::{fill, kvreg_registry_stats};
use super::items::Items;
use super::kinds::{kvreg_bucket, kvreg_items, kvreg_registry};
use super::object::{releasing_registry, with_registry};
use super::options::{
    bucket_options, kvreg_bucket_options, kvreg_registry_options, registry_options,
};
use super::status::{kvreg_reason, kvreg_status, Failure, Status};
use super::value::kvreg_value;
use crate::bucket::BucketOptions;
use crate::process::Process;
use crate::reason::{Exit, Reason};
use crate::registry::Supervisor;
use crate::registry::{RegistryServer, Sort};
use crate::server::Caller;
use crate::value::{Text, Value};

const EXCLUSIVE: u32 = 1;

/// @name Registries: start and handles
///
/// Starts a registry. `options` may be NULL, which means the defaults. It answers
/// KVREG_ALREADY_STARTED if another registry has the name that the options ask for. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_start(
    options: *const kvreg_registry_options,
    registry: *mut *mut kvreg_registry,
) -> kvreg_status {
    guard("kvreg_registry_start", || {
        // SAFETY: null or an output.
        let registry = unsafe { Out::new(registry, std::ptr::null_mut()) };
        let process = Process::starting()?;
        // SAFETY: null or options.
        let options = unsafe { registry_options(options) }?;
        registry.required()?;
        let started = Supervisor::start(process.around_registries(), options)?;
        make(Arc::clone(&started), &registry).inspect_err(|_| {
            // Its name would keep it running.
            started.registry().end(Exit::new(Reason::Shutdown, ""));
        })
    })
}

/// Finds the registry that is registered under a name in this process, or answers KVREG_NOT_FOUND.
/// This is how a host and its plug-ins meet. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_whereis(
    name: *const c_char,
    name_len: usize,
    registry: *mut *mut kvreg_registry,
) -> kvreg_status {
    guard("kvreg_registry_whereis", || {
        // SAFETY: null or an output.
        let registry = unsafe { Out::new(registry, std::ptr::null_mut()) };
        let process = Process::starting()?;
        registry.required()?;
        // SAFETY: the name is good for its length.
        let name = unsafe { argument::name(name, name_len) }?;
        make(process.registries().names().whereis(name)?, &registry)
    })
}

/// Gives another handle to the registry, with the timeout of this handle. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_clone(
    registry: *mut kvreg_registry,
    clone: *mut *mut kvreg_registry,
) -> kvreg_status {
    guard("kvreg_registry_clone", || {
        // SAFETY: null or an output.
        handles::clone(registry, unsafe { Out::new(clone, std::ptr::null_mut()) })
    })
}

/// Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if the call
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

/// @name Registries: buckets by name
///
/// Gives the bucket of that name, and starts one if there is none: a call. With
/// KVREG_CREATE_EXCLUSIVE in `flags` (else 0) it answers KVREG_ALREADY_STARTED if there is one.
/// `bucket` may be NULL. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_create(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    flags: u32,
    bucket: *mut *mut kvreg_bucket,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_create", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        with_registry(registry, |registry, caller| {
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            create(registry, caller, name, flags, None, &bucket)
        })
    })
}

/// Gives the bucket of that name, and starts one with `options` if there is none: a call. A bucket
/// that is there keeps its own options. `options` may be NULL, which means those of the registry.
/// `flags` and `bucket` are as in kvreg_registry_create. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_create_with(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    flags: u32,
    options: *const kvreg_bucket_options,
    bucket: *mut *mut kvreg_bucket,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_create_with", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        with_registry(registry, |registry, caller| {
            caller.unpin(); // the options may have to be waited for
                            // SAFETY: the name is good for its length; null or options.
            let name = unsafe { argument::name(name, name_len) }?;
            let options = unsafe { bucket_options(options) }?;
            create(registry, caller, name, flags, options, &bucket)
        })
    })
}

fn create(
    registry: &Arc<RegistryServer>,
    caller: &mut Caller<'_>,
    name: &str,
    flags: u32,
    options: Option<BucketOptions>,
    bucket: &Out<*mut kvreg_bucket>,
) -> Result<(), Failure> {
    if flags & !EXCLUSIVE != 0 {
        return Err(invalid("an unknown flag"));
    }
    let spec = options.map(|options| registry.spec_of(options));
    let server = registry.create(caller, name, flags & EXCLUSIVE != 0, spec)?;
    if bucket.is_wanted() {
        make(server, bucket)?;
    }
    Ok(())
}

/// As kvreg_registry_remove, of a bucket; and erases what a store keeps of it, so that the next bucket
/// of that name is empty. Of a name that no bucket has it erases what the store of the registry's own
/// bucket options keeps. KVREG_NOT_FOUND if there is neither. Blocks for its turn, and for the store.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_erase(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
) -> kvreg_status {
    guard("kvreg_registry_erase", || {
        releasing_registry(registry, |registry, caller| {
            caller.unpin(); // what is dropped may run user code
                            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            Ok(registry.erase(caller, name)?)
        })
    })
}

/// Starts a bucket of that name unless there is one: a cast. A later call or lookup of the same
/// thread finds the bucket. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_create_cast(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_create_cast", || {
        with_registry(registry, |registry, _| {
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            Ok(registry.create_cast(name)?)
        })
    })
}

/// Gives the bucket that has the name now, or answers KVREG_NOT_FOUND. It never finds a bucket of
/// which anybody has learned that it ended. Blocks only while casts of this thread to the registry
/// are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_lookup(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    bucket: *mut *mut kvreg_bucket,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    let key = unsafe { fast::bytes(name.cast(), name_len) };
    if let (Some(name), false) = (key, bucket.is_null()) {
        let made = fast::fast_read(registry, |supervisor, pinned| {
            let registry = supervisor.current(pinned);
            let bucket = registry.fast_lookup(name, pinned)?;
            fast_make(&bucket)
        });
        if let Some(made) = made {
            // SAFETY: an output.
            unsafe { bucket.write(made) };
            return Status::Ok as kvreg_status;
        }
    }
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_lookup", || {
        // SAFETY: null or an output.
        let bucket = unsafe { Out::new(bucket, std::ptr::null_mut()) };
        with_registry(registry, |registry, caller| {
            bucket.required()?;
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            let server = registry.lookup(caller, name)?;
            make(server, &bucket)
        })
    })
}

/// Ends the bucket of that name for good, with the reason KVREG_REASON_SHUTDOWN, whatever its
/// restart option (OTP's terminate_child). What is queued at the bucket is dropped. It answers
/// KVREG_NOT_FOUND if there is no such bucket. Blocks for the registry's turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_remove(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_remove", || {
        releasing_registry(registry, |registry, caller| {
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            caller.unpin(); // what is dropped may run user code
            Ok(registry.remove(caller, name)?)
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
        with_registry(registry, |registry, caller| {
            count.required()?;
            count.set(registry.count(caller)?);
            Ok(())
        })
    })
}

/// Gives a snapshot of the names: its keys are of type KVREG_STRING, its values nil. Blocks only
/// while another thread copies the names, and while casts of this thread to the registry are
/// queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_names(
    registry: *mut kvreg_registry,
    names: *mut *mut kvreg_items,
) -> kvreg_status {
    guard("kvreg_registry_names", || {
        // SAFETY: null or an output.
        let names = unsafe { Out::new(names, std::ptr::null_mut()) };
        with_registry(registry, |registry, caller| {
            names.required()?;
            let found = registry.names(caller, Sort::Bucket)?;
            make(Items::of_names(&found)?, &names)
        })
    })
}

/// @name Registries: messages
///
/// Sends the registry an info of up to 65,536 bytes: a message that it does not expect. The
/// registry logs it at debug and drops it, as in the Elixir guide. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_send(
    registry: *mut kvreg_registry,
    message: *const c_void,
    message_len: usize,
) -> kvreg_status {
    guard("kvreg_registry_send", || {
        with_registry(registry, |registry, caller| {
            caller.unpin(); // the message may have to be waited for
                            // SAFETY: the message is good for its length.
            let message = unsafe { argument::bytes(message, message_len) }?;
            Ok(registry.send(message)?)
        })
    })
}

/// Carries out one line of the text protocol (CREATE, PUT, GET, DELETE; see the README), with or
/// without its line break. NULL with the length 0 is an empty line. `reply` is what a connection
/// would get, "NOT FOUND" and "UNKNOWN COMMAND" included: a KVREG_STRING, or KVREG_BYTES if it is
/// not UTF-8, with CRLF after each line; clear it. A failure answers its status:
/// KVREG_INVALID_ARGUMENT for a name or key that cannot be, KVREG_UNSUPPORTED for a value with a
/// line break. Blocks like a call.
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
        with_registry(registry, |registry, caller| {
            reply.required()?;
            caller.unpin(); // the line may have to be waited for
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

/// @name Registries: end and facts
///
/// Ends all buckets and servers, with the reason KVREG_REASON_SHUTDOWN, then the registry, and
/// returns when all are gone. It answers KVREG_CALLING_SELF from inside a callback of one of its
/// buckets, or if one of them waits for that callback. A handler that runs in a server which is
/// killed, because it does not want KVREG_MESSAGE_TERMINATE or takes too long to end, is not waited
/// for: `drop` is called when it has returned. It does not free the handle. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_stop(registry: *mut kvreg_registry) -> kvreg_status {
    guard("kvreg_registry_stop", || {
        releasing_registry(registry, |registry, caller| Ok(registry.stop_all(caller)?))
    })
}

/// Ends the registry at once (OTP's Process.exit), and its buckets with the reason
/// KVREG_REASON_SHUTDOWN. After KVREG_REASON_KILLED and KVREG_REASON_CRASHED the registry comes
/// back, empty, behind its handles and its name, before this function returns (one_for_all). Its
/// monitors get their DOWN, and do not carry over. KVREG_REASON_NORMAL does nothing;
/// KVREG_REASON_NOPROC is KVREG_INVALID_ARGUMENT. `detail` is as in kvreg_bucket_exit. It takes
/// the time to free what the buckets hold, and never waits for a turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_exit(
    registry: *mut kvreg_registry,
    reason: kvreg_reason,
    detail: *const c_char,
    detail_len: usize,
) -> kvreg_status {
    guard("kvreg_registry_exit", || {
        releasing_registry(registry, |registry, caller| {
            caller.unpin(); // what is dropped may run user code
            let reason = Reason::from_number(reason).ok_or_else(|| invalid("an unknown reason"))?;
            // SAFETY: the detail is good for its length.
            let detail = unsafe { argument::text(detail, detail_len) }?;
            Ok(registry.exit(reason, detail)?)
        })
    })
}

/// Tells facts about the registry. It fills as much of `stats` as its `size` says. Blocks only
/// while casts of this thread to the registry are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_info(
    registry: *mut kvreg_registry,
    stats: *mut kvreg_registry_stats,
) -> kvreg_status {
    guard("kvreg_registry_info", || {
        with_registry(registry, |registry, caller| {
            caller.unpin(); // the struct may have to be waited for
                            // SAFETY: null, or a struct of the size it tells.
            unsafe { fill(stats, || Ok(registry.info(caller)?.into())) }
        })
    })
}

/// Frees the handle. A registry without a name stops, with its buckets, when its last handle is
/// freed; this takes the time to free what they hold, about 0.1 us a key. A registry with a name
/// runs on. NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_free(registry: *mut kvreg_registry) -> kvreg_status {
    guard("kvreg_registry_free", || free(registry))
}
