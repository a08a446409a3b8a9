//! Servers that users write: their state and their handlers belong to the program (OTP's
//! `GenServer`).
//!
//! # The argument
//!
//! A user's server is a server of the heart whose mailbox holds tasks only. All of its handlers run
//! under `TURN`, so one at a time (G1); `WRITE` guards no more than whether it was counted out. Who
//! runs what:
//!
//! - **By callbacks**, the handlers are those of its [`Behaviour`], and any thread may run them. A
//!   call takes the turn with the mail (`server::tasks`), handles what was queued before, then
//!   itself, all on the calling thread. What nobody comes for is run by a drain. The first message
//!   of one that was started again is `Init`, which a drain runs, unless there is no thread to be
//!   had.
//! - **By turns**, who begins a turn ([`UserTurn`]) takes the messages out and says what became of
//!   each. Nobody drains: an inbox is told that mail waits.
//! - With **hand-over**, and where the handlers are another program's, a call is a message, and its
//!   caller waits for a [`Pending`].
//!
//! **What is owed.** A call that was begun as a message, or whose answer was put off, is in `owed`
//! until it is answered. The end takes all of them out at once, and closes the list: so each is
//! answered, once, with what its handler said or with SERVER_DOWN. The answer of a handler that
//! stops its server is the last thing that is done.
//!
//! **The state.** It is made under the turn and used under the turn. It goes when the server has
//! ended and nobody has its turn, by who was the last: see `vacated`. So a killed server's handler,
//! which is not interrupted, has its state to the end.
//!
//! **The argument of the user's.** It goes with the last process of its specification. A process
//! that comes in the place of another is counted before that one is counted out.
//!
//! **An end in good order.** A server that wants it is told `Terminate` before it ends;
//! `is_terminating` says that it was, or will be, so it is told once. It comes before all that
//! waits, which is dropped by the end that follows. Who waits for such an end waits for a `Pending`
//! in `owed`, so any end will do, and kills it when the time is up; what nobody waits for is killed
//! by a timer.

mod calling;
mod handling;
mod here;
mod mail;
mod pending;
mod spec;
mod starting;
mod timed;
mod turns;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::bucket::{Due, Surroundings};
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::server::{Front, HandleCount, Place, Server, State, System, Turn, Writing};
use crate::sync::{lock, Counter};
use crate::time::Deadline;

use mail::Waiting;
pub(crate) use mail::{Content, Mail, What, TAG_LIMIT, VALUES_LIMIT};
pub(crate) use pending::{Answer, Pending, Refusal};
pub(crate) use spec::{Behaviour, Said, UserServerOptions, UserServerSpec};
use timed::Timed;
pub(crate) use turns::{Taken, UserTurn};

pub(crate) type UserServer = Server<UserServerState>;

/// What all user's servers of a process share.
#[derive(Default)]
pub(crate) struct UserServers {
    /// Those that have not ended.
    live: Counter,
    /// Those that want to know before they end, by their addresses.
    wanting: Mutex<BTreeMap<usize, Weak<UserServer>>>,
    /// Handles that messages bring, and nobody frees.
    selves: AtomicU64,
}

impl UserServers {
    pub(crate) fn selves(&self) -> u64 {
        self.selves.load(Ordering::Relaxed)
    }

    /// Ends those that want to know before, all at once, and not beyond the deadline.
    pub(crate) fn end_in_order(&self, deadline: &Deadline) {
        let exit = Exit::new(Reason::Shutdown, "the library was shut down");
        let wanting: Vec<_> = lock(&self.wanting).values().cloned().collect();
        let mut servers: Vec<_> = wanting.iter().filter_map(Weak::upgrade).collect();
        servers.retain(|server| {
            if let Some(place) = &server.state().place {
                place.claim_removal(); // it is not started again
            }
            server.begin_terminate(&exit)
        });
        for server in servers {
            server.finish_terminate(deadline);
        }
    }

    /// One more handle that nobody frees, or one less.
    pub(crate) fn count_self(&self, is_more: bool) {
        match is_more {
            true => self.selves.fetch_add(1, Ordering::Relaxed),
            false => self.selves.fetch_sub(1, Ordering::Relaxed),
        };
    }

    pub(crate) fn live(&self) -> usize {
        self.live.count()
    }
}

/// What a user's server has around it.
#[derive(Clone, Copy)]
pub(crate) struct UserServerSurroundings {
    pub(crate) of_buckets: Surroundings,
    pub(crate) user_servers: &'static UserServers,
}

impl UserServerSurroundings {
    pub(crate) fn system(&self) -> &'static System {
        self.of_buckets.system
    }

    /// Has something told at a time.
    fn add_due(&self, at: u64, due: Arc<dyn Due>) -> Result<(), Error> {
        let of = self.of_buckets;
        of.buckets.agenda().add(of.system, at, due)
    }

    fn remove_due(&self, at: u64, due: &Arc<dyn Due>) {
        self.of_buckets.buckets.agenda().remove(at, due);
    }
}

/// Calls that wait for an answer, by their addresses; `None` once the server has ended.
type Owed = Option<BTreeMap<usize, Arc<Pending>>>;

