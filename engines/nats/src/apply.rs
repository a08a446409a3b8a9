//! Applies a change: once, as far as that can be known.
//!
//! # The argument
//!
//! A change goes to the server again and again until it is answered, each time under the same ids,
//! by which the server knows what it has stored. An attempt that was left without an answer, since
//! it did not come or the connection broke, leaves open whether the change is done. From then on an
//! answer that refuses a repeat says nothing: a condition may fail because the change itself has
//! fulfilled it. Then the entry tells, which has the id of the change that stored it; if it has
//! another one, nobody knows any more, as another change may have followed. The server forgets ids
//! after a while, so nothing is repeated later than that.
//!
//! That a key must be absent is, to the server, a condition on the marker of its last delete. It
//! is looked up when the condition that there was none has failed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;

use crate::abi;
use crate::api::{self, Published};
use crate::change::{Change, Condition, Handing, Part};
use crate::entry::{Kind, MESSAGE_ID, OWN_ID};
use crate::failure::Failure;
use crate::replies::Reply;
use crate::session::{Kept, Session, Unanswered};
use crate::store::{deleted, Core};
use crate::waiting::{Pause, PAUSE};
use crate::world::world;

/// Before a change that is not answered is given to the server again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Before a condition is tried again that seems to hold.
const SOON: Duration = Duration::from_millis(5);

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const BATCH: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// What became of one attempt.
pub(crate) enum Attempt {
    /// With the sequence of the last of its messages.
    Stored(u64),
    NotSent(Kept),
    Unanswered(Unanswered),
    Refused(api::Error),
}

/// Hands over a change of one key. `absent` is the sequence of its marker, or 0.
pub(crate) async fn send_part(
    session: &Session,
    part: &Part,
    absent: u64,
    reply: &Reply,
    handing: &Handing,
) -> Result<(), Kept> {
    let mut headers = with_condition(part, absent);
    headers.insert(MESSAGE_ID, part.id.as_str());
    let (subject, payload) = (&part.subject, part.payload.clone());
    let reply = Some(&*reply.subject);
    session
        .hand_over(subject, reply, headers, payload, Some(handing))
        .await
}

fn with_condition(part: &Part, absent: u64) -> HeaderMap {
    let mut headers = part.headers.clone();
    let expected = match part.condition {
        Condition::None => return headers,
        Condition::Revision(revision) => revision,
        Condition::Absent => absent,
    };
    headers.insert(EXPECTED, expected.to_string());
    headers
}

/// Waits for the answer to an attempt.
pub(crate) async fn answer_of(session: &Session, reply: &mut Reply, patience: Duration) -> Attempt {
    match session.answer(reply, patience).await {
        Err(unanswered) => Attempt::Unanswered(unanswered),
        Ok(message) => match api::read::<Published>(&message) {
            Ok(published) => Attempt::Stored(published.seq),
            Err(error) => Attempt::Refused(error),
        },
    }
}

/// Applies a change. Whoever waits for it gives it up at the deadline, and drops this.
pub(crate) struct Applying<'a> {
    core: &'a Core,
    change: &'a Change,
    /// Of the markers, where a key must be absent.
    absent: Vec<u64>,
    /// Since when it is not known whether it is done.
    open_since: Option<Instant>,
    pause: Pause,
}

