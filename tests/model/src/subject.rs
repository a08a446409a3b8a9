//! The server that is checked: it counts what it is asked to, and is told apart from a wrong
//! one by the checker's own cells, which notice two users at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use loom::cell::UnsafeCell;

use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::reclaim::Domain;
use crate::runtime::Base;
use crate::server::{Caller, Ended, Monitor, Server, State, System, Turn, Writing};
use crate::time::Timeout;

/// Counts outside the model: they see every execution's facts without adding steps to it.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) handled: AtomicU32,
    pub(crate) dropped: AtomicU32,
    pub(crate) tasks_run: AtomicU32,
    pub(crate) unregistered: AtomicU32,
    pub(crate) closed: AtomicU32,
    pub(crate) ended: AtomicU32,
    pub(crate) downs: AtomicU32,
    pub(crate) told: AtomicU32,
    pub(crate) vacated: AtomicU32,
}

impl Facts {
    pub(crate) fn count(counter: &AtomicU32) -> u32 {
        counter.load(Ordering::SeqCst)
    }
}

pub(crate) struct Subject {
    /// Written under the turn, user code's included, and never by who has only `Write`.
    inside: UnsafeCell<u32>,
    /// Written under `Write` only.
    value: UnsafeCell<u32>,
    /// Closed under `Write`.
    closed: UnsafeCell<bool>,
    pub(crate) facts: Arc<Facts>,
    /// Its tasks come with the turn.
    is_by_turns: bool,
}

// SAFETY: the cells are the checker's, which reports two threads at once; that nobody does so
// is what is being checked.
unsafe impl Sync for Subject {}
unsafe impl Send for Subject {}

/// An envelope, counted when it goes: handled or dropped.
pub(crate) struct Mail {
    facts: Arc<Facts>,
    handled: bool,
}

impl Mail {
    pub(crate) fn new(facts: &Arc<Facts>) -> Mail {
        Mail {
            facts: Arc::clone(facts),
            handled: false,
        }
    }

