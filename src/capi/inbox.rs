//! `kvreg_inbox_*`.

use std::ffi::{c_int, c_void};

use super::argument::{invalid, Out};
use super::event::kvreg_event;
use super::guard::guard;
use super::handles::{free, make};
use super::kinds::{kvreg_bucket, kvreg_inbox, kvreg_registry};
use super::object::{releasing, with};
use super::object::{with_both, Needs};
use super::status::kvreg_status;
use crate::inbox::Polled;
use crate::log::Level;
use crate::process::Process;
use crate::time::Timeout;

const FLUSH: u32 = 1;

/// @name Inboxes: open and monitor
///
/// Opens an inbox: a mailbox of the caller's own, where events wait until they are received. It
/// belongs to no registry, and any thread may use it. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_open(inbox: *mut *mut kvreg_inbox) -> kvreg_status {
    guard("kvreg_inbox_open", || {
        // SAFETY: null or an output.
        let inbox = unsafe { Out::new(inbox, std::ptr::null_mut()) };
        let process = Process::starting()?;
        inbox.required()?;
        make(process.open_inbox(), &inbox)
    })
}

/// Monitors a bucket (Elixir's Process.monitor): its end gives this inbox exactly one
/// KVREG_EVENT_DOWN with this reference and the reason. If the bucket has ended already, the event
/// comes at once, with the reason KVREG_REASON_NOPROC. Each call makes a monitor of its own. The
/// place of its DOWN is kept, so that it is never lost; the answer is KVREG_LIMIT beyond 1,048,576
/// monitors, or as many as kvreg_configure was told. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_monitor(
    inbox: *mut kvreg_inbox,
    bucket: *mut kvreg_bucket,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_monitor", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_both(Needs::Memory, inbox, bucket, |inbox, bucket| {
            reference.required()?;
            reference.set(inbox.monitor(&bucket.as_any())?);
            Ok(())
        })
    })
}

/// Monitors a registry: its end gives this inbox exactly one KVREG_EVENT_DOWN with this reference
/// and the reason. If the registry has ended already, the event comes at once, with the reason
/// KVREG_REASON_NOPROC. Each call makes a monitor of its own, and the answer is KVREG_LIMIT beyond
/// 1,048,576 of them, or as many as kvreg_configure was told. A registry that comes back is not
/// monitored any more. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_monitor_registry(
    inbox: *mut kvreg_inbox,
    registry: *mut kvreg_registry,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_monitor_registry", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_both(Needs::Memory, inbox, registry, |inbox, registry| {
            reference.required()?;
            reference.set(inbox.monitor(&registry.registry().as_any())?);
            Ok(())
        })
    })
}

/// Takes a monitor back: no DOWN of it comes any more. With KVREG_DEMONITOR_FLUSH in `flags` (else
/// 0) a DOWN that waits already is removed too. An unknown reference is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_demonitor(
    inbox: *mut kvreg_inbox,
    reference: u64,
    flags: u32,
) -> kvreg_status {
    guard("kvreg_inbox_demonitor", || {
        releasing(inbox, |inbox, _| {
            if flags & !FLUSH != 0 {
                return Err(invalid("an unknown flag"));
            }
            Ok(inbox.demonitor(reference, flags & FLUSH != 0)?)
        })
    })
}

/// Lets the inbox get what the library logs from now on at `max_level` (KVREG_LOG_ERROR to
/// KVREG_LOG_DEBUG) or a more important level, as KVREG_EVENT_LOG. To call it again changes the
/// level. Up to 1,024 such events wait; those that do not fit arrive as one KVREG_EVENT_LOST with
/// their count. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_subscribe_logs(
    inbox: *mut kvreg_inbox,
    max_level: u32,
) -> kvreg_status {
    guard("kvreg_inbox_subscribe_logs", || {
        with(inbox, |inbox, _| {
            let level = Level::from_number(max_level).ok_or_else(|| invalid("an unknown level"))?;
            Ok(inbox.subscribe_logs(level)?)
        })
    })
}

