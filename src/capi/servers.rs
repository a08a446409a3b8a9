//! `kvreg_server_*`: servers that users write, started and found.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::argument::{self, invalid, limit, options, Out, WithSize};
use super::guard::guard;
use super::handlers::{innermost, kvreg_handle_fn, kvreg_init_fn, Callbacks};
use super::handles::{self, free, make, set_timeout};
use super::info::fill;
use super::items::Items;
use super::kinds::{
    kvreg_bucket, kvreg_inbox, kvreg_items, kvreg_registry, kvreg_server, kvreg_turn,
    with_any_kind, AnyKind,
};
use super::object::{token, with, with_registry, Needs};
use super::status::{kvreg_status, Failure, Status};
use super::turns;
use super::value::kvreg_value;
use crate::error::Error;
use crate::handle_table::Kind;
use crate::memory;
use crate::process::Process;
use crate::reason::{Exit, Reason};
use crate::registry::Sort;
use crate::server::{Lasts, Restart};
use crate::user_server::{
    Refusal, UserServer, UserServerInfo, UserServerOptions, UserServerSpec, UserTurn,
};
use crate::value::{Text, Value};

const EXCLUSIVE: u32 = 1;
const WANTS_TERMINATE: u32 = 1;
const HAND_OVER: u32 = 2;

/// The header's `kvreg_server_options`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_server_options {
    size: u32,
    flags: u32,
    restart: u32,
    max_restarts: u32,
    restart_period_ms: u32,
    shutdown_ms: u32,
    max_mailbox: u64,
    max_bytes: u64,
    max_value: u64,
    init: kvreg_init_fn,
    handle: kvreg_handle_fn,
    drop: Option<unsafe extern "C" fn(state: *mut c_void)>,
    argument: *mut c_void,
    destroy: Option<unsafe extern "C" fn(argument: *mut c_void)>,
    inbox: *mut kvreg_inbox,
    owner: u64,
    key: u64,
}

/// The header's `kvreg_server_stats`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct kvreg_server_stats {
    size: u32,
    last_exit: i32,
    mailbox: u64,
    bytes: u64,
    handled: u64,
    restarts: u64,
    owner: u64,
    key: u64,
    turn_ms: u64,
}

#[cfg(test)]
laid_out_as_in_c!(kvreg_server_options {
    size,
    flags,
    restart,
    max_restarts,
    restart_period_ms,
    shutdown_ms,
    max_mailbox,
    max_bytes,
    max_value,
    init,
    handle,
    drop,
    argument,
    destroy,
    inbox,
    owner,
    key
});
#[cfg(test)]
laid_out_as_in_c!(kvreg_server_stats {
    size,
    last_exit,
    mailbox,
    bytes,
    handled,
    restarts,
    owner,
    key,
    turn_ms
});

// SAFETY of both: integers and pointers, where NULL is no function, and the first is a u32.
unsafe impl WithSize for kvreg_server_options {}
unsafe impl WithSize for kvreg_server_stats {}

/// What a start is given: the user's argument goes with it, whatever becomes of the rest.
struct Given {
    options: UserServerOptions,
    callbacks: Arc<Callbacks>,
    inbox: *mut kvreg_inbox,
}

/// # Safety
/// Null, or a struct of the size it tells.
unsafe fn given(place: *const kvreg_server_options) -> Result<Given, Failure> {
    // SAFETY: by contract.
    let given = unsafe { options(place) }?.ok_or_else(|| invalid("the options are NULL"))?;
    let callbacks = Arc::new(Callbacks::new(
        given.init,
        given.handle,
        given.drop,
        given.argument,
        given.destroy,
    ));
    let is_by_turns = given.handle.is_none();
    if is_by_turns && (given.init.is_some() || given.drop.is_some()) {
        return Err(invalid("a server by turns has no callbacks"));
    }
    if given.flags & !(WANTS_TERMINATE | HAND_OVER) != 0 {
        return Err(invalid("an unknown flag"));
    }
    let restart = Restart::from_number(given.restart);
    let restart = restart.ok_or_else(|| invalid("an unknown restart option"))?;
    if !is_by_turns && given.init.is_none() && restart != Restart::Temporary {
        return Err(invalid("a server without an init is not started again"));
    }
    if !is_by_turns && !given.inbox.is_null() {
        return Err(invalid("a server by callbacks tells no inbox of its mail"));
    }
    let default = UserServerOptions::default();
    let millis = |given: u32, default| match given {
        0 => default,
        millis => std::time::Duration::from_millis(millis.into()),
    };
    let max_value = limit(given.max_value, default.max_value);
    if max_value > crate::value::VALUE_LIMIT {
        return Err(invalid("a value has at most 512 MiB"));
    }
    Ok(Given {
        options: UserServerOptions {
            restart,
            max_restarts: match given.max_restarts {
                0 => default.max_restarts,
                given => given,
            },
            restart_period: millis(given.restart_period_ms, default.restart_period),
            shutdown: millis(given.shutdown_ms, default.shutdown),
            max_mailbox: limit(given.max_mailbox, default.max_mailbox),
            max_bytes: limit(given.max_bytes, default.max_bytes),
            max_value,
            is_by_turns,
            wants_terminate: given.flags & WANTS_TERMINATE != 0,
            hands_over: given.flags & HAND_OVER != 0,
            owner: given.owner,
            key: given.key,
        },
        callbacks,
        inbox: given.inbox,
    })
}

