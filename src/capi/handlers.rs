//! The handlers that C programs write.
//!
//! # The argument
//!
//! A handler by callbacks runs under a [`Running`], which lies on the stack of who calls it. A
//! thread knows its innermost one, and each knows the next. So what a handler asks of the message
//! that it has (`kvreg_message_defer`, `kvreg_server_self`) is looked up among the calling thread's
//! own, by address.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::argument::invalid;
use super::kinds::kvreg_server;
use super::messages::{kvreg_message, Views};
use super::status::{kvreg_verdict, Failure};
use super::turns;
use super::update::{ABORT, CRASH, KEEP, LATER, STOP, UNHANDLED};
use super::value::{kvreg_value, Copies};
use crate::runtime::{self, platform};
use crate::sync::{Area, ThreadLocal};
use crate::user_server::{Behaviour, Pending, Said, UserServer, What};
use crate::value::{Text, Value};

/// The header's `kvreg_init_fn`.
pub type kvreg_init_fn = Option<
    unsafe extern "C" fn(
        self_: *mut kvreg_server,
        argument: *mut c_void,
        state: *mut *mut c_void,
        detail: *mut kvreg_value,
    ) -> kvreg_verdict,
>;

/// The header's `kvreg_handle_fn`.
pub type kvreg_handle_fn = Option<
    unsafe extern "C" fn(
        state: *mut c_void,
        message: *const kvreg_message,
        reply: *mut kvreg_value,
    ) -> kvreg_verdict,
>;

pub(super) type Handle =
    unsafe extern "C" fn(*mut c_void, *const kvreg_message, *mut kvreg_value) -> kvreg_verdict;

/// A thread's innermost handler, and a number that grows with each turn that the thread takes.
struct Handlers {
    innermost: Cell<*const Running<'static>>,
    serial: Cell<u64>,
}

// SAFETY: null and 0 at first; the area is its own.
unsafe impl ThreadLocal for Handlers {
    const AREA: Area = Area::Handlers;
}

/// The number of a turn that the calling thread takes now.
pub(super) fn next_serial() -> u64 {
    Handlers::own(|own| {
        own.serial.set(own.serial.get() + 1);
        own.serial.get()
    })
}

/// A handler that runs on this thread; see the module.
pub(super) struct Running<'a> {
    outer: *const Running<'static>,
    server: &'a Arc<UserServer>,
    message: *const kvreg_message,
    serial: u64,
    is_call: bool,
    /// Of a call that came as a message, or one that was deferred.
    pending: RefCell<Option<Arc<Pending>>>,
    is_deferred: Cell<bool>,
}

impl<'a> Running<'a> {
    #[inline(always)]
    pub(super) fn new(
        server: &'a Arc<UserServer>,
        message: *const kvreg_message,
        is_call: bool,
        pending: Option<Arc<Pending>>,
    ) -> Running<'a> {
        Running {
            outer: std::ptr::null(),
            server,
            message,
            serial: 0,
            is_call,
            pending: RefCell::new(pending),
            is_deferred: Cell::new(false),
        }
    }

    /// Runs a handler as this thread's innermost one.
    #[inline(always)]
    pub(super) fn run<R>(&mut self, handler: impl FnOnce() -> R) -> R {
        let me: *const Running<'_> = self;
        Handlers::own(|own| {
            own.serial.set(own.serial.get() + 1);
            self.serial = own.serial.get();
            self.outer = own.innermost.replace(me.cast());
        });
        let answer = handler();
        Handlers::own(|own| own.innermost.set(self.outer));
        answer
    }

    /// What answers the call later, if the handler put the answer off.
    pub(super) fn deferred(&self) -> Option<Arc<Pending>> {
        match self.is_deferred.get() {
            true => self.pending.borrow().clone(),
            false => None,
        }
    }

    /// Looks at those of this thread, from the innermost on, until one answers.
    fn find<R>(mut look: impl FnMut(&Running<'_>) -> Option<R>) -> Option<R> {
        let mut at = Handlers::own(|own| own.innermost.get());
        // SAFETY: null, or on the stack below: `run` is not over.
        while let Some(running) = unsafe { at.as_ref() } {
            if let Some(answer) = look(running) {
                return Some(answer);
            }
            at = running.outer;
        }
        None
    }
}

