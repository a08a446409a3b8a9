//! Casts to a shared bucket: on their way at once, and answered in the mailbox.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};

use super::super::backed::wall_clock;
use super::super::{BucketServer, Deciding, Task};
use super::{Shared, PATIENCE};
use crate::error::Error;
use crate::store::{Sent, SharedChange};
use crate::sync::lock;
use crate::time::{Deadline, Timeout};
use crate::value::ValueRef;

/// A cast that was sent, and what became of it.
struct Pending {
    server: std::sync::Weak<BucketServer>,
    outcome: Mutex<Option<Result<u64, Error>>>,
    is_there: Condvar,
}

impl Pending {
    fn tell(&self, outcome: Result<u64, Error>) {
        *lock(&self.outcome) = Some(outcome);
        self.is_there.notify_all();
    }

    /// The store tells it by the deadline of the cast, and at its own end.
    fn outcome(&self) -> Result<u64, Error> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = outcome.take() {
                return outcome;
            }
            let waited = self.is_there.wait(outcome);
            outcome = waited.unwrap_or_else(|it| it.into_inner());
        }
    }
}

impl Sent for Pending {
    fn ended(&self, outcome: Result<u64, Error>) {
        if let Some(shared) = self.server.upgrade().as_ref().and_then(|it| it.shared()) {
            shared.sent.fetch_sub(1, Ordering::AcqRel);
        }
        self.tell(outcome);
    }
}

/// As `BucketState` of the module's server.
impl BucketServer {
    /// Stores a value, or takes a key out, without waiting.
    #[cold]
    pub(in crate::bucket) fn cast_shared(
        self: &Arc<Self>,
        shared: &Shared,
        key: &[u8],
        value: Option<ValueRef<'_>>,
    ) -> Result<(), Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        let store = shared.store()?;
        let default_ttl = self.state().contents.times.default_ttl();
        let expires = match (value, default_ttl) {
            (None, _) | (_, 0) => None,
            (Some(_), ms) => Some(wall_clock().saturating_add(ms as i64)),
        };
        let pending = Arc::new(Pending {
            server: Arc::downgrade(self),
            outcome: Mutex::new(None),
            is_there: Condvar::new(),
        });
        // First the task, which may be refused: what was sent cannot be called back.
        let awaited = Arc::clone(&pending);
        self.cast_task(Task {
            key: Box::default(),
            run: Box::new(move |deciding: Deciding| deciding.await_cast(&awaited)),
        })?;
        let change = SharedChange {
            key,
            value,
            expected: None,
            expires,
        };
        shared.sent.fetch_add(1, Ordering::AcqRel);
        let sent = store.send(
            &change,
            &Deadline::after(PATIENCE),
            Arc::clone(&pending) as _,
        );
        if sent.is_err() {
            shared.sent.fetch_sub(1, Ordering::AcqRel);
            pending.tell(Ok(0)); // who sends it is told
        }
        self.shared_answer(sent)
    }
}

impl Deciding {
    #[cold]
    fn await_cast(self, pending: &Pending) {
        let server = Arc::clone(self.turn.inside().server());
        match pending.outcome() {
            Ok(revision) => {
                if let Some(shared) = server.shared().filter(|shared| shared.reads_copy) {
                    // Reads of the thread wait for this task.
                    let _ = shared
                        .copied
                        .await_revision(revision, &Timeout::Never.deadline());
                }
            }
            Err(refused) => server.log_error(&format!("a cast was dropped: {refused}")),
        }
    }
}
