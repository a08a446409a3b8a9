//! `kvreg_server_begin`, `kvreg_turn_*`: turns of servers without callbacks. And what the boundary
//! has for each server.
//!
//! # The argument
//!
//! A server has one turn, so one slot of the handle table is enough for all its turns, one after
//! the other; each has a token of its own, as open updates have (`begun.rs`), which is its ticket in
//! the place where it lies ([`TurnPlace`]). What has the place is the server's [`Held`], and is
//! freed through the epoch: so who finds a token in the table, pinned, may look there.
//!
//! What is done with a turn may run user code. Another thread that comes meanwhile with the same
//! handle finds it gone, which is a misuse. Who ends a turn takes the token out of the table first,
//! which one thread does, once; if somebody works with it, that one gives it up when he comes back.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ffi::c_char;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::argument::{self, invalid, Out};
use super::guard::guard;
use super::handlers::{next_serial, said};
use super::handles::make;
use super::kinds::{
    insert_uncounted, kvreg_inbox, kvreg_reply, kvreg_server, kvreg_turn, remove_uncounted,
    with_any_kind,
};
use super::messages::{fill_message, kvreg_message, message_out, owned};
use super::object::{is_inherited, is_inherited_handle, missing, or_of_second, token, with, Needs};
use super::one_key::OK;
use super::replies::Deferred;
use super::status::{kvreg_status, kvreg_verdict, Failure, Status};
use super::update::{ABORT, CRASH, KEEP, STOP};
use super::value::kvreg_value;
use crate::handle_table::{Invalid, Kind, Removed, RemovedSlot};
use crate::memory;
use crate::process::Process;
use crate::reclaim;
use crate::runtime::platform;
use crate::server::{forget_ticket, held_tickets, hold_ticket};
use crate::server::{Front, Thread, Tickets, Turn, TurnPlace, Worked};
use crate::sync::{lock, raw_arc};
use crate::time::Timeout;
use crate::user_server::{Pending, Said, Taken, UserServer, UserServerState, UserTurn};
use crate::value::Text;

const NOW: u32 = 1;

/// See the module.
pub(super) struct Held {
    process: &'static Process,
    server: Weak<UserServer>,
    /// Made for the first turn: a server by callbacks has none.
    turns: OnceLock<Box<Turns>>,
    /// What messages call the server.
    me: AtomicU64,
    /// Who has the turn needs no count of the server: it keeps itself, from when this is made until it
    /// is vacated.
    kept: Mutex<Option<Arc<UserServer>>>,
}

struct Turns {
    place: TurnPlace<UserTurn>,
    /// None until there is a turn, and once its handles are used up. Who has the turn looks here,
    /// before it is put into its place and after it was taken out.
    slot: UnsafeCell<Option<RemovedSlot>>,
    /// The thread that began it, and the number of the turn there; 0 if it is no thread's.
    thread: AtomicU64,
    serial: AtomicU64,
}

// SAFETY: the slot is looked at by one thread at a time.
unsafe impl Sync for Turns {}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            place: TurnPlace::new(),
            slot: UnsafeCell::new(None),
            thread: AtomicU64::new(0),
            serial: AtomicU64::new(0),
        }
    }
}

