//! `kvreg_server_*`: ends, links and monitors, of servers of any kind.

use std::ffi::c_char;

use super::argument::{self, invalid, Out};
use super::guard::guard;
use super::kinds::{
    kvreg_inbox, kvreg_server, or_of_second_kind, with_any_kind, with_both_kinds, AnyKind,
};
use super::object::{releasing, with, Needs};
use super::status::{kvreg_reason, kvreg_status};
use crate::reason::Reason;

/// @name Servers: life and death
///
/// Monitors a server of any kind: its end gives this inbox exactly one KVREG_EVENT_DOWN, as
/// kvreg_inbox_monitor and kvreg_inbox_monitor_registry do. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_monitor_server(
    inbox: *mut kvreg_inbox,
    server: *mut kvreg_server,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_monitor_server", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        let outcome = with(inbox, |inbox, _| {
            with_any_kind(Needs::Memory, server, |server, caller| {
                reference.required()?;
                caller.unpin();
                reference.set(inbox.monitor(&server.as_any())?);
                Ok(())
            })
        });
        outcome.map_err(|failure| or_of_second_kind(failure, server))
    })
}

/// Has a user's server told of the end of a server of any kind: `watcher` gets one message of type
/// KVREG_MESSAGE_DOWN with this reference; at once, with the reason KVREG_REASON_NOPROC, if it has
/// ended already. Its place in the mailbox is kept: the answer is KVREG_LIMIT if there is none
/// left. A bucket and a registry watch nobody: KVREG_UNSUPPORTED. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_monitor(
    watcher: *mut kvreg_server,
    target: *mut kvreg_server,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_server_monitor", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_both_kinds(Needs::Memory, watcher, target, |watcher, target| {
            reference.required()?;
            let watcher = watcher.user_server("only user's servers watch others")?;
            reference.set(watcher.monitor_server(&target.as_any())?);
            Ok(())
        })
    })
}

/// Takes a monitor back: no DOWN of it comes any more. With KVREG_DEMONITOR_FLUSH in `flags` (else
/// 0) a DOWN that waits in the mailbox is removed too. An unknown reference is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_demonitor(
    watcher: *mut kvreg_server,
    reference: u64,
    flags: u32,
) -> kvreg_status {
    const FLUSH: u32 = 1;
    guard("kvreg_server_demonitor", || {
        with_any_kind(Needs::Nothing, watcher, |watcher, caller| {
            caller.unpin();
            if flags & !FLUSH != 0 {
                return Err(invalid("an unknown flag"));
            }
            let watcher = watcher.user_server("only user's servers watch others")?;
            watcher.demonitor_server(reference, flags & FLUSH != 0);
            Ok(())
        })
    })
}

/// Withdraws a request: no KVREG_EVENT_REPLY of it comes any more, nor remains. The answer is
/// KVREG_OUTCOME_UNKNOWN if the server had begun it, and KVREG_NOT_FOUND if it was answered
/// already, or never sent. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_abandon(
    inbox: *mut kvreg_inbox,
    reference: u64,
) -> kvreg_status {
    guard("kvreg_inbox_abandon", || {
        releasing(inbox, |inbox, caller| {
            caller.unpin();
            Ok(inbox.abandon(reference)?)
        })
    })
}

/// Links two servers of any kinds: when one ends abnormally, so does the other. The answer is
/// KVREG_NO_PROCESS if one has ended. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_link(
    server: *mut kvreg_server,
    other: *mut kvreg_server,
) -> kvreg_status {
    guard("kvreg_server_link", || {
        with_both_kinds(Needs::Memory, server, other, |server, other| {
            let other = other.as_any();
            Ok(match server {
                AnyKind::Server(server) => server.link(&other),
                AnyKind::Bucket(bucket) => bucket.link(&other),
                AnyKind::Registry(registry) => registry.link(&other),
            }?)
        })
    })
}

/// Takes a link away, if there is one. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_unlink(
    server: *mut kvreg_server,
    other: *mut kvreg_server,
) -> kvreg_status {
    guard("kvreg_server_unlink", || {
        with_both_kinds(Needs::Nothing, server, other, |server, other| {
            let other = other.as_any();
            match server {
                AnyKind::Server(server) => server.unlink(&other),
                AnyKind::Bucket(bucket) => bucket.unlink(&other),
                AnyKind::Registry(registry) => registry.unlink(&other),
            }
            Ok(())
        })
    })
}

/// Stops a server of any kind with the reason KVREG_REASON_NORMAL, after what is queued, and
/// returns when it is gone; a registry as kvreg_registry_stop does. A server with
/// KVREG_SERVER_WANTS_TERMINATE gets that first. Of a server by turns, and with
/// KVREG_SERVER_HAND_OVER, who serves it stops it. The answer is KVREG_SERVER_DOWN if it ended for
/// another reason meanwhile. It does not free the handle. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_stop(server: *mut kvreg_server) -> kvreg_status {
    guard("kvreg_server_stop", || {
        with_any_kind(Needs::Nothing, server, |server, caller| {
            Ok(match server {
                AnyKind::Server(server) => server.stop_user_server(caller),
                AnyKind::Bucket(bucket) => bucket.stop(caller),
                AnyKind::Registry(registry) => registry.stop_all(caller),
            }?)
        })
    })
}

/// Ends a server of any kind at once (OTP's Process.exit), without KVREG_MESSAGE_TERMINATE: what is
/// queued is dropped, a running handler is not interrupted, and its answer is dropped. Reason and
/// detail are as in kvreg_bucket_exit, and a registry comes back as after kvreg_registry_exit.
/// Never waits for a turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_exit(
    server: *mut kvreg_server,
    reason: kvreg_reason,
    detail: *const c_char,
    detail_len: usize,
) -> kvreg_status {
    guard("kvreg_server_exit", || {
        with_any_kind(Needs::Nothing, server, |server, caller| {
            caller.unpin(); // what is dropped may run user code
            let reason = Reason::from_number(reason).ok_or_else(|| invalid("an unknown reason"))?;
            // SAFETY: the detail is good for its length.
            let detail = unsafe { argument::text(detail, detail_len) }?;
            Ok(match server {
                AnyKind::Server(server) => server.exit(reason, detail),
                AnyKind::Bucket(bucket) => bucket.exit(reason, detail),
                AnyKind::Registry(registry) => registry.exit(reason, detail),
            }?)
        })
    })
}