/// @name Inboxes: receive and end
///
/// Gives the next event; clear it. Each event goes to one receiver. The answer is KVREG_TIMEOUT if
/// none came within `timeout_ms` milliseconds (-1 for ever, 0 at once), and KVREG_BAD_HANDLE if
/// another thread frees the inbox meanwhile. From inside a callback, or between the begin and the
/// end of an update, it is KVREG_CALLING_SELF unless `timeout_ms` is 0. Blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_receive(
    inbox: *mut kvreg_inbox,
    timeout_ms: i64,
    event: *mut kvreg_event,
) -> kvreg_status {
    guard("kvreg_inbox_receive", || {
        // SAFETY: null or an output.
        let event = unsafe { Out::new(event, kvreg_event::EMPTY) };
        releasing(inbox, |inbox, caller| {
            let timeout = Timeout::from_millis(timeout_ms)?;
            event.required()?;
            caller.unpin();
            event.set(kvreg_event::owned(inbox.receive(timeout)?));
            Ok(())
        })
    })
}

/// Gives up to `capacity` events, which is at least 1, and in `count` how many: clear each. It waits
/// for the first as kvreg_inbox_receive, with the same answers, and takes no more than what waits
/// then. What was received before a failure is given, with KVREG_OK; the failure is told by the next
/// call, if it lasts. Without an event `count` is 0. Blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_receive_many(
    inbox: *mut kvreg_inbox,
    timeout_ms: i64,
    events: *mut kvreg_event,
    capacity: usize,
    count: *mut usize,
) -> kvreg_status {
    guard("kvreg_inbox_receive_many", || {
        // SAFETY: null or an output.
        let count = unsafe { Out::new(count, 0) };
        releasing(inbox, |inbox, caller| {
            let timeout = Timeout::from_millis(timeout_ms)?;
            if events.is_null() {
                return Err(invalid("an output is NULL"));
            }
            count.required()?;
            if capacity == 0 {
                return Err(invalid("there is no room for an event"));
            }
            caller.unpin();
            let mut next = events;
            let received = inbox.receive_many(timeout, capacity, |event| {
                // SAFETY: there is room for `capacity` events, and it is called no more often.
                unsafe {
                    next.write(kvreg_event::owned(event));
                    next = next.add(1);
                }
            })?;
            count.set(received);
            Ok(())
        })
    })
}

/// Gives a file descriptor that is readable while events wait: for poll, epoll and event loops.
/// Only poll it. It is closed with the inbox, but stays readable from kvreg_shutdown to the end of
/// the process. On Linux; elsewhere the answer is KVREG_UNSUPPORTED, and Windows has
/// kvreg_inbox_handle. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_fd(inbox: *mut kvreg_inbox, fd: *mut c_int) -> kvreg_status {
    guard("kvreg_inbox_fd", || {
        // SAFETY: null or an output.
        let fd = unsafe { Out::new(fd, -1) };
        with(inbox, |inbox, _| {
            fd.required()?;
            fd.set(inbox.polled(Polled::Descriptor)? as c_int);
            Ok(())
        })
    })
}

/// Gives the HANDLE of a Windows event that is signalled while events wait: for
/// WaitForSingleObject, WaitForMultipleObjects and event loops. Only wait for it: the inbox sets,
/// resets and closes it. To wait does not reset it, so it wakes all who wait, at once if events
/// wait already. Free the inbox when nobody waits for the event any more. It stays signalled from
/// kvreg_shutdown to the end of the process, and no child process inherits it. On Windows;
/// elsewhere the answer is KVREG_UNSUPPORTED, and Linux has kvreg_inbox_fd. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_handle(
    inbox: *mut kvreg_inbox,
    handle: *mut *mut c_void,
) -> kvreg_status {
    guard("kvreg_inbox_handle", || {
        // SAFETY: null or an output.
        let handle = unsafe { Out::new(handle, std::ptr::null_mut()) };
        with(inbox, |inbox, _| {
            handle.required()?;
            let number = inbox.polled(Polled::Handle)?;
            handle.set(std::ptr::with_exposed_provenance_mut(number as usize));
            Ok(())
        })
    })
}

/// Frees the inbox with what waits in it, and takes its monitors back. Threads that receive from
/// it get KVREG_BAD_HANDLE. NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_free(inbox: *mut kvreg_inbox) -> kvreg_status {
    guard("kvreg_inbox_free", || free(inbox))
}
