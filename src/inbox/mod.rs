//! An inbox: the caller's own mailbox, where DOWN and other events wait to be received.
//!
//! One lock per inbox, held for a step at a time and never while another is taken, but for
//! the leaf locks of the pollable descriptor. Every monitor has a place in the queue from the
//! moment it is made until its DOWN was received or it was taken back: that is the place it was
//! promised, and the reason why there is one DOWN and none after `demonitor` (G4): a notice finds
//! its place waiting, once, or is dropped.
//!
//! Who sleeps counts itself under the lock before it lets go of it, so who brings an event under
//! the lock knows whether there is anybody to wake; most of the time there is not, and to wake
//! nobody would be a system call for each event.

mod pollable;
mod promises;
mod queue;
#[cfg(feature = "aio")]
mod waking;
mod watches;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::Error;
use crate::log::{Level, LogSink, Logs};
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::server::{AnyServer, Ended, Monitor, System, Thread};
use crate::sync::{lock, yield_now};
use crate::time::{Deadline, Timeout};
use crate::value::Value;

use pollable::Pollable;
pub(crate) use pollable::Polled;
pub(crate) use promises::{Asked, MailPlace};
use queue::{Log, Taken, Waiting};
pub use watches::{ChangeKind, WatchOptions};

/// How many other events wait before some are lost, and counted.
const RING: usize = 1024;

/// What waits in an inbox.
///
/// ```
/// use kvreg::{Event, Inbox, Reason, Registry, Timeout};
///
/// let (registry, inbox) = (Registry::start()?, Inbox::open()?);
/// let shopping = registry.create("shopping")?;
/// let monitor = inbox.monitor(&shopping)?;
/// shopping.stop()?;
/// match inbox.receive(Timeout::Never)? {
///     Event::Down { reference, reason, name, .. } => {
///         assert_eq!((reference, reason), (monitor, Reason::Normal));
///         assert_eq!(name.as_deref(), Some("shopping"));
///     }
///     Event::Log { level, message, .. } => println!("{level:?}: {message}"),
///     other => println!("{other:?}"),
/// }
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A monitored server ended.
    #[non_exhaustive]
    Down {
        /// What `monitor` answered.
        reference: u64,
        /// Why it ended.
        reason: Reason,
        /// The name that it had, if it had one.
        name: Option<String>,
        /// What was said about its end.
        detail: String,
    },
    /// Something was logged.
    #[non_exhaustive]
    Log {
        /// How important it is.
        level: Level,
        /// The name of the server that it is about, if it has one.
        name: Option<String>,
        /// What was said.
        message: String,
    },
    /// Events, none of them a DOWN, did not fit.
    #[non_exhaustive]
    Lost {
        /// How many.
        count: u64,
    },
    /// A watched key was changed; or it is one of the present keys, between [`Event::Reset`] and
    /// [`Event::Current`].
    #[non_exhaustive]
    Change {
        /// What `watch` answered.
        reference: u64,
        /// What became of it.
        change: ChangeKind,
        /// The key, or the name of a bucket.
        key: Vec<u8>,
        /// Its value; nil if it has none any more, or values are not wanted.
        value: Value,
        /// Of the change.
        revision: u64,
    },
    /// What was known of the keys of a watch is to be forgotten: the present ones follow.
    #[non_exhaustive]
    Reset {
        /// What `watch` answered.
        reference: u64,
    },
    /// The store of a watched bucket is out of reach, or in reach again: changes come later.
    #[non_exhaustive]
    Store {
        /// What `watch` answered.
        reference: u64,
        /// It is out of reach.
        is_away: bool,
    },
    /// Mail waits at a server that is served by turns, and nobody has its turn.
    #[non_exhaustive]
    Mail {
        /// The server's key.
        reference: u64,
    },
    /// A request was answered.
    #[non_exhaustive]
    Reply {
        /// What the request answered.
        reference: u64,
        /// The answer, or why there is none.
        answer: Result<Value, Error>,
        /// What was said of a refusal.
        detail: String,
    },
    /// All keys of a watch have been told.
    #[non_exhaustive]
    Current {
        /// What `watch` answered.
        reference: u64,
        /// What changed up to this one is known.
        revision: u64,
    },
}

pub(crate) struct InboxCore {
    system: &'static System,
    logs: &'static Logs,
    max_monitors: usize,
    state: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Waiting,
    /// Threads that sleep until something comes.
    asleep: usize,
    pollable: Option<Pollable>,
    #[cfg(feature = "aio")]
    wakers: waking::Wakers,
    closed: bool,
}

impl InboxCore {
    pub(crate) fn open(
        system: &'static System,
        logs: &'static Logs,
        max_monitors: usize,
    ) -> Arc<InboxCore> {
        Arc::new(InboxCore {
            system,
            logs,
            max_monitors,
            state: Mutex::new(Queue::default()),
            arrived: Condvar::new(),
        })
    }