impl<'a> Applying<'a> {
    pub(crate) fn new(core: &'a Core, change: &'a Change) -> Applying<'a> {
        Applying {
            core,
            change,
            absent: vec![0; change.parts.len()],
            open_since: None,
            pause: Pause::default(),
        }
    }

    /// An attempt was left without an answer.
    pub(crate) fn open_since(mut self, since: Instant) -> Applying<'a> {
        self.open_since = Some(since);
        self
    }

    /// The revision of the first of its parts.
    pub(crate) async fn run(mut self) -> Result<u64, Failure> {
        if self.change.parts.is_empty() {
            return Ok(0);
        }
        loop {
            let session = tokio::select! {
                session = self.core.cluster.session() => session,
                () = self.core.deleted() => return Err(self.left_open_or(deleted())),
            };
            if !self.may_repeat() {
                return self.look_for_ids().await;
            }
            match self.attempt(&session).await {
                Attempt::Stored(sequence) => return Ok(self.first_of(sequence)),
                Attempt::NotSent(Kept::Over) => {}
                Attempt::NotSent(Kept::Withdrawn) => return Err(Failure::timeout()),
                Attempt::NotSent(Kept::TooLarge) => {
                    let text = "the value is larger than the server takes";
                    return Err(self.left_open_or(Failure::new(abi::LIMIT, text)));
                }
                Attempt::Unanswered(Unanswered::NoResponders) => self.wait_again().await,
                Attempt::Unanswered(Unanswered::Over) => self.leave_open(),
                Attempt::Unanswered(Unanswered::Silent) => {
                    self.leave_open();
                    self.core.suspicion.notify_one();
                }
                Attempt::Refused(error) => {
                    if let Some(answer) = self.refused(error).await {
                        return answer;
                    }
                }
            }
        }
    }

    /// `None`: to be tried again.
    async fn refused(&mut self, error: api::Error) -> Option<Result<u64, Failure>> {
        match error.err_code {
            _ if error.is_not_now() => self.wait_again().await,
            api::BATCH_INCOMPLETE => self.wait_again().await,
            api::ID_IN_PROCESS => tokio::time::sleep(PAUSE).await,
            api::HEADER_IN_BATCH if self.core.has_batch_ids.swap(false, Ordering::Relaxed) => {
                self.take_back();
            }
            api::ID_IN_BATCH => return Some(self.look_for_ids().await),
            _ if error.is_conflict() && self.open_since.is_none() => {
                self.take_back();
                return self.look_at_conditions().await.map(Err);
            }
            // It may be the change itself that is in the way.
            _ if self.open_since.is_some() => return Some(self.look_for_ids().await),
            _ => return Some(Err(error.failure())),
        }
        None
    }

    async fn attempt(&self, session: &Session) -> Attempt {
        let mut reply = session.expect();
        let handing = &self.change.handing;
        let sent = match &*self.change.parts {
            [part] => send_part(session, part, self.absent[0], &reply, handing).await,
            _ => self.send_batch(session, &reply).await,
        };
        match sent {
            Ok(()) => answer_of(session, &mut reply, PATIENCE).await,
            Err(kept) => Attempt::NotSent(kept),
        }
    }

    /// Nothing of a batch is done before its last message is there.
    async fn send_batch(&self, session: &Session, reply: &Reply) -> Result<(), Kept> {
        let (batch, parts) = (world().new_id(), &self.change.parts);
        let id = match self.core.has_batch_ids.load(Ordering::Relaxed) {
            true => MESSAGE_ID,
            false => OWN_ID,
        };
        for (at, (part, absent)) in parts.iter().zip(&self.absent).enumerate() {
            let mut headers = with_condition(part, *absent);
            headers.insert(id, part.id.as_str());
            headers.insert(BATCH, batch.as_str());
            headers.insert(BATCH_SEQUENCE, (at + 1).to_string());
            let (mut to, mut handing) = (None, None);
            if at + 1 == parts.len() {
                headers.insert(BATCH_COMMIT, "1");
                (to, handing) = (Some(&*reply.subject), Some(&self.change.handing));
            }
            let payload = part.payload.clone();
            session
                .hand_over(&part.subject, to, headers, payload, handing)
                .await?;
        }
        Ok(())
    }

    fn first_of(&self, last: u64) -> u64 {
        (last + 1).saturating_sub(self.change.parts.len() as u64)
    }

    fn leave_open(&mut self) {
        self.open_since.get_or_insert_with(Instant::now);
    }

    fn left_open_or(&self, failure: Failure) -> Failure {
        match self.open_since {
            Some(_) => Failure::unknown(),
            None => failure,
        }
    }

    /// The server has it not, and has nothing else of it.
    fn take_back(&self) {
        if self.open_since.is_none() {
            self.change.handing.take_back();
        }
    }

    /// It was not taken for now.
    async fn wait_again(&mut self) {
        self.take_back();
        self.core.suspicion.notify_one();
        self.pause.rest().await;
    }

    /// Whether the server still knows the ids of what it has stored.
    fn may_repeat(&self) -> bool {
        let Some(since) = self.open_since else {
            return true;
        };
        let known = Duration::from_nanos(self.core.facts().duplicates_ns / 4 * 3);
        let has_ids = match &*self.change.parts {
            [_] => true,
            _ => self.core.has_batch_ids.load(Ordering::Relaxed),
        };
        has_ids && since.elapsed() < known
    }

    /// Whether its entries are there.
    pub(crate) async fn look_for_ids(&self) -> Result<u64, Failure> {
        for (at, part) in self.change.parts.iter().enumerate() {
            match self.core.last_of(&part.subject).await {
                Ok(Some(last)) if last.is_of(&part.id) => return Ok(last.sequence - at as u64),
                Ok(_) => {}
                Err(_) => return Err(Failure::unknown()),
            }
        }
        Err(Failure::unknown())
    }

    /// Why the conditions failed. `None`: they may hold the next time.
    async fn look_at_conditions(&mut self) -> Option<Failure> {
        let mut is_new = false;
        for (at, part) in self.change.parts.iter().enumerate() {
            if part.condition == Condition::None {
                continue;
            }
            let last = match self.core.last_of(&part.subject).await {
                Ok(last) => last,
                Err(failure) => return Some(failure),
            };
            let (sequence, kind) = match &last {
                Some(last) => (last.sequence, last.kind()),
                None => (0, Kind::Delete),
            };
            let holds = match part.condition {
                Condition::Revision(revision) => sequence == revision,
                _ => kind != Kind::Put,
            };
            if !holds {
                let text = "the key has another revision than was expected";
                return Some(Failure::new(abi::CONFLICT, text));
            }
            is_new |= self.absent[at] != sequence;
            self.absent[at] = sequence;
        }
        if !is_new {
            // Another change is on its way, which is not done yet.
            tokio::time::sleep(SOON).await;
        }
        None
    }
}
