//! Who is told of each change of a bucket: the listener's SUBSCRIBE.

use std::sync::{Arc, Mutex};

use crate::sync::lock;
use crate::value::Value;

/// A key that was stored, or deleted. As in the guide a delete is told also if the key was
/// absent.
pub(crate) struct Change {
    pub(crate) key: Box<[u8]>,
    /// `None`: deleted.
    pub(crate) value: Option<Value>,
}

/// Told of changes in the order they are made, by the thread that makes them, while it has
/// the bucket's `WRITE`: it must be short and must not wait. Dropped when the bucket ends.
pub(crate) trait Subscriber: Send + Sync {
    /// `false`: wants no more.
    fn changed(&self, change: &Arc<Change>) -> bool;

    /// Nobody listens any more.
    fn is_gone(&self) -> bool;
}

#[derive(Default)]
pub(super) struct Subscribers(Mutex<Vec<Arc<dyn Subscriber>>>);

impl Subscribers {
    pub(super) fn add(&self, subscriber: Arc<dyn Subscriber>) {
        let mut subscribers = lock(&self.0);
        subscribers.retain(|other| !other.is_gone());
        subscribers.push(subscriber);
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub(super) fn tell(&self, change: Change) {
        let change = Arc::new(change);
        let mut subscribers = lock(&self.0);
        if !subscribers.is_empty() {
            // It wakes whoever reads them, by a write to the system.
            crate::platform::uncancelled(|| {
                subscribers.retain(|subscriber| subscriber.changed(&change));
            });
        }
    }

    pub(super) fn close(&self) {
        lock(&self.0).clear();
    }
}
