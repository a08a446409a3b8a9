//! Changes that nobody waits for, in their order.
//!
//! # The argument
//!
//! One task of each store takes what was sent in its order. A change of one key without a
//! condition is handed over at once, while others before it are not answered yet: one connection
//! keeps their order. All others are done alone, after those before and before those behind.
//!
//! Where one that was handed over is not simply answered, nothing more is handed over until each of
//! those is settled: their answers are gathered, and who has one is done. What was refused for now
//! is done again, in order, if none behind it is stored; else it is too late for it, and it never
//! will be done. What is open is likewise repeated, or else only looked for.
//!
//! Who is in whatever state at its deadline is told so then: a tick looks for them.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::future::{poll_fn, Future};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

use crate::abi::{self, Host};
use crate::api::ID_IN_PROCESS;
use crate::apply::{answer_of, send_part, Applying, Attempt, PATIENCE};
use crate::change::Change;
use crate::failure::Failure;
use crate::replies::Reply;
use crate::session::{Kept, Session, Unanswered};
use crate::store::Core;
use crate::waiting::{lock, End};

/// How many are handed over without an answer.
const MOST_FLIGHTS: usize = 1024;
/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(20);

/// What kvreg is told by that a change is done.
struct Sent(*mut c_void);
// SAFETY: kvreg's, for the host's `done`, which may be called by any thread.
unsafe impl Send for Sent {}

struct Item {
    change: Arc<Change>,
    deadline: Option<Instant>,
    sent: Sent,
}

impl Item {
    fn done(self, host: &Host, outcome: Result<u64, Failure>) {
        let (status, revision) = match outcome {
            Ok(revision) => (abi::OK, revision),
            Err(failure) => (failure.status, 0),
        };
        // SAFETY: the host's function, and what it gave for it; once, as this is its end.
        unsafe { (host.done)(self.sent.0, status, revision) };
    }

    fn give_up(self, host: &Host) {
        let failure = self.change.handing.give_up();
        self.done(host, Err(failure));
    }

    fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|it| it <= now)
    }
}

/// One that was handed over.
struct Flight {
    item: Item,
    session: Arc<Session>,
    reply: Reply,
    since: Instant,
    answer: Option<Attempt>,
    /// One behind it is stored.
    is_overtaken: bool,
}

impl Flight {
    async fn land(&mut self) -> Attempt {
        let patience = PATIENCE.saturating_sub(self.since.elapsed());
        answer_of(&self.session, &mut self.reply, patience).await
    }
}

pub(crate) struct Queue {
    sender: Mutex<Option<UnboundedSender<Item>>>,
    end: End,
}

impl Queue {
    /// On a runtime's thread.
    pub(crate) fn start(core: Arc<Core>, host: &'static Host) -> Queue {
        let (sender, receiver) = unbounded_channel();
        let (at_end, end) = End::new();
        let mut running = Running {
            core,
            host,
            receiver,
            is_closed: false,
            waiting: VecDeque::new(),
            flights: VecDeque::new(),
        };
        tokio::spawn(async move {
            let _at_end = at_end;
            while running.step().await {}
        });
        Queue {
            sender: Mutex::new(Some(sender)),
            end,
        }
    }

    pub(crate) fn send(
        &self,
        change: Change,
        deadline: Option<Instant>,
        sent: *mut c_void,
    ) -> Result<(), Failure> {
        let item = Item {
            change: Arc::new(change),
            deadline,
            sent: Sent(sent),
        };
        let sender = lock(&self.sender);
        let is_taken = sender.as_ref().is_some_and(|it| it.send(item).is_ok());
        is_taken.then_some(()).ok_or_else(Failure::internal)
    }

    /// Takes nothing more, and waits until all is done.
    pub(crate) fn finish(&self) {
        lock(&self.sender).take();
        self.end.wait();
    }
}

struct Running {
    core: Arc<Core>,
    host: &'static Host,
    receiver: UnboundedReceiver<Item>,
    is_closed: bool,
    waiting: VecDeque<Item>,
    flights: VecDeque<Flight>,
}

