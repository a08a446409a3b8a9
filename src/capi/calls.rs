//! `kvreg_server_call`, `kvreg_registry_call`: calls of servers that users write.

use std::cell::Cell;
use std::ffi::c_char;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::argument;
use super::fast;
use super::guard::{guard, guard_since};
use super::handlers::{ask, is_inside, said, Handle, Running};
use super::kinds::{kvreg_registry, kvreg_server, with_any_kind, AnyKind};
use super::messages::{self, content, Given, Sent, CALL};
use super::object::{with, with_registry, Needs};
use super::one_key::OK;
use super::servers::failure_of;
use super::status::{kvreg_status, kvreg_verdict, Failure, Status};
use super::turns;
use super::update::KEEP;
use super::value::{kvreg_value, Copies};
use crate::error::Error;
use crate::memory;
use crate::process::Process;
use crate::runtime::{self, platform};
use crate::server::{Caller, LentTurn, Turn};
use crate::time::Timeout;
use crate::user_server::{Answer, Pending, Said, UserServer, UserServerState};
use crate::value::Value;

/// Where the answer of a call goes, which may be in the place of a value that is sent. So it stays
/// as it is while the values are read, and until there is an answer; if none comes it is cleared.
struct ReplyPlace {
    place: *mut kvreg_value,
    is_set: Cell<bool>,
}

impl ReplyPlace {
    /// # Safety
    /// `place` is null, or may be written until this is dropped.
    unsafe fn new(place: *mut kvreg_value) -> ReplyPlace {
        ReplyPlace {
            place,
            is_set: Cell::new(false),
        }
    }

    fn is_wanted(&self) -> bool {
        !self.place.is_null()
    }

    fn set(&self, value: kvreg_value) {
        self.is_set.set(true);
        if self.is_wanted() {
            // SAFETY: as `new` was promised.
            unsafe { self.place.write(value) };
        }
    }
}

impl Drop for ReplyPlace {
    fn drop(&mut self) {
        if !self.is_set.get() {
            self.set(kvreg_value::NIL);
        }
    }
}

/// The handler of a server whose calls run on the threads that make them.
#[inline(always)]
fn handler(server: &UserServer) -> Option<Handle> {
    match server.state().native() {
        0 => None,
        // SAFETY: from `Callbacks::native`, the only one there is: the address of such a function.
        native => Some(unsafe { std::mem::transmute::<usize, Handle>(native) }),
    }
}

/// Asks the handler about a call, with the turn of this thread.
#[inline(always)]
fn ask_here(
    server: &Arc<UserServer>,
    handle: Handle,
    given: &Given,
    reply: &mut kvreg_value,
    copies: &Copies,
) -> (kvreg_verdict, Option<Arc<Pending>>) {
    let message = given.message(CALL, turns::me(server));
    let mut running = Running::new(server, &message, true, None);
    let state = server.state().user_state().cast();
    let verdict = platform::uncancelled(|| {
        // SAFETY: the header's contract.
        unsafe { ask(&mut running, handle, state, &message, reply, copies) }
    });
    (verdict, running.deferred())
}

/// Calls a server: sends it a message, and waits for the answer, which is to be cleared; `reply`
/// may be NULL. `tag` is what is asked, 1 to 255 bytes of UTF-8 without NUL; `values` are the
/// arguments, up to 255, and may be NULL if there are none. `reply` may be one of them: it is
/// written when they were read, on failure too, and what it had is not released.
///
/// A server by callbacks handles it on this thread, after what was queued before. Otherwise, and
/// with KVREG_SERVER_HAND_OVER, it is a message, for another thread to handle. What the verdict
/// says is the answer: KVREG_ABORTED for KVREG_ABORT, with the text in kvreg_last_error,
/// KVREG_SERVER_DOWN for KVREG_CRASH, KVREG_UNSUPPORTED for KVREG_UNHANDLED. KVREG_TIMEOUT: it has
/// not run, and never will; KVREG_OUTCOME_UNKNOWN: another thread had begun, or the answer was put
/// off. Blocks for its turn, and for the answer.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_call(
    server: *mut kvreg_server,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
    reply: *mut kvreg_value,
) -> kvreg_status {
    const NAME: &str = "kvreg_server_call";
    // SAFETY: tag and values are good for their lengths.
    if let Some(status) = unsafe { fast_call(NAME, server, tag, tag_len, values, count, reply) } {
        return status;
    }
    // SAFETY: as above.
    unsafe { argument::text_at_hand(tag.cast(), tag_len) };
    guard(NAME, || {
        // SAFETY: null or an output.
        let reply = unsafe { ReplyPlace::new(reply) };
        with_any_kind(Needs::Memory, server, |server, caller| {
            // SAFETY: tag and values are good for their lengths.
            unsafe { call(server, caller, (tag, tag_len), (values, count), &reply) }
        })
    })
}

