//! An inbox: the caller's own mailbox, where DOWN and other events wait to be received.
//!
//! One lock per inbox, held for a step at a time and never while another is taken, but for
//! the leaf locks of the pollable descriptor. Every monitor has an entry in `downs` from the
//! moment it is made until its DOWN was received or it was taken back: that entry is the
//! place it was promised, and the reason why there is one DOWN and none after `demonitor`
//! (G4): a notice finds its entry waiting, once, or is dropped.

mod pollable;
#[cfg(feature = "aio")]
mod waking;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::Error;
use crate::log::{Level, LogSink, Logs};
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::server::{AnyServer, Monitor, System, Thread};
use crate::sync::lock;
use crate::time::Timeout;

use pollable::Pollable;
pub(crate) use pollable::Polled;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What waits, by the order it came in.
    events: BTreeMap<u64, Pending>,
    next: u64,
    downs: HashMap<u64, Down>,
    /// How many of `events` are not DOWNs.
    others: usize,
    /// The place of the LOST event that still counts.
    lost: Option<u64>,
    pollable: Option<Pollable>,
    #[cfg(feature = "aio")]
    wakers: waking::Wakers,
    closed: bool,
}

/// An event that was not received yet: a DOWN shares what was said at the exit.
enum Pending {
    Down {
        reference: u64,
        exit: Arc<Exit>,
        name: Option<String>,
    },
    Log {
        level: Level,
        name: Option<String>,
        message: String,
    },
    Lost(u64),
}

impl From<Pending> for Event {
    fn from(waiting: Pending) -> Event {
        match waiting {
            Pending::Down {
                reference,
                exit,
                name,
            } => Event::Down {
                reference,
                reason: exit.reason,
                name,
                detail: exit.detail.clone(),
            },
            Pending::Log {
                level,
                name,
                message,
            } => Event::Log {
                level,
                name,
                message,
            },
            Pending::Lost(count) => Event::Lost { count },
        }
    }
}

/// Where a monitor stands.
enum Down {
    Watching(Weak<dyn AnyServer>),
    Queued(u64),
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
        let reference = self.system.next_reference();
        {
            let mut state = self.open_state()?;
            if state.downs.len() >= self.max_monitors {
                return Err(Error::Limit("monitors of one inbox"));
            }
            memory::without_reserve(|| state.downs.try_reserve(1)).map_err(|_| Error::NoMemory)?;
            let watching = Down::Watching(Arc::downgrade(server));
            state.downs.insert(reference, watching);
        }
        if !server.monitor(reference, Arc::clone(self) as _) {
            Arc::clone(server).await_end(); // the DOWN must not be ahead of its end
            let exit = Arc::new(Exit::new(Reason::NoProc, ""));
            self.down(reference, &exit, server.name());
        } else if !lock(&self.state).downs.contains_key(&reference) {
            // Received already, or the inbox was closed before the server knew of it.
            server.demonitor(reference);
        }
        Ok(reference)
    }

    /// Takes a monitor back. With `flush` a DOWN that waits already goes too. An unknown
    /// reference is fine: it may have been received.
    pub(crate) fn demonitor(&self, reference: u64, flush: bool) -> Result<(), Error> {
        let mut state = self.open_state()?;
        match state.downs.get(&reference) {
            None => {}
            Some(Down::Queued(_)) if !flush => {}
            Some(Down::Queued(place)) => {
                let place = *place;
                state.downs.remove(&reference);
                state.events.remove(&place);
                state.note_emptied();
            }
            Some(Down::Watching(server)) => {
                let server = server.upgrade();
                state.downs.remove(&reference);
                drop(state);
                if let Some(server) = server {
                    server.demonitor(reference);
                }
            }
        }
        Ok(())
    }

    /// The next event. Blocks for `timeout` at most; from inside a callback, where whoever
    /// would send it may be waiting for this thread, it must not block.
    pub(crate) fn receive(&self, timeout: Timeout) -> Result<Event, Error> {
        if timeout != Timeout::Now && Thread::holds_a_turn() {
            return Err(Error::CallingSelf);
        }
        let deadline = timeout.deadline();
        let mut state = self.open_state()?;
        loop {
            if let Some(event) = state.take() {
                return Ok(event);
            }
            if deadline.has_passed() {
                return Err(Error::Timeout);
            }
            state = match deadline.left() {
                None => self.arrived.wait(state),
                Some(left) => self
                    .arrived
                    .wait_timeout(state, left)
                    .map(|(state, _)| state)
                    .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
            }
            .unwrap_or_else(PoisonError::into_inner);
            if state.closed {
                return Err(self.closed());
            }
        }
    }

    pub(crate) fn subscribe_logs(self: &Arc<Self>, max: Level) -> Result<(), Error> {
        drop(self.open_state()?);
        self.logs.subscribe(self.sink(), max);
        Ok(())
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
        if !state.events.is_empty() {
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
            std::mem::replace(
                &mut *state,
                Queue {
                    closed: true,
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
        for (reference, down) in &queue.downs {
            if let Down::Watching(server) = down {
                if let Some(server) = server.upgrade() {
                    server.demonitor(*reference);
                }
            }
        }
    }

    /// Wakes whoever waits for an event, now that there is one.
    fn tell(&self, #[allow(unused_mut)] mut state: MutexGuard<'_, Queue>) {
        self.arrived.notify_one();
        #[cfg(feature = "aio")]
        let woken = state.wakers.take();
        drop(state);
        #[cfg(feature = "aio")]
        drop(woken); // outside the lock
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
        match memory::text(message) {
            Some(message) if state.others < RING => {
                state.others += 1;
                state.push(Pending::Log {
                    level,
                    name: name.map(str::to_owned),
                    message,
                });
            }
            _ => state.lose_one(),
        }
        self.tell(state);
    }
}

impl Monitor for InboxCore {
    fn down(&self, reference: u64, exit: &Arc<Exit>, name: Option<&str>) {
        let mut state = lock(&self.state);
        // Taken back meanwhile, or the inbox is closed: nobody waits for it.
        if !matches!(state.downs.get(&reference), Some(Down::Watching(_))) {
            return;
        }
        let place = state.push(Pending::Down {
            reference,
            exit: Arc::clone(exit),
            name: name.map(str::to_owned),
        });
        state.downs.insert(reference, Down::Queued(place));
        self.tell(state);
    }
}

impl Queue {
    fn push(&mut self, event: Pending) -> u64 {
        let place = self.next;
        self.next += 1;
        self.events.insert(place, event);
        if let Some(pollable) = &mut self.pollable {
            pollable.raise();
        }
        place
    }

    fn take(&mut self) -> Option<Event> {
        let (place, event) = self.events.pop_first()?;
        match &event {
            Pending::Down { reference, .. } => {
                self.downs.remove(reference);
            }
            Pending::Log { .. } => self.others -= 1,
            Pending::Lost(_) => self.lost = self.lost.filter(|lost| *lost != place),
        }
        self.note_emptied();
        Some(event.into())
    }

    fn note_emptied(&mut self) {
        if let (true, Some(pollable)) = (self.events.is_empty(), &mut self.pollable) {
            pollable.lower();
        }
    }

    /// Counts an event that does not fit, in the place where the first such one would be.
    fn lose_one(&mut self) {
        let counting = self.lost.and_then(|place| self.events.get_mut(&place));
        if let Some(Pending::Lost(count)) = counting {
            *count += 1;
        } else {
            self.lost = Some(self.push(Pending::Lost(1)));
        }
    }
}