    pub(crate) fn system(&self) -> &'static System {
        self.system
    }

    pub(crate) fn monitor(self: &Arc<Self>, server: &Arc<dyn AnyServer>) -> Result<u64, Error> {
        self.promise(server, false)
    }

    /// Keeps a place for the DOWN of a server, and has it told.
    fn promise(
        self: &Arc<Self>,
        server: &Arc<dyn AnyServer>,
        is_watch: bool,
    ) -> Result<u64, Error> {
        let reference = self.system.next_reference();
        {
            let mut state = self.open_state()?;
            if state.waiting.monitors() >= self.max_monitors {
                return Err(Error::Limit("monitors of one inbox"));
            }
            let server = Arc::downgrade(server);
            state.waiting.promise(reference, server, is_watch)?;
        }
        if !server.monitor(reference, Arc::clone(self) as _) {
            Arc::clone(server).await_end(); // the DOWN must not be ahead of its end
            let exit = Arc::new(Exit::new(Reason::NoProc, ""));
            self.down(reference, &Ended::new(exit, server.name()));
        } else if !lock(&self.state).waiting.knows(reference) {
            // Received already, or the inbox was closed before the server knew of it.
            server.demonitor(reference);
        }
        Ok(reference)
    }

    /// Takes a monitor back. With `flush` a DOWN that waits already goes too. An unknown
    /// reference is fine: it may have been received.
    pub(crate) fn demonitor(&self, reference: u64, flush: bool) -> Result<(), Error> {
        let mut state = self.open_state()?;
        let watched = state.waiting.take_back(reference, flush);
        state.note_emptied();
        drop(state);
        if let Some(server) = watched.and_then(|server| server.upgrade()) {
            server.demonitor(reference);
        }
        Ok(())
    }

    /// The next event. Blocks for `timeout` at most; from inside a callback, where whoever
    /// would send it may be waiting for this thread, it must not block.
    pub(crate) fn receive(&self, timeout: Timeout) -> Result<Event, Error> {
        let (event, state) = self.await_one(timeout)?;
        self.pass_on(state);
        Ok(event)
    }

    /// As `receive`, and what else waits then, up to so many. What was received before an error is
    /// given.
    pub(crate) fn receive_many(
        &self,
        timeout: Timeout,
        capacity: usize,
        mut give: impl FnMut(Event),
    ) -> Result<usize, Error> {
        /// So many are taken before others may get the lock.
        const AT_ONCE: usize = 64;
        let (event, mut state) = self.await_one(timeout)?;
        give(event);
        let mut count = 1;
        while count < capacity {
            if count % AT_ONCE == 0 {
                drop(state);
                state = lock(&self.state);
            }
            match state.take() {
                Ok(Taken::Event(event)) => give(event),
                _ => break, // the next call tells
            }
            count += 1;
        }
        self.pass_on(state);
        Ok(count)
    }

    /// What waits is for others who sleep.
    fn pass_on(&self, state: MutexGuard<'_, Queue>) {
        if !state.waiting.is_empty() && state.has_waiters() {
            self.tell(state);
        }
    }

    /// Gives way to a writer that is in the middle of a change, and to others who want the lock.
    fn look_again<'a>(
        &'a self,
        state: MutexGuard<'a, Queue>,
        is_soon: bool,
        deadline: &Deadline,
    ) -> Result<MutexGuard<'a, Queue>, Error> {
        drop(state);
        if is_soon {
            if deadline.has_passed() {
                return Err(Error::Timeout);
            }
            yield_now();
        }
        self.open_state()
    }

    fn await_one(&self, timeout: Timeout) -> Result<(Event, MutexGuard<'_, Queue>), Error> {
        if timeout != Timeout::Now && Thread::holds_a_turn() {
            return Err(Error::CallingSelf);
        }
        let deadline = timeout.deadline();
        let mut state = self.open_state()?;
        loop {
            match state.take() {
                Ok(Taken::Event(event)) => return Ok((event, state)),
                Ok(Taken::Nothing) => {}
                Ok(Taken::Again { is_soon }) => {
                    state = self.look_again(state, is_soon, &deadline)?;
                    continue;
                }
                Err(refused) => {
                    // The event is there yet, for another who sleeps.
                    if state.asleep > 0 {
                        self.arrived.notify_one();
                    }
                    return Err(refused);
                }
            }
            if deadline.has_passed() {
                return Err(Error::Timeout);
            }
            state.asleep += 1;
            state = match deadline.left() {
                None => self.arrived.wait(state),
                Some(left) => self
                    .arrived
                    .wait_timeout(state, left)
                    .map(|(state, _)| state)
                    .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
            }
            .unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
            if state.closed {
                return Err(self.closed());
            }
        }
    }

    pub(crate) fn subscribe_logs(self: &Arc<Self>, max: Level) -> Result<(), Error> {
        drop(self.open_state()?);
        self.logs.subscribe(self.sink(), max)
    }

    /// What is raised while events wait, as a number; the inbox's own, closed with it.
    pub(crate) fn polled(&self, wanted: Polled) -> Result<isize, Error> {
        let mut state = self.open_state()?;
        if Pollable::IS != Some(wanted) {
            return Err(wanted.unsupported());
        }
        if let Some(pollable) = &state.pollable {
            return Ok(pollable.number());
        }
        let mut pollable = Pollable::new()?;
        if !state.waiting.is_empty() {
            pollable.raise();
        }
        Ok(state.pollable.insert(pollable).number())
    }

    /// Wakes whoever waits, forgets what waits and takes all monitors back.
    pub(crate) fn close(self: &Arc<Self>) {
        self.logs.unsubscribe(&self.sink());
        let mut queue = {
            let mut state = lock(&self.state);
            self.arrived.notify_all();
            let asleep = state.asleep;
            std::mem::replace(
                &mut *state,
                Queue {
                    closed: true,
                    asleep,
                    ..Queue::default()
                },
            )
        };
        #[cfg(feature = "aio")]
        drop(queue.wakers.take());
        if let (true, Some(pollable)) =
            (self.system.threads().is_shut_down(), queue.pollable.take())
        {
            pollable.leave_raised();
        }
        for (reference, server) in queue.waiting.watched() {
            if let Some(server) = server.upgrade() {
                server.demonitor(reference);
            }
        }
    }

    /// Wakes whoever waits for an event, now that there is one.
    fn tell(&self, mut state: MutexGuard<'_, Queue>) {
        self.tell_threads(&mut state);
        #[cfg(feature = "aio")]
        let woken = state.wakers.take();
        drop(state);
        #[cfg(feature = "aio")]
        drop(woken); // outside the lock
    }

    fn tell_threads(&self, state: &mut MutexGuard<'_, Queue>) {
        if let Some(pollable) = &mut state.pollable {
            pollable.raise();
        }
        if state.asleep > 0 {
            self.arrived.notify_one();
        }
    }

    /// As `tell`, by a thread that changes a bucket, and must not run what a task is woken by.
    fn tell_from_writer(&self, mut state: MutexGuard<'_, Queue>) {
        self.tell_threads(&mut state);
        #[cfg(feature = "aio")]
        if !state.wakers.are_none() {
            let woken = state.wakers.take();
            drop(state);
            self.system.threads().spawn_blocking(move || drop(woken));
        }
    }

    fn sink(self: &Arc<Self>) -> Weak<dyn LogSink> {
        let weak: Weak<InboxCore> = Arc::downgrade(self);
        weak
    }

    fn open_state(&self) -> Result<MutexGuard<'_, Queue>, Error> {
        let state = lock(&self.state);
        if state.closed {
            return Err(self.closed());
        }
        Ok(state)
    }

    fn closed(&self) -> Error {
        if self.system.threads().is_shut_down() {
            Error::ShutDown
        } else {
            Error::Closed
        }
    }
}