/// The short way of a call that meets nobody: `None` if it is not open, and nothing was done.
///
/// # Safety
/// Tag and values are good for their lengths.
#[inline(always)]
unsafe fn fast_call(
    name: &'static str,
    server: *mut kvreg_server,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
    reply: *mut kvreg_value,
) -> Option<kvreg_status> {
    let mut given = Given::new();
    // SAFETY: by contract.
    if !unsafe { given.fast_take(tag, tag_len, values, count) } || !memory::is_ready() {
        return None;
    }
    let (turn, handle): (LentTurn<UserServerState>, Handle) = fast::fast(server, |server, _| {
        let handle = handler(server)?;
        let state = server.state();
        if state.me.load(Ordering::Acquire) == 0 || !given.fits(state.max_value()) {
            return None;
        }
        // SAFETY: it has its own handle, and so it is kept (`turns::Held`).
        Some((unsafe { server.fast_occupy_lent() }?, handle))
    })?;
    let lineage = runtime::lineage();
    let (mut answer, copies) = (kvreg_value::NIL, Copies::new());
    let (verdict, deferred) = ask_here(turn.server(), handle, &given, &mut answer, &copies);
    if let (KEEP, Some(scalar)) = (verdict, answer.as_scalar()) {
        if turn.fast_keep() {
            drop(turn);
            copies.release();
            if !reply.is_null() {
                // SAFETY: an output.
                unsafe { reply.write(scalar) };
            }
            return Some(OK);
        }
    }
    let ended = Handled {
        turn: turn.counted(),
        verdict,
        answer: &answer,
        deferred,
    };
    // SAFETY: null or an output; what the answer may point into lives until this returns.
    Some(unsafe { conclude_slowly(name, lineage, server, ended, reply) })
}

/// A call that a handler was asked about, on this thread.
struct Handled<'a> {
    turn: Turn<UserServerState>,
    verdict: kvreg_verdict,
    answer: &'a kvreg_value,
    deferred: Option<Arc<Pending>>,
}

/// Does what was said of a call by the long way.
///
/// # Safety
/// As of `fast_call`; the answer is good.
#[cold]
#[inline(never)]
unsafe fn conclude_slowly(
    name: &'static str,
    lineage: usize,
    handle: *mut kvreg_server,
    handled: Handled<'_>,
    reply: *mut kvreg_value,
) -> kvreg_status {
    guard_since(lineage, name, || {
        // SAFETY: null or an output.
        let reply = unsafe { ReplyPlace::new(reply) };
        let mut caller = match handled.deferred.is_some() {
            // Its handle may be gone.
            true => Caller::new(
                with(handle, |_, caller| Ok(caller.timeout()))
                    .unwrap_or_else(|_| Process::default_timeout()),
            ),
            false => Caller::new(Timeout::Now),
        };
        // SAFETY: by contract.
        unsafe { conclude(handled, &mut caller, &reply) }
    })
}