    pub(crate) fn handle(&mut self) {
        self.handled = true;
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let counter = match self.handled {
            true => &self.facts.handled,
            false => &self.facts.dropped,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: `exclusive` answers the state itself.
unsafe impl State for Subject {
    type Exclusive = Subject;
    type Message = Mail;
    type Task = Mail;

    fn handle(
        server: &Arc<Server<Self>>,
        write: &Writing<'_, Subject>,
        mut mail: Mail,
    ) -> Result<(), Error> {
        server.state().step_inside();
        server.state().add(write);
        mail.handled = true;
        Ok(())
    }

    fn refused(_server: &Arc<Server<Self>>, error: &Error) {
        panic!("{error}");
    }

    fn mailbox_limit(&self) -> usize {
        usize::MAX
    }

    fn are_tasks_drained(&self) -> bool {
        !self.is_by_turns
    }

    fn mail_waits(&self) {
        self.facts.told.fetch_add(1, Ordering::SeqCst);
    }

    fn vacated(server: &Server<Self>) {
        server.state().step_inside(); // nobody else is
        server.state().facts.vacated.fetch_add(1, Ordering::SeqCst);
    }

    fn run(turn: Turn<Self>, mut task: Mail) {
        let state = turn.inside().server().state();
        state.step_inside();
        state.facts.tasks_run.fetch_add(1, Ordering::SeqCst);
        if turn
            .inside()
            .commit(|write| write.state().add(write))
            .is_ok()
        {
            task.handled = true;
        }
    }

    fn unregister(server: &Arc<Server<Self>>, _reason: Reason) {
        let facts = &server.state().facts;
        facts.unregistered.fetch_add(1, Ordering::SeqCst);
    }

    fn exclusive(&self) -> &Subject {
        self
    }

    fn close(write: &Writing<'_, Subject>) {
        // SAFETY: see `Subject`.
        let state = write.state();
        state.closed.with_mut(|closed| unsafe { *closed = true });
        state.facts.closed.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(server: &Arc<Server<Self>>, _exit: &Exit) {
        let facts = &server.state().facts;
        assert!(Facts::count(&facts.unregistered) > 0, "the name goes first");
        facts.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn name(&self) -> Option<&str> {
        None
    }
}

/// What the servers of a scenario share.
pub(crate) fn system() -> &'static System {
    Box::leak(Box::new(System::new(Domain::new(Base::new()))))
}

impl Subject {
    pub(crate) fn start() -> Arc<Server<Subject>> {
        Subject::start_in(system())
    }

    pub(crate) fn start_by_turns() -> Arc<Server<Subject>> {
        Subject::start_as(system(), true)
    }

    pub(crate) fn start_in(system: &'static System) -> Arc<Server<Subject>> {
        Subject::start_as(system, false)
    }

    fn start_as(system: &'static System, is_by_turns: bool) -> Arc<Server<Subject>> {
        let subject = Subject {
            inside: UnsafeCell::new(0),
            value: UnsafeCell::new(0),
            closed: UnsafeCell::new(false),
            facts: Arc::default(),
            is_by_turns,
        };
        Server::start(system, subject)
    }

    /// What every handler does first, and user code for as long as it has the turn.
    pub(crate) fn step_inside(&self) {
        // SAFETY: see `Subject`.
        self.inside.with_mut(|steps| unsafe { *steps += 1 });
    }

    pub(crate) fn add(&self, _write: &Writing<'_, Subject>) -> u32 {
        // SAFETY: see `Subject`.
        self.closed
            .with(|closed| assert!(!unsafe { *closed }, "changed after its end"));
        self.value.with_mut(|value| unsafe {
            *value += 1;
            *value
        })
    }

    pub(crate) fn value(&self, _write: &Writing<'_, Subject>) -> u32 {
        // SAFETY: see `Subject`.
        self.value.with(|value| unsafe { *value })
    }
}

/// Requests as the rest of the library makes them.
pub(crate) fn forever() -> Caller<'static> {
    Caller::new(Timeout::Never)
}

/// Whoever learns that the server is gone finds its name gone (G5) and its state closed (G2).
fn seen<R>(server: &Arc<Server<Subject>>, answer: Result<R, Error>) -> Result<R, Error> {
    if matches!(answer, Err(Error::NoProcess | Error::ServerDown)) {
        let unregistered = Facts::count(&server.state().facts.unregistered);
        assert!(unregistered > 0, "gone, but its name is still there");
        let closed = Facts::count(&server.state().facts.closed);
        assert!(closed > 0, "gone, but its state can still be read");
    }
    answer
}

pub(crate) fn call(server: &Arc<Server<Subject>>) -> Result<u32, Error> {
    let answer = server.call(&mut forever(), |write| {
        let state = write.state();
        state.step_inside();
        state.add(write)
    });
    seen(server, answer)
}

pub(crate) fn cast(server: &Arc<Server<Subject>>) -> Result<(), Error> {
    let sent = server.cast(Mail::new(&server.state().facts));
    seen(server, sent)
}

pub(crate) fn task(server: &Arc<Server<Subject>>) -> Result<(), Error> {
    let sent = server.cast_task(Mail::new(&server.state().facts));
    seen(server, sent)
}

pub(crate) fn kill(server: &Arc<Server<Subject>>) {
    server.end(Exit::new(Reason::Killed, ""));
    assert!(Facts::count(&server.state().facts.unregistered) > 0);
}

/// What the state is now, asked from outside the turn.
pub(crate) fn peek(server: &Arc<Server<Subject>>) -> Result<u32, Error> {
    server.await_own_casts(&mut forever())?;
    server.with_write_lock(&mut forever(), |write| write.state().value(write))
}

/// Counts DOWNs.
pub(crate) struct Inbox(pub(crate) Arc<Facts>);

impl Monitor for Inbox {
    fn down(&self, _reference: u64, _ended: &Arc<Ended>) {
        assert_eq!(Facts::count(&self.0.ended), 1, "DOWN comes after the end");
        self.0.downs.fetch_add(1, Ordering::SeqCst);
    }
}