impl Running {
    /// Whether there is another one.
    async fn step(&mut self) -> bool {
        while let Ok(item) = self.receiver.try_recv() {
            self.waiting.push_back(item);
        }
        let has_room = self.flights.len() < MOST_FLIGHTS;
        match self.waiting.pop_front() {
            Some(item) if item.change.is_plain() && has_room => self.hand_over(item).await,
            Some(item) if self.flights.is_empty() => self.apply(item, None).await,
            None if self.flights.is_empty() => match self.receiver.recv().await {
                Some(item) => self.waiting.push_back(item),
                None => return false,
            },
            item => {
                item.into_iter().for_each(|it| self.waiting.push_front(it));
                self.land().await;
            }
        }
        true
    }

    /// Waits for something while others may come, or be too late.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => self.give_up_late(),
                item = self.receiver.recv(), if !self.is_closed => match item {
                    Some(item) => self.waiting.push_back(item),
                    None => self.is_closed = true,
                },
            }
        }
    }

    fn give_up_late(&mut self) {
        let (now, host) = (Instant::now(), self.host);
        if self.waiting.iter().any(|it| it.is_late(now)) {
            let all = std::mem::take(&mut self.waiting);
            let (late, rest): (Vec<_>, _) = all.into_iter().partition(|it| it.is_late(now));
            self.waiting = rest.into();
            late.into_iter().for_each(|it| it.give_up(host));
        }
        if self.flights.iter().any(|it| it.item.is_late(now)) {
            let all = std::mem::take(&mut self.flights);
            let (late, rest): (Vec<_>, _) = all.into_iter().partition(|it| it.item.is_late(now));
            self.flights = rest.into();
            late.into_iter().for_each(|it| it.item.give_up(host));
        }
    }

    async fn hand_over(&mut self, item: Item) {
        if item.is_late(Instant::now()) {
            return item.give_up(self.host);
        }
        let core = Arc::clone(&self.core);
        let (until, change) = (until(&item), Arc::clone(&item.change));
        let session = match core.cluster.current() {
            Some(session) => session,
            None if self.flights.is_empty() => {
                let session = tokio::time::timeout_at(until, core.cluster.session());
                match self.meanwhile(session).await {
                    Ok(session) => session,
                    Err(_) => return item.give_up(self.host),
                }
            }
            None => {
                self.waiting.push_front(item);
                return self.settle().await;
            }
        };
        if self
            .flights
            .back()
            .is_some_and(|it| !Arc::ptr_eq(&it.session, &session))
        {
            self.waiting.push_front(item);
            return self.settle().await;
        }
        let reply = session.expect();
        let sent = {
            let sent = send_part(&session, &change.parts[0], 0, &reply, &change.handing);
            let mut sent = std::pin::pin!(sent);
            // Mostly there is room for it, and nothing to wait for.
            let at_once = poll_fn(|context| Poll::Ready(sent.as_mut().poll(context)));
            match at_once.await {
                Poll::Ready(sent) => Ok(sent),
                Poll::Pending => self.meanwhile(tokio::time::timeout_at(until, sent)).await,
            }
        };
        match sent {
            Ok(Ok(())) => self.flights.push_back(Flight {
                item,
                session,
                reply,
                since: Instant::now(),
                answer: None,
                is_overtaken: false,
            }),
            Ok(Err(Kept::TooLarge)) => {
                let text = "the value is larger than the server takes";
                item.done(self.host, Err(Failure::new(abi::LIMIT, text)));
            }
            Ok(Err(_)) => self.waiting.push_front(item),
            Err(_) => item.give_up(self.host),
        }
    }

    /// Waits for the answer to the first that was handed over, or for another change.
    async fn land(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.reset();
        let Some(flight) = self.flights.front_mut() else {
            return;
        };
        let answer = tokio::select! {
            biased;
            answer = flight.land() => answer,
            item = self.receiver.recv(), if !self.is_closed => {
                match item {
                    Some(item) => self.waiting.push_back(item),
                    None => self.is_closed = true,
                }
                return;
            }
            _ = tick.tick() => return self.give_up_late(),
        };
        match (is_final(&answer), self.flights.pop_front()) {
            (true, Some(flight)) => flight.item.done(self.host, outcome(answer)),
            (false, Some(mut flight)) => {
                flight.answer = Some(answer);
                self.flights.push_front(flight);
                self.settle().await;
            }
            (_, None) => {}
        }
    }

    /// Settles all that were handed over.
    async fn settle(&mut self) {
        self.gather().await;
        let all = std::mem::take(&mut self.flights);
        let is_stored = |it: &Flight| matches!(it.answer, Some(Attempt::Stored(_)));
        let last_stored = all.iter().rposition(is_stored).unwrap_or(0);
        for (at, mut flight) in all.into_iter().enumerate() {
            flight.is_overtaken = at < last_stored;
            match flight.answer.take() {
                Some(answer) if is_final(&answer) => flight.item.done(self.host, outcome(answer)),
                answer => {
                    if answer.as_ref().is_some_and(is_undone) {
                        flight.item.change.handing.take_back();
                    }
                    flight.answer = answer;
                    self.flights.push_back(flight);
                }
            }
        }
        while let Some(flight) = self.flights.pop_front() {
            let is_undone = flight.answer.as_ref().is_some_and(is_undone);
            match (is_undone, flight.is_overtaken) {
                (true, true) => flight.item.give_up(self.host),
                (true, false) => self.apply(flight.item, None).await,
                (false, true) => self.look_for(flight.item).await,
                (false, false) => self.apply(flight.item, Some(flight.since)).await,
            }
        }
    }

    /// Waits for the answers to all, or until they are late.
    async fn gather(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        while let Some(flight) = self.flights.iter_mut().find(|it| it.answer.is_none()) {
            tokio::select! {
                biased;
                answer = flight.land() => flight.answer = Some(answer),
                _ = tick.tick() => self.give_up_late(),
            }
        }
    }

    /// Does one alone.
    async fn apply(&mut self, item: Item, open_since: Option<Instant>) {
        let (core, change) = (Arc::clone(&self.core), Arc::clone(&item.change));
        let mut applying = Applying::new(&core, &change);
        if let Some(since) = open_since {
            applying = applying.open_since(since);
        }
        let applied = tokio::time::timeout_at(until(&item), applying.run());
        match self.meanwhile(applied).await {
            Ok(outcome) => item.done(self.host, outcome),
            Err(_) => item.give_up(self.host),
        }
    }

    async fn look_for(&mut self, item: Item) {
        let (core, change) = (Arc::clone(&self.core), Arc::clone(&item.change));
        let applying = Applying::new(&core, &change);
        let looked = tokio::time::timeout_at(until(&item), applying.look_for_ids());
        match self.meanwhile(looked).await {
            Ok(outcome) => item.done(self.host, outcome),
            Err(_) => item.give_up(self.host),
        }
    }
}

/// The deadline, or so far away that it is none.
fn until(item: &Item) -> tokio::time::Instant {
    match item.deadline {
        Some(deadline) => deadline.into(),
        None => tokio::time::Instant::now() + Duration::from_secs(1 << 30),
    }
}

/// It is done, or never will be.
fn is_final(answer: &Attempt) -> bool {
    match answer {
        Attempt::Stored(_) => true,
        Attempt::Refused(error) => !error.is_not_now() && error.err_code != ID_IN_PROCESS,
        Attempt::NotSent(_) | Attempt::Unanswered(_) => false,
    }
}

/// It is not done, and may be.
fn is_undone(answer: &Attempt) -> bool {
    match answer {
        Attempt::NotSent(_) | Attempt::Unanswered(Unanswered::NoResponders) => true,
        Attempt::Refused(error) => error.is_not_now(),
        Attempt::Stored(_) | Attempt::Unanswered(_) => false,
    }
}

fn outcome(answer: Attempt) -> Result<u64, Failure> {
    match answer {
        Attempt::Stored(sequence) => Ok(sequence),
        Attempt::Refused(error) => Err(error.failure()),
        Attempt::NotSent(_) | Attempt::Unanswered(_) => Err(Failure::unknown()),
    }
}