/// # Safety
/// The answer is good.
unsafe fn conclude(
    handled: Handled<'_>,
    caller: &mut Caller<'_>,
    reply: &ReplyPlace,
) -> Result<(), Failure> {
    let server = Arc::clone(handled.turn.inside().server());
    if !server.system().is_current() {
        return Err(Status::Forked.into()); // the handler forked, and this is the child
    }
    let is_deferred = handled.deferred.is_some();
    // SAFETY: by contract.
    let said = unsafe { said(handled.verdict, handled.answer, true, is_deferred) };
    let answer = match (said, handled.deferred) {
        (Said::Later, Some(pending)) => {
            drop(handled.turn);
            server.await_later(caller, &pending)
        }
        (said, deferred) => {
            if let Some(pending) = deferred {
                // It is answered now; nobody waits for what would come later.
                server.answer_later(&pending, Ok(Value::Nil));
            }
            let answer = server.conclude(said);
            drop(handled.turn);
            answer
        }
    };
    set_answer(answer, reply)
}

fn set_answer(answer: Answer, reply: &ReplyPlace) -> Result<(), Failure> {
    let value = answer.map_err(failure_of)?;
    if reply.is_wanted() {
        reply.set(kvreg_value::owned(value)?);
    }
    Ok(())
}

/// A call by the long way.
///
/// # Safety
/// As of `fast_call`.
unsafe fn call(
    server: AnyKind<'_>,
    caller: &mut Caller<'_>,
    (tag, tag_len): (*const c_char, usize),
    (values, count): (*const kvreg_value, usize),
    reply: &ReplyPlace,
) -> Result<(), Failure> {
    let AnyKind::Server(server) = server else {
        // SAFETY: by contract.
        drop(unsafe { content(tag, tag_len, values, count) }?);
        return Err(Error::Unsupported("only user's servers are called").into());
    };
    caller.unpin(); // the values may be many, and user code runs
    if !server.state().runs_here() {
        // SAFETY: by contract.
        let content = unsafe { content(tag, tag_len, values, count) }?;
        return set_answer(server.call_by_message(caller, content), reply);
    }
    let Some(handle) = handler(server) else {
        // Its handlers are a Rust program's.
        // SAFETY: by contract.
        let content = unsafe { content(tag, tag_len, values, count) }?;
        return set_answer(server.call_here(caller, content), reply);
    };
    let mut sent = Sent::new();
    // SAFETY: by contract.
    let given = unsafe { sent.take(tag, tag_len, values, count) }?;
    if server.has_ended() {
        return Err(server.finish_end(Error::NoProcess).into());
    }
    if !given.fits(server.state().options().max_value) && !is_inside(server) {
        return Err(Error::Limit("bytes of a value").into());
    }
    let turn = server.enter_here(caller)?;
    let (mut answer, copies) = (kvreg_value::NIL, Copies::new());
    server.count_handled();
    let (verdict, deferred) = ask_here(server, handle, given, &mut answer, &copies);
    let handled = Handled {
        turn,
        verdict,
        answer: &answer,
        deferred,
    };
    // SAFETY: what the answer may point into lives until here.
    unsafe { conclude(handled, caller, reply) }
}

/// Calls the server that has the name now, with the timeout of the registry's handle: it follows
/// restarts, where a handle of a server is that of one process. The answer is KVREG_NOT_FOUND if
/// there is none, KVREG_WRONG_KIND if a bucket has the name; all else is as in kvreg_server_call.
/// Blocks for its turn, and for the answer.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_call(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
    reply: *mut kvreg_value,
) -> kvreg_status {
    // SAFETY: name and tag are good for their lengths.
    unsafe {
        argument::text_at_hand(name.cast(), name_len);
        argument::text_at_hand(tag.cast(), tag_len);
    }
    guard("kvreg_registry_call", || {
        // SAFETY: null or an output.
        let reply = unsafe { ReplyPlace::new(reply) };
        with_registry(registry, |registry, caller| {
            caller.unpin();
            // SAFETY: name, tag and values are good for their lengths.
            unsafe {
                let name = argument::name(name, name_len)?;
                messages::check(tag, tag_len, values, count)?;
                let server = registry.lookup_server(caller, name)?;
                let found = AnyKind::Server(&server);
                call(found, caller, (tag, tag_len), (values, count), &reply)
            }
        })
    })
}