impl Given {
    fn spec(self, process: &'static Process) -> Result<Arc<UserServerSpec>, Failure> {
        let (options, callbacks) = (self.options, self.callbacks);
        let around = process.around_user_servers();
        Ok(match self.inbox.is_null() {
            true => UserServerSpec::new(options, around, callbacks, None)?,
            false => with(self.inbox, |inbox, _| {
                Ok(UserServerSpec::new(
                    options,
                    around,
                    callbacks,
                    Some(inbox),
                )?)
            })?,
        })
    }
}

pub(super) fn failure_of(refusal: Refusal) -> Failure {
    match refusal.text {
        Some(text) => {
            let said = text.as_str().and_then(memory::text).unwrap_or_default();
            Failure::new(Failure::from(refusal.error).status(), said)
        }
        None => refusal.error.into(),
    }
}

/// Begins a server that was just started, and makes its handles.
fn begin(
    started: &Arc<UserServer>,
    server: &Out<*mut kvreg_server>,
    turn: &Out<*mut kvreg_turn>,
) -> Result<(), Failure> {
    let first = started.first_turn();
    let is_by_turns = started.state().options().is_by_turns;
    let made = MaybeHandle::make(started, server);
    let made = match made {
        Ok(made) => made,
        Err(failure) => {
            started.end(Exit::new(Reason::Shutdown, ""));
            drop(first);
            return Err(failure);
        }
    };
    if is_by_turns {
        let opened = turns::open(UserTurn::first(first));
        return match opened {
            Ok(opened) => {
                turn.set(opened);
                made.keep(server);
                Ok(())
            }
            Err(failure) => {
                started.end(Exit::new(Reason::Shutdown, ""));
                Err(failure)
            }
        };
    }
    match started.init(first) {
        Ok(()) => {
            made.keep(server);
            Ok(())
        }
        Err(refusal) => Err(failure_of(refusal)),
    }
}

/// A handle that is freed unless it is kept.
struct MaybeHandle(*mut kvreg_server);

impl MaybeHandle {
    /// NULL if it is not wanted.
    fn make(
        server: &Arc<UserServer>,
        wanted: &Out<*mut kvreg_server>,
    ) -> Result<MaybeHandle, Failure> {
        let mut handle = std::ptr::null_mut();
        if wanted.is_wanted() || !server.is_registered() {
            // SAFETY: an output.
            make(Arc::clone(server), &unsafe {
                Out::new(&raw mut handle, handle)
            })?;
        }
        Ok(MaybeHandle(handle))
    }

    fn keep(mut self, output: &Out<*mut kvreg_server>) {
        output.set(std::mem::replace(&mut self.0, std::ptr::null_mut()));
    }
}

impl Drop for MaybeHandle {
    fn drop(&mut self) {
        let _ = free(self.0);
    }
}

/// @name Servers: start and find
///
/// Starts a server that the program writes (OTP's GenServer), under a name that it shares with no
/// bucket. It is synchronous: the name is taken, then `init` runs on this thread, under the new
/// server's turn, then this returns. Who finds the name meanwhile and calls it waits. If `init`
/// refuses, the name is free again before the answer: KVREG_ABORTED, or KVREG_SERVER_DOWN for
/// KVREG_CRASH, with its text in kvreg_last_error.
///
/// Of a server by turns `turn` is given, which is its first: make the state, and end it with the
/// verdict. Of one by callbacks it is NULL, and `turn` may be NULL. `server` may be NULL.
///
/// If there is a server of the name, that is given, once it has begun, and nothing is started,
/// `turn` is NULL, and `destroy` is called; with KVREG_CREATE_EXCLUSIVE in `flags` (else 0) the
/// answer is KVREG_ALREADY_STARTED. If a bucket has the name it is KVREG_WRONG_KIND. Blocks for its
/// turn, and for `init`.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_start_server(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    flags: u32,
    options: *const kvreg_server_options,
    server: *mut *mut kvreg_server,
    turn: *mut *mut kvreg_turn,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_start_server", || {
        // SAFETY: null or outputs.
        let server = unsafe { Out::new(server, std::ptr::null_mut()) };
        let turn = unsafe { Out::new(turn, std::ptr::null_mut()) };
        // SAFETY: null or options. Whatever becomes of it, the argument is destroyed.
        let given = unsafe { given(options) };
        with_registry(registry, |registry, caller| {
            caller.unpin(); // user code runs
                            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            let given = given?;
            if flags & !EXCLUSIVE != 0 {
                return Err(invalid("an unknown flag"));
            }
            if given.options.is_by_turns {
                turn.required()?;
            }
            let spec = given.spec(Process::starting()?)?;
            crate::server::Thread::may_hold_another(Lasts::Call)?;
            match registry.start_server(caller, name, spec)? {
                (started, true) => begin(&started, &server, &turn),
                (_, false) if flags & EXCLUSIVE != 0 => Err(Error::AlreadyStarted.into()),
                (found, false) => {
                    found.await_begun(caller)?;
                    match server.is_wanted() {
                        true => make(found, &server),
                        false => Ok(()),
                    }
                }
            }
        })
    })
}