impl Front for Held {
    fn vacated(&self) {
        let me = self.me.swap(0, Ordering::AcqRel);
        if me != 0 {
            remove_uncounted(self.process, me);
        }
        if let Some(kept) = lock(&self.kept).take() {
            // Perhaps its last count, and who calls this looks at it.
            let pinned = reclaim::pin();
            pinned.defer(move || drop(kept));
            pinned.count(size_of::<UserServer>());
        }
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Called by who has the turn.
#[inline(always)]
fn held(server: &Arc<UserServer>) -> Result<&Held, Failure> {
    let front = match server.state().front() {
        Some(front) => front,
        None => make_held(server),
    };
    let held = front.as_any().downcast_ref();
    held.ok_or(Status::Internal.into())
}

/// Called by who has the turn.
#[cold]
fn make_held(server: &Arc<UserServer>) -> &Arc<dyn Front> {
    let held = Arc::new(Held {
        process: Process::current(),
        server: Arc::downgrade(server),
        turns: OnceLock::new(),
        me: AtomicU64::new(0),
        kept: Mutex::new(Some(Arc::clone(server))),
    });
    // SAFETY: `kept` is its count.
    unsafe { server.state().set_front(held) }
}

/// The handle that messages bring: NULL if there is none to be had.
#[inline(always)]
pub(super) fn me(server: &Arc<UserServer>) -> *mut kvreg_server {
    let token = match server.state().me.load(Ordering::Acquire) {
        0 => make_me(server).unwrap_or(0),
        token => token,
    };
    std::ptr::without_provenance_mut(token as usize)
}

/// Called by who has the turn.
#[cold]
fn make_me(server: &Arc<UserServer>) -> Option<u64> {
    let held = held(server).ok()?;
    let token = insert_uncounted(server).ok()?;
    held.me.store(token, Ordering::Release);
    server.state().me.store(token, Ordering::Release);
    Some(token)
}

/// Publishes a turn, and makes its handle, in the server's place for it; drops it if that cannot
/// be done.
pub(super) fn open(turn: UserTurn) -> Result<*mut kvreg_turn, Failure> {
    open_by(turn, UserTurn::server, |turn| turn)
}

/// As `open`, of what is made a turn where that lies.
#[inline(always)]
fn open_by<T>(
    begun: T,
    server: impl FnOnce(&T) -> &Arc<UserServer>,
    make: impl FnOnce(T) -> UserTurn,
) -> Result<*mut kvreg_turn, Failure> {
    let server = server(&begun);
    let held: *const Held = held(server)?;
    // SAFETY: the turn keeps its server, which has a count of this, until its token is published.
    let held = unsafe { &*held };
    let process = held.process;
    let token = held.announce(server)?;
    // SAFETY: it is the server's, and each handle of the slot has another token.
    unsafe { held.turns().place.put(token, || make(begun)) };
    process.handles().publish(token);
    // Either `shutdown` sees this handle and ends it, or this thread sees the shutdown.
    reclaim::light();
    if process.is_shut_down() {
        drop(take_by(process, token));
        return Err(Status::ShutDown.into());
    }
    Ok(std::ptr::without_provenance_mut(token as usize))
}

impl Held {
    #[inline(always)]
    fn turns(&self) -> &Turns {
        self.turns.get_or_init(Box::default)
    }

    /// Makes a token for a turn of the calling thread's, which is to be put into its place and then
    /// published.
    #[inline(always)]
    fn announce(&self, server: &Arc<UserServer>) -> Result<u64, Failure> {
        let turns = self.turns();
        // SAFETY: the caller has the turn, which is not in its place yet.
        let slot = unsafe { &mut *turns.slot.get() };
        let reserved = match slot.take() {
            Some(reserved) => reserved,
            None => reserve(server)?,
        };
        let reserved = slot.insert(reserved);
        let token = self.process.handles().next(Kind::Turn, reserved);
        hold_ticket(&OpenTurns, token)?;
        turns.thread.store(Thread::id(), Ordering::Relaxed);
        turns.serial.store(next_serial(), Ordering::Relaxed);
        Ok(token)
    }

    /// Of who has the turn, and it is out of its place: old tokens are not to fit again.
    #[inline(always)]
    fn keep_no_used_up_slot(&self) {
        // SAFETY: as above, and the turn is not given back yet.
        let slot = unsafe { &mut *self.turns().slot.get() };
        slot.take_if(|slot| self.process.handles().is_used_up(slot));
    }

    /// Whether the turn that is here is no thread's any more.
    fn is_detached(&self) -> bool {
        self.turns().thread.load(Ordering::Relaxed) == 0
    }
}

/// The server keeps what the slot leads to.
#[cold]
fn reserve(server: &Arc<UserServer>) -> Result<RemovedSlot, Failure> {
    let front = server.state().front().map(Arc::clone);
    match front.map(|front| front.into_any().downcast::<Held>()) {
        Some(Ok(held)) => Ok(held.process.handles().reserve(raw_arc::pointer(&held))?),
        _ => Err(Status::Internal.into()),
    }
}

/// Looks at the holder of a turn.
fn with_held<R>(token: u64, look: impl FnOnce(&Held) -> R) -> Option<R> {
    let process = Process::if_any()?;
    let pinned = reclaim::pin();
    let found = process.handles().get(token, Kind::Turn, &pinned).ok()?;
    // SAFETY: slots of this kind are reserved for these, and a holder is freed through the epoch.
    let held = unsafe { raw_arc::kept::<Held>(found.object) };
    Some(look(&held))
}

/// As a thread knows those that it has begun.
struct OpenTurns;

impl Tickets for OpenTurns {
    fn is_open(&self, ticket: u64) -> bool {
        with_held(ticket, |held| !held.is_detached()).unwrap_or(false)
    }

    /// The thread that began it ends.
    fn abort(&self, ticket: u64) {
        if !self.is_open(ticket) {
            return; // another thread detached it, which could not tell this one
        }
        let turn = Process::if_any().map(|process| take_by(process, ticket));
        if let Some(Ok(turn)) = turn {
            let text = Text::copy(b"the thread that had its turn ended").ok();
            let _ = turn.end(Said::Crash(text));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let slot = self
            .turns
            .get_mut()
            .and_then(|turns| turns.slot.get_mut().take());
        // A forked child leaves the parent's alone.
        if let (Some(slot), true) = (slot, self.process.system().is_current()) {
            self.process.handles().give_back(slot);
        }
    }
}

/// The server whose turn this thread took last by a handle, and the turn's number.
pub(super) fn innermost() -> Option<(u64, Arc<UserServer>)> {
    let mine = held_tickets().into_iter().filter_map(|ticket| {
        let (serial, server) = with_held(ticket, |held| {
            let turns = held.turns();
            let is_mine = turns.thread.load(Ordering::Acquire) == Thread::id();
            let serial = turns.serial.load(Ordering::Acquire);
            is_mine.then(|| Some((serial, held.server.upgrade()?)))?
        })??;
        // Another thread may have ended it, and begun the next.
        let is_there = Process::if_any()?.handles().knows(ticket);
        is_there.then_some((serial, server))
    });
    mine.max_by_key(|(serial, _)| *serial)
}

/// What a handle held that was just taken out of the table, as `out` takes it.
#[inline(always)]
fn taken_by<R>(
    removed: &Removed,
    out: impl FnOnce(&mut Option<UserTurn>) -> Option<R>,
) -> Option<R> {
    // SAFETY: slots of this kind are reserved for these, by `reserve`; and it is still there: its turn
    // keeps the server, and whoever works with that does.
    let held = unsafe { raw_arc::kept::<Held>(removed.object) };
    let turns = held.turns();
    // SAFETY: the token was taken out of the table, which one thread does, once.
    let taken = unsafe { turns.place.take(removed.token, out) }?;
    held.keep_no_used_up_slot();
    Some(taken)
}

pub(super) fn taken(removed: &Removed) -> Option<UserTurn> {
    taken_by(removed, Option::take)
}

fn take_by(process: &'static Process, token: u64) -> Result<UserTurn, Invalid> {
    // The turn's holder is not freed before this thread has looked at it.
    let _pinned = reclaim::pin();
    let removed = process.handles().remove(token, Kind::Turn)?;
    forget_ticket(token);
    taken(&removed).ok_or(Invalid::Bad)
}

/// As `take`, by the short way: `None` if there is none.
#[inline(always)]
fn fast_take(handle: *mut kvreg_turn) -> Option<Taken> {
    if platform::is_ending() {
        return None;
    }
    let process = Process::if_any()?;
    // As in `take_by`.
    reclaim::fast_pin(process.system().domain(), |_| {
        let token = token(handle);
        let removed = process.handles().remove(token, Kind::Turn).ok()?;
        forget_ticket(token);
        taken_by(&removed, UserTurn::take)
    })
}

/// A turn of a server that meets nobody, by the timeout of the handle: `None` if that is not so.
#[inline(always)]
fn fast_begin(server: *mut kvreg_server) -> Option<(Turn<UserServerState>, Timeout)> {
    if platform::is_ending() {
        return None;
    }
    let process = Process::if_any()?;
    reclaim::fast_pin(process.system().domain(), |pinned| {
        let found = process
            .handles()
            .get(token(server), Kind::Server, pinned)
            .ok()?;
        // SAFETY: as in `object::with`: a count of the table's, which lasts as long as the pin.
        let server = unsafe { raw_arc::kept::<UserServer>(found.object) };
        let timeout = Timeout::from_millis(found.timeout.load(Ordering::Relaxed)).ok()?;
        Some((server.fast_begin_turn()?, timeout))
    })
}

fn take(handle: *mut kvreg_turn) -> Result<UserTurn, Failure> {
    if platform::is_ending() {
        return Err(Status::ShutDown.into());
    }
    let token = token(handle);
    let process = Process::if_any().ok_or_else(|| missing(token, Invalid::Bad))?;
    take_by(process, token).map_err(|invalid| missing(token, invalid))
}

/// Works with the turn of a handle.
fn with_turn<R>(
    handle: *mut kvreg_turn,
    work: impl FnOnce(&mut UserTurn) -> Result<R, Failure>,
) -> Result<R, Failure> {
    if platform::is_ending() {
        return Err(Status::ShutDown.into());
    }
    let token = token(handle);
    let process = Process::if_any().ok_or_else(|| missing(token, Invalid::Bad))?;
    let held = {
        let pinned = reclaim::pin();
        let found = process.handles().get(token, Kind::Turn, &pinned);
        let found = found.map_err(|invalid| missing(token, invalid))?;
        // SAFETY: as in `with_held`.
        Arc::clone(&*unsafe { raw_arc::kept::<Held>(found.object) })
    };
    let gives_up = || {
        if process.system().is_current() {
            let _ = process.handles().remove(token, Kind::Turn);
            forget_ticket(token);
        }
    };
    match held.turns().place.with(token, work, gives_up) {
        Worked::Done(worked) => worked,
        Worked::Left(worked, turn) => {
            held.keep_no_used_up_slot();
            let _ = turn.end(Said::Crash(None)); // its handle was ended meanwhile
            worked
        }
        Worked::Nothing => Err(missing(token, Invalid::Bad)),
    }
}

/// Defers the call of a message that `kvreg_turn_next` gave.
pub(super) fn defer(
    server: *mut kvreg_server,
    mark: u64,
) -> Result<(Arc<UserServer>, Arc<Pending>), Failure> {
    let server = with(server, |server, _| Ok(Arc::clone(server)))?;
    let held = server.state().front().map(|front| front.as_any());
    let held = held.and_then(|held| held.downcast_ref::<Held>());
    // The message may be of an earlier turn, which concerns nobody who has this one.
    let pending = held.and_then(|held| held.turns().place.briefly(|turn| turn.defer(mark)));
    let pending = pending.ok_or_else(|| invalid("the message was answered already"))??;
    Ok((server, pending))
}

/// @name Servers: turns
///
/// Begins a turn of a server by turns: from here to its end this thread counts as being inside the
/// server, and its calls there get KVREG_CALLING_SELF. `waiting`, which may be NULL, is how many
/// messages came before it: handle them first, by kvreg_turn_next and kvreg_turn_answer, until that
/// is KVREG_NOT_FOUND. What comes after it is for the next turn.
///
/// With KVREG_BEGIN_NOW in `flags` (else 0) it never waits: the answer is KVREG_TIMEOUT if somebody
/// has the turn. On a server by callbacks, a bucket or a registry it is KVREG_UNSUPPORTED. It is
/// KVREG_LIMIT if this thread holds 256 turns, or if the destructors of its pthread keys run. A
/// turn whose thread ends before it is ended with KVREG_CRASH. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_server_begin(
    server: *mut kvreg_server,
    flags: u32,
    waiting: *mut u64,
    turn: *mut *mut kvreg_turn,
) -> kvreg_status {
    let mut fast_begun = None;
    if flags & !NOW == 0 && !turn.is_null() && memory::is_ready() {
        fast_begun = fast_begin(server);
    }
    if let Some((begun, timeout)) = fast_begun {
        fn server(turn: &Turn<UserServerState>) -> &Arc<UserServer> {
            turn.inside().server()
        }
        let make = |turn| UserTurn::begun_at_once(turn, timeout);
        if let Ok(handle) = open_by(begun, server, make) {
            // SAFETY: null or outputs.
            unsafe {
                turn.write(handle);
                Out::new(waiting, 0);
            }
            return OK;
        }
    }
    guard("kvreg_server_begin", || {
        // SAFETY: null or outputs.
        let waiting = unsafe { Out::new(waiting, 0) };
        let turn = unsafe { Out::new(turn, std::ptr::null_mut()) };
        with_any_kind(Needs::Memory, server, |server, caller| {
            turn.required()?;
            if flags & !NOW != 0 {
                return Err(invalid("an unknown flag"));
            }
            let server = server.user_server("only user's servers have turns")?;
            let (begun, before) = server.begin_turn(caller, flags & NOW != 0)?;
            turn.set(open(begun)?);
            waiting.set(before as u64);
            Ok(())
        })
    })
}

/// Gives the next message that waited when the turn began, or that was sent with KVREG_SEND_NEXT
/// since: clear it. The answer is KVREG_NOT_FOUND if there is no more, KVREG_TIMEOUT if the time of
/// the handle that began the turn is up: then end it with KVREG_ABORT, and the rest stays queued.
/// It is KVREG_SERVER_DOWN if the server has ended. A message before it that was not answered is
/// kept; a call that was not answered is KVREG_CRASH. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_turn_next(
    turn: *mut kvreg_turn,
    message: *mut kvreg_message,
) -> kvreg_status {
    guard("kvreg_turn_next", || {
        // SAFETY: null, or a message of the size it tells.
        let place = unsafe { message_out(message) };
        with_turn(turn, |turn| {
            place?;
            let told = turn.next()?;
            let me = me(turn.server());
            match owned(told.what, told.mark, me) {
                Ok(told) => {
                    // SAFETY: it was checked.
                    unsafe { fill_message(message, &told) };
                    Ok(())
                }
                Err(failure) => {
                    // Who asked cannot be told; the server goes on.
                    let _ = turn.answer(Said::Abort(None));
                    Err(failure)
                }
            }
        })
    })
}

/// Says what becomes of the message that kvreg_turn_next gave last, as a handler by callbacks does:
/// `reply` is the answer of a call, or a text that says why, and may be NULL. For KVREG_LATER the
/// call was deferred by kvreg_message_defer. The answer is KVREG_NOT_FOUND if there is no message
/// that was not answered, and KVREG_INVALID_ARGUMENT for an unknown verdict and an answer that is
/// no value, which is KVREG_CRASH. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_turn_answer(
    turn: *mut kvreg_turn,
    verdict: kvreg_verdict,
    reply: *const kvreg_value,
) -> kvreg_status {
    guard("kvreg_turn_answer", || {
        with_turn(turn, |turn| {
            // SAFETY: null, or a value whose text is good for its length.
            let reply = unsafe { reply.as_ref() }.unwrap_or(&kvreg_value::NIL);
            // SAFETY: as above. Whether it was deferred the turn knows.
            let said = unsafe { said(verdict, reply, turn.is_of_call(), true) };
            Ok(turn.answer(said)?)
        })
    })
}