impl LogSink for InboxCore {
    fn log(&self, level: Level, name: Option<&str>, message: &str) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        let log = memory::text(message).map(|message| Log {
            level,
            name: name.map(str::to_owned),
            message,
        });
        let fits = state.waiting.logs() < RING;
        let log = log.filter(|_| fits);
        if log.is_none_or(|log| state.waiting.log(log).is_err()) {
            state.waiting.lose_one();
        }
        self.tell(state);
    }
}

impl Monitor for InboxCore {
    fn down(&self, reference: u64, ended: &Arc<Ended>) {
        let mut state = lock(&self.state);
        // Else it was taken back meanwhile, or the inbox is closed: nobody waits for it.
        let watched = state.waiting.deliver(reference, ended);
        if watched.is_some() {
            self.tell(state);
            drop(watched); // outside the lock
        }
    }
}

impl Queue {
    fn take(&mut self) -> Result<Taken, Error> {
        let taken = self.waiting.take()?;
        self.note_emptied();
        Ok(taken)
    }

    /// Whether anybody waits for an event.
    fn has_waiters(&self) -> bool {
        #[cfg(feature = "aio")]
        if !self.wakers.are_none() {
            return true;
        }
        self.asleep > 0
    }

    fn note_emptied(&mut self) {
        if let (true, Some(pollable)) = (self.waiting.is_empty(), &mut self.pollable) {
            pollable.lower();
        }
    }
}
