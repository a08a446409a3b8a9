//! `kvreg_inbox_*`.

use std::ffi::{c_int, c_void};

use super::argument::{invalid, Out};
use super::event::kvreg_event;
use super::guard::guard;
use super::object::{free, kvreg_bucket, kvreg_inbox, kvreg_registry, make, with, with_both};
use super::status::kvreg_status;
use crate::inbox::Polled;
use crate::log::Level;
use crate::process::Process;
use crate::time::Timeout;

const FLUSH: u32 = 1;

/// Opens an inbox: a mailbox of the caller's own, where events wait until they are received.
/// It belongs to no registry, and any thread may use it. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_open(inbox: *mut *mut kvreg_inbox) -> kvreg_status {
    guard("kvreg_inbox_open", || {
        // SAFETY: null or an output.
        let inbox = unsafe { Out::new(inbox, std::ptr::null_mut()) };
        let process = Process::running()?;
        inbox.required()?;
        make(process.open_inbox(), &inbox)
    })
}

/// Monitors a bucket (Process.monitor): its end gives this inbox exactly one
/// KVREG_EVENT_DOWN with this reference and the reason; at once, reason KVREG_NOPROC, if it has
/// ended. Each call is a monitor of its own. The place of its DOWN is kept, so that it is never
/// lost: KVREG_LIMIT beyond 1,048,576. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_monitor(
    inbox: *mut kvreg_inbox,
    bucket: *mut kvreg_bucket,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_monitor", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_both(inbox, bucket, |inbox, bucket| {
            reference.required()?;
            reference.set(inbox.monitor(&bucket.as_any())?);
            Ok(())
        })
    })
}

/// The same for a registry.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_monitor_registry(
    inbox: *mut kvreg_inbox,
    registry: *mut kvreg_registry,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_monitor_registry", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_both(inbox, registry, |inbox, registry| {
            reference.required()?;
            reference.set(inbox.monitor(&registry.registry().as_any())?);
            Ok(())
        })
    })
}

/// Takes a monitor back: no DOWN of it comes any more. With KVREG_FLUSH in `flags` (else 0) one
/// that waits already is removed too. An unknown reference is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_demonitor(
    inbox: *mut kvreg_inbox,
    reference: u64,
    flags: u32,
) -> kvreg_status {
    guard("kvreg_inbox_demonitor", || {
        with(inbox, |inbox, _| {
            if flags & !FLUSH != 0 {
                return Err(invalid("an unknown flag"));
            }
            Ok(inbox.demonitor(reference, flags & FLUSH != 0)?)
        })
    })
}

/// From now on the inbox gets what the library logs at `max_level` (KVREG_LOG_...) or a more
/// important level, as KVREG_EVENT_LOG. Calling it again changes the level. Up to 1,024 such
/// events wait; what does not fit arrives as one KVREG_EVENT_LOST with a count. Never blocks.
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

/// Gives the next event, to be cleared; each goes to one receiver. KVREG_TIMEOUT if none came
/// within `timeout_ms` milliseconds (-1 for ever, 0 at once). Another thread's
/// kvreg_inbox_free wakes it: KVREG_BAD_HANDLE. From inside a callback, or between the begin and
/// the end of an update, with a timeout other than 0: KVREG_CALLING_SELF. Blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_receive(
    inbox: *mut kvreg_inbox,
    timeout_ms: i64,
    event: *mut kvreg_event,
) -> kvreg_status {
    guard("kvreg_inbox_receive", || {
        // SAFETY: null or an output.
        let event = unsafe { Out::new(event, kvreg_event::EMPTY) };
        with(inbox, |inbox, caller| {
            let timeout = Timeout::from_millis(timeout_ms)?;
            event.required()?;
            caller.unpin();
            event.set(kvreg_event::owned(inbox.receive(timeout)?));
            Ok(())
        })
    })
}

/// Gives a file descriptor that is readable while events wait: for poll, epoll and event
/// loops. Only poll it; it is closed with the inbox, but readable from kvreg_shutdown to the end
/// of the process. On Linux; elsewhere KVREG_UNSUPPORTED, and kvreg_inbox_handle on Windows.
/// Never blocks.
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
/// WaitForSingleObject, WaitForMultipleObjects and event loops. It is reset by hand, not by
/// waiting, so that it wakes all who wait, at once if events wait already. Only wait for it: it is
/// set, reset and closed by the inbox; free the inbox when nobody waits for it any more. It is
/// signalled from kvreg_shutdown to the end of the process. No child process inherits it. On
/// Windows; elsewhere KVREG_UNSUPPORTED, and kvreg_inbox_fd on Linux. Never blocks.
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

/// Frees the inbox with what waits in it, and takes its monitors back; wakes its receivers
/// with KVREG_BAD_HANDLE. NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_free(inbox: *mut kvreg_inbox) -> kvreg_status {
    guard("kvreg_inbox_free", || free(inbox))
}