pub(crate) struct UserServerState {
    spec: Arc<UserServerSpec>,
    place: Option<Place>,
    handles: HandleCount,
    is_counted: Counted,
    /// See `UserServerSpec`; here for who is in a hurry.
    native: usize,
    max_value: usize,
    /// The user's, made by `init`.
    state: AtomicPtr<()>,
    has_state: AtomicBool,
    /// It has begun.
    is_running: AtomicBool,
    is_terminating: AtomicBool,
    is_vacated: AtomicBool,
    owed: Mutex<Owed>,
    timed: Mutex<Timed>,
    /// Answers that are given when it has ended.
    last: Mutex<Vec<(Arc<Pending>, Answer)>>,
    /// Made for the first that waits.
    waiting: OnceLock<Arc<Waiting>>,
    front: OnceLock<Arc<dyn Front>>,
    /// What the boundary calls the server in a message; 0 until it is asked for.
    pub(crate) me: AtomicU64,
    /// When its turn was taken last, in milliseconds of some clock, and what was handled by then:
    /// of a turn that nobody noted, when somebody asked first.
    since: AtomicU64,
    noted: AtomicU64,
}

/// Whether the server is counted as one that lives.
pub(crate) struct Counted(AtomicBool);

/// There is nothing that kvreg's own code handles.
pub(crate) enum Never {}

// SAFETY: `exclusive` answers the state's own flag.
unsafe impl State for UserServerState {
    type Exclusive = Counted;
    type Message = Never;
    type Task = Mail;

    fn handle(
        _server: &Arc<UserServer>,
        _write: &Writing<'_, UserServerState>,
        message: Never,
    ) -> Result<(), Error> {
        match message {}
    }

    fn refused(_server: &Arc<UserServer>, _error: &Error) {}

    fn mailbox_limit(&self) -> usize {
        self.spec.options.max_mailbox
    }

    fn run(turn: Turn<UserServerState>, mail: Mail) {
        let server = Arc::clone(turn.inside().server());
        let around = server.state().spec.around.of_buckets;
        let _running = around
            .buckets
            .note_callback(server.system(), server.state().name());
        server.note_turn();
        server.run_mail(mail);
    }

    fn are_tasks_drained(&self) -> bool {
        !self.spec.options.is_by_turns
    }

    fn mail_waits(&self) {
        self.spec.tell_mail();
    }

    fn is_for_callers(&self, mail: &Mail) -> bool {
        let is_init = matches!(mail.what, Some(What::Init));
        !is_init
            || self.spec.options.is_by_turns
            || !self.spec.around.system().threads().are_started()
    }

    fn is_unlimited(mail: &Mail) -> bool {
        matches!(mail.what, Some(What::Stop(_)))
    }

    fn handles(&self) -> Option<&HandleCount> {
        Some(&self.handles)
    }

    fn unreachable(server: &Arc<UserServer>) {
        server.stop_unreachable();
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Nobody waits for an answer of it any more.
    fn closed(server: &Arc<UserServer>, _reason: Reason) {
        let owed = lock(&server.state().owed).take();
        for pending in owed.into_iter().flatten().map(|(_, pending)| pending) {
            pending.answer(Err(Error::ServerDown.into()));
        }
        server.forget_timed();
    }

    fn exclusive(&self) -> &Counted {
        &self.is_counted
    }

    fn close(write: &Writing<'_, UserServerState>) {
        if write.exclusive().0.swap(false, Ordering::Relaxed) {
            write.state().spec.around.user_servers.live.remove();
        }
        if write.state().options().wants_terminate {
            let address = std::ptr::from_ref(write.state()).addr();
            let gone = lock(&write.state().spec.around.user_servers.wanting).remove(&address);
            drop(gone); // outside the lock
        }
    }

    fn ended(server: &Arc<UserServer>, exit: &Exit) {
        let state = server.state();
        let logs = state.spec.around.of_buckets.logs;
        logs.end("server", state.name(), exit);
        let last = std::mem::take(&mut *lock(&state.last));
        for (pending, answer) in last {
            pending.answer(match exit.reason {
                Reason::Normal => answer,
                _ => Err(Error::ServerDown.into()),
            });
        }
    }

    fn vacated(server: &UserServer) {
        server.state().vacate();
    }

    fn started_again(server: &Arc<UserServer>) {
        server.see_to_mail();
    }

    fn wants_end(&self) -> bool {
        self.options().wants_terminate
    }

    fn begin_end(server: &Arc<UserServer>, exit: &Exit) -> bool {
        server.begin_terminate(exit)
    }

    fn finish_begun_end(server: &Arc<UserServer>, deadline: &Deadline) {
        server.finish_terminate(deadline);
    }

    fn name(&self) -> Option<&str> {
        self.place.as_ref().map(Place::name)
    }
}

impl UserServerState {
    pub(super) fn new(spec: Arc<UserServerSpec>, place: Option<Place>) -> UserServerState {
        spec.begins();
        spec.around.user_servers.live.add();
        UserServerState {
            native: spec.native,
            max_value: spec.options.max_value,
            spec,
            place,
            handles: HandleCount::default(),
            is_counted: Counted(AtomicBool::new(true)),
            state: AtomicPtr::default(),
            has_state: AtomicBool::new(false),
            is_running: AtomicBool::new(false),
            is_terminating: AtomicBool::new(false),
            is_vacated: AtomicBool::new(false),
            owed: Mutex::new(Some(BTreeMap::new())),
            timed: Mutex::default(),
            last: Mutex::default(),
            waiting: OnceLock::new(),
            front: OnceLock::new(),
            me: AtomicU64::new(0),
            since: AtomicU64::new(0),
            noted: AtomicU64::new(0),
        }
    }

