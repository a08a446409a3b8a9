//! A connection that has subscribed: it is told of changes, and has nothing more to say. A line
//! from it is a failure.
//!
//! Changes are queued by the thread that makes them, which must not wait. What is queued is
//! bounded in bytes: beyond it the subscriber is cut off at once, whatever it has not read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::Notify;

use super::connection::{Close, Connection};
use crate::bucket::BucketServer;
use crate::error::Error;
use crate::protocol::print_change;
use crate::server::Caller;
use crate::store::Change;
use crate::value::{Value, ValueRef};
use crate::watch::Subscriber;

/// What a queued change costs beside its bytes.
const OVERHEAD: usize = 128;

/// Lines are sent together up to so many bytes.
const LINES: usize = 16 << 10;

/// What the two ends of a subscription share.
struct Shared {
    max_backlog: usize,
    backlog: AtomicUsize,
    cut: Notify,
}

/// The end in the bucket.
struct Source {
    shared: Arc<Shared>,
    changes: UnboundedSender<Arc<Change>>,
}

impl Subscriber for Source {
    fn changed(&self, change: &Arc<Change>) -> bool {
        let before = self
            .shared
            .backlog
            .fetch_add(cost(change), Ordering::Relaxed);
        if before > self.shared.max_backlog {
            self.shared.cut.notify_one();
            return false;
        }
        self.changes.send(Arc::clone(change)).is_ok()
    }

    fn is_gone(&self) -> bool {
        self.changes.is_closed()
    }
}

fn cost(change: &Change) -> usize {
    let value = match change.value.as_ref().map(Value::as_ref) {
        Some(ValueRef::String(text)) => text.len(),
        Some(ValueRef::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    OVERHEAD + change.key.len() + value
}

/// The end at the connection.
pub(super) struct Subscription {
    shared: Arc<Shared>,
    /// Closed when the bucket has ended.
    changes: UnboundedReceiver<Arc<Change>>,
}

impl Subscription {
    pub(super) fn of(
        bucket: &Arc<BucketServer>,
        caller: &mut Caller<'_>,
        max_backlog: usize,
    ) -> Result<Subscription, Error> {
        let shared = Arc::new(Shared {
            max_backlog,
            backlog: AtomicUsize::new(0),
            cut: Notify::new(),
        });
        let (sender, changes) = unbounded_channel();
        let source = Source {
            shared: Arc::clone(&shared),
            changes: sender,
        };
        // Waits for snapshots at most.
        bucket.subscribe(caller, Arc::new(source))?;
        Ok(Subscription { shared, changes })
    }

    /// The lines of the next changes, and whether one could not be told after them; `None`
    /// when the bucket has ended.
    async fn lines(&mut self) -> Option<(Vec<u8>, Result<(), Error>)> {
        let mut lines = Vec::new();
        let mut change = self.changes.recv().await?;
        loop {
            self.shared
                .backlog
                .fetch_sub(cost(&change), Ordering::Relaxed);
            if let Err(error) = print_change(&mut lines, &change) {
                return Some((lines, Err(error)));
            }
            if lines.len() >= LINES {
                return Some((lines, Ok(())));
            }
            match self.changes.try_recv() {
                Ok(next) => change = next,
                Err(_) => return Some((lines, Ok(()))),
            }
        }
    }
}

/// Tells the connection of changes until either end is gone, or it says something.
pub(super) async fn run(connection: &mut Connection<'_>, mut subscription: Subscription) -> Close {
    let listener = connection.listener;
    let shared = Arc::clone(&subscription.shared);
    let told = async {
        loop {
            tokio::select! {
                lines = subscription.lines() => match lines {
                    None => return Close::Quietly,
                    Some((lines, told)) => {
                        if let Err(close) = connection.send(&lines).await {
                            return close;
                        }
                        if told.is_err() {
                            return Close::WithError;
                        }
                    }
                },
                line = connection.line(None) => return match line {
                    Ok(_) => Close::WithError,
                    Err(close) => close,
                },
            }
        }
    };
    tokio::select! {
        close = told => close,
        () = shared.cut.notified() => {
            listener.warn("a subscriber that does not read was cut off");
            Close::Quietly
        }
    }
}
