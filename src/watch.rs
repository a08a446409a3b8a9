//! Who is told of each change of a bucket: the listener's SUBSCRIBE.

use std::sync::{Arc, Mutex};

use crate::runtime::platform;
use crate::store::{Change, Observer};
use crate::sync::lock;

/// Told of changes as an [`Observer`] is. Dropped when the bucket ends.
pub(crate) trait Subscriber: Send + Sync {
    /// `false`: wants no more.
    fn changed(&self, change: &Arc<Change>) -> bool;

    /// Nobody listens any more.
    fn is_gone(&self) -> bool;
}

/// All who are told of one bucket's changes.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<Vec<Arc<dyn Subscriber>>>);

impl Subscribers {
    pub(crate) fn add(&self, subscriber: Arc<dyn Subscriber>) {
        let mut subscribers = lock(&self.0);
        subscribers.retain(|other| !other.is_gone());
        subscribers.push(subscriber);
    }
}

impl Observer for Subscribers {
    fn is_wanted(&self) -> bool {
        !lock(&self.0).is_empty()
    }

    fn changed(&self, change: Change) {
        let change = Arc::new(change);
        let mut subscribers = lock(&self.0);
        if !subscribers.is_empty() {
            // It wakes whoever reads them, by a write to the system.
            platform::uncancelled(|| {
                subscribers.retain(|subscriber| subscriber.changed(&change));
            });
        }
    }

    fn close(&self) {
        lock(&self.0).clear();
    }
}