/// Whether user code of this thread has this server's turn by a callback.
pub(super) fn is_inside(server: &Arc<UserServer>) -> bool {
    Running::find(|running| Arc::ptr_eq(running.server, server).then_some(())).is_some()
}

/// The server whose turn this thread took last, of those that it has.
pub(super) fn innermost() -> Option<Arc<UserServer>> {
    let by_callback = Running::find(|running| Some((running.serial, Arc::clone(running.server))));
    let by_turn = turns::innermost();
    match (by_callback, by_turn) {
        (Some((first, server)), Some((second, _))) if first > second => Some(server),
        (_, Some((_, server))) | (Some((_, server)), None) => Some(server),
        (None, None) => None,
    }
}

impl Running<'_> {
    fn defer(&self) -> Result<(Arc<UserServer>, Arc<Pending>), Failure> {
        if !self.is_call {
            return Err(invalid("only a call is answered"));
        }
        if self.is_deferred.get() {
            return Err(invalid("the answer was put off already"));
        }
        let mut pending = self.pending.borrow_mut();
        let deferred = match &*pending {
            Some(pending) => Arc::clone(pending),
            None => Arc::clone(pending.insert(self.server.defer_here()?)),
        };
        self.is_deferred.set(true);
        Ok((Arc::clone(self.server), deferred))
    }
}

/// Puts off the answer of a call that this thread handles.
pub(super) fn defer(
    message: *const kvreg_message,
) -> Result<(Arc<UserServer>, Arc<Pending>), Failure> {
    let found =
        Running::find(|running| std::ptr::eq(running.message, message).then(|| running.defer()));
    found.unwrap_or_else(|| Err(invalid("no message that is handled now")))
}

/// The handlers of a C program.
pub(super) struct Callbacks {
    pub(super) init: kvreg_init_fn,
    pub(super) handle: kvreg_handle_fn,
    pub(super) drop: Option<unsafe extern "C" fn(state: *mut c_void)>,
    pub(super) argument: *mut c_void,
    pub(super) destroy: Option<unsafe extern "C" fn(argument: *mut c_void)>,
    is_destroyed: AtomicBool,
    /// Of the process that has it.
    lineage: usize,
}

// SAFETY: the header says that they run on any thread.
unsafe impl Send for Callbacks {}
// SAFETY: as above.
unsafe impl Sync for Callbacks {}

impl Callbacks {
    pub(super) fn new(
        init: kvreg_init_fn,
        handle: kvreg_handle_fn,
        drop: Option<unsafe extern "C" fn(state: *mut c_void)>,
        argument: *mut c_void,
        destroy: Option<unsafe extern "C" fn(argument: *mut c_void)>,
    ) -> Callbacks {
        Callbacks {
            init,
            handle,
            drop,
            argument,
            destroy,
            is_destroyed: AtomicBool::new(false),
            lineage: runtime::lineage(),
        }
    }
}

/// Asks a handler.
///
/// # Safety
/// The handler is what the header asks of it.
#[inline(always)]
pub(super) unsafe fn ask(
    running: &mut Running<'_>,
    handle: Handle,
    state: *mut c_void,
    message: &kvreg_message,
    reply: &mut kvreg_value,
    copies: &Copies,
) -> kvreg_verdict {
    // SAFETY: by contract; the message lives until the handler returns.
    running.run(|| copies.keep(|| unsafe { handle(state, message, reply) }))
}

/// What a verdict says.
///
/// # Safety
/// `reply` is an initialised value whose text is good for its length.
pub(super) unsafe fn said(
    verdict: kvreg_verdict,
    reply: &kvreg_value,
    is_call: bool,
    is_deferred: bool,
) -> Said {
    // SAFETY of all: by contract.
    let answer = || match is_call {
        false => Ok(Ok(Value::Nil)),
        true => match unsafe { reply.get() } {
            Ok(value) => Ok(Value::new(value)),
            Err(_) => Err(Said::Bad("a reply that is no value")),
        },
    };
    let text = || unsafe { text_in(reply) };
    match verdict {
        KEEP => answer().map_or_else(|bad| bad, Said::Keep),
        STOP => answer().map_or_else(|bad| bad, Said::Stop),
        ABORT => Said::Abort(text()),
        CRASH => Said::Crash(text()),
        LATER if is_call && is_deferred => Said::Later,
        LATER => Said::Bad("KVREG_LATER of what was not deferred"),
        UNHANDLED => Said::Unhandled,
        _ => Said::Bad("an unknown verdict"),
    }
}