    /// What the boundary calls handlers by, of a server whose calls run on the threads that make
    /// them; else 0.
    #[inline(always)]
    pub(crate) fn native(&self) -> usize {
        self.native
    }

    #[inline(always)]
    pub(crate) fn max_value(&self) -> usize {
        self.max_value
    }

    pub(crate) fn options(&self) -> &UserServerOptions {
        &self.spec.options
    }

    /// Whether a call runs on the thread that makes it.
    #[inline(always)]
    pub(crate) fn runs_here(&self) -> bool {
        !self.spec.options.is_by_turns && !self.spec.options.hands_over
    }

    /// The user's state, by who has the turn.
    #[inline(always)]
    pub(crate) fn user_state(&self) -> *mut () {
        self.state.load(Ordering::Relaxed)
    }

    pub(crate) fn front(&self) -> Option<&Arc<dyn Front>> {
        self.front.get()
    }

    /// Keeps what the boundary has for the server, unless there is one; gives what is there. The
    /// calling thread has the turn.
    ///
    /// # Safety
    /// It has a count of the server, until it is told that it was vacated.
    pub(crate) unsafe fn set_front(&self, front: Arc<dyn Front>) -> &Arc<dyn Front> {
        self.front.get_or_init(|| front)
    }

    /// Nobody is inside any more, nor will be. In a forked child the state is the parent's.
    fn vacate(&self) {
        if !self.spec.around.system().is_current() || self.is_vacated.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.has_state.swap(false, Ordering::AcqRel) {
            self.spec.behaviour.drop_state(self.user_state());
        }
        if let Some(front) = self.front.get() {
            front.vacated();
        }
        self.spec.leaves();
    }

    /// It owes an answer; `false` if it has ended.
    fn owe(&self, pending: &Arc<Pending>) -> bool {
        let mut owed = lock(&self.owed);
        let address = Arc::as_ptr(pending).addr();
        match &mut *owed {
            Some(owed) => {
                owed.insert(address, Arc::clone(pending));
                true
            }
            None => false,
        }
    }

    /// It owes it no more.
    pub(crate) fn settle(&self, pending: &Arc<Pending>) {
        let settled = match &mut *lock(&self.owed) {
            Some(owed) => owed.remove(&Arc::as_ptr(pending).addr()),
            None => None,
        };
        drop(settled); // outside the lock
    }
}

impl Drop for UserServerState {
    fn drop(&mut self) {
        if self.is_counted.0.swap(false, Ordering::Relaxed) {
            self.spec.around.user_servers.live.remove();
        }
        self.vacate();
        if let (Some(front), true) = (self.front.take(), self.spec.around.system().is_current()) {
            // Who looks at it by a handle, pinned, may not be done.
            crate::reclaim::pin().defer(move || drop(front));
        }
    }
}

/// What there is to know about a user's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserServerInfo {
    pub(crate) mailbox: usize,
    pub(crate) bytes: usize,
    pub(crate) handled: u64,
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<Reason>,
    pub(crate) owner: u64,
    pub(crate) key: u64,
    pub(crate) turn_ms: u64,
}

impl UserServer {
    pub(crate) fn user_server_info(&self) -> UserServerInfo {
        let state = self.state();
        let (restarts, last_exit) = state.place.as_ref().map_or((0, None), Place::history);
        let turn_ms = match self.has_turn_taken() {
            true => self.turn_ms(),
            false => 0,
        };
        UserServerInfo {
            mailbox: self.mailbox_len(),
            bytes: state.waiting.get().map_or(0, |waiting| waiting.bytes()),
            handled: self.handled(),
            restarts,
            last_exit,
            owner: state.spec.options.owner,
            key: state.spec.options.key,
            turn_ms,
        }
    }

    /// Somebody is inside from now on, perhaps for long.
    pub(super) fn note_turn(&self) {
        let state = self.state();
        state.noted.store(self.handled(), Ordering::Relaxed);
        state
            .since
            .store(crate::time::coarse_ms(), Ordering::Relaxed);
    }

    /// How long somebody is inside. Calls that meet nobody are not noted, for most are over at
    /// once: such a turn counts from when it is seen first.
    fn turn_ms(&self) -> u64 {
        let state = self.state();
        if state.noted.load(Ordering::Relaxed) != self.handled() {
            self.note_turn();
        }
        crate::time::coarse_ms().saturating_sub(state.since.load(Ordering::Relaxed))
    }
}