/// Starts a server without a registry: it stops when its last handle is freed. Its `restart` must
/// be KVREG_TEMPORARY, else the answer is KVREG_INVALID_ARGUMENT. All else is as in
/// kvreg_registry_start_server. Blocks for `init`.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_start(
    options: *const kvreg_server_options,
    server: *mut *mut kvreg_server,
    turn: *mut *mut kvreg_turn,
) -> kvreg_status {
    guard("kvreg_server_start", || {
        // SAFETY: null or outputs.
        let server = unsafe { Out::new(server, std::ptr::null_mut()) };
        let turn = unsafe { Out::new(turn, std::ptr::null_mut()) };
        // SAFETY: null or options. Whatever becomes of it, the argument is destroyed.
        let given = unsafe { given(options) };
        let process = Process::starting()?;
        let given = given?;
        server.required()?;
        if given.options.is_by_turns {
            turn.required()?;
        }
        if given.options.restart != Restart::Temporary {
            let text = "a server without a registry is not restarted: nobody holds its place";
            return Err(invalid(text));
        }
        let spec = given.spec(process)?;
        crate::server::Thread::may_hold_another(Lasts::Call)?;
        begin(&UserServer::start_alone(spec), &server, &turn)
    })
}

/// Gives the server that has the name now, or answers KVREG_NOT_FOUND; KVREG_WRONG_KIND if a bucket
/// has it. Blocks only while casts of this thread to the registry are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_lookup_server(
    registry: *mut kvreg_registry,
    name: *const c_char,
    name_len: usize,
    server: *mut *mut kvreg_server,
) -> kvreg_status {
    // SAFETY: the name is good for its length.
    unsafe { argument::text_at_hand(name.cast(), name_len) };
    guard("kvreg_registry_lookup_server", || {
        // SAFETY: null or an output.
        let server = unsafe { Out::new(server, std::ptr::null_mut()) };
        with_registry(registry, |registry, caller| {
            server.required()?;
            // SAFETY: the name is good for its length.
            let name = unsafe { argument::name(name, name_len) }?;
            make(registry.lookup_server(caller, name)?, &server)
        })
    })
}

/// Gives a snapshot of the names of the servers that users wrote: its keys are of type
/// KVREG_STRING, its values nil. kvreg_registry_names gives those of buckets. Blocks only while
/// another thread copies the names, and while casts of this thread to the registry are queued.
#[no_mangle]
pub unsafe extern "C" fn kvreg_registry_servers(
    registry: *mut kvreg_registry,
    names: *mut *mut kvreg_items,
) -> kvreg_status {
    guard("kvreg_registry_servers", || {
        // SAFETY: null or an output.
        let names = unsafe { Out::new(names, std::ptr::null_mut()) };
        with_registry(registry, |registry, caller| {
            names.required()?;
            let found = registry.names(caller, Sort::Server)?;
            make(Items::of_names(&found)?, &names)
        })
    })
}

/// Gives a handle to the server whose turn this thread took last, of those that it has: by a
/// handler, or by kvreg_server_begin. The answer is KVREG_NO_PROCESS if it has none. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_self(server: *mut *mut kvreg_server) -> kvreg_status {
    guard("kvreg_server_self", || {
        // SAFETY: null or an output.
        let server = unsafe { Out::new(server, std::ptr::null_mut()) };
        Process::running()?;
        server.required()?;
        make(innermost().ok_or(Error::NoProcess)?, &server)
    })
}