/// Puts off the answer of the call that the turn was begun for: it comes into `inbox`, as
/// KVREG_EVENT_REPLY with this reference, when `reply` is sent. The answer is KVREG_LIMIT if the
/// inbox has no place left. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_turn_defer(
    turn: *mut kvreg_turn,
    inbox: *mut kvreg_inbox,
    reference: *mut u64,
    reply: *mut *mut kvreg_reply,
) -> kvreg_status {
    guard("kvreg_turn_defer", || {
        // SAFETY: null or outputs.
        let reference = unsafe { Out::new(reference, 0) };
        let reply = unsafe { Out::new(reply, std::ptr::null_mut()) };
        with_turn(turn, |turn| {
            with(inbox, |inbox, _| {
                reference.required()?;
                reply.required()?;
                let server = Arc::clone(turn.server());
                let (pending, number) = turn.defer_to_inbox(inbox)?;
                make(Deferred::new(server, pending), &reply).inspect_err(|_| {
                    let _ = inbox.abandon(number);
                })?;
                reference.set(number);
                Ok(())
            })
        })
        .map_err(|failure| or_of_second(failure, inbox))
    })
}

/// Gives a turn back, and frees its handle, whatever it answers. With KVREG_KEEP and KVREG_ABORT
/// the server goes on; KVREG_STOP ends it, reason KVREG_REASON_NORMAL, and KVREG_CRASH, reason
/// KVREG_REASON_CRASHED, with `detail`; any other is KVREG_INVALID_ARGUMENT, and KVREG_CRASH. Of
/// the turn that a start gave, or whose message is KVREG_MESSAGE_INIT, KVREG_KEEP begins the
/// server; with KVREG_ABORT and KVREG_CRASH it has failed to begin, and its name is free when this
/// returns. The answer is KVREG_SERVER_DOWN if the server ended meanwhile. Any thread may end a
/// turn. Never waits.
#[no_mangle]
pub unsafe extern "C" fn kvreg_turn_end(
    turn: *mut kvreg_turn,
    verdict: kvreg_verdict,
    detail: *const c_char,
    detail_len: usize,
) -> kvreg_status {
    let mut whole = None;
    if verdict == KEEP && (detail_len == 0 || !detail.is_null()) {
        match fast_take(turn) {
            Some(Taken::Plain(given)) => {
                drop(given);
                return OK;
            }
            Some(Taken::Whole(turn)) => whole = Some(turn),
            None => {}
        }
    }
    guard("kvreg_turn_end", || {
        let turn = match whole.take() {
            Some(turn) => turn,
            None => take(turn)?,
        };
        // SAFETY: the detail is good for its length.
        let detail = unsafe { argument::text(detail, detail_len) };
        let is_long = |text: &&str| text.len() > crate::reason::DETAIL_LIMIT;
        let (text, refused) = match detail {
            Ok(text) if is_long(&text) => (None, Some(invalid("a detail has at most 65536 bytes"))),
            Ok(text) => (Text::copy(text.as_bytes()).ok(), None),
            Err(failure) => (None, Some(failure)),
        };
        let said = match verdict {
            KEEP => Said::Keep(Ok(crate::value::Value::Nil)),
            STOP => Said::Stop(Ok(crate::value::Value::Nil)),
            ABORT => Said::Abort(text),
            CRASH => Said::Crash(text),
            _ => Said::Bad("a turn was ended with an unknown verdict"),
        };
        let ended = turn.end(said);
        match refused {
            Some(failure) => Err(failure),
            None => Ok(ended?),
        }
    })
}