/// A text, if it is one, and there is memory for it.
///
/// # Safety
/// As of `said`.
unsafe fn text_in(value: &kvreg_value) -> Option<Text> {
    // SAFETY: by contract.
    match unsafe { value.get() } {
        Ok(crate::value::ValueRef::String(text)) if !text.is_empty() => {
            let most = text.len().min(crate::reason::DETAIL_LIMIT);
            let end = (0..=most).rev().find(|at| text.is_char_boundary(*at))?;
            Text::copy(&text.as_bytes()[..end]).ok()
        }
        _ => None,
    }
}

impl Behaviour for Callbacks {
    /// The handler's address.
    fn native(&self) -> usize {
        self.handle.map_or(0, |handle| handle as *const () as usize)
    }

    fn init(&self, server: &Arc<UserServer>) -> Result<*mut (), Said> {
        let Some(init) = self.init else {
            return Ok(self.argument.cast());
        };
        let me = turns::me(server);
        let (mut state, mut detail) = (std::ptr::null_mut(), kvreg_value::NIL);
        let copies = Copies::new();
        let mut running = Running::new(server, std::ptr::null(), false, None);
        let verdict = running.run(|| {
            platform::uncancelled(|| {
                // SAFETY: the header's contract.
                copies.keep(|| unsafe { init(me, self.argument, &mut state, &mut detail) })
            })
        });
        if runtime::lineage() != self.lineage {
            return Err(Said::Abort(None));
        }
        // SAFETY: what `detail` may point into lives until here.
        let refused = match verdict {
            KEEP => return Ok(state.cast()),
            ABORT => Said::Abort(unsafe { text_in(&detail) }),
            CRASH => Said::Crash(unsafe { text_in(&detail) }),
            _ => Said::Bad("a verdict that no init may give"),
        };
        Err(refused)
    }

    fn handle(&self, state: *mut (), server: &Arc<UserServer>, what: &What) -> Said {
        let Some(handle) = self.handle else {
            return Said::Bad("a server without a handler");
        };
        let pending = match what {
            What::Call(_, pending) => Some(Arc::clone(pending)),
            _ => None,
        };
        let is_call = pending.is_some();
        let Ok(views) = Views::of(what) else {
            return Said::Abort(None); // there is no memory to tell it
        };
        let message = views.message(what, turns::me(server));
        let (mut reply, copies) = (kvreg_value::NIL, Copies::new());
        let mut running = Running::new(server, &message, is_call, pending);
        let verdict = platform::uncancelled(|| {
            // SAFETY: the header's contract.
            unsafe {
                ask(
                    &mut running,
                    handle,
                    state.cast(),
                    &message,
                    &mut reply,
                    &copies,
                )
            }
        });
        if runtime::lineage() != self.lineage {
            return Said::Abort(None); // and is not looked at
        }
        // SAFETY: what the reply may point into lives until here.
        unsafe { said(verdict, &reply, is_call, running.is_deferred.get()) }
    }

    fn drop_state(&self, state: *mut ()) {
        // A state that no `init` made is the program's own.
        if let (Some(drop), Some(_)) = (self.drop, self.init) {
            // SAFETY: the header promises this call, once.
            platform::uncancelled(|| unsafe { drop(state.cast()) });
        }
    }

    fn destroy(&self) {
        if self.lineage != runtime::lineage() || self.is_destroyed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(destroy) = self.destroy {
            // SAFETY: the header promises this call, once.
            platform::uncancelled(|| unsafe { destroy(self.argument) });
        }
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        Behaviour::destroy(self);
    }
}
