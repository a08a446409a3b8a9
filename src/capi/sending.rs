//! `kvreg_server_cast`, `_send`, `_request` and timers: what is sent to servers without waiting.

use std::ffi::c_char;

use super::argument::{invalid, Out};
use super::guard::guard;
use super::handlers::is_inside;
use super::kinds::{kvreg_inbox, kvreg_server, with_any_kind, AnyKind};
use super::messages::content;
use super::object::{or_of_second, with, Needs};
use super::status::{kvreg_status, Failure};
use super::value::kvreg_value;
use crate::error::Error;
use crate::log::Level;
use crate::memory;
use crate::process::Process;
use crate::user_server::Content;

const NEXT: u32 = 1;

/// Sends a server a message without waiting: a cast. It is handled on another thread, or by who
/// calls the server first: a later call of this thread comes after it. Tag and values are as in
/// kvreg_server_call. The answer is KVREG_LIMIT if the mailbox is full. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_cast(
    server: *mut kvreg_server,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
) -> kvreg_status {
    guard("kvreg_server_cast", || {
        with_any_kind(Needs::Memory, server, |server, caller| {
            caller.unpin(); // the values may be many
                            // SAFETY: tag and values are good for their lengths.
            let content = unsafe { content(tag, tag_len, values, count) }?;
            let server = server.user_server("only user's servers take casts")?;
            Ok(server.cast_content(&content)?)
        })
    })
}

/// Sends a server an info: any other message. With KVREG_SEND_NEXT in `flags` (else 0) it comes
/// before all that waits (OTP's continue): that is for a server's own turn, elsewhere the answer is
/// KVREG_INVALID_ARGUMENT. A bucket and a registry log it at debug and drop it. All else is as in
/// kvreg_server_cast. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_send(
    server: *mut kvreg_server,
    flags: u32,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
) -> kvreg_status {
    guard("kvreg_server_send", || {
        with_any_kind(Needs::Memory, server, |server, caller| {
            caller.unpin(); // the values may be many
            if flags & !NEXT != 0 {
                return Err(invalid("an unknown flag"));
            }
            // SAFETY: tag and values are good for their lengths.
            let content = unsafe { content(tag, tag_len, values, count) }?;
            let is_next = flags & NEXT != 0;
            match server {
                AnyKind::Server(server) => {
                    let is_own = server.is_occupied_by_caller() || is_inside(server);
                    if is_next && !is_own {
                        return Err(invalid("KVREG_SEND_NEXT from outside of the server's turn"));
                    }
                    Ok(server.send_content(&content, is_next)?)
                }
                _ if is_next => Err(invalid("KVREG_SEND_NEXT from outside of the server's turn")),
                AnyKind::Bucket(bucket) => drop_info(&**bucket, "bucket", &content),
                AnyKind::Registry(registry) => drop_info(&**registry, "registry", &content),
            }
        })
    })
}

/// Sends a server an info after `delay_ms` milliseconds, whose `reference` is that of the message.
/// Its place in the mailbox is kept from now on: the answer is KVREG_LIMIT if there is none left. A
/// timer ends with its server, and never keeps it alive; the time goes on while the machine is
/// suspended. Only user's servers have timers: else the answer is KVREG_UNSUPPORTED. `reference`
/// may be NULL. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_send_after(
    server: *mut kvreg_server,
    delay_ms: i64,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_server_send_after", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_any_kind(Needs::Memory, server, |server, caller| {
            caller.unpin(); // the values may be many
            let delay = u64::try_from(delay_ms).map_err(|_| invalid("a delay is 0 or more"))?;
            // SAFETY: tag and values are good for their lengths.
            let content = unsafe { content(tag, tag_len, values, count) }?;
            let server = server.user_server("only user's servers have timers")?;
            reference.set(server.send_after(delay, &content)?);
            Ok(())
        })
    })
}

/// Takes a timer back. `left_ms`, which may be NULL, is what was left of its time. The answer is
/// KVREG_NOT_FOUND if it has come already, or never was there. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_cancel(
    server: *mut kvreg_server,
    reference: u64,
    left_ms: *mut i64,
) -> kvreg_status {
    guard("kvreg_server_cancel", || {
        // SAFETY: null or an output.
        let left = unsafe { Out::new(left_ms, 0) };
        with_any_kind(Needs::Nothing, server, |server, caller| {
            caller.unpin();
            let server = server.user_server("only user's servers have timers")?;
            left.set(i64::try_from(server.cancel_timer(reference)?).unwrap_or(i64::MAX));
            Ok(())
        })
    })
}

/// An info that nobody expects.
fn drop_info(server: &dyn Ends, kind: &str, content: &Content) -> Result<(), Failure> {
    if server.is_gone() {
        return Err(Error::NoProcess.into());
    }
    let logs = Process::current().logs();
    if logs.wants(Level::Debug) {
        let tag = content.tag_with_nul();
        let tag = String::from_utf8_lossy(tag.strip_suffix(b"\0").unwrap_or(tag));
        let said = format_args!("unexpected message in {kind}: \"{tag}\"");
        logs.debug(server.called(), &memory::written(said).unwrap_or_default());
    }
    Ok(())
}

/// What there is to say of a server that drops an info.
trait Ends {
    fn is_gone(&self) -> bool;
    fn called(&self) -> Option<&str>;
}

impl<S: crate::server::State> Ends for crate::server::Server<S> {
    fn is_gone(&self) -> bool {
        self.has_ended()
    }
    fn called(&self) -> Option<&str> {
        self.state().name()
    }
}

/// Calls a server without waiting: the answer comes into `inbox`, as KVREG_EVENT_REPLY with this
/// reference. Its status is that of kvreg_server_call; past the timeout of the handle it is
/// KVREG_TIMEOUT, or KVREG_OUTCOME_UNKNOWN if it had begun. The place of the event is kept: the
/// answer is KVREG_LIMIT if the inbox has none left, or the mailbox is full. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_request(
    server: *mut kvreg_server,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
    inbox: *mut kvreg_inbox,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_server_request", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        with_any_kind(Needs::Memory, server, |server, caller| {
            caller.unpin();
            with(inbox, |inbox, _| {
                reference.required()?;
                // SAFETY: tag and values are good for their lengths.
                let content = unsafe { content(tag, tag_len, values, count) }?;
                let server = server.user_server("only user's servers are called")?;
                reference.set(server.request(&content, inbox, caller.timeout())?);
                Ok(())
            })
        })
        .map_err(|failure| or_of_second(failure, inbox))
    })
}