/// Gives another handle to the server, of any kind, with the timeout of this handle. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_clone(
    server: *mut kvreg_server,
    clone: *mut *mut kvreg_server,
) -> kvreg_status {
    guard("kvreg_server_clone", || {
        // SAFETY of all: null or an output; handles are pointers of one kind.
        unsafe {
            match Kind::claimed(token(server)) {
                Some(Kind::Bucket) => {
                    let clone = clone.cast::<*mut kvreg_bucket>();
                    handles::clone(server.cast(), Out::new(clone, std::ptr::null_mut()))
                }
                Some(Kind::Registry) => {
                    let clone = clone.cast::<*mut kvreg_registry>();
                    handles::clone(server.cast(), Out::new(clone, std::ptr::null_mut()))
                }
                _ => handles::clone(server, Out::new(clone, std::ptr::null_mut())),
            }
        }
    })
}

/// Sets the timeout of calls through this handle, of a server of any kind, in milliseconds: -1 for
/// ever, 0 only if the call need not wait. Other handles keep theirs. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_set_timeout(
    server: *mut kvreg_server,
    timeout_ms: i64,
) -> kvreg_status {
    guard("kvreg_server_set_timeout", || {
        match Kind::claimed(token(server)) {
            Some(Kind::Bucket) => set_timeout(server.cast::<kvreg_bucket>(), timeout_ms),
            Some(Kind::Registry) => set_timeout(server.cast::<kvreg_registry>(), timeout_ms),
            _ => set_timeout(server, timeout_ms),
        }
    })
}

/// Gives the name of a server of any kind, after its end too; nil if it has none. Clear it. Never
/// blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_name(
    server: *mut kvreg_server,
    name: *mut kvreg_value,
) -> kvreg_status {
    guard("kvreg_server_name", || {
        // SAFETY: null or an output.
        let name = unsafe { Out::new(name, kvreg_value::NIL) };
        with_any_kind(Needs::Memory, server, |server, _| {
            name.required()?;
            let server = server.as_any();
            let Some(text) = server.name() else {
                return Ok(());
            };
            name.set(kvreg_value::owned(Value::String(Text::copy(
                text.as_bytes(),
            )?))?);
            Ok(())
        })
    })
}

/// Tells facts about a server of any kind. It fills as much of `stats` as its `size` says. Never
/// blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_info(
    server: *mut kvreg_server,
    stats: *mut kvreg_server_stats,
) -> kvreg_status {
    guard("kvreg_server_info", || {
        with_any_kind(Needs::Memory, server, |server, caller| {
            caller.unpin(); // the struct may have to be waited for
            let facts = || {
                Ok(match server {
                    AnyKind::Server(server) => server.user_server_info().into(),
                    AnyKind::Bucket(bucket) => of_other(bucket),
                    AnyKind::Registry(registry) => of_other(registry),
                })
            };
            // SAFETY: null, or a struct of the size it tells.
            unsafe { fill(stats, facts) }
        })
    })
}

fn of_other<S: crate::server::State>(server: &Arc<crate::server::Server<S>>) -> kvreg_server_stats {
    let (restarts, last_exit) = server.state().place().map_or((0, None), |it| it.history());
    kvreg_server_stats {
        last_exit: last_exit.map_or(-1, |reason| reason as i32),
        mailbox: server.mailbox_len() as u64,
        bytes: server.state().size().1 as u64,
        handled: server.handled(),
        restarts,
        ..kvreg_server_stats::default()
    }
}

impl From<UserServerInfo> for kvreg_server_stats {
    fn from(info: UserServerInfo) -> kvreg_server_stats {
        kvreg_server_stats {
            size: size_of::<kvreg_server_stats>() as u32,
            last_exit: info.last_exit.map_or(-1, |reason| reason as i32),
            mailbox: info.mailbox as u64,
            bytes: info.bytes as u64,
            handled: info.handled,
            restarts: info.restarts,
            owner: info.owner,
            key: info.key,
            turn_ms: info.turn_ms,
        }
    }
}

/// Frees a handle of a server of any kind. A server without a registry stops when its last handle
/// is freed. The handle that a message brings is not to be freed: KVREG_BAD_HANDLE. NULL is fine.
/// Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_free(server: *mut kvreg_server) -> kvreg_status {
    guard("kvreg_server_free", || match Kind::claimed(token(server)) {
        Some(Kind::Bucket) => free(server.cast::<kvreg_bucket>()),
        Some(Kind::Registry) => free(server.cast::<kvreg_registry>()),
        _ => {
            let is_lent = with(server, |found, _| {
                let me = found.state().me.load(std::sync::atomic::Ordering::Acquire);
                Ok(me == token(server))
            });
            match is_lent {
                Ok(true) => Err(Status::BadHandle.into()),
                _ => free(server),
            }
        }
    })
}