/// Gives up a turn, as kvreg_turn_end with KVREG_CRASH does, and frees the handle. NULL is fine.
/// Never waits.
#[no_mangle]
pub unsafe extern "C" fn kvreg_turn_free(turn: *mut kvreg_turn) -> kvreg_status {
    guard("kvreg_turn_free", || {
        if turn.is_null() || platform::is_ending() || is_inherited_handle(token(turn)) {
            return Ok(()); // the parent's, and none of the child's business
        }
        match take(turn) {
            Ok(turn) => {
                let text = Text::copy(b"its turn was given up").ok();
                let _ = turn.end(Said::Crash(text));
                Ok(())
            }
            Err(_) if Process::if_any().is_some_and(Process::is_shut_down) => Ok(()),
            Err(_) if is_inherited(token(turn)) => Ok(()),
            Err(failure) => Err(failure),
        }
    })
}

/// Takes a turn from its thread: it is no thread's from now on, for tasks that move between
/// threads. So it is not ended with a thread, and a call into the server waits for it whoever makes
/// it. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_turn_detach(turn: *mut kvreg_turn) -> kvreg_status {
    guard("kvreg_turn_detach", || {
        let ticket = token(turn);
        with_turn(turn, |turn| {
            turn.detach();
            held(turn.server())?
                .turns()
                .thread
                .store(0, Ordering::Relaxed);
            forget_ticket(ticket);
            Ok(())
        })
    })
}
